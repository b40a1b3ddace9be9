//! The rules of a local run, fitted to this machine and its text.

use crate::fit::{EVALUATION_PERCENT, EVALUATION_SEQUENCES, Fit, LEAST_BATCHES, Most, SEQUENCES_PER_BATCH, Tokens};
use crate::{RuleName, SetupError};
use std::time::{Duration, Instant};
use templar_base::{
    BlockHash, BlockNumber, ContentHash, CorpusHashes, ElectorRule, FirstParameters, Genesis, InnerSchedule,
    ModelConfig, Netuid, OuterRule, RateDecay, TensorClass, WindowBudget,
};
use templar_corpus::Corpus;
use templar_engine::{Batch, Buffer, EngineError, EngineSource, NumericsId, OpenRequest, initial_parameters};
use templar_evaluation::NewEvaluation;
use templar_gradient::state_hash;
use templar_model::usual_learning_rate;

/// Time between blocks. Half a second keeps the waits between the phases of a window short; a block costs milliseconds.
pub const BLOCK_TIME_MS: u64 = 500;
/// A miner gets this many times the batches that it is expected to need, so that no machine runs out of work.
const SPARE_BATCHES: f64 = 2.0;
/// Windows that `up` chooses are between these: shorter ones have no time for their phases, and of longer ones a newcomer
/// sees none in good time. Where even the least judging takes longer, they are longer.
const SHORTEST_USUAL_SECONDS: u64 = 16;
const LONGEST_USUAL_SECONDS: u64 = 300;
/// A window is this many times as long as what a validator computes: it judges in two fifths of it, and in doubt, where it
/// tries several sets, for twice as long.
const WINDOWS_TO_JUDGING: f64 = 5.0;
/// The same where even the least judging takes longer than a usual window: nobody waits for a first window there, and what
/// the nodes of such a model take from each other is memory's speed, which is not measured. A validator of 350 million
/// parameters beside a miner took 281 s for a window that merges, and two gradients of its text take 111 s alone.
const SLOW_WINDOWS_TO_JUDGING: f64 = 8.0;
/// Times that a validator computes a gradient of the text of judgement, in a window without doubts.
const PASSES_OF_JUDGING: f64 = 2.0;
/// Where a sequence takes longer, nothing more is measured.
const SLOW_SEQUENCE: Duration = Duration::from_secs(1);
/// The least that contributions are measured on: a sequence for each of its parts.
const LEAST_EVALUATION: usize = EVALUATION_SEQUENCES[EVALUATION_SEQUENCES.len() - 1];
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
pub(crate) const CHECKPOINT_WINDOWS: u64 = 5;
const RETENTION_WINDOWS: u64 = 30;
/// The ledger keeps commitments of N windows more than buckets keep objects: whoever reads the oldest object also
/// needs the votes that made it count.
const KEPT_BEYOND_WINDOWS: u64 = 16;
/// Whether validators agree first on which payloads they hold, so that a bucket which serves some of them only shapes nothing.
/// The phase ends before its deadline where all hold the same.
const AGREES_ON_HELD: bool = true;
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
    /// What idle validators put to the model.
    pub evaluation: NewEvaluation,
}

/// A plan, before the ledger's hash and the start block are known.
#[derive(Debug, Clone)]
pub struct Plan {
    genesis: Genesis,
    remark: Option<String>,
}

/// Seconds that training on one sequence of the usual length takes, alone on this machine.
fn measure_sequence(source: &EngineSource, model: &ModelConfig, params: &[f32]) -> Result<f64, EngineError> {
    let mut engine = source.open(OpenRequest::new(model.clone()))?;
    engine.write(Buffer::Parameters, 0, params)?;
    let batch = |sequences: usize| {
        let count = sequences * (Fit::USUAL.sequence_length + 1);
        let tokens = (0..count).map(|place| (place * 31 % model.vocab_size) as u32).collect();
        [Batch::new(tokens, sequences, Fit::USUAL.sequence_length)]
    };
    // The first one makes buffers, which takes a large model as long as the work.
    engine.gradient(&batch(1)[0])?;
    let begun = Instant::now();
    engine.gradient(&batch(1)[0])?;
    let gradient = begun.elapsed();
    // A large model: a step of the usual size would take a minute.
    if gradient > SLOW_SEQUENCE {
        return Ok(gradient.as_secs_f64());
    }
    let usual = batch(Fit::USUAL.sequences_per_batch);
    engine.train_step(&usual, 1e-4)?;
    let begun = Instant::now();
    let mut steps = 0usize;
    while begun.elapsed().as_millis() < 600 || steps < 2 {
        engine.train_step(&usual, 1e-4)?;
        steps += 1;
    }
    Ok(begun.elapsed().as_secs_f64() / (steps * Fit::USUAL.sequences_per_batch) as f64)
}

