//! Training a model alone on a corpus: the plan, the record, and the steps.
//!
//! With a limit in steps or tokens, the plan and the corpus decide every bit of the result, however often the process
//! is stopped and started again. With a limit in minutes the learning rate follows the clock.

use crate::checkpoint::Checkpoint;
use crate::evaluation::{held_out_batches, mean_loss, piece_sequences};
use crate::export::{all_settings, write_all};
use crate::recipe::{DEFAULT_FINAL_SHARE, check_training};
use crate::source::OpenError;
use crate::{Companions, FileError, folder};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use templar_base::{ContentHash, ModelConfig};
use templar_corpus::{AssignmentError, Corpus, CorpusError, PlanError, TextOrder, TokenizerError};
use templar_engine::checkpoint::{CONFIG_FILE, PARAMETERS_FILE, Precision, SpecialTokens, StreamError, write_streamed};
use templar_engine::{
    Batch, Buffer, Decay, Engine, EngineError, EngineSource, GenerateOptions, MatrixOptimiser, OpenRequest,
    OptimiserConfig, OptimiserStateError, Schedule, StepReport, UnknownPreset, initial_parameters, preset,
    read_optimiser, write_optimiser,
};
use templar_trainer::BatchRule;

/// The record of the training, in the checkpoint's folder.
pub const RECORD_FILE: &str = "training.json";
/// The optimiser's state, in the checkpoint's folder.
pub const OPTIMISER_FILE: &str = "optimiser.bin";

fn default_final_share() -> f32 {
    DEFAULT_FINAL_SHARE
}

/// The part of the text that is not trained on: as much as a network judges on, so that a comparison of the two is one of
/// trainings on as much text.
const LEFT_OUT_PERCENT: u32 = 2;
/// Tokens of a sample.
const SAMPLE_TOKENS: usize = 40;

/// What is fixed from the first step on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the model's sizes, or of the model that it started from.
    pub preset: String,
    /// The model that it started from; none where it started from random parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Where the corpus is.
    pub corpus: PathBuf,
    /// The corpus, by its manifest.
    pub corpus_hash: ContentHash,
    /// Tokens of a sequence.
    pub sequence_length: u32,
    /// Sequences of a step.
    pub batch: u32,
    /// The highest learning rate.
    pub learning_rate: f32,
    /// Steps until the highest learning rate.
    pub warm_up_steps: u64,
    /// Share of the steps after the warm-up that keep the highest learning rate.
    #[serde(default)]
    pub flat_share: f64,
    /// How the learning rate falls after.
    pub decay: Decay,
    /// Share of the highest learning rate that is left at the end.
    #[serde(default = "default_final_share")]
    pub final_share: f32,
    /// Optimiser of the layers' matrices.
    #[serde(default)]
    pub optimiser: MatrixOptimiser,
    /// Seed of the first parameters and of the order of the text.
    pub seed: u64,
}

/// When to stop; whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// After N steps.
    pub steps: Option<u64>,
    /// After N tokens.
    pub tokens: Option<u64>,
    /// After N minutes of training.
    pub minutes: Option<f64>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The share that is done, at most 1, and the nearest limit.
    fn progress(&self, record: &Record) -> (f64, &'static str) {
        let share =
            |done: f64, limit: Option<f64>| limit.map_or(0.0, |limit| if limit > 0.0 { done / limit } else { 1.0 });
        let shares = [
            (share(record.step as f64, self.steps.map(|steps| steps as f64)), "steps"),
            (share(record.tokens as f64, self.tokens.map(|tokens| tokens as f64)), "tokens"),
            (share(record.seconds, self.minutes.map(|minutes| minutes * 60.0)), "minutes"),
        ];
        let (done, limit) = shares.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, "steps"));
        (done.min(1.0), limit)
    }
}

/// What was done so far; the file `training.json` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The plan.
    pub plan: Plan,
    /// The limits of the last start.
    pub limits: Limits,
    /// The tokenizer's hash.
    pub tokenizer: ContentHash,
    /// Steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training, over all starts.
    pub seconds: f64,
    /// Loss on the held-out text before the first step.
    pub first_held_out_loss: Option<f32>,
    /// Loss on the held-out text when it was measured last.
    pub last_held_out_loss: Option<f32>,
}

impl Record {
    /// Tokens per second, over all starts.
    pub fn speed(&self) -> f64 {
        self.tokens as f64 / self.seconds.max(1e-9)
    }

