//! `templar model train`.

use super::{CHECKPOINT_ADVICE, lock, open_checkpoint};
use crate::config::{
    Config, DataFlag, EngineFlags, LimitFlags, RecipeFlags, SourceFlags, ThreadsFlag, engine, interval,
};
use crate::failure::{Advise, Usage, advice};
use crate::output::Output;
use crate::{interrupt, text};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use templar_corpus::{Corpus, SMALLEST_VOCABULARY, Tokenizer, Tokens};
use templar_engine::preset;
use templar_model::{
    Checkpoint, Computing, CorpusName, Ended, History, Inputs, Keep, Limits, Origin, RecipeError, Record, Session,
    Training, TrainingError, TrainingEvent, folder,
};
use templar_screen::{Progress, count, training};

/// The vocabulary for a text where nothing else is said.
const VOCABULARY: u32 = 2048;

/// Train a model alone, on this machine.
///
/// Trains on a corpus (--corpus), on a text (--text), or on a public-domain text that is fetched at first use. The
/// checkpoint is a Hugging Face folder that also holds the state of the optimiser: after Ctrl-C or a kill, the same
/// command with --resume continues. With --steps or --tokens the result is bit-identical on every machine, however often
/// it was stopped. The folder `first.history` beside the checkpoint `first` has every step as steps.jsonl and steps.csv,
/// and the older checkpoints that are kept; `templar model plot first` draws it.
///
/// With --from, start from an existing model: a Hugging Face folder or a .gguf file.
///
/// Example: templar model train --text book.txt --preset nano --minutes 2 --out first
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Train {
    /// Checkpoint folder to create
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Resume from the checkpoint in --out, if there is one
    #[arg(long)]
    resume: bool,
    /// Checkpoint interval in steps; the end is saved as well
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = interval())]
    checkpoint_every: u64,
    /// Evaluation interval in steps, on the held-out text; start and end are measured as well
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = interval())]
    evaluate_every: u64,
    /// Older checkpoints to keep besides the newest one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    keep: u64,
    /// Keep every checkpoint whose step is a multiple of this
    #[arg(long, value_name = "N", value_parser = interval())]
    keep_every: Option<u64>,
    /// Sample interval in steps; no samples by default
    #[arg(long, value_name = "N", value_parser = interval())]
    sample_every: Option<u64>,
    /// Prompt for the samples
    #[arg(long, value_name = "TEXT", default_value = "The", requires = "sample_every")]
    sample_prompt: String,
    /// Recompute activations instead of keeping them: a third slower, less memory, the same result
    #[arg(long)]
    recompute: bool,
    /// Log interval in steps, with --json
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = interval())]
    log_every: u64,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
    #[command(flatten)]
    engine: EngineFlags,
    // The groups with headings come last: a heading applies until the next one.
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    recipe: RecipeFlags,
}

