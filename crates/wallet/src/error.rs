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
    /// There is no such key.
    #[error("there is no key at {0}; make one with `templar wallet new`, or correct the name")]
    Missing(PathBuf),
    /// There is such a key.
    #[error("{0} exists already and is left as it is; choose another name, or overwrite it on purpose")]
    Exists(PathBuf),
    /// The file is not a key file.
    #[error("{path} is not a key file: {reason}; restore it from a copy or from the phrase")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
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
