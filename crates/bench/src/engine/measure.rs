//! Measuring one model.

use super::EngineBenchError;
use super::models::{Shape, forward_flops_per_token, model};
use super::process::{Kind, Process, Subject};
use super::report::Figures;
use super::second_thread;
use super::turns::Contestants;
use super::worker::{Request, read_values, write_values};
use crate::error::with_causes;
use crate::{FileError, Progress};
use std::path::{Path, PathBuf};
use templar_engine::{ParamLayout, initial_parameters};

/// Tokens of the prompt, and as many of the text that follows it.
const TEXT_TOKENS: usize = 128;

/// How to measure.
pub struct Plan {
    /// Turns of each engine.
    pub rounds: usize,
    /// The interpreter with PyTorch.
    pub python: Option<PathBuf>,
    /// Whether to measure PyTorch's compiled mode.
    pub is_compiled_wanted: bool,
}

/// Measures the model of this name.
pub fn measure(name: &str, plan: &Plan, progress: &mut dyn Progress) -> Result<Figures, EngineBenchError> {
    let config = model(name)?;
    let folder = Scratch::new()?;
    let parameters = folder.0.join("start.f32");
    write_values(&parameters, &initial_parameters(&config, [1; 32]))?;
    let shape = Shape::NATIVE;
    let subject = Subject { name, config: &config, parameters: &parameters, shape, device: None };
    let mut contestants = start_all(subject, plan, progress);
    let mut figures = Figures::new(name, config.parameter_count());
    figures.versions = contestants.all().map(|(name, process)| (name.clone(), process.version().to_owned())).collect();

    let Some(peak) = contestants.peak("templar")? else {
        return Err(EngineBenchError::Absent { reason: contestants.missing.join("; ") });
    };
    figures.set("peak_gflops", Some(peak / 1e9));
    let flops = forward_flops_per_token(&config, shape.length);
    let tokens = shape.tokens();
    // Before anything else, as in a process that only judges: what training leaves behind helps some engines later.
    let evaluate = |steps| Request::Evaluate { steps };
    let times = contestants.take_turns(plan.rounds, evaluate, progress, &format!("{name}: evaluation"));
    figures.evaluate_tokens_per_second = times.tokens_per_second(tokens);
    figures.set_ratio("evaluate_ratio_1_thread", &times, "templar", "PyTorch eager");
    figures.set_ratio("evaluate_ratio_compiled", &times, "templar", "PyTorch compiled");
    let share = figures.evaluate_tokens_per_second.get("templar").map(|rate| flops * rate / peak);
    figures.set("evaluate_peak_share", share);

    figures.set("gradient_relative_error", compare_gradients(&mut contestants, subject, &folder.0)?);
    let train = |steps| Request::Train { steps };
    let times = contestants.take_turns(plan.rounds, train, progress, &format!("{name}: training"));
    figures.train_tokens_per_second = times.tokens_per_second(tokens);
    figures.set_ratio("train_ratio_1_thread", &times, "templar", "PyTorch eager");
    figures.set_ratio("train_ratio_2_threads", &times, "templar, 2 threads", "PyTorch eager, 2 threads");
    figures.set_ratio("train_ratio_compiled", &times, "templar", "PyTorch compiled");
    figures.set_ratio("thread_scaling", &times, "templar, 2 threads", "templar");
    figures.set_ratio("thread_scaling_of_pytorch", &times, "PyTorch eager, 2 threads", "PyTorch eager");
    figures.set("thread_scaling_of_multiply_adds", second_thread::of_multiply_adds(&mut contestants, plan.rounds)?);
    progress.say(&format!("{name}: two engines apart"));
    match second_thread::of_engines_apart(&mut contestants, subject, plan.rounds) {
        Ok(apart) => figures.set("thread_scaling_of_engines_apart", apart),
        Err(error) => contestants.missing.push(format!("two engines apart: {}", with_causes(&error))),
    }
    let share = figures.train_tokens_per_second.get("templar").map(|rate| 3.0 * flops * rate / peak);
    figures.set("train_peak_share", share);
    compare_memory(&mut contestants, &mut figures);

    contestants.keep_only("templar");
    if let Some(python) = &plan.python {
        contestants.add("transformers", Process::start(Kind::Transformers, Some(python), subject, 1));
    }
    let generate = |texts| Request::Generate { tokens: TEXT_TOKENS, texts };
    let times = contestants.take_turns(plan.rounds, generate, progress, &format!("{name}: generation"));
    figures.generate_tokens_per_second = times.tokens_per_second(TEXT_TOKENS);
    figures.set_ratio("generate_ratio", &times, "templar", "transformers");
    figures.missing = contestants.missing;
    Ok(figures)
}

