//! Our engine on PyTorch beside plain PyTorch on the same device, and what the ends of a window cost with it.

use super::EngineBenchError;
use super::measure::Scratch;
use super::models::{Shape, device_model, forward_flops_per_token};
use super::process::{Kind, OnDevice, Process, Subject};
use super::report::Figures;
use super::turns::Contestants;
use super::window_cost::SEED;
use super::worker::{Request, write_values};
use crate::Progress;
use std::path::PathBuf;
use templar_engine::{DeviceName, initial_parameters};

/// How to measure on a device.
pub struct DevicePlan {
    /// `torch`, `torch:cuda` or `torch:cpu`.
    pub device: DeviceName,
    /// The interpreter with PyTorch.
    pub python: PathBuf,
    /// Ranks of ours. Plain PyTorch has one process, so that only one rank can be compared.
    pub ranks: usize,
    /// Threads of the host.
    pub threads: usize,
    /// The batch.
    pub shape: Shape,
    /// Turns of each engine.
    pub rounds: usize,
    /// Whether to measure compiled layers, ours and PyTorch's.
    pub is_compiled_wanted: bool,
    /// What the device's bf16 products can reach at all, in TFLOP/s.
    pub peak_tflops: Option<f64>,
    /// Payloads that are judged; 0 leaves the ends of a window out.
    pub payloads: u16,
}

/// Measures the preset of this name.
pub fn measure_on_device(
    name: &str,
    plan: &DevicePlan,
    progress: &mut dyn Progress,
) -> Result<Figures, EngineBenchError> {
    let (config, shape) = (device_model(name)?, plan.shape);
    let folder = Scratch::new()?;
    let parameters = folder.0.join("start.f32");
    write_values(&parameters, &initial_parameters(&config, SEED))?;
    let device = Some(OnDevice { name: &plan.device, ranks: plan.ranks });
    let subject = Subject { name, config: &config, parameters: &parameters, shape, device };
    progress.say(&format!("{name}: starting the engines"));
    let start = |kind| Process::start(kind, Some(&plan.python), subject, plan.threads);
    let mut contestants = Contestants::default();
    let kinds: &[Kind] = match plan.is_compiled_wanted {
        true => &[Kind::Ours, Kind::OursCompiled, Kind::Eager, Kind::Compiled],
        false => &[Kind::Ours, Kind::Eager],
    };
    for kind in kinds {
        contestants.add(kind.name(), start(*kind));
    }
    let mut figures = Figures::new(name, config.parameter_count());
    figures.versions = contestants.all().map(|(name, process)| (name.clone(), process.version().to_owned())).collect();
    if contestants.get(Kind::Ours.name()).is_none() {
        return Err(EngineBenchError::Absent { reason: contestants.missing.join("; ") });
    }
    let evaluate = |steps| Request::Evaluate { steps };
    let times = contestants.take_turns(plan.rounds, evaluate, progress, &format!("{name}: evaluation"));
    figures.evaluate_tokens_per_second = times.tokens_per_second(shape.tokens());
    figures.set_ratio("device_evaluate_ratio", &times, "templar", "PyTorch eager");
    let train = |steps| Request::Train { steps };
    let times = contestants.take_turns(plan.rounds, train, progress, &format!("{name}: training"));
    figures.train_tokens_per_second = times.tokens_per_second(shape.tokens());
    figures.set_ratio("device_train_ratio", &times, "templar", "PyTorch eager");
    figures.set_ratio("device_train_ratio_compiled", &times, "templar, compiled", "PyTorch compiled");
    let fastest = ["templar", "templar, compiled"].map(|name| figures.train_tokens_per_second.get(name).copied());
    let fastest = fastest.into_iter().flatten().max_by(f64::total_cmp);
    if let (Some(rate), Some(peak)) = (fastest, plan.peak_tflops) {
        let flops = 3.0 * forward_flops_per_token(&config, shape.length) * rate;
        figures.set("model_flops_utilisation", Some(flops / (peak * 1e12 * plan.ranks as f64)));
    }
    if plan.payloads > 0 {
        progress.say(&format!("{name}: sealing, and judging {} payloads", plan.payloads));
        contestants.keep_only(Kind::Ours.name());
        figures.window = match contestants.get(Kind::Ours.name()) {
            Some(ours) => ours.ask(&Request::Window { payloads: plan.payloads })?.window,
            None => None,
        };
    }
    figures.missing = contestants.missing;
    Ok(figures)
}
