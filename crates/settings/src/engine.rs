//! What models are trained and judged with, from the settings.

use crate::{Config, Origin, Setting, SettingsError};
use std::path::PathBuf;
use std::sync::Arc;
use templar_engine::{EngineError, EngineSource};
use templar_engine_torch::{Environment, MAX_RANKS, TorchBackend, TorchOptions};

/// The environment that `templar doctor --setup torch` makes.
pub fn environment(config: &Config) -> Environment {
    Environment::new(config.data_folder().join("torch"))
}

/// The interpreter for PyTorch: the named one, that of the environment, or the system's.
pub fn python(config: &Config) -> PathBuf {
    let made = environment(config).interpreter();
    config.python().unwrap_or_else(|| if made.exists() { made } else { PathBuf::from("python3") })
}

/// An engine that the settings name and that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineChoiceError {
    /// The settings themselves.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// There is no such engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What opens the engines of the settings.
pub fn source(config: &Config) -> Result<EngineSource, EngineChoiceError> {
    let device = config.engine()?;
    let ranks = config.ranks(MAX_RANKS)?;
    if device.backend() != TorchBackend::NAME {
        return Ok(EngineSource::on_cpu(device)?);
    }
    let options = TorchOptions { ranks, ..TorchOptions::new(python(config)) };
    Ok(EngineSource::new(device, Arc::new(TorchBackend::new(options))))
}

/// Flags for processes that are to compute as this one does.
pub fn flags(config: &Config) -> Vec<String> {
    let mut flags = Vec::new();
    for (setting, flag) in [(Setting::Engine, "--engine"), (Setting::Ranks, "--ranks")] {
        if let Some((value, _)) = config.get(setting).filter(|(_, origin)| **origin != Origin::Default) {
            flags.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    if config.engine().is_ok_and(|device| device.backend() == TorchBackend::NAME) {
        flags.extend(["--python".to_owned(), python(config).to_string_lossy().into_owned()]);
    }
    flags
}
