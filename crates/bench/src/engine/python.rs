//! The scratch Python environment with PyTorch that ours is measured against.

use crate::Progress;
use std::path::Path;
use templar_engine_torch::{Environment, EnvironmentError, Wheels};

/// Makes the environment in `folder`: PyTorch without its GPU libraries, and `transformers`.
pub fn set_up(folder: &Path, progress: &mut dyn Progress) -> Result<(), EnvironmentError> {
    let environment = Environment::new(folder);
    environment.make(Wheels::WithoutGpu, &mut |what| progress.say(what))?;
    progress.say("installing transformers");
    environment.install(&["transformers"])
}
