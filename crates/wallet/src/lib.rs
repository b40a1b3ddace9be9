//! Wallet files, laid out and written as Bittensor's tools do.
//!
//! ```text
//! <root>/<name>/coldkey           funds; plain, or encrypted with a password
//! <root>/<name>/coldkeypub.txt    its public half
//! <root>/<name>/hotkeys/<hotkey>  identity in the subnet; plain
//! ```
//!
//! Files have permission 0600, appear whole or not at all, and an existing key is overwritten only on demand. Secrets
//! appear in no `Debug`, `Display` or error.
//!
//! ```
//! use templar_wallet::{Overwrite, SecretSource, Wallet};
//!
//! let root = tempfile::tempdir().unwrap();
//! let wallet = Wallet::new(root.path(), "default").unwrap();
//! let made = wallet.write_hotkey("miner", &SecretSource::uri("//Alice"), Overwrite::Refuse).unwrap();
//! assert_eq!(wallet.hotkey("miner").unwrap().public(), made.public());
//! ```

mod encryption;
mod error;
mod key_file;
mod secret;
mod wallet;

pub use encryption::{PasswordCost, is_encrypted};
pub use error::WalletError;
pub use secret::SecretSource;
pub use wallet::{Overwrite, Wallet, is_key_file_encrypted, read_key_file, read_key_file_with_cost};