impl Train {
    /// Trains until a limit is reached or the process is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.source.text).with(&self.recipe.preset).with(&self.data);
        let config = config.with(&self.threads).with(&self.engine);
        // Everything that can be wrong with the request is checked before the long work of building a corpus.
        let computing = Computing { engine: engine::source(&config)?, threads: config.threads()? };
        let limits = checked(&self.limits)?;
        let recipe = self.recipe.recipe();
        let least = self.source.vocab_size.unwrap_or(SMALLEST_VOCABULARY) as usize;
        let sizes = preset(config.preset(), least).map_err(|error| Usage(error.to_string()))?;
        match self.recipe.from {
            None => {
                recipe.check(config.preset(), &sizes).map_err(usage)?;
                if computing.engine.numerics().is_exact() {
                    recipe.check_memory(config.preset(), &sizes, self.recompute)?;
                }
            }
            Some(_) => recipe.check_ranges().map_err(usage)?,
        }
        let _lock = lock(&self.out)?;
        folder::recover(&self.out)?;
        let begun = self.record()?;
        let keep = Keep { last: self.keep, every: self.keep_every };
        let begun_step = begun.as_ref().map(|record| record.step);
        let mut training = match begun {
            Some(mut record) => {
                recipe.check_same(&record.plan).map_err(usage)?;
                self.check_same_text(&config, &record.plan.corpus)?;
                if !limits.is_empty() {
                    record.limits = limits;
                }
                let corpus = self.source.corpus.clone().unwrap_or_else(|| record.plan.corpus.clone());
                let corpus = text::open_corpus(&corpus)?;
                Training::resume(&self.out, record, corpus, computing).map_err(advised)?
            }
            None => {
                let model = self.recipe.from.as_deref().map(open_checkpoint).transpose()?;
                if let Some(model) = &model {
                    recipe.check("the model", &model.config).map_err(usage)?;
                }
                let (path, corpus) = open_source(&self.source, &config, model.as_ref().map(|model| &model.tokenizer))?;
                let limits =
                    if limits.is_empty() { Limits { minutes: Some(5.0), ..Limits::default() } } else { limits };
                let (sizes, parameters, origin) = match model {
                    Some(Checkpoint { config, special, parameters, companions, .. }) => {
                        (config, Some(parameters), Some(Origin { special, companions }))
                    }
                    None => (preset(config.preset(), corpus.manifest().vocab_size as usize)?, None, None),
                };
                let corpus_name = CorpusName { folder: path, hash: corpus.manifest_hash() };
                let plan = recipe.plan(config.preset(), &sizes, limits.steps, corpus_name).map_err(usage)?;
                let inputs = Inputs { config: sizes, parameters, origin, corpus, computing };
                Training::new(plan, limits, inputs).map_err(advised)?
            }
        };
        training.set_recomputing(self.recompute)?;
        if self.sample_every.is_some() && !training.can_sample() {
            let what = format!("--sample-every needs an engine that generates text, and {} does not", config.engine()?);
            return Err(Usage(what)).advise("leave it out, or train with --engine cpu");
        }
        let mut history = History::open(&self.out, begun_step, keep)?;
        let stop = interrupt::stop_flag()?;
        self.train(&mut training, &mut history, &config, &stop)
    }

    /// The record of the checkpoint to resume from. Anything else in the folder must not be overwritten.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        let record = Record::read(&self.out)?;
        let is_in_the_way = std::fs::read_dir(&self.out).map_or(self.out.exists(), |mut all| all.next().is_some());
        match record {
            Some(record) if self.resume => Ok(Some(record)),
            Some(record) => Err(anyhow::anyhow!("{} has a training of {} steps", self.out.display(), record.step))
                .advise("add --resume to continue it, or choose another --out"),
            None if is_in_the_way => {
                Err(anyhow::anyhow!("{} exists and is not a training: it is left as it is", self.out.display()))
                    .advise("choose another --out")
            }
            None => Ok(None),
        }
    }

    /// A training that resumes keeps its text, which is the corpus that was made of it.
    fn check_same_text(&self, config: &Config, corpus: &Path) -> anyhow::Result<()> {
        let Some(option) = self.source.chosen_text() else { return Ok(()) };
        let text = text::choose(config, self.source.synthetic, None, &mut Progress::new(true))?.sources;
        match text.differing(corpus, self.source.vocab_size)? {
            None => Ok(()),
            Some("text") => Err(usage(RecipeError::Differs { option })),
            Some(other) => Err(usage(RecipeError::Differs { option: other })),
        }
    }

    fn train(
        &self,
        training: &mut Training,
        history: &mut History,
        config: &Config,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let output = self.output;
        let parameters = training.engine().layout().total();
        let start = training::start_facts(&training.record, parameters);
        output.event(&start, |paint| training::start(paint, &training.record, parameters))?;
        let session = Session {
            out: self.out.clone(),
            checkpoint_every: self.checkpoint_every,
            evaluate_every: self.evaluate_every,
            sample_every: self.sample_every,
            sample_prompt: self.sample_prompt.clone(),
        };
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let mut listener =
            |training: &Training, event: TrainingEvent| Ok(self.show(training, &event, output, &mut progress)?);
        let ended = session.run(training, history, stop, &mut listener).map_err(advised)?;
        drop(progress);
        self.sum_up(&training.record, ended, output)
    }

    fn show(
        &self,
        training: &Training,
        event: &TrainingEvent,
        output: Output,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let record = &training.record;
        let facts = training::facts(record, event, &self.sample_prompt, &self.out).unwrap_or_default();
        match event {
            TrainingEvent::Measuring => progress.say("measuring the first loss"),
            TrainingEvent::Step(done) => {
                let (loss, speed) = (done.loss.unwrap_or(f32::NAN), record.speed());
                let what = format!("step {}, loss {loss:.3}, {} tokens/s", count(record.step), count(speed as u64));
                progress.show(training.progress().0, &what);
                if output.is_json() && record.step.is_multiple_of(self.log_every) {
                    output.event(&facts, |_| String::new())?;
                }
            }
            TrainingEvent::HeldOut(loss) => {
                progress.aside(|| output.event(&facts, |paint| training::held_out(paint, record, *loss)))?;
            }
            TrainingEvent::Sample(text) => {
                let shown = format!("{}{text}", self.sample_prompt);
                progress.aside(|| output.event(&facts, |paint| training::sample(paint, record, &shown)))?;
            }
            TrainingEvent::Saved if output.is_json() => output.event(&facts, |_| String::new())?,
            TrainingEvent::Saved => {}
        }
        Ok(())
    }

    fn sum_up(&self, record: &Record, ended: Ended, output: Output) -> anyhow::Result<()> {
        let summary = training::summary_facts(record, ended, &self.out);
        output.event(&summary, |paint| training::summary(paint, record, ended, &self.out))
    }
}