    /// Reads the record of a checkpoint; none where the folder has none.
    pub fn read(folder: &Path) -> Result<Option<Self>, TrainingError> {
        let path = folder.join(RECORD_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(FileError::at("read", &path))?;
        let record = serde_json::from_slice(&text).map_err(|source| TrainingError::Record { path, source })?;
        Ok(Some(record))
    }

    fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("named fields of numbers and texts are always JSON");
        text + "\n"
    }
}

/// A training that cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A file cannot be read or written; the disk or the path is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// `training.json` is not what a training wrote.
    #[error("{} is damaged", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The state of the optimiser is not what a training wrote.
    #[error("cannot use {}", path.display())]
    OptimiserState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: OptimiserStateError,
    },
    /// The checkpoint cannot be read.
    #[error("cannot use the checkpoint {}", path.display())]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        source: OpenError,
    },
    /// The corpus is not the one that the training started with; the caller is at fault.
    #[error("this is not the corpus that the training started with")]
    OtherCorpus(#[source] CorpusError),
    /// The checkpoint and its record are of two models; the folder is at fault.
    #[error("{} is of another model than {RECORD_FILE} states", path.display())]
    OtherModel {
        /// The checkpoint's sizes.
        path: PathBuf,
    },
    /// The record names sizes that this program does not know.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The text has too few tokens for the plan; the caller is at fault.
    #[error("the text is too small for this batch and sequence length")]
    TooLittleText(#[from] PlanError),
    /// The held-out part of the text has too few tokens; the caller is at fault.
    #[error("the held-out part of the text is too small for this sequence length")]
    TooLittleHeldOutText(#[source] CorpusError),
    /// The corpus cannot give a batch.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The text of a sample has no tokens, or the tokens no text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The engine rejects the model, the batch or the step.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A step failed.
    #[error("step {step} failed")]
    Step {
        /// The step.
        step: u64,
        /// Why.
        source: Box<TrainingError>,
    },
    /// Whoever listens to the training failed, such as a closed output.
    #[error("cannot report the training")]
    Listener(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The parameters cannot be written as a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] StreamError),
}

/// What a training needs besides its plan.
pub struct Inputs {
    /// The model's sizes.
    pub config: ModelConfig,
    /// The parameters to start from; random ones of the plan's seed where there are none.
    pub parameters: Option<Vec<f32>>,
    /// What the model that they come from says of its texts.
    pub origin: Option<Origin>,
    /// The text.
    pub corpus: Arc<Corpus>,
    /// What it is computed with.
    pub computing: Computing,
}

/// What a training is computed with; another start may take another engine.
#[derive(Debug, Clone)]
pub struct Computing {
    /// What opens the engine.
    pub engine: EngineSource,
    /// Threads of the engine.
    pub threads: usize,
}

/// What a model says of its texts, which a training keeps: the tokens that begin and end them, and the files that say
/// how prompts and conversations become tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The tokens that begin and end a text.
    pub special: SpecialTokens,
    /// The files.
    pub companions: Companions,
}

/// A model in training.
pub struct Training {
    /// What was done so far.
    pub record: Record,
    engine: Box<dyn Engine>,
    corpus: Arc<Corpus>,
    text: TextOrder,
    held_out: Vec<Batch>,
    origin: Origin,
    /// When this start began, and the seconds of the starts before.
    started: Instant,
    seconds_before: f64,
}

impl Training {
    /// A training that has not started. Fails where the text is too small for the plan.
    pub fn new(plan: Plan, limits: Limits, inputs: Inputs) -> Result<Self, TrainingError> {
        let Inputs { config, parameters, origin, corpus, computing } = inputs;
        let record = Record {
            tokenizer: corpus.tokenizer().hash(),
            plan,
            limits,
            step: 0,
            tokens: 0,
            seconds: 0.0,
            first_held_out_loss: None,
            last_held_out_loss: None,
        };
        let first = seed(record.plan.seed, "parameters");
        let end = corpus.manifest().end_of_text;
        let mut origin = origin.unwrap_or_else(|| Origin {
            special: SpecialTokens { begin: Some(end), end: vec![end], padding: None },
            companions: Companions::default(),
        });
        // The corpus may have been built with another end of a text: the model learns to end texts by it.
        if !origin.special.end.contains(&end) {
            origin.special.end.push(end);
        }
        let mut training = Self::with_record(record, config, origin, corpus, computing)?;
        let parameters = parameters.unwrap_or_else(|| initial_parameters(training.engine.config(), first));
        training.engine.write(Buffer::Parameters, 0, &parameters)?;
        Ok(training)
    }

