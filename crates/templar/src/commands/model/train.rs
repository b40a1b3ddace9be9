//! `templar model train`.

use super::{CHECKPOINT_ADVICE, lock, open_checkpoint};
use crate::config::{Config, DataFlag, PresetFlag, TextFlags, ThreadsFlag};
use crate::failure::{Advise, Usage, advice};
use crate::output::{Output, count, duration};
use crate::progress::Progress;
use crate::{interrupt, text};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use templar_base::ModelConfig;
use templar_corpus::{BuildError, Corpus, CorpusBuilder, Tokenizer, TokenizerError};
use templar_engine::{Decay, MatrixOptimiser, preset};
use templar_model::{
    History, Inputs, Keep, Limits, Plan, Record, Step, Training, TrainingError, USUAL_FINAL_SHARE, folder, folder_of,
};

/// Train a model alone, on this machine.
///
/// It learns from a corpus (--corpus), from a text (--text), or from a public-domain text that is fetched at first use.
/// The checkpoint is a Hugging Face folder with what is needed to go on: after Ctrl-C or a kill, the same command with
/// --resume does. With --steps or --tokens the result is the same, bit for bit, on every machine and however often it
/// was stopped. Beside the checkpoint `first` lies `first.history`: every step as steps.jsonl and steps.csv, and the
/// checkpoints that are kept; `templar model plot first` draws it.
///
/// With --from it begins with a model that is there, in a folder of Hugging Face or a .gguf file: its sizes, its
/// tokenizer, its parameters.
///
/// Example: templar model train --text book.txt --preset nano --minutes 2 --out first
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Train {
    /// Checkpoint folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Go on with the checkpoint in --out, if there is one
    #[arg(long)]
    resume: bool,
    /// Save a checkpoint each so many steps, and at the end
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// Measure the loss on the held-out text each so many steps, and at the beginning and the end
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    evaluate_every: u64,
    /// Keep the last so many checkpoints beside the newest one
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep: u64,
    /// Keep each checkpoint whose step is a multiple of this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_every: Option<u64>,
    /// Let the model write something each so many steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample_every: Option<u64>,
    /// What it goes on with
    #[arg(long, value_name = "TEXT", default_value = "The", requires = "sample_every")]
    sample_prompt: String,
    /// Compute activations a second time rather than keep them: slower by a third, less memory, the same result
    #[arg(long)]
    recompute: bool,
    /// With --json, print each so many steps
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    log_every: u64,
    /// Print JSON lines; the last one sums up
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
    // The groups with headings come last: a heading goes on until the next one.
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    recipe: RecipeFlags,
}

/// What is learnt from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
struct SourceFlags {
    /// Corpus made by `templar corpus build`
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["text", "synthetic"])]
    corpus: Option<PathBuf>,
    #[command(flatten)]
    text: TextFlags,
    /// Learn from this much synthetic text, in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "text")]
    synthetic: Option<u64>,
    /// Tokens of the vocabulary for a text; 2048, or fewer where the text is too plain for that
    #[arg(long, value_name = "N", conflicts_with = "corpus")]
    vocab_size: Option<u32>,
}

/// When to stop.
#[derive(Debug, Args)]
#[command(next_help_heading = "End (whichever comes first; 5 minutes where nothing is given)")]
struct LimitFlags {
    /// Stop after so many steps
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Stop after so many tokens
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Stop after so many minutes
    #[arg(long, value_name = "X")]
    minutes: Option<f64>,
}

