//! The flags by which `templar run new` fills a genesis document.

use crate::flags::{LedgerFlag, NetuidFlag, PresetFlag};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use templar_base::{
    BlockHash, BlockNumber, ContentHash, Documents, ElectorRule, FeedbackValues, Genesis, MatrixOptimiser, RuleName,
    TensorClass, WindowBudget,
};
use templar_corpus::{Corpus, steps_that_fit};
use templar_engine::NumericsId;
use templar_evaluation::{NewEvaluation, RunTaskError};
use templar_model::usual_learning_rate;
use templar_screen::bounds;

/// Blocks or windows: more than any ledger will make, and far from where arithmetic on them ends.
const MOST: u64 = 1 << 40;

/// Where the run is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ledger")]
pub struct PlaceFlags {
    /// The ledger that is asked.
    #[command(flatten)]
    pub ledger: LedgerFlag,
    /// The subnet.
    #[command(flatten)]
    pub netuid: NetuidFlag,
    /// Hash of the ledger's block 0, instead of asking the ledger
    #[arg(long, value_name = "HASH", conflicts_with = "ledger", requires = "start_block")]
    pub ledger_genesis: Option<BlockHash>,
    /// First block of window 0 [30 blocks after the ledger's head]
    #[arg(long, value_name = "BLOCK")]
    pub start_block: Option<BlockNumber>,
}

/// The model that the run trains.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelFlags {
    /// The sizes.
    #[command(flatten)]
    pub preset: PresetFlag,
    /// Sizes of the model from a config.json of Hugging Face (Llama), instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub model_config: Option<PathBuf>,
    /// Seed of the first parameters: 64 hexadecimal digits; random by default
    #[arg(long, value_name = "HEX", allow_hyphen_values = true)]
    pub seed: Option<ContentHash>,
}

/// The clock.
#[derive(Debug, Args)]
#[command(next_help_heading = "Windows")]
pub struct WindowFlags {
    /// Length of a window in blocks, at least 16
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(16..=MOST))]
    pub window_blocks: u64,
    /// Checkpoint interval in windows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    pub checkpoint_windows: u64,
    /// Windows for which buckets keep objects, at least two checkpoint intervals
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=MOST))]
    pub retention_windows: u64,
}

/// What a miner does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingFlags {
    /// Numerics class that nodes compute with: strict-2, or torch-bf16 for PyTorch on GPUs
    #[arg(long, value_name = "CLASS", default_value_t = NumericsId::STRICT)]
    pub numerics: NumericsId,
    /// Open classes that nodes may compute with instead, such as torch-bf16; without audits only
    #[arg(long, value_name = "CLASS", num_args = 1..)]
    pub open_numerics: Vec<NumericsId>,
    /// Most inner steps of a miner in a window (H), up to 65536 [100, or fewer where the text is short]
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub steps: Option<u32>,
    /// Sequences of an inner step, up to 4096
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub batch: u32,
    /// Tokens of a sequence [128, or as many as the model sees]
    #[arg(long, value_name = "N", value_parser = bounds::sequence_length())]
    pub sequence_length: Option<u32>,
    /// Whether documents in one sequence see each other: apart or together
    #[arg(long, value_name = "HOW", default_value = "apart")]
    pub documents: DocumentsName,
    /// Miners that the text is cut for: more may join, and meet more often on the same text
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub miners: u16,
    /// Highest learning rate, over 0 and under 1 [0.002, less for models of over 4 million parameters]
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f32>,
    /// Windows until the highest learning rate
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = bounds::number())]
    pub warm_up_windows: u64,
    /// First window in which the learning rate falls
    #[arg(long, value_name = "WINDOW", default_value_t = 200, value_parser = bounds::number())]
    pub decay_from: u64,
    /// Last window in which the learning rate falls
    #[arg(long, value_name = "WINDOW", default_value_t = 1_000, value_parser = bounds::number())]
    pub decay_to: u64,
    /// What moves the matrices of the layers: adamw or muon
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    pub optimiser: OptimiserName,
}

