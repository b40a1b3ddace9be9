//! Why settings cannot be used.

use crate::{Origin, Setting};
use std::io;
use std::path::PathBuf;

/// Settings that cannot be used. All but the first are a wrong use of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The system failed on the file.
    #[error("cannot read the configuration {}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that no setting is.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A value with a control character.
    #[error("the setting `{}` (from {origin}) has a control character", setting.name())]
    ControlCharacter {
        /// The setting.
        setting: Setting,
        /// Who gave it.
        origin: Origin,
    },
    /// A value that is not of the setting's form.
    #[error("`{}` is `{value}` (from {origin}): {reason}", setting.name())]
    Value {
        /// The setting.
        setting: Setting,
        /// Its text.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// The ledger's address is of another protocol.
    #[error("`{}` is `{address}`: {why}", Setting::Ledger.name())]
    LedgerAddress {
        /// The address.
        address: String,
        /// What it should be.
        why: String,
    },
    /// Half of the bucket's write key.
    #[error("only one of `bucket_access_key` and `bucket_secret_key` is set")]
    HalfAKey,
}

impl SettingsError {
    /// Whether what was asked for is wrong, and not the system.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Unreadable { .. })
    }
}