    /// Resumes a training from its checkpoint.
    pub fn resume(
        path: &Path,
        record: Record,
        corpus: Arc<Corpus>,
        computing: Computing,
    ) -> Result<Self, TrainingError> {
        corpus.check_names(record.plan.corpus_hash, record.tokenizer).map_err(TrainingError::OtherCorpus)?;
        let checkpoint =
            Checkpoint::open(path).map_err(|source| TrainingError::Open { path: path.to_owned(), source })?;
        let state_path = path.join(OPTIMISER_FILE);
        let state = std::fs::read(&state_path).map_err(FileError::at("read", &state_path))?;
        let plan = &record.plan;
        let vocab_size = corpus.manifest().vocab_size as usize;
        if plan.from.is_none() && preset(&plan.preset, vocab_size)? != checkpoint.config {
            return Err(TrainingError::OtherModel { path: path.join(CONFIG_FILE) });
        }
        let Checkpoint { config, special, parameters, companions, .. } = checkpoint;
        let mut training = Self::with_record(record, config, Origin { special, companions }, corpus, computing)?;
        training.engine.write(Buffer::Parameters, 0, &parameters)?;
        read_optimiser(training.engine.as_mut(), &mut state.as_slice())
            .map_err(|source| TrainingError::OptimiserState { path: state_path, source })?;
        Ok(training)
    }

    fn with_record(
        record: Record,
        config: ModelConfig,
        origin: Origin,
        corpus: Arc<Corpus>,
        computing: Computing,
    ) -> Result<Self, TrainingError> {
        let plan = &record.plan;
        let order = seed(plan.seed, "order of the text");
        let (length, batch) = (plan.sequence_length, plan.batch);
        let text = TextOrder::new(Arc::clone(&corpus), order, length, batch, LEFT_OUT_PERCENT)?;
        let held_out =
            held_out_batches(&corpus, plan.sequence_length as usize).map_err(TrainingError::TooLittleHeldOutText)?;
        let Computing { engine, threads } = computing;
        // The least that any choice of the caller needs: recomputing may be chosen later. What another engine needs, and
        // of whose memory, is its own to say.
        if engine.numerics().is_exact() {
            check_training(&plan.preset, &config, plan.sequence_length as usize, plan.batch, plan.optimiser, true)
                .map_err(EngineError::Memory)?;
        }
        let optimiser = OptimiserConfig { hidden_matrices: plan.optimiser, ..OptimiserConfig::default() };
        let engine = engine.open(OpenRequest::new(config).with_optimiser(optimiser).with_threads(threads))?;
        let seconds_before = record.seconds;
        Ok(Self { record, engine, corpus, text, held_out, origin, started: Instant::now(), seconds_before })
    }

    /// The engine.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// The share that is done, and the nearest limit.
    pub fn progress(&self) -> (f64, &'static str) {
        self.record.limits.progress(&self.record)
    }

    /// Whether activations are computed a second time rather than kept; no result depends on it.
    pub fn set_recomputing(&mut self, is_recomputing: bool) -> Result<(), TrainingError> {
        Ok(self.engine.set_recomputing(is_recomputing)?)
    }

    /// The learning rate of the next step: warm-up by steps, then flat and decay by the share that is done.
    pub fn learning_rate(&self) -> f32 {
        learning_rate(&self.record.plan, self.record.step, self.progress().0)
    }