/// How it learns.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
struct RecipeFlags {
    /// Begin with this model (a folder of Hugging Face or a .gguf file) instead of random parameters
    #[arg(long, value_name = "PATH", conflicts_with_all = ["preset", "vocab_size"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    preset: PresetFlag,
    /// Tokens of a sequence; 256, or as many as the model sees
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sequence_length: Option<u32>,
    /// Sequences of a step; 16
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Highest learning rate; 0.003 for the smallest model, less for larger ones, a tenth of it with --from
    #[arg(long, value_name = "X")]
    learning_rate: Option<f32>,
    /// Steps until the highest learning rate; 50, or a tenth of --steps if that is less
    #[arg(long, value_name = "N")]
    warm_up: Option<u64>,
    /// Share of the way after the warm-up in which the learning rate stays at its highest; 0
    #[arg(long, value_name = "X")]
    flat: Option<f64>,
    /// How the learning rate falls until the end; cosine
    #[arg(long, value_name = "SHAPE")]
    decay: Option<DecayShape>,
    /// Share of the highest learning rate that is left at the end; 0.1
    #[arg(long, value_name = "X")]
    final_share: Option<f32>,
    /// What moves the matrices of the layers; adamw. The rest is moved by AdamW in any case
    #[arg(long, value_name = "NAME")]
    optimiser: Option<OptimiserName>,
    /// Seed of the first parameters and of the order of the text; 0
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecayShape {
    /// It does not fall
    Constant,
    /// Half a wave
    Cosine,
    /// A straight line
    Linear,
}

impl From<DecayShape> for Decay {
    fn from(shape: DecayShape) -> Self {
        match shape {
            DecayShape::Constant => Self::Constant,
            DecayShape::Cosine => Self::Cosine,
            DecayShape::Linear => Self::Linear,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimiserName {
    /// Each value by its own history
    #[value(name = "adamw")]
    AdamW,
    /// Each matrix along its momentum made orthogonal
    Muon,
}

impl From<OptimiserName> for MatrixOptimiser {
    fn from(name: OptimiserName) -> Self {
        match name {
            OptimiserName::AdamW => Self::AdamW,
            OptimiserName::Muon => Self::Muon,
        }
    }
}

impl Train {
    /// Trains until a limit is reached or the process is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.source.text).with(&self.recipe.preset).with(&self.data).with(&self.threads);
        // Everything that can be wrong with the request is looked at before the long work of building a corpus.
        let threads = config.threads()?;
        let limits = self.limits.checked()?;
        preset(config.preset(), 512).map_err(|error| Usage(error.to_string()))?;
        let _lock = lock(&self.out)?;
        folder::recover(&self.out)?;
        let begun = self.record()?;
        let keep = Keep { last: self.keep, every: self.keep_every };
        let begun_step = begun.as_ref().map(|record| record.step);
        let mut training = match begun {
            Some(mut record) => {
                self.recipe.check_same(&record.plan)?;
                if !limits.is_empty() {
                    record.limits = limits;
                }
                let corpus = self.source.corpus.clone().unwrap_or_else(|| record.plan.corpus.clone());
                let corpus = open_corpus(&corpus)?;
                Training::resume(&self.out, record, corpus, threads).map_err(advised)?
            }
            None => {
                let model = self.recipe.from.as_deref().map(open_checkpoint).transpose()?;
                let (path, corpus) = self.source.open(&config, model.as_ref().map(|model| &model.tokenizer))?;
                let limits =
                    if limits.is_empty() { Limits { minutes: Some(5.0), ..Limits::default() } } else { limits };
                let (sizes, parameters) = match model {
                    Some(model) => (model.config, Some(model.parameters)),
                    None => (preset(config.preset(), corpus.manifest().vocab_size as usize)?, None),
                };
                let plan = self.recipe.plan(&config, &sizes, &limits, path, &corpus)?;
                let inputs = Inputs { config: sizes, parameters, corpus, threads };
                Training::new(plan, limits, inputs).map_err(advised)?
            }
        };
        training.set_recomputing(self.recompute)?;
        let mut history = History::open(&self.out, begun_step, keep)?;
        let stop = interrupt::stop_flag()?;
        self.train(&mut training, &mut history, &config, &stop)
    }

    /// The record of the checkpoint to go on with. Whatever else lies in the folder is not to be overwritten.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        let record = Record::read(&self.out)?;
        let is_in_the_way = std::fs::read_dir(&self.out).map_or(self.out.exists(), |mut all| all.next().is_some());
        match record {
            Some(record) if self.resume => Ok(Some(record)),
            Some(record) => Err(anyhow::anyhow!("{} holds a training of {} steps", self.out.display(), record.step))
                .advise("add --resume to go on with it, or choose another --out"),
            None if is_in_the_way => {
                Err(anyhow::anyhow!("{} exists and holds no training: it is left as it is", self.out.display()))
                    .advise("choose another --out")
            }
            None => Ok(None),
        }
    }

    fn train(
        &self,
        training: &mut Training,
        history: &mut History,
        config: &Config,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let plan = training.record.plan.clone();
        let parameters = training.engine().layout().total();
        let start = json!({
            "event": "start", "preset": plan.preset, "parameters": parameters, "corpus": plan.corpus,
            "step": training.record.step, "plan": plan, "limits": training.record.limits,
        });
        output.event(&start, |paint| {
            let tokens = count(u64::from(plan.batch) * u64::from(plan.sequence_length));
            let resumed = match training.record.step {
                0 => String::new(),
                step => format!(", going on after step {}", count(step)),
            };
            let name = paint.bold(&plan.preset);
            format!("{name}: {} parameters, {tokens} tokens a step{resumed}", count(parameters as u64))
        })?;
        let mut progress = Progress::new(config.is_quiet || self.json);
        if training.record.first_held_out_loss.is_none() {
            progress.say("measuring the first loss");
            let held_out_loss = Some(self.evaluate(training, output, &progress)?);
            history.write(&Step { held_out_loss, ..Step::default() })?;
            // From here on the training can be gone on with.
            training.save(&self.out)?;
        }
        let mut saved = training.record.step;
        let stopped = loop {
            match training.progress() {
                (done, limit) if done >= 1.0 => break limit,
                _ if stop.load(Ordering::Relaxed) => break "interrupted",
                _ => {}
            }
            let mut log = self.step(training, output, &mut progress)?;
            let is_end = training.progress().0 >= 1.0;
            if log.step.is_multiple_of(self.evaluate_every) || is_end {
                log.held_out_loss = Some(self.evaluate(training, output, &progress)?);
            }
            if self.sample_every.is_some_and(|every| log.step.is_multiple_of(every)) {
                log.sample = Some(self.sample(training, output, &progress)?);
            }
            history.write(&log)?;
            if log.step.is_multiple_of(self.checkpoint_every) {
                self.save(training, history, output)?;
                saved = log.step;
            }
        };
        // The limits may be new though no step was made.
        if saved != training.record.step || stopped != "interrupted" {
            self.save(training, history, output)?;
        }
        drop(progress);
        self.sum_up(&training.record, stopped, output)
    }

    fn step(&self, training: &mut Training, output: Output, progress: &mut Progress) -> anyhow::Result<Step> {
        let learning_rate = training.learning_rate();
        let report = training
            .step()
            .with_context(|| format!("step {} failed", training.record.step + 1))
            .advise("lower --learning-rate, and go on from the last checkpoint with --resume or begin anew")?;
        let record = &training.record;
        let speed = record.tokens as f64 / record.seconds.max(1e-9);
        let done = training.progress().0;
        let what = format!("step {}, loss {:.3}, {} tokens/s", count(record.step), report.loss, count(speed as u64));
        progress.show(done, &what);
        if self.json && record.step.is_multiple_of(self.log_every) {
            let event = json!({
                "event": "step", "step": record.step, "loss": report.loss, "gradient_norm": report.gradient_norm,
                "learning_rate": learning_rate, "tokens": record.tokens, "seconds": record.seconds,
                "tokens_per_second": speed,
            });
            output.event(&event, |_| String::new())?;
        }
        Ok(Step {
            step: record.step,
            tokens: record.tokens,
            seconds: record.seconds,
            loss: Some(report.loss),
            gradient_norm: Some(report.gradient_norm),
            learning_rate: Some(learning_rate),
            ..Step::default()
        })
    }

    fn sample(&self, training: &mut Training, output: Output, progress: &Progress) -> anyhow::Result<String> {
        let (prompt, text) = (&self.sample_prompt, training.sample(&self.sample_prompt)?);
        let step = training.record.step;
        let event = json!({"event": "sample", "step": step, "prompt": prompt, "text": text});
        // One line, whatever the model writes.
        let shown = format!("{prompt}{text}").split_whitespace().collect::<Vec<_>>().join(" ");
        progress.aside(|| {
            output.event(&event, |paint| format!("step {:>7}  {}", count(step), paint.dim(&format!("writes: {shown}"))))
        })?;
        Ok(text)
    }

    fn evaluate(&self, training: &mut Training, output: Output, progress: &Progress) -> anyhow::Result<f32> {
        let loss = training.evaluate()?;
        let record = &training.record;
        let event = json!({"event": "held_out", "step": record.step, "loss": loss, "tokens": record.tokens});
        progress.aside(|| {
            output.event(&event, |paint| {
                let time = paint.dim(&duration(record.seconds));
                format!("step {:>7}  held-out loss {}  {time}", count(record.step), paint.bold(&format!("{loss:.4}")))
            })
        })?;
        Ok(loss)
    }

    fn save(&self, training: &mut Training, history: &History, output: Output) -> anyhow::Result<()> {
        training.save(&self.out)?;
        if let Some(place) = history.place_of(training.record.step) {
            training.save(&place)?;
        }
        history.prune()?;
        let event = json!({"event": "checkpoint", "step": training.record.step, "folder": self.out});
        if output.is_json() { output.event(&event, |_| String::new()) } else { Ok(()) }
    }

    fn sum_up(&self, record: &Record, stopped: &str, output: Output) -> anyhow::Result<()> {
        let speed = record.tokens as f64 / record.seconds.max(1e-9);
        let summary = json!({
            "event": "summary",
            "stopped": stopped,
            "steps": record.step,
            "tokens": record.tokens,
            "seconds": record.seconds,
            "tokens_per_second": speed,
            "first_held_out_loss": record.first_held_out_loss,
            "last_held_out_loss": record.last_held_out_loss,
            "folder": self.out,
            "history": folder_of(&self.out),
        });
        output.event(&summary, |paint| {
            let loss = |loss: Option<f32>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
            let out = self.out.display();
            let next = match stopped {
                "interrupted" => "the same command with --resume goes on".to_owned(),
                _ => format!("next: templar model generate {out} --prompt \"The\""),
            };
            format!(
                "held-out loss {} -> {} after {} steps, {} tokens in {} ({} tokens/s)\nsaved in {out}; {next}",
                loss(record.first_held_out_loss),
                paint.bold(&loss(record.last_held_out_loss)),
                count(record.step),
                count(record.tokens),
                duration(record.seconds),
                count(speed as u64),
            )
        })
    }
}

impl LimitFlags {
    fn checked(&self) -> anyhow::Result<Limits> {
        if let Some(minutes) = self.minutes.filter(|minutes| !(minutes.is_finite() && *minutes >= 0.0)) {
            return Err(Usage(format!("--minutes is {minutes}; it must be 0 or more")).into());
        }
        Ok(Limits { steps: self.steps, tokens: self.tokens, minutes: self.minutes })
    }
}

impl RecipeFlags {
    /// The plan for a model of these sizes.
    fn plan(
        &self,
        config: &Config,
        sizes: &ModelConfig,
        limits: &Limits,
        path: PathBuf,
        corpus: &Corpus,
    ) -> anyhow::Result<Plan> {
        let from = self.from.as_deref().map(absolute);
        let preset = match &from {
            Some(from) => from.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => config.preset().to_owned(),
        };
        let longest = u32::try_from(sizes.max_position_embeddings).unwrap_or(u32::MAX);
        let sequence_length = self.sequence_length.unwrap_or(longest.min(256));
        if sequence_length > longest {
            let what = format!("{preset} sees {longest} tokens: take a --sequence-length up to that");
            return Err(Usage(what).into());
        }
        let usual = match sizes.parameter_count() {
            0..1_000_000 => 3e-3,
            1_000_000..4_000_000 => 2e-3,
            4_000_000..20_000_000 => 1.5e-3,
            20_000_000..60_000_000 => 1e-3,
            _ => 6e-4,
        };
        // A model that knows something would forget it.
        let usual = if from.is_some() { usual / 10.0 } else { usual };
        let learning_rate = self.learning_rate.unwrap_or(usual);
        if !(learning_rate.is_finite() && learning_rate >= 0.0) {
            return Err(Usage(format!("--learning-rate is {learning_rate}; it must be 0 or more")).into());
        }
        for (flag, share) in [("--flat", self.flat), ("--final-share", self.final_share.map(f64::from))] {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(Usage(format!("{flag} is {share}; it must be from 0 to 1")).into());
            }
        }
        Ok(Plan {
            preset,
            from,
            corpus: path,
            corpus_hash: corpus.manifest_hash(),
            sequence_length,
            batch: self.batch.unwrap_or(16),
            learning_rate,
            warm_up_steps: self.warm_up.unwrap_or(limits.steps.map_or(50, |steps| (steps / 10).clamp(1, 50))),
            flat_share: self.flat.unwrap_or(0.0),
            decay: self.decay.map_or(Decay::Cosine, Decay::from),
            final_share: self.final_share.unwrap_or(USUAL_FINAL_SHARE),
            optimiser: self.optimiser.map_or(MatrixOptimiser::AdamW, MatrixOptimiser::from),
            seed: self.seed.unwrap_or(0),
        })
    }

