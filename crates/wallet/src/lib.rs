//! Wallet files, laid out and written as Bittensor's tools do.
//!
//! ```text
//! <root>/<name>/coldkey           funds; plain, or encrypted with a password
//! <root>/<name>/coldkeypub.txt    its public half
//! <root>/<name>/hotkeys/<hotkey>  identity in the subnet; plain, or encrypted by Bittensor's tools
//! <root>/<name>/hotkeys/<hotkey>pub.txt   its public half
//! <root>/<name>/replaced/         dated copies of what was overwritten
//! ```
//!
//! Files have permission 0600, appear whole or not at all, and all of a change or none of it. An existing key, or the
//! public half of one that is elsewhere, is overwritten only on demand, and a copy is kept. Secrets appear in no
//! `Debug`, `Display` or error.
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
mod facts;
mod files;
mod foreign_file;
mod key_file;
mod known;
mod secret;
mod secret_text;
mod wallet;

pub use encryption::{PasswordCost, is_encrypted};
pub use error::WalletError;
pub use facts::{Custody, Generated, GeneratedKey, Inventory, KeyFacts, NamedKey};
pub use known::publicly_known;
pub use secret::SecretSource;
pub use secret_text::SecretTextError;
pub use wallet::{KeyName, Overwrite, Wallet, is_key_file_encrypted, read_key_file, read_key_file_with_cost};
