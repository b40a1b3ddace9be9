//! `templar run new`.

use super::first_model::FirstModel;
use super::ledger::{LedgerFacts, ledger_facts};
use crate::bounds;
use crate::config::{Config, LedgerFlag, NetuidFlag, PresetFlag};
use crate::failure::{Advise, Usage};
use crate::output::Output;
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use templar_base::{
    BlockHash, BlockNumber, ContentHash, CorpusHashes, Documents, FirstParameters, Genesis, MatrixOptimiser,
    ModelConfig, Problem, RuleName, TensorClass, WindowBudget,
};
use templar_corpus::{Corpus, corpus_problems, steps_that_fit};
use templar_disk::Folder;
use templar_engine::checkpoint::config_from_json;
use templar_engine::{MemoryNeeds, NumericsId, initial_parameters, preset};
use templar_gradient::state_hash;
use templar_record::{Outlook, Rules, ledger_problems};
use templar_screen::run::{next_steps, outlook_text};

/// Blocks from now until window 0: time to publish the document and to start the nodes.
const START_BLOCKS: u64 = 30;
/// A config.json has a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Blocks or windows: more than any ledger will make, and far from where arithmetic on them ends.
const MOST: u64 = 1 << 40;

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
}

/// Where the run is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ledger")]
struct PlaceFlags {
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    netuid: NetuidFlag,
    /// Hash of the ledger's block 0, instead of asking the ledger
    #[arg(long, value_name = "HASH", conflicts_with = "ledger", requires = "start_block")]
    ledger_genesis: Option<BlockHash>,
    /// First block of window 0 [30 blocks after the ledger's head]
    #[arg(long, value_name = "BLOCK")]
    start_block: Option<BlockNumber>,
}

/// The model that the run trains.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
struct ModelFlags {
    #[command(flatten)]
    preset: PresetFlag,
    /// Sizes of the model from a config.json of Hugging Face (Llama), instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    model_config: Option<PathBuf>,
    /// Seed of the first parameters: 64 hexadecimal digits; random by default
    #[arg(long, value_name = "HEX")]
    seed: Option<ContentHash>,
}

/// The clock.
#[derive(Debug, Args)]
#[command(next_help_heading = "Windows")]
struct WindowFlags {
    /// Length of a window in blocks, at least 16
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(16..=MOST))]
    window_blocks: u64,
    /// Checkpoint interval in windows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    checkpoint_windows: u64,
    /// Windows for which buckets keep objects, at least two checkpoint intervals
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=MOST))]
    retention_windows: u64,
}

/// What a miner does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
struct TrainingFlags {
    /// Numerics class that nodes compute with: strict-2, or torch-bf16 for PyTorch on GPUs
    #[arg(long, value_name = "CLASS", default_value_t = NumericsId::STRICT)]
    numerics: NumericsId,
    /// Open classes that nodes may compute with instead, such as torch-bf16; without audits only
    #[arg(long, value_name = "CLASS", num_args = 1..)]
    open_numerics: Vec<NumericsId>,
    /// Most inner steps of a miner in a window (H), up to 65536 [100, or fewer where the text is short]
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    steps: Option<u32>,
    /// Sequences of an inner step, up to 4096
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    batch: u32,
    /// Tokens of a sequence [128, or as many as the model sees]
    #[arg(long, value_name = "N", value_parser = bounds::sequence_length())]
    sequence_length: Option<u32>,
    /// Whether documents in one sequence see each other: apart or together
    #[arg(long, value_name = "HOW", default_value = "apart")]
    documents: DocumentsName,
    /// Miners that the text is cut for: more may join, and meet more often on the same text
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    miners: u16,
    /// Highest learning rate, over 0 and under 1
    #[arg(long, value_name = "X", default_value_t = 0.002)]
    learning_rate: f32,
    /// Windows until the highest learning rate
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = bounds::number())]
    warm_up_windows: u64,
    /// First window in which the learning rate falls
    #[arg(long, value_name = "WINDOW", default_value_t = 200, value_parser = bounds::number())]
    decay_from: u64,
    /// Last window in which the learning rate falls
    #[arg(long, value_name = "WINDOW", default_value_t = 1_000, value_parser = bounds::number())]
    decay_to: u64,
    /// What moves the matrices of the layers: adamw or muon
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    optimiser: OptimiserName,
}