    /// A training that goes on keeps its recipe; a flag that says otherwise is a mistake.
    fn check_same(&self, plan: &Plan) -> anyhow::Result<()> {
        let is_other = [
            ("--from", self.from.as_ref().is_some_and(|from| Some(absolute(from)) != plan.from)),
            ("--preset", self.preset.preset.as_ref().is_some_and(|preset| *preset != plan.preset)),
            ("--sequence-length", self.sequence_length.is_some_and(|length| length != plan.sequence_length)),
            ("--batch", self.batch.is_some_and(|batch| batch != plan.batch)),
            ("--learning-rate", self.learning_rate.is_some_and(|rate| rate != plan.learning_rate)),
            ("--warm-up", self.warm_up.is_some_and(|steps| steps != plan.warm_up_steps)),
            ("--decay", self.decay.is_some_and(|shape| Decay::from(shape) != plan.decay)),
            ("--flat", self.flat.is_some_and(|share| share != plan.flat_share)),
            ("--final-share", self.final_share.is_some_and(|share| share != plan.final_share)),
            ("--optimiser", self.optimiser.is_some_and(|name| MatrixOptimiser::from(name) != plan.optimiser)),
            ("--seed", self.seed.is_some_and(|seed| seed != plan.seed)),
        ];
        match is_other.into_iter().find(|(_, is_other)| *is_other) {
            Some((flag, _)) => Err(Usage(format!("{flag} differs from what the training began with")))
                .advise("leave the flag out, or begin anew in another --out"),
            None => Ok(()),
        }
    }
}

/// What to do about a training that cannot start.
fn advised(error: TrainingError) -> anyhow::Error {
    match &error {
        TrainingError::TooLittleText(_) | TrainingError::TooLittleHeldOutText(_) => {
            advice(error, "give more text, or take a smaller --batch or --sequence-length")
        }
        TrainingError::Open { .. } => advice(error, CHECKPOINT_ADVICE),
        _ => error.into(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn open_corpus(folder: &Path) -> anyhow::Result<Arc<Corpus>> {
    let corpus = Corpus::open(folder).with_context(|| format!("cannot open the corpus {}", folder.display()));
    Ok(Arc::new(corpus.advise("build one with `templar corpus build --out FOLDER`, or give --text")?))
}

/// A vocabulary that suits small models.
const USUAL_VOCABULARY: u32 = 2048;

impl SourceFlags {
    /// The corpus, and where it lies: the one that is named, or one of the text, which is kept for the next time. It is
    /// in the tokens of `tokenizer`, where there is one.
    fn open(&self, config: &Config, tokenizer: Option<&Tokenizer>) -> anyhow::Result<(PathBuf, Arc<Corpus>)> {
        if let Some(folder) = &self.corpus {
            let corpus = open_corpus(folder)?;
            if tokenizer.is_some_and(|tokenizer| tokenizer.hash() != corpus.tokenizer().hash()) {
                return Err(anyhow::anyhow!("{} is in the tokens of another model", folder.display()))
                    .advise("give --text, or make a corpus with `templar corpus build --tokenizer FILE`");
            }
            return Ok((absolute(folder), corpus));
        }
        let mut progress = Progress::new(config.is_quiet);
        let chosen = text::choose(config, self.synthetic, None, &mut progress)?;
        for remark in &chosen.remarks {
            progress.note(remark);
        }
        let key = chosen.key(|bytes| progress.say(&format!("reading: {}", crate::output::size(bytes))))?;
        let corpora = absolute(&config.data_folder()).join("corpora");
        std::fs::create_dir_all(&corpora).with_context(|| format!("cannot make the folder {}", corpora.display()))?;
        let vocabulary = match (tokenizer, self.vocab_size) {
            (Some(tokenizer), _) => tokenizer.hash().to_string(),
            (None, Some(size)) => size.to_string(),
            (None, None) => "auto".to_owned(),
        };
        let folder = corpora.join(format!("{key}-{vocabulary}"));
        if !folder.exists() {
            let builder = || chosen.clone().builder();
            let first = match tokenizer {
                Some(tokenizer) => builder().tokenizer(Tokenizer::from_json(tokenizer.to_json())?),
                None => builder().vocab_size(self.vocab_size.unwrap_or(USUAL_VOCABULARY)),
            };
            match build(first, &folder, &mut progress) {
                // A text that is too plain for the usual vocabulary gets the one that it gives.
                Err(BuildError::Tokenizer(TokenizerError::TextTooPlain { reached, .. }))
                    if self.vocab_size.is_none() =>
                {
                    build(builder().vocab_size(reached), &folder, &mut progress)?;
                }
                built => built?,
            }
        }
        let corpus = open_corpus(&folder)?;
        Ok((folder, corpus))
    }
}

fn build(builder: CorpusBuilder, folder: &Path, progress: &mut Progress) -> Result<(), BuildError> {
    match builder.build(folder, |news| text::show_build(progress, news)) {
        // Somebody else built the same text meanwhile.
        Err(BuildError::FolderExists { .. }) => Ok(()),
        built => built.map(|_| ()),
    }
}