/// Starts all engines that the plan has.
fn start_all(subject: Subject, plan: &Plan, progress: &mut dyn Progress) -> Contestants {
    progress.say(&format!("{}: starting the engines", subject.name));
    let is_alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut contestants = Contestants::default();
    let mut add = |kind: Kind, python: Option<&Path>, threads: usize| {
        let name = if threads == 1 { kind.name().to_owned() } else { format!("{}, {threads} threads", kind.name()) };
        contestants.add(&name, Process::start(kind, python, subject, threads));
    };
    let threads: &[usize] = if is_alone { &[1] } else { &[1, 2] };
    for &threads in threads {
        add(Kind::Ours, None, threads);
        if let Some(python) = &plan.python {
            add(Kind::Eager, Some(python), threads);
        }
    }
    if let (Some(python), true) = (&plan.python, plan.is_compiled_wanted) {
        add(Kind::Compiled, Some(python), 1);
    }
    if is_alone {
        contestants.missing.push("two threads: this machine has one core".to_owned());
    }
    contestants
}

/// The largest relative distance (L2) of a tensor's gradient from PyTorch's.
fn compare_gradients(
    contestants: &mut Contestants,
    subject: Subject,
    folder: &Path,
) -> Result<Option<f64>, EngineBenchError> {
    let mut gradients = Vec::new();
    for name in ["templar", "PyTorch eager"] {
        let Some(process) = contestants.get(name) else { return Ok(None) };
        let out = folder.join("gradient.f32");
        process.ask(&Request::Gradient { out: out.clone() })?;
        gradients.push(read_values(&out)?);
    }
    let mut worst = 0.0f64;
    for tensor in ParamLayout::new(subject.config).tensors() {
        let (mut distance, mut size) = (0.0, 0.0);
        for (ours, theirs) in gradients[0][tensor.range.clone()].iter().zip(&gradients[1][tensor.range.clone()]) {
            distance += f64::from(ours - theirs).powi(2);
            size += f64::from(*theirs).powi(2);
        }
        worst = worst.max((distance / size).sqrt());
    }
    Ok(Some(worst))
}

/// Peak memory of whole processes, and what it is over the memory that each held without a model.
fn compare_memory(contestants: &mut Contestants, figures: &mut Figures) {
    let mut over_idle = Vec::new();
    for name in ["templar", "PyTorch eager", "PyTorch compiled"] {
        let Some(process) = contestants.get(name) else { continue };
        let (peak, idle) = process.memory();
        figures.train_peak_bytes.insert(name.to_owned(), peak);
        over_idle.push(peak.saturating_sub(idle) as f64);
    }
    if let (Some(ours), Some(theirs)) =
        (figures.train_peak_bytes.get("templar"), figures.train_peak_bytes.get("PyTorch eager"))
    {
        let ratio = *ours as f64 / *theirs as f64;
        figures.set("memory_ratio", Some(ratio));
        figures.set("memory_ratio_over_idle", Some(over_idle[0] / over_idle[1]));
    }
}

/// A folder for files that are not needed afterwards.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Result<Self, FileError> {
        let folder = std::env::temp_dir().join(format!("templar-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(FileError::at("create the folder", &folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
