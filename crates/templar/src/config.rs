//! The settings that commands share; the mechanism is `templar_settings`.

use std::net::SocketAddr;
use std::path::Path;

pub use templar_settings::{
    BenchmarkFlags, Config, DataFlag, EngineFlags, EvaluationFlags, FILE_NAME, GenesisFlags, HotkeyFlag, LedgerFlag,
    LimitFlags, MergingFlags, ModelFlags, Origin, PlaceFlags, PresetFlag, RecipeFlags, SamplingFlags, Setting,
    SettingFlags, SettingsError, SourceFlags, SubnetFlags, TextFlags, ThreadsFlag, TrainingFlags, WalletFlags,
    WindowFlags, engine, interval, user_file,
};

/// Variables that are read where they are used.
const OTHERS: [&str; 5] = [
    "TEMPLAR_LOG",
    "TEMPLAR_LOG_FORMAT",
    "TEMPLAR_WALLET_PASSWORD",
    "TEMPLAR_TORCH_PYTHON",
    crate::interrupt::STOP_WITH_STDIN,
];

/// The defaults, the file and the variables. `file` is what `--config` names.
pub fn load(file: Option<&Path>, is_quiet: bool) -> Result<Config, SettingsError> {
    Config::load(file, &OTHERS, is_quiet)
}

/// Where a local server listens, by its setting.
pub fn listen(config: &Config, setting: Setting) -> Result<SocketAddr, SettingsError> {
    config.parsed_by(setting, templar_localnet::listen_address)
}
