//! Why a wallet cannot be read or written.

use std::path::PathBuf;
use templar_base::{KeyError, PublicKey};

/// Why a wallet cannot be read or written. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// A name that is not a plain file name.
    #[error("`{0}` is not a wallet or key name: use letters, digits, `-`, `_` and `.`, not starting with a dot")]
    Name(String),
    /// A hotkey's name that Bittensor's tools give to public halves.
    #[error("`{0}` cannot be a hotkey's name: names that end in `pub.txt` are those of public halves")]
    PublicName(String),
    /// There is no such file.
    #[error("there is no key at {0}; correct the name")]
    Missing(PathBuf),
    /// There is no such wallet.
    #[error("there is no wallet {wallet} in {}; create one with `templar wallet new`, or correct the name", root.display())]
    NoWallet {
        /// Its name.
        wallet: String,
        /// The folder of the wallets.
        root: PathBuf,
    },
    /// The wallet has no coldkey, not even its public half.
    #[error(
        "wallet {wallet} has no coldkey here; run this where it is, or import it: `templar wallet import coldkey --wallet {wallet}`"
    )]
    NoColdkey {
        /// The wallet's name.
        wallet: String,
    },
    /// The wallet has the public half of its coldkey only.
    #[error(
        "wallet {wallet} only watches its coldkey {address}: the secret is not here; run this where it is, or import it: \
         `templar wallet import coldkey --wallet {wallet}`"
    )]
    WatchOnly {
        /// The wallet's name.
        wallet: String,
        /// The address that it watches.
        address: PublicKey,
    },
    /// The wallet has no such hotkey.
    #[error("wallet {wallet} has no hotkey {hotkey}{}", others(existing, wallet))]
    NoHotkey {
        /// The wallet's name.
        wallet: String,
        /// The hotkey's.
        hotkey: String,
        /// Those that it has.
        existing: Vec<String>,
    },
    /// There is such a key.
    #[error(
        "{0} exists already and is left as it is; choose another name, or replace it with --overwrite (a dated copy is kept)"
    )]
    Exists(PathBuf),
    /// A public half whose secret is elsewhere.
    #[error(
        "{path} watches {address}, whose secret is not here, and is left as it is; add --hotkey-only for a further hotkey, \
         choose another name with --wallet, or replace it with --overwrite (a dated copy is kept)"
    )]
    Watched {
        /// The file of the public half.
        path: PathBuf,
        /// The address that is watched.
        address: PublicKey,
    },
    /// A public half that cannot be read, and may be all that is known of an address.
    #[error(
        "{path} is damaged ({reason}) and is left as it is; restore it from a copy, choose another name, or replace it with \
         --overwrite (a dated copy is kept)"
    )]
    DamagedPublic {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is not a key file.
    #[error("{path} is not a key file: {reason}; restore it from a copy or from the phrase")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is known, and is not a key file of Bittensor's.
    #[error("{path} is {what}")]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// The address in the file is another key's.
    #[error("{path} states {stated} but its secret belongs to {actual}; do not use it before you know why")]
    AddressMismatch {
        /// The file.
        path: PathBuf,
        /// The address in the file.
        stated: String,
        /// The secret's address.
        actual: PublicKey,
    },
    /// The key is encrypted.
    #[error("{0} is encrypted; give its password")]
    Locked(PathBuf),
    /// The password is not right.
    #[error("the password for {0} is wrong, or the file is damaged; retry")]
    WrongPassword(PathBuf),
    /// Not enough memory, or parameters out of bounds.
    #[error("the password could not be stretched: {0}; 512 MiB of memory are needed")]
    Stretching(String),
    /// The secret is not a valid key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system has no random source.
    #[error("the system's random source failed: {0}")]
    Random(#[source] getrandom::Error),
    /// The disk failed.
    #[error("{path}: {source}; check the folder's rights and space")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system reported.
        source: std::io::Error,
    },
}

/// What to do where a hotkey is missing.
fn others(existing: &[String], wallet: &str) -> String {
    match existing {
        [] => format!(", nor any other; create one: `templar wallet new --hotkey-only --wallet {wallet}`"),
        names => format!("; it has {}: name one with --hotkey, or create another with --hotkey-only", names.join(", ")),
    }
}