/// What is sent, merged and judged.
#[derive(Debug, Args)]
#[command(next_help_heading = "Merging and judging")]
struct MergingFlags {
    /// How pseudo-gradients are merged and applied
    #[arg(long, value_name = "RULE", default_value = "mean-of-senders", value_parser = bounds::rules())]
    rule: RuleName,
    /// Kept values of each chunk of 4096
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    kept: u16,
    /// Part of the error feedback that is kept from window to window, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    error_feedback_decay: f32,
    /// Most miners whose payloads are merged, up to 64
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=64))]
    selected: u16,
    /// Sequences that a window's contributions are measured on, a multiple of 8
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    evaluation_sequences: u32,
    /// Part of the payloads that are audited by replay, 0 to 1; the ramp of pay is lengthened until no shortcut pays
    #[arg(long, value_name = "X", default_value = "0", value_parser = bounds::per_mille)]
    audit_rate: u32,
    /// Sequences of held-out text whose loss is reported each window
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    held_out_sequences: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DocumentsName {
    /// A document is read without the one before it
    Apart,
    /// A sequence is read as one text
    Together,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OptimiserName {
    /// AdamW for everything
    Adamw,
    /// Muon for the matrices of the layers, AdamW for the rest
    Muon,
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
        let mut genesis = self.genesis(&config, &corpus, ledger.as_ref())?;
        let mut problems = genesis.problems();
        if let Some(ledger) = &ledger {
            problems.extend(ledger_problems(&genesis, &ledger.rules));
        }
        if problems.is_empty() {
            problems.extend(corpus_problems(&genesis, &corpus));
        }
        reject(&problems)?;
        self.first.put_into(&mut genesis, &corpus, &config)?;
        write(&self.out, &genesis.to_json())?;
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
        let model = self.first.config()?.map_or_else(|| self.model.config(config, corpus), Ok)?;
        let mut genesis = Genesis::new(model, hashes);
        genesis.name.clone_from(&self.name);
        genesis.netuid = config.netuid()?;
        // One of the two is given, or this command has failed before.
        genesis.ledger = self.place.ledger_genesis.or(ledger.map(|ledger| ledger.rules.genesis)).unwrap_or_default();
        let start = ledger.map(|ledger| ledger.head.plus(START_BLOCKS));
        genesis.clock.start_block = self.place.start_block.or(start).unwrap_or_default();
        genesis.clock.blocks_per_window = self.windows.window_blocks;
        genesis.budget = WindowBudget {
            retention_windows: self.windows.retention_windows,
            checkpoint_windows: self.windows.checkpoint_windows,
            ..WindowBudget::for_window(self.windows.window_blocks)
        };
        genesis.numerics = self.training.numerics.to_string();
        genesis.open_numerics = self.training.open_numerics.iter().map(NumericsId::to_string).collect();
        self.training.put_into(&mut genesis, corpus);
        self.merging.put_into(&mut genesis);
        genesis.data.span_sequences = genesis.data.span_for(self.training.miners, genesis.judging.evaluation_sequences);
        // Parameters of a model that cannot be built are not drawn; the problem is reported with the others. Those of a
        // folder are read once everything else is sound.
        if genesis.model.check().is_ok() && !self.first.is_given() {
            let seed = self.model.seed()?;
            MemoryNeeds::check_parameters("drawing the first parameters", &genesis.model)?;
            genesis.first_parameters = FirstParameters::Seed(seed);
            genesis.first_state = state_hash(&initial_parameters(&genesis.model, *seed.as_bytes()));
        }
        Ok(genesis)
    }
}

impl ModelFlags {
    fn config(&self, config: &Config, corpus: &Corpus) -> anyhow::Result<ModelConfig> {
        let Some(path) = &self.model_config else {
            return Ok(preset(config.preset(), corpus.manifest().vocab_size as usize)?);
        };
        read_config(path)
    }

    fn seed(&self) -> anyhow::Result<ContentHash> {
        if let Some(seed) = self.seed {
            return Ok(seed);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
        Ok(ContentHash::new(seed))
    }
}

impl TrainingFlags {
    fn put_into(&self, genesis: &mut Genesis, corpus: &Corpus) {
        let data = &mut genesis.data;
        if let Some(length) = self.sequence_length {
            data.sequence_length = length as usize;
        }
        data.sequences_per_batch = self.batch as usize;
        data.documents = match self.documents {
            DocumentsName::Apart => Documents::Apart,
            DocumentsName::Together => Documents::Together,
        };
        data.batches_per_window = match self.steps {
            Some(steps) => steps as usize,
            None => steps_that_fit(
                data.batches_per_window,
                corpus,
                data.sequence_length,
                u64::from(self.miners) * u64::from(self.batch),
            ),
        };
        genesis.inner.hidden_matrices = match self.optimiser {
            OptimiserName::Adamw => MatrixOptimiser::AdamW,
            OptimiserName::Muon => MatrixOptimiser::Muon,
        };
        let schedule = &mut genesis.inner.schedule;
        schedule.peak = self.learning_rate;
        schedule.warm_up_windows = self.warm_up_windows;
        (schedule.decay_from_window, schedule.decay_to_window) = (self.decay_from, self.decay_to);
    }
}

impl MergingFlags {
    fn put_into(&self, genesis: &mut Genesis) {
        let mut usual = genesis.outer.clone();
        usual.error_feedback_decay = self.error_feedback_decay;
        usual.tensor_classes = vec![TensorClass { suffix: String::new(), kept_per_chunk: self.kept }];
        genesis.outer = self.rule.outer(usual, usize::from(self.selected));
        let judging = &mut genesis.judging;
        judging.selected = usize::from(self.selected);
        judging.newcomer_places = judging.newcomer_places.min(judging.selected);
        judging.evaluation_sequences = self.evaluation_sequences as usize;
        judging.held_out_sequences = self.held_out_sequences as usize;
        if self.audit_rate > 0 {
            genesis.set_audit_rate(self.audit_rate);
        }
    }
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

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Usage(format!("{} does not name a file", path.display())).into());
    };
    Ok(Folder::new(folder).write(name, &[text.as_bytes(), b"\n"])?)
}
