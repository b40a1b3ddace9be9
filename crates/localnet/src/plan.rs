//! The rules of a local run, fitted to this machine and its text.

use crate::fit::{EVALUATION_PERCENT, Fit, Tokens};
use crate::{RuleName, SetupError};
use std::time::Instant;
use templar_base::{
    BlockHash, BlockNumber, ContentHash, CorpusHashes, ElectorRule, FirstParameters, Genesis, InnerSchedule,
    ModelConfig, Netuid, OuterRule, RateDecay, TensorClass, WindowBudget,
};
use templar_corpus::Corpus;
use templar_engine::{Batch, Buffer, EngineError, EngineSource, NumericsId, OpenRequest, initial_parameters};
use templar_gradient::state_hash;

/// Time between blocks. Half a second keeps the waits between the phases of a window short; a block costs milliseconds.
pub const BLOCK_TIME_MS: u64 = 500;
/// A miner gets this many times the batches that it is expected to need, so that no machine runs out of work.
const SPARE_BATCHES: f64 = 2.0;
/// Miners that the text is fitted to beyond those of the start: more than these may join, and meet more often.
const EXPECTED_GUESTS: u16 = 2;
/// Half of all: on one machine bytes cost nothing, and what is merged of dense payloads is less noise. In a simulated
/// network of four miners, 75 steps a window, 2048 are ahead of 512 by 0.17 nats after five windows and by 0.12 after nine
/// (docs/learning.md).
const KEPT_PER_CHUNK: u16 = 2048;
/// Lower than the usual 0.95: a local window has a hundred inner steps, so that what waits is soon out of date.
/// Measured on the default text with four miners: with 0.95 half of the payloads were rejected from the fourth window
/// on, with 0.7 none.
const ERROR_FEEDBACK_DECAY: f32 = 0.7;
/// A network has no last window, so that the rate falls as one over the root of the windows, to a floor after hours: it
/// is half of the peak forty windows after the start, a third after ninety.
const DECAY_FROM_WINDOW: u64 = 8;
const DECAY_TO_WINDOW: u64 = 1_000;
const FINAL_SHARE: f32 = 0.1;
const CHECKPOINT_WINDOWS: u64 = 5;
const RETENTION_WINDOWS: u64 = 30;
/// The ledger keeps commitments of N windows more than buckets keep objects: whoever reads the oldest object also
/// needs the votes that made it count.
const KEPT_BEYOND_WINDOWS: u64 = 16;
/// Windows without weights after which a validator no longer counts in consensus.
const ACTIVITY_WINDOWS: u64 = 8;

/// What the plan depends on.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The model's sizes.
    pub model: ModelConfig,
    /// The text.
    pub corpus: &'a Corpus,
    /// Seed of the first parameters.
    pub seed: [u8; 32],
    /// Number of miners.
    pub miners: usize,
    /// Number of validators.
    pub validators: usize,
    /// Cores of this machine.
    pub cores: usize,
    /// How pseudo-gradients are merged and applied.
    pub rule: RuleName,
    /// Payloads of a thousand that are audited by replay.
    pub audit_rate: u32,
    /// Length of a window in seconds; chosen by the measured speed where it is not given.
    pub window_seconds: Option<u64>,
    /// What the nodes compute with.
    pub engine: EngineSource,
    /// Open numerics classes that other nodes may compute with.
    pub open_numerics: Vec<String>,
}

/// A plan, before the ledger's hash and the start block are known.
#[derive(Debug, Clone)]
pub struct Plan {
    genesis: Genesis,
    fit: Fit,
}

/// Seconds of one inner step alone on one core.
fn measure_step(source: &EngineSource, model: &ModelConfig, params: &[f32]) -> Result<f64, EngineError> {
    let mut engine = source.open(OpenRequest::new(model.clone()))?;
    engine.write(Buffer::Parameters, 0, params)?;
    let (sequences, length) = (Fit::USUAL.sequences_per_batch, Fit::USUAL.sequence_length);
    let count = sequences * (length + 1);
    let tokens = (0..count).map(|place| (place * 31 % model.vocab_size) as u32).collect();
    let batch = [Batch::new(tokens, sequences, length)];
    engine.train_step(&batch, 1e-4)?;
    let begun = Instant::now();
    let mut steps = 0u32;
    while begun.elapsed().as_millis() < 600 || steps < 2 {
        engine.train_step(&batch, 1e-4)?;
        steps += 1;
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(steps))
}

impl Plan {
    /// Measures the machine and chooses the rules. They stay as they are for the whole run: the genesis holds them.
    pub fn new(inputs: &Inputs<'_>) -> Result<Self, SetupError> {
        let params = initial_parameters(&inputs.model, inputs.seed);
        let step = measure_step(&inputs.engine, &inputs.model, &params)?;
        // All nodes compute at the same time while the validators judge.
        let crowding = ((inputs.miners + inputs.validators) as f64 / inputs.cores as f64).max(1.0);
        let judging = crowding * step * (Fit::USUAL.evaluation as f64 / Fit::USUAL.sequences_per_batch as f64) * 2.0;
        let seconds = inputs.window_seconds.unwrap_or(((judging * 5.0).ceil() as u64).clamp(16, 300));
        let blocks = (seconds * 1000 / BLOCK_TIME_MS).max(16);
        let per_miner = (inputs.miners as f64 / inputs.cores as f64).max(1.0);
        let expected = (seconds as f64 / (step * per_miner)).max(4.0);
        Self::at_pace(inputs, blocks, expected)
    }

