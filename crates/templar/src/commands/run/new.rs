//! `templar run new`.

use super::first_model::FirstModel;
use super::ledger::{LedgerFacts, ledger_facts};
use crate::commands::up::setup_advice;
use crate::config::{Config, EvaluationFlags, MergingFlags, ModelFlags, PlaceFlags, TrainingFlags, WindowFlags};
use crate::failure::{Advise, Usage};
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use templar_base::{ContentHash, CorpusHashes, FirstParameters, Genesis, ModelConfig, Problem};
use templar_corpus::{Corpus, corpus_problems};
use templar_disk::Folder;
use templar_engine::checkpoint::config_from_json;
use templar_engine::{MemoryNeeds, initial_parameters, preset};
use templar_gradient::state_hash;
use templar_record::{Outlook, Rules, ledger_problems};
use templar_screen::run::{next_steps, outlook_text};

/// Blocks from now until window 0: time to publish the document and to start the nodes.
const START_BLOCKS: u64 = 30;
/// A config.json has a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Make the genesis document of a new run, check it, and explain it.
///
/// A run is named by the hash of its document, so nothing in it can change later. The ledger gives its hash, its head
/// and the time between blocks; without a ledger at hand, give --ledger-genesis and --start-block. Every flag has a
/// default; docs/run.md explains each field.
///
/// Example: templar run new --corpus corpus --preset nano --ledger ws://127.0.0.1:9944
/// Example: templar run new --corpus corpus --preset small --window-blocks 60 --steps 200 --rule diloco --out diloco.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct New {
    /// Corpus to train on, as `templar corpus build` makes it
    #[arg(long, value_name = "FOLDER")]
    corpus: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    overwrite: bool,
    /// Name of the run, for people
    #[arg(long, value_name = "NAME", default_value = "run")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    first: FirstModel,
    #[command(flatten)]
    windows: WindowFlags,
    #[command(flatten)]
    training: TrainingFlags,
    #[command(flatten)]
    merging: MergingFlags,
    #[command(flatten)]
    evaluation: EvaluationFlags,
}

impl New {
    /// Makes the document and prints what follows from it.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.place.ledger).with(&self.place.netuid).with(&self.model.preset);
        if self.out.exists() && !self.overwrite {
            return Err(Usage(format!("{} exists already", self.out.display())))
                .advise("name another file with --out, or add --overwrite");
        }
        let corpus = Corpus::open(&self.corpus)
            .with_context(|| format!("cannot use the corpus {}", self.corpus.display()))
            .advise("build one with `templar corpus build --out FOLDER`")?;
        let ledger = match self.place.ledger_genesis {
            Some(_) => None,
            None => Some(ledger_facts(&config)?),
        };
        let evaluation = self.evaluation.read().map_err(setup_advice)?;
        let mut genesis = self.genesis(&config, &corpus, ledger.as_ref())?;
        genesis.evaluation = evaluation.rule(&genesis.budget);
        let mut problems = genesis.problems();
        if let Some(ledger) = &ledger {
            problems.extend(ledger_problems(&genesis, &ledger.rules));
        }
        if problems.is_empty() {
            problems.extend(corpus_problems(&genesis, &corpus));
        }
        reject(&problems)?;
        self.first.put_into(&mut genesis, &corpus, &config)?;
        evaluation.put_into(&self.corpus).map_err(setup_advice)?;
        let no_file = || Usage(format!("{} does not name a file", self.out.display()));
        let name = self.out.file_name().ok_or_else(no_file)?;
        Folder::of_file(&self.out).write(name, &[genesis.to_json().as_bytes(), b"\n"])?;
        let block_time = ledger.as_ref().map(|ledger| ledger.rules.block_time_ms);
        let outlook = Outlook::of(&Rules::new(genesis.clone())?, block_time);
        let facts = json!({ "genesis": self.out, "document": genesis, "outlook": outlook });
        Output::new(self.json).facts(&facts, |paint| {
            let text = outlook_text(&genesis, &outlook, paint);
            let steps = next_steps(&self.out, &self.corpus, config.ledger(), &genesis, paint);
            format!("wrote {}\n\n{text}\n{steps}", self.out.display())
        })
    }

    fn genesis(&self, config: &Config, corpus: &Corpus, ledger: Option<&LedgerFacts>) -> anyhow::Result<Genesis> {
        let hashes = CorpusHashes { tokenizer: corpus.tokenizer().hash(), manifest: corpus.manifest_hash() };
        let model = self.first.config()?.map_or_else(|| model_config(&self.model, config, corpus), Ok)?;
        let mut genesis = Genesis::new(model, hashes);
        genesis.name.clone_from(&self.name);
        genesis.netuid = config.netuid()?;
        // One of the two is given, or this command has failed before.
        genesis.ledger = self.place.ledger_genesis.or(ledger.map(|ledger| ledger.rules.genesis)).unwrap_or_default();
        let start = ledger.map(|ledger| ledger.head.plus(START_BLOCKS));
        genesis.clock.start_block = self.place.start_block.or(start).unwrap_or_default();
        self.windows.put_into(&mut genesis);
        self.training.put_into(&mut genesis, corpus);
        self.merging.put_into(&mut genesis);
        genesis.data.span_sequences = genesis.data.span_for(self.training.miners, genesis.judging.evaluation_sequences);
        // Parameters of a model that cannot be built are not drawn; the problem is reported with the others. Those of a
        // folder are read once everything else is sound.
        if genesis.model.check().is_ok() && !self.first.is_given() {
            let seed = seed(&self.model)?;
            MemoryNeeds::check_parameters("drawing the first parameters", &genesis.model)?;
            genesis.first_parameters = FirstParameters::Seed(seed);
            genesis.first_state = state_hash(&initial_parameters(&genesis.model, *seed.as_bytes()));
        }
        Ok(genesis)
    }
}

fn model_config(flags: &ModelFlags, config: &Config, corpus: &Corpus) -> anyhow::Result<ModelConfig> {
    match &flags.model_config {
        Some(path) => read_config(path),
        None => Ok(preset(config.preset(), corpus.manifest().vocab_size as usize)?),
    }
}

fn seed(flags: &ModelFlags) -> anyhow::Result<ContentHash> {
    if let Some(seed) = flags.seed {
        return Ok(seed);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
    Ok(ContentHash::new(seed))
}

/// Fails with all problems, one on each line.
fn reject(problems: &[Problem]) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Err(Usage(format!("the document cannot be used:{}", lines.concat())))
        .advise("change the flags behind these fields; docs/run.md names them")
}

/// The sizes that a config.json of Hugging Face states.
pub(super) fn read_config(path: &Path) -> anyhow::Result<ModelConfig> {
    let what = || format!("cannot use {}", path.display());
    if std::fs::metadata(path).with_context(what)?.len() > MAX_CONFIG_BYTES {
        return Err(Usage(format!("{} is too large for a config.json", path.display())).into());
    }
    let text = std::fs::read_to_string(path).with_context(what)?;
    Ok(config_from_json(&text).with_context(what)?.0)
}
