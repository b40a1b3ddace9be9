//! What of the engines is measured, and the Python beside which.

use super::measure::{Plan, measure};
use super::models::{Shape, names};
use super::on_device::{DevicePlan, measure_on_device};
use super::report::Figures;
use super::{EngineBenchError, python};
use crate::Progress;
use clap::builder::PossibleValuesParser;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use templar_engine::{DeviceName, preset_names};
use templar_engine_torch::{Environment, MAX_RANKS, TorchBackend, loads_torch};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineBench {
    /// Models to measure, by their size; all by default. With --engine a preset, `tiny` by default
    #[arg(long = "model", value_name = "SIZE", value_parser = PossibleValuesParser::new(all_names()))]
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
    /// Measure our engine on PyTorch instead (torch, torch:cuda, torch:cpu), beside plain PyTorch on the same device
    #[arg(long, value_name = "NAME")]
    pub engine: Option<DeviceName>,
    #[command(flatten)]
    on_device: DeviceFlags,
}

/// What is measured on a device.
#[derive(Debug, Clone, clap::Args)]
struct DeviceFlags {
    /// Processes of ours, one for each GPU; plain PyTorch has one
    #[arg(long, value_name = "N", requires = "engine", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=MAX_RANKS as i64))]
    ranks: u16,
    /// Sequences of a batch
    #[arg(long, value_name = "N", requires = "engine", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    sequences: u16,
    /// Tokens of a sequence
    #[arg(long, value_name = "TOKENS", requires = "engine", default_value_t = 256,
        value_parser = clap::value_parser!(u16).range(16..=8192))]
    length: u16,
    /// What the device's bf16 products can reach, such as 989 for an H100, to tell the share of it
    #[arg(long, value_name = "TFLOPS", requires = "engine", value_parser = clap::value_parser!(u32).range(1..))]
    peak: Option<u32>,
    /// Payloads to judge; 0 leaves sealing and judging out
    #[arg(long, value_name = "N", requires = "engine", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(0..=64))]
    payloads: u16,
}

/// The names of the models, with those of the presets.
fn all_names() -> Vec<&'static str> {
    let presets = preset_names().into_iter().filter(|name| !names().contains(name));
    names().into_iter().chain(presets).collect()
}

impl EngineBench {
    /// The models to measure.
    pub fn names(&self) -> Vec<String> {
        match (self.models.is_empty(), &self.engine) {
            (true, None) => names().map(str::to_owned).to_vec(),
            (true, Some(_)) => vec!["tiny".to_owned()],
            (false, _) => self.models.clone(),
        }
    }

    /// Measures the model of this name: the native engine beside the interpreter's PyTorch, or the engine of `--engine`.
    pub fn measure(
        &self,
        name: &str,
        python: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Figures, EngineBenchError> {
        let python = python.map(Path::to_owned);
        match &self.engine {
            Some(device) => measure_on_device(name, &self.device_plan(device.clone(), python)?, progress),
            None => {
                let plan = Plan { rounds: self.rounds as usize, python, is_compiled_wanted: !self.no_compiled };
                measure(name, &plan, progress)
            }
        }
    }

    /// The turns on the device of `--engine`.
    fn device_plan(&self, device: DeviceName, python: Option<PathBuf>) -> Result<DevicePlan, EngineBenchError> {
        if device.backend() != TorchBackend::NAME {
            return Err(EngineBenchError::NotTorch { device });
        }
        let on_device = &self.on_device;
        Ok(DevicePlan {
            python: python.ok_or(EngineBenchError::NoPython { engine: "templar on PyTorch" })?,
            ranks: usize::from(on_device.ranks),
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
            shape: Shape { sequences: usize::from(on_device.sequences), length: usize::from(on_device.length) },
            rounds: self.rounds as usize,
            is_compiled_wanted: !self.no_compiled,
            peak_tflops: on_device.peak.map(f64::from),
            payloads: on_device.payloads,
            device,
        })
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
