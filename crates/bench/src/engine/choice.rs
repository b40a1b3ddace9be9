//! What of the engines is measured, and the Python beside which.

use super::measure::Plan;
use super::models::names;
use super::{EngineBenchError, python};
use crate::Progress;
use clap::builder::PossibleValuesParser;
use std::path::{Path, PathBuf};
use templar_engine_torch::{Environment, loads_torch};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineBench {
    /// Models to measure, by their size; all by default
    #[arg(long = "model", value_name = "SIZE", value_parser = PossibleValuesParser::new(names()))]
    pub models: Vec<String>,
    /// Turns of each engine
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Create the Python environment first, if it is missing
    #[arg(long)]
    pub setup: bool,
    /// Python interpreter with PyTorch
    #[arg(long, value_name = "FILE", conflicts_with = "setup")]
    pub python: Option<PathBuf>,
    /// Leave out PyTorch's compiled mode, which takes a minute to compile each model
    #[arg(long)]
    pub no_compiled: bool,
}

impl EngineBench {
    /// The models to measure.
    pub fn names(&self) -> Vec<String> {
        match self.models.is_empty() {
            true => names().map(str::to_owned).to_vec(),
            false => self.models.clone(),
        }
    }

    /// The turns, with PyTorch where there is an interpreter that has it.
    pub fn plan(&self, python: Option<PathBuf>) -> Plan {
        Plan { rounds: self.rounds as usize, python, is_compiled_wanted: !self.no_compiled }
    }

    /// The interpreter with PyTorch, if there is one: the named one, or that of the environment in `folder`.
    pub fn interpreter(&self, folder: &Path, progress: &mut dyn Progress) -> Result<Option<PathBuf>, EngineBenchError> {
        if let Some(python) = &self.python {
            let missing = || EngineBenchError::NoTorch { python: python.clone() };
            return loads_torch(python).then(|| Some(python.clone())).ok_or_else(missing);
        }
        let environment = Environment::new(folder);
        if self.setup && !environment.is_ready() {
            python::set_up(folder, progress)?;
        }
        Ok(environment.is_ready().then(|| environment.interpreter()))
    }
}