/// Who shares a machine.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    miners: usize,
    validators: usize,
    cores: usize,
}

/// What a machine manages in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    window_seconds: u64,
    /// Sequences of an inner step, and those that contributions are measured on, at most.
    most: Most,
    /// Steps of a miner in a window.
    steps: f64,
}

impl Pace {
    /// The usual shape in a window that suits it, or as much of it as windows of the wanted length have time for: fewer
    /// sequences to judge on, then longer windows, so that validators come to their votes; then smaller steps, so that
    /// miners come to some.
    fn of(crowd: Crowd, sequence_seconds: f64, wanted_seconds: Option<u64>) -> Self {
        // All nodes compute at the same time while the validators judge.
        let crowding = ((crowd.miners + crowd.validators) as f64 / crowd.cores as f64).max(1.0);
        let judging = |sequences: usize| crowding * sequence_seconds * sequences as f64 * PASSES_OF_JUDGING;
        let window_for =
            |sequences: usize| ((judging(sequences) * WINDOWS_TO_JUDGING).ceil() as u64).max(SHORTEST_USUAL_SECONDS);
        let longest = wanted_seconds.unwrap_or(LONGEST_USUAL_SECONDS).max(SHORTEST_USUAL_SECONDS);
        let fits = |sequences: &usize| window_for(*sequences) <= longest;
        let fitting = EVALUATION_SEQUENCES.into_iter().find(fits);
        let evaluation = fitting.unwrap_or(LEAST_EVALUATION);
        let window_seconds = wanted_seconds.unwrap_or_else(|| match fitting {
            Some(_) => window_for(evaluation),
            None => (judging(evaluation) * SLOW_WINDOWS_TO_JUDGING).ceil() as u64,
        });
        let per_miner = (crowd.miners as f64 / crowd.cores as f64).max(1.0);
        let steps_of = |batch: usize| window_seconds as f64 / (sequence_seconds * batch as f64 * per_miner);
        let comes_to_some = |batch: &usize| steps_of(*batch) >= LEAST_BATCHES as f64;
        let batch = SEQUENCES_PER_BATCH.into_iter().find(comes_to_some).unwrap_or(1);
        let most = Most { batch, evaluation };
        Self { window_seconds, most, steps: steps_of(batch).max(LEAST_BATCHES as f64) }
    }

    fn blocks(&self) -> u64 {
        (self.window_seconds * 1000 / BLOCK_TIME_MS).max(16)
    }

    /// What is smaller than usual, because the machine is slow for the model; in words.
    fn remark(&self) -> Option<String> {
        let Most { batch, evaluation } = self.most;
        (self.most != Most::USUAL).then(|| {
            format!(
                "the model is large for this machine: windows of {} s, steps of {batch} sequences, judged on {evaluation}",
                self.window_seconds
            )
        })
    }
}

impl Plan {
    /// Measures the machine and chooses the rules. They stay as they are for the whole run: the genesis holds them.
    pub fn new(inputs: &Inputs<'_>) -> Result<Self, SetupError> {
        let params = initial_parameters(&inputs.model, inputs.seed);
        let sequence_seconds = measure_sequence(&inputs.engine, &inputs.model, &params)?;
        let crowd = Crowd { miners: inputs.miners, validators: inputs.validators, cores: inputs.cores };
        let pace = Pace::of(crowd, sequence_seconds, inputs.window_seconds);
        let plan = Self::shaped(inputs, pace.blocks(), pace.steps, pace.most)?;
        Ok(Self { remark: pace.remark().or(plan.remark), ..plan })
    }

    /// The rules for windows of this many blocks in which a miner is expected to do this many steps.
    pub fn at_pace(inputs: &Inputs<'_>, blocks: u64, steps: f64) -> Result<Self, SetupError> {
        Self::shaped(inputs, blocks, steps, Most::USUAL)
    }

