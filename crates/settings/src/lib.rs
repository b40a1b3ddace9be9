//! The settings of templar's programs: their names in `templar.toml`, their variables, their flags, their defaults, where
//! the file is looked for, and the values in force ([`Config`]).
//!
//! ```
//! use templar_settings::Setting;
//!
//! assert_eq!(Setting::Ledger.variable(), "TEMPLAR_LEDGER");
//! assert_eq!(Setting::find(|setting| setting.name() == "threads"), Some(Setting::Threads));
//! ```

mod benchmark_flags;
mod config;
pub mod engine;
mod error;
mod flags;
mod ledger_flags;
mod run_flags;
mod sampling_flags;
mod training_flags;

pub use benchmark_flags::BenchmarkFlags;
pub use config::Config;
pub use error::SettingsError;
pub use flags::{
    DataFlag, EngineFlags, FieldFlag, HotkeyFlag, LedgerFlag, NetuidFlag, PresetFlag, SettingFlags, SubnetFlags,
    TextFlags, ThreadsFlag, WalletFlags,
};

pub use ledger_flags::GenesisFlags;
pub use run_flags::{
    DocumentsName, EvaluationFlags, MergingFlags, ModelFlags, OptimiserName, PlaceFlags, TrainingFlags, WindowFlags,
};
pub use sampling_flags::SamplingFlags;
pub use training_flags::{LimitFlags, RecipeFlags, SourceFlags, interval};

use std::fmt;
use std::path::{Path, PathBuf};
use templar_base::DEFAULT_NETUID;

/// The file that is looked for in the current folder, and in the user's folder for settings.
pub const FILE_NAME: &str = "templar.toml";

/// What a setting's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text or a number.
    Text,
    /// A text that is never shown.
    Secret,
    /// A path.
    Path,
    /// A list of paths.
    Paths,
}

/// The table of all settings: name in `templar.toml`, kind, what it is, and the value where none is given.
macro_rules! settings {
    ($($setting:ident $name:literal $kind:ident $what:literal $default:expr;)*) => {
        /// One setting. Its name in the file is [`Setting::name`]; its variable is `TEMPLAR_` and the name in capitals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Setting {
            $(#[doc = $what] $setting,)*
        }

        impl Setting {
            /// All settings, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$setting,)*];

            const fn row(self) -> (&'static str, Kind, &'static str) {
                match self {
                    $(Self::$setting => ($name, Kind::$kind, $what),)*
                }
            }

            /// The value where none is given; none of some.
            pub fn default(self) -> Option<String> {
                match self {
                    $(Self::$setting => $default,)*
                }
            }
        }
    };
}

settings! {
    DataFolder "data_folder" Path "where commands keep what they create" path(data_home().join("templar"));
    Ledger "ledger" Text "the ledger to connect to" text("ws://127.0.0.1:9944");
    Netuid "netuid" Text "the subnet of the ledger" text(DEFAULT_NETUID);
    LedgerListen "ledger_listen" Text "where `templar ledger` listens" text("127.0.0.1:9944");
    BucketListen "bucket_listen" Text "where `templar bucket` listens" text("127.0.0.1:9000");
    BucketQuota "bucket_quota_gb" Text "gigabytes that each bucket of `templar bucket` may hold" text(1000);
    Bucket "bucket" Text "the bucket that this node writes" None;
    BucketAccessKey "bucket_access_key" Text "public half of the bucket's write key" None;
    BucketSecretKey "bucket_secret_key" Secret "secret half of the bucket's write key" None;
    WalletFolder "wallet_folder" Path "the folder of the wallets" path(home().join(".bittensor").join("wallets"));
    Wallet "wallet" Text "the wallet's name" text("default");
    Hotkey "hotkey" Text "the hotkey's name" text("default");
    Threads "threads" Text "threads for computing" text(templar_engine::cores());
    Engine "engine" Text "what models are trained and judged with" text("cpu");
    Ranks "ranks" Text "processes of PyTorch, one for each GPU" text(1);
    Python "python" Path "the Python interpreter that has PyTorch" None;
    Text "text" Paths "text to train on" None;
    Field "field" Text "field of the text in JSON lines and Parquet" text(templar_corpus::DEFAULT_FIELD);
    TextKind "text_kind" Text "which files of a folder are text" text("auto");
    Preset "preset" Text "the model's size" text("tiny");
}

impl Setting {
    /// Its key in `templar.toml`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it is, in a few words.
    pub fn what(self) -> &'static str {
        self.row().2
    }

    /// What its text is.
    pub fn kind(self) -> Kind {
        self.row().1
    }

    /// Its environment variable.
    pub fn variable(self) -> String {
        format!("TEMPLAR_{}", self.name().to_ascii_uppercase())
    }

    /// The first of which this holds.
    pub fn find(is_it: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| is_it(*setting))
    }
}

fn text(text: impl ToString) -> Option<String> {
    Some(text.to_string())
}

fn path(path: PathBuf) -> Option<String> {
    Some(path.to_string_lossy().into_owned())
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("."))
}

fn absolute_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn data_home() -> PathBuf {
    absolute_variable("XDG_DATA_HOME").unwrap_or_else(|| home().join(".local").join("share"))
}

/// The user's `templar.toml`.
pub fn user_file() -> PathBuf {
    let folder = absolute_variable("XDG_CONFIG_HOME").unwrap_or_else(|| home().join(".config"));
    folder.join("templar").join(FILE_NAME)
}

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A path relative to a folder, with `~/` as the user's.
pub fn resolve(path: &str, folder: &Path) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => folder.join(path),
    }
}