    /// One step. After an error the model is as before.
    pub fn step(&mut self) -> Result<StepReport, TrainingError> {
        let length = self.record.plan.sequence_length as usize;
        let tokens = self.text.batch(self.record.step)?;
        let pieces = BatchRule::apart(length, &self.corpus).batches(&tokens, piece_sequences(length));
        let report = self.engine.train_step(&pieces, self.learning_rate())?;
        self.record.step += 1;
        self.record.tokens += report.tokens as u64;
        self.record.seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Measures the loss on the held-out text.
    pub fn evaluate(&mut self) -> Result<f32, TrainingError> {
        let loss = mean_loss(self.engine.as_mut(), &self.held_out)?;
        if self.record.step == 0 {
            self.record.first_held_out_loss = Some(loss);
        }
        self.record.last_held_out_loss = Some(loss);
        self.record.seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
        Ok(loss)
    }

    /// Whether the engine generates text, for samples.
    pub fn can_sample(&mut self) -> bool {
        self.engine.generator().is_ok()
    }

    /// What the model writes after this prompt now; the step is the seed.
    pub fn sample(&mut self, prompt: &str) -> Result<String, TrainingError> {
        let tokenizer = self.corpus.tokenizer();
        let end = self.corpus.manifest().end_of_text;
        let mut tokens = tokenizer.encode(prompt)?;
        if tokens.is_empty() {
            tokens.push(end);
        }
        // Room for the sample where the prompt is as long as what the model sees.
        let longest = self.engine.config().max_position_embeddings.saturating_sub(SAMPLE_TOKENS).max(1);
        let options = GenerateOptions {
            max_new_tokens: SAMPLE_TOKENS,
            temperature: 0.8,
            top_p: 0.95,
            seed: seed(self.record.step, "sample"),
            stop_tokens: vec![end],
            ..GenerateOptions::default()
        };
        let prompt = &tokens[tokens.len().saturating_sub(longest)..];
        let written = self.engine.generator()?.generate(prompt, &options, &mut |_| true)?;
        Ok(tokenizer.decode(&written)?)
    }

    /// Replaces the checkpoint in a folder by the current state.
    pub fn save(&mut self, path: &Path) -> Result<(), TrainingError> {
        let Origin { special, companions } = &self.origin;
        let tokenizer = Some(self.corpus.tokenizer().to_json());
        let config = self.engine.config().clone();
        let mut files = all_settings(&config, special, Precision::F32, tokenizer, companions);
        files.push((RECORD_FILE.to_owned(), self.record.to_json().into_bytes()));
        let engine = self.engine.as_mut();
        folder::replace_with(path, |new| {
            write_all(new, &files)?;
            folder::stream_file(&new.join(PARAMETERS_FILE), |out| -> Result<(), TrainingError> {
                let mut read = |start, values: &mut [f32]| Ok(engine.read(Buffer::Parameters, start, values)?);
                Ok(write_streamed(&config, Precision::F32, out, &mut read)?)
            })?;
            let unwritten = |source| TrainingError::OptimiserState { path: path.join(OPTIMISER_FILE), source };
            folder::stream_file(&new.join(OPTIMISER_FILE), |out| write_optimiser(engine, out).map_err(unwritten))
        })
    }
}

/// The learning rate of a step at which the share `done` is done.
fn learning_rate(plan: &Plan, step: u64, done: f64) -> f32 {
    let Plan { learning_rate: peak, warm_up_steps, flat_share, decay, final_share, .. } = *plan;
    if step < warm_up_steps {
        return peak * (step + 1) as f32 / warm_up_steps as f32;
    }
    // The schedule counts in whole steps; a million of them stand for the whole way.
    const WAY: u64 = 1_000_000;
    let in_steps = |share: f64| (share * WAY as f64) as u64;
    let flat_steps = in_steps(flat_share);
    let schedule = Schedule { peak, warmup_steps: 0, flat_steps, total_steps: WAY, final_share, decay };
    schedule.learning_rate(in_steps(done))
}

/// A seed of 32 bytes for a purpose.
fn seed(number: u64, purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("templar training alone v1");
    hasher.update(&number.to_le_bytes()).update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64, limits: Limits) -> Record {
        let plan = Plan {
            preset: "nano".into(),
            from: None,
            corpus: PathBuf::new(),
            corpus_hash: ContentHash::default(),
            sequence_length: 8,
            batch: 2,
            learning_rate: 1.0,
            warm_up_steps: 4,
            flat_share: 0.5,
            decay: Decay::Linear,
            final_share: 0.0,
            optimiser: MatrixOptimiser::AdamW,
            seed: 0,
        };
        let (tokenizer, tokens, seconds) = (ContentHash::default(), step * 16, step as f64);
        let (first_held_out_loss, last_held_out_loss) = (None, None);
        Record { plan, limits, tokenizer, step, tokens, seconds, first_held_out_loss, last_held_out_loss }
    }

    #[test]
    fn the_nearest_limit_decides() {
        let limits = Limits { steps: Some(100), tokens: Some(320), minutes: Some(10.0) };
        assert_eq!(limits.progress(&record(10, limits)), (0.5, "tokens"));
        let limits = Limits { steps: Some(5), ..limits };
        assert_eq!(limits.progress(&record(10, limits)), (1.0, "steps"));
        let limits = Limits { steps: Some(0), ..Limits::default() };
        assert_eq!(limits.progress(&record(0, limits)), (1.0, "steps"));
    }

    #[test]
    fn the_learning_rate_rises_stays_and_falls() {
        let plan = record(0, Limits::default()).plan;
        let rates = [(0, 0.0), (3, 0.03), (4, 0.04), (50, 0.5), (75, 0.75), (100, 1.0)];
        let rates = rates.map(|(step, done)| learning_rate(&plan, step, done));
        assert_eq!(rates, [0.25, 1.0, 1.0, 1.0, 0.5, 0.0]);
    }
}