    fn shaped(inputs: &Inputs<'_>, blocks: u64, steps: f64, most: Most) -> Result<Self, SetupError> {
        let miners = expected_miners(inputs.miners);
        let wanted = (steps * SPARE_BATCHES).ceil() as usize;
        let tokens = Tokens { train: inputs.corpus.train_tokens(), held_out: inputs.corpus.held_out_tokens() };
        let fit = Fit::of(tokens, miners, wanted, &inputs.model, most).unwrap_or(Fit::USUAL);
        let mut genesis = shape_of(inputs.model.clone(), inputs.miners, inputs.rule);
        put_text(&mut genesis, inputs.corpus, miners, fit);
        put_clock(&mut genesis, blocks);
        genesis.numerics = inputs.engine.numerics().to_string();
        genesis.open_numerics.clone_from(&inputs.open_numerics);
        genesis.evaluation = inputs.evaluation.rule(&genesis.budget);
        genesis.electors = Some(ElectorRule::default());
        if inputs.audit_rate > 0 {
            genesis.set_audit_rate(inputs.audit_rate);
        }
        genesis.first_parameters = FirstParameters::Seed(ContentHash::new(inputs.seed));
        genesis.first_state = state_hash(&initial_parameters(&inputs.model, inputs.seed));
        let rule = templar_corpus::AssignmentRule::of_genesis(&genesis)?;
        inputs.corpus.check_enough(rule, inputs.model.vocab_size as u32, fit.held_out)?;
        Ok(Self { genesis, remark: fit.remark(most) })
    }

    /// What is smaller than usual, because the text is small or the machine slow; in words.
    pub fn remark(&self) -> Option<String> {
        self.remark.clone()
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
    let peak = InnerSchedule::default().peak.min(usual_learning_rate(&model));
    let mut genesis = Genesis::new(model, CorpusHashes::default());
    genesis.name = "local".to_owned();
    genesis.numerics = NumericsId::STRICT.to_string();
    genesis.data.sequence_length = Fit::USUAL.sequence_length;
    genesis.data.sequences_per_batch = Fit::USUAL.sequences_per_batch;
    genesis.judging.evaluation_sequences = Fit::USUAL.evaluation;
    genesis.inner.schedule = InnerSchedule {
        peak,
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
    let usual = WindowBudget::for_window(blocks);
    genesis.budget = WindowBudget {
        retention_windows: RETENTION_WINDOWS,
        checkpoint_windows: CHECKPOINT_WINDOWS,
        ..if AGREES_ON_HELD { usual.with_hold(blocks) } else { usual }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: 350 million parameters trained at the rate of 1 million, and no payload was admitted from the second window on.
    #[test]
    fn a_large_model_trains_at_a_smaller_rate() {
        let peak = |name| {
            let model = templar_engine::preset(name, 8_192).unwrap();
            shape_of(model, 4, RuleName::default()).inner.schedule.peak
        };
        assert_eq!((peak("nano"), peak("350m")), (InnerSchedule::default().peak, 6e-4));
    }

    #[test]
    fn a_window_suits_what_the_machine_manages() {
        let usual = Crowd { miners: 4, validators: 2, cores: 2 };
        let nano = Pace::of(usual, 0.004, None);
        assert_eq!((nano.window_seconds, nano.most, nano.remark()), (16, Most::USUAL, None));
        assert_eq!(nano.steps as u64, 250);
        // Judging gets shorter before windows get longer than usual.
        let small = Pace::of(usual, 0.3, None);
        assert_eq!((small.window_seconds, small.most), (288, Most { batch: 8, evaluation: 32 }));
        assert!(small.steps >= 4.0);
        // Nothing is left to take away: longer windows, and smaller steps where fewer than four would fit.
        let drill = Crowd { miners: 1, validators: 1, cores: 2 };
        let large = Pace::of(drill, 5.0, None);
        assert_eq!((large.window_seconds, large.most), (640, Most { batch: 8, evaluation: 8 }));
        let larger = Pace::of(Crowd { miners: 8, ..drill }, 5.0, None);
        assert_eq!((larger.window_seconds, larger.most), (2880, Most { batch: 8, evaluation: 8 }));
        assert!(larger.remark().unwrap().contains("windows of 2880 s, steps of 8 sequences, judged on 8"));
        // Somebody chose the length.
        let short = Pace::of(usual, 0.1, Some(40));
        assert_eq!((short.window_seconds, short.most), (40, Most { batch: 8, evaluation: 8 }));
        let shortest = Pace::of(usual, 5.0, Some(8));
        assert_eq!((shortest.most, shortest.steps), (Most { batch: 1, evaluation: 8 }, 4.0));
        assert_eq!(Pace::of(usual, 0.004, Some(8)).most, Most::USUAL);
    }
}