/// What is sent, merged and judged.
#[derive(Debug, Args)]
#[command(next_help_heading = "Merging and judging")]
pub struct MergingFlags {
    /// How pseudo-gradients are merged and applied
    #[arg(long, value_name = "RULE", default_value = "mean-of-senders", value_parser = bounds::rules())]
    pub rule: RuleName,
    /// Kept values of each chunk of 4096
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub kept: u16,
    /// Part of the error feedback that is kept from window to window, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    pub error_feedback_decay: f32,
    /// How miners hold their error feedback: f32, or bf16 in half the memory
    #[arg(long, value_name = "NAME", default_value = "f32")]
    pub error_feedback_values: FeedbackName,
    /// Most miners whose payloads are merged, up to 64
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub selected: u16,
    /// Sequences that a window's contributions are measured on, a multiple of 8
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub evaluation_sequences: u32,
    /// Part of the payloads that are audited by replay, 0 to 1; the ramp of pay is lengthened until no shortcut pays
    #[arg(long, value_name = "X", default_value = "0", value_parser = bounds::per_mille)]
    pub audit_rate: u32,
    /// Sequences of held-out text whose loss is reported each window
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub held_out_sequences: u32,
}

/// What validators that are idle ask the model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Evaluation")]
pub struct EvaluationFlags {
    /// Questions (JSON lines) that idle validators put to the model; may be given up to 16 times
    #[arg(long, value_name = "FILE")]
    pub evaluation: Vec<PathBuf>,
    /// Windows between two evaluations, a multiple of the checkpoints' [as often as there is a checkpoint]
    #[arg(long, value_name = "N", requires = "evaluation", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    pub evaluation_every: Option<u64>,
}

/// How documents of one sequence are read.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DocumentsName {
    /// A document is read without the one before it
    Apart,
    /// A sequence is read as one text
    Together,
}

/// How an error feedback is held.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FeedbackName {
    /// As it is
    F32,
    /// Rounded to bfloat16
    Bf16,
}

/// What moves the matrices of the layers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OptimiserName {
    /// AdamW for everything
    Adamw,
    /// Muon for the matrices of the layers, AdamW for the rest
    Muon,
}

impl WindowFlags {
    /// Puts the clock's length and what follows from it into the document.
    pub fn put_into(&self, genesis: &mut Genesis) {
        genesis.clock.blocks_per_window = self.window_blocks;
        genesis.budget = WindowBudget {
            retention_windows: self.retention_windows,
            checkpoint_windows: self.checkpoint_windows,
            ..WindowBudget::for_window(self.window_blocks).with_hold(self.window_blocks)
        };
    }
}

impl EvaluationFlags {
    /// Reads and checks the files.
    pub fn read(&self) -> Result<NewEvaluation, RunTaskError> {
        NewEvaluation::read(&self.evaluation, self.evaluation_every)
    }
}

impl TrainingFlags {
    /// Puts what a miner does into the document.
    pub fn put_into(&self, genesis: &mut Genesis, corpus: &Corpus) {
        genesis.numerics = self.numerics.to_string();
        genesis.open_numerics = self.open_numerics.iter().map(NumericsId::to_string).collect();
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
        let usual = schedule.peak.min(usual_learning_rate(&genesis.model));
        schedule.peak = self.learning_rate.unwrap_or(usual);
        schedule.warm_up_windows = self.warm_up_windows;
        (schedule.decay_from_window, schedule.decay_to_window) = (self.decay_from, self.decay_to);
    }
}

impl MergingFlags {
    /// Puts what is sent, merged and judged into the document.
    pub fn put_into(&self, genesis: &mut Genesis) {
        let mut usual = genesis.outer.clone();
        usual.error_feedback_decay = self.error_feedback_decay;
        usual.error_feedback_values = match self.error_feedback_values {
            FeedbackName::F32 => FeedbackValues::F32,
            FeedbackName::Bf16 => FeedbackValues::Bf16,
        };
        usual.tensor_classes = vec![TensorClass { suffix: String::new(), kept_per_chunk: self.kept }];
        genesis.outer = self.rule.outer(usual, usize::from(self.selected));
        let judging = &mut genesis.judging;
        judging.selected = usize::from(self.selected);
        judging.newcomer_places = judging.newcomer_places.min(judging.selected);
        judging.evaluation_sequences = self.evaluation_sequences as usize;
        judging.held_out_sequences = self.held_out_sequences as usize;
        genesis.electors = Some(ElectorRule::default());
        if self.audit_rate > 0 {
            genesis.set_audit_rate(self.audit_rate);
        }
    }
}