fn checked(flags: &LimitFlags) -> anyhow::Result<Limits> {
    let wrong = || Usage(format!("--minutes is {}; it must be 0 or more", flags.minutes.unwrap_or_default()));
    Ok(flags.limits().ok_or_else(wrong)?)
}

/// A choice that cannot be is a wrong use of its flag.
fn usage(error: RecipeError) -> anyhow::Error {
    let usage = Usage(format!("--{error}"));
    match error {
        RecipeError::Differs { .. } => advice(usage, "leave the flag out, or restart in another --out"),
        _ => usage.into(),
    }
}

/// What to do about a training that cannot start.
fn advised(error: TrainingError) -> anyhow::Error {
    match &error {
        TrainingError::TooLittleText(_) | TrainingError::TooLittleHeldOutText(_) => {
            advice(error, "give more text, or take a smaller --batch or --sequence-length")
        }
        TrainingError::Open { .. } => advice(error, CHECKPOINT_ADVICE),
        TrainingError::Step { .. } => {
            advice(error, "lower --learning-rate, and resume from the last checkpoint with --resume or restart")
        }
        _ => error.into(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The corpus and its folder: the named one, or one built from the text, which is kept for the next time. With a
/// tokenizer it is in its tokens.
fn open_source(
    flags: &SourceFlags,
    config: &Config,
    tokenizer: Option<&Tokenizer>,
) -> anyhow::Result<(PathBuf, Arc<Corpus>)> {
    if let Some(folder) = &flags.corpus {
        let corpus = text::open_corpus(folder)?;
        if tokenizer.is_some_and(|tokenizer| tokenizer.hash() != corpus.tokenizer().hash()) {
            return Err(anyhow::anyhow!("{} is in the tokens of another model", folder.display()))
                .advise("give --text, or build a corpus with `templar corpus build --tokenizer FILE`");
        }
        return Ok((absolute(folder), corpus));
    }
    let tokens = match (tokenizer, flags.vocab_size) {
        (Some(tokenizer), _) => Tokens::Of(tokenizer),
        (None, Some(size)) => Tokens::Vocabulary(size),
        (None, None) => Tokens::UpTo(VOCABULARY),
    };
    text::kept_corpus(config, flags.synthetic, tokens, &mut Progress::new(config.is_quiet))
}