    /// The rules for windows of this many blocks in which a miner is expected to do this many steps.
    pub fn at_pace(inputs: &Inputs<'_>, blocks: u64, steps: f64) -> Result<Self, SetupError> {
        let miners = expected_miners(inputs.miners);
        let wanted = (steps * SPARE_BATCHES).ceil() as usize;
        let tokens = Tokens { train: inputs.corpus.train_tokens(), held_out: inputs.corpus.held_out_tokens() };
        let fit = Fit::of(tokens, miners, wanted, &inputs.model).unwrap_or(Fit::USUAL);
        let mut genesis = shape_of(inputs.model.clone(), inputs.miners, inputs.rule);
        put_text(&mut genesis, inputs.corpus, miners, fit);
        put_clock(&mut genesis, blocks);
        genesis.numerics = inputs.engine.numerics().to_string();
        genesis.open_numerics.clone_from(&inputs.open_numerics);
        genesis.electors = Some(ElectorRule::default());
        if inputs.audit_rate > 0 {
            genesis.set_audit_rate(inputs.audit_rate);
        }
        genesis.first_parameters = FirstParameters::Seed(ContentHash::new(inputs.seed));
        genesis.first_state = state_hash(&initial_parameters(&inputs.model, inputs.seed));
        let rule = templar_corpus::AssignmentRule::of_genesis(&genesis)?;
        inputs.corpus.check_enough(rule, inputs.model.vocab_size as u32, fit.held_out)?;
        Ok(Self { genesis, fit })
    }

    /// What of the share-out is smaller than usual, because the text is small; in words.
    pub fn remark(&self) -> Option<String> {
        self.fit.remark()
    }

    /// Blocks for which the ledger must keep commitments and history.
    pub fn retention_blocks(&self) -> u64 {
        (self.genesis.budget.retention_windows + KEPT_BEYOND_WINDOWS) * self.genesis.clock.blocks_per_window
    }

    /// Blocks after which a validator that set no weights counts as gone: it sets them once a window.
    pub fn activity_cutoff_blocks(&self) -> u64 {
        ACTIVITY_WINDOWS * self.genesis.clock.blocks_per_window
    }

    /// The genesis document of a run on this ledger.
    pub fn genesis(&self, ledger: BlockHash, netuid: Netuid, start_block: BlockNumber) -> Genesis {
        let mut genesis = self.genesis.clone();
        (genesis.ledger, genesis.netuid, genesis.clock.start_block) = (ledger, netuid, start_block);
        genesis
    }
}

/// Miners that the text is fitted to: those of the start, and some that join.
pub(crate) fn expected_miners(miners: usize) -> u16 {
    u16::try_from(miners).unwrap_or(u16::MAX).saturating_add(EXPECTED_GUESTS)
}

/// What does not depend on the text and on the speed of the machine.
pub(crate) fn shape_of(model: ModelConfig, miners: usize, rule: RuleName) -> Genesis {
    let mut genesis = Genesis::new(model, CorpusHashes::default());
    genesis.name = "local".to_owned();
    genesis.numerics = NumericsId::STRICT.to_string();
    genesis.data.sequence_length = Fit::USUAL.sequence_length;
    genesis.data.sequences_per_batch = Fit::USUAL.sequences_per_batch;
    genesis.judging.evaluation_sequences = Fit::USUAL.evaluation;
    genesis.inner.schedule = InnerSchedule {
        decay_from_window: DECAY_FROM_WINDOW,
        decay_to_window: DECAY_TO_WINDOW,
        final_share: FINAL_SHARE,
        decay: RateDecay::InverseRoot,
        ..InnerSchedule::default()
    };
    genesis.outer = rule.outer(usual_outer(), miners);
    genesis
}

fn put_text(genesis: &mut Genesis, corpus: &Corpus, miners: u16, fit: Fit) {
    (genesis.data.tokenizer, genesis.data.manifest) = (corpus.tokenizer().hash(), corpus.manifest_hash());
    genesis.data.sequence_length = fit.sequence_length;
    genesis.data.sequences_per_batch = fit.sequences_per_batch;
    genesis.data.batches_per_window = fit.batches;
    genesis.data.evaluation_percent = EVALUATION_PERCENT;
    genesis.data.span_sequences = genesis.data.span_for(miners, fit.evaluation);
    genesis.judging.evaluation_sequences = fit.evaluation;
    genesis.judging.held_out_sequences = fit.held_out;
}

fn put_clock(genesis: &mut Genesis, blocks: u64) {
    genesis.clock.blocks_per_window = blocks;
    genesis.budget = WindowBudget {
        retention_windows: RETENTION_WINDOWS,
        checkpoint_windows: CHECKPOINT_WINDOWS,
        ..WindowBudget::for_window(blocks)
    };
}

/// The rule of this system, fitted to local windows.
pub(crate) fn usual_outer() -> OuterRule {
    OuterRule {
        error_feedback_decay: ERROR_FEEDBACK_DECAY,
        tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: KEPT_PER_CHUNK }],
        ..OuterRule::default()
    }
}
