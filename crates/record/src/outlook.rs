//! What a genesis document comes to: sizes, traffic, memory and deadlines, before anybody runs it.

use crate::Rules;
use serde::Serialize;
use templar_base::{Findings, Genesis, Problem, RuleName, RunId, StepRule};
use templar_chain::Hyperparameters;
use templar_engine::{MemoryNeeds, TooLittleMemory, TrainingShape, check_memory};
use templar_round::Role;

/// Bytes of an f32.
const VALUE: u64 = 4;
/// Windows beyond the retention for which the ledger has to keep commitments: whoever reads the oldest object also needs
/// the votes that made it count.
const KEPT_BEYOND_WINDOWS: u64 = 16;

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// The run's name: the hash of the document.
    pub run: RunId,
    /// Name of the outer rule, where it has one.
    pub rule: Option<&'static str>,
    /// Number of parameters.
    pub parameters: u64,
    /// Blocks of a window.
    pub window_blocks: u64,
    /// Seconds of a window, where the ledger's time between blocks is known.
    pub window_seconds: Option<f64>,
    /// Tokens of one inner step.
    pub tokens_per_step: u64,
    /// Tokens that a miner trains on in a window, if it does all of its batches.
    pub tokens_per_miner: u64,
    /// What a miner sends in a window.
    pub payload: PayloadOutlook,
    /// Memory of a node.
    pub memory: MemoryOutlook,
    /// What happens in a window, in the order of time.
    pub timeline: Vec<Moment>,
}

/// What a miner sends in a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PayloadOutlook {
    /// Values that are kept, at most.
    pub kept_values: u64,
    /// Size in bytes, measured on random values.
    pub bytes: u64,
    /// Bits of a kept value.
    pub bits_per_kept_value: f64,
    /// Bits of a parameter.
    pub bits_per_parameter: f64,
}

/// Memory of a node in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryOutlook {
    /// A miner: the engine that trains, the shared parameters, the error feedback, and the momentum where the rule has
    /// one.
    pub miner_bytes: u64,
    /// A validator: the engine that judges, the gradient at the shared parameters, and these.
    pub validator_bytes: u64,
}

/// A point on a window's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moment {
    /// Blocks since the window's first block.
    pub block: u64,
    /// Seconds since the window's first block, where the ledger's time between blocks is known.
    pub seconds: Option<f64>,
    /// What happens.
    pub what: &'static str,
}

impl Outlook {
    /// What these rules come to on a ledger with this time between blocks, if it is known.
    pub fn of(rules: &Rules, block_time_ms: Option<u64>) -> Self {
        let genesis = &*rules.genesis;
        let seconds = |blocks: u64| block_time_ms.map(|time| blocks as f64 * time as f64 / 1_000.0);
        let data = &genesis.data;
        let timeline = genesis.budget.timeline(&genesis.clock).into_iter();
        Self {
            run: rules.id,
            rule: RuleName::of(&genesis.outer).map(RuleName::name),
            parameters: genesis.model.parameter_count() as u64,
            window_blocks: genesis.clock.blocks_per_window,
            window_seconds: seconds(genesis.clock.blocks_per_window),
            tokens_per_step: (data.sequences_per_batch as u64).saturating_mul(data.sequence_length as u64),
            tokens_per_miner: data.tokens_per_window(),
            payload: PayloadOutlook::of(rules),
            memory: MemoryOutlook::of(genesis),
            timeline: timeline
                .map(|point| Moment { block: point.block, seconds: seconds(point.block), what: point.what })
                .collect(),
        }
    }
}

impl PayloadOutlook {
    fn of(rules: &Rules) -> Self {
        let layout = &rules.layout;
        let (kept, parameters) = (layout.kept() as u64, layout.parameters() as u64);
        let bytes = layout.expected_payload_bytes();
        let bits = bytes as f64 * 8.0;
        Self {
            kept_values: kept,
            bytes,
            bits_per_kept_value: bits / kept.max(1) as f64,
            bits_per_parameter: bits / parameters.max(1) as f64,
        }
    }
}

impl MemoryOutlook {
    /// What the nodes of a run hold in memory.
    pub fn of(genesis: &Genesis) -> Self {
        let model = genesis.model.parameter_count() as u64 * VALUE;
        let feedback = genesis.model.parameter_count() as u64 * genesis.outer.error_feedback_values.bytes();
        let momentum = if matches!(genesis.outer.step, StepRule::Nesterov { .. }) { model } else { 0 };
        let shape = |sequences: usize| TrainingShape {
            sequences,
            length: genesis.data.sequence_length,
            is_recomputing: false,
            hidden_matrices: genesis.inner.hidden_matrices,
        };
        let training = MemoryNeeds::training(&genesis.model, shape(genesis.data.sequences_per_batch));
        let part = genesis.judging.evaluation_sequences / genesis.judging.evaluation_parts.max(1);
        let judging = MemoryNeeds { optimiser: 0, ..MemoryNeeds::training(&genesis.model, shape(part.max(1))) };
        Self {
            miner_bytes: training.total() + model + feedback + momentum,
            validator_bytes: judging.total() + model + momentum,
        }
    }
}

impl MemoryOutlook {
    /// Fails where this machine has too little memory for a node of the role.
    pub fn check(&self, role: Role) -> Result<(), TooLittleMemory> {
        match role {
            Role::Miner => check_memory("a miner of this run", self.miner_bytes),
            Role::Validator => check_memory("a validator of this run", self.validator_bytes),
        }
    }
}

/// What of a document does not fit this ledger.
pub fn ledger_problems(genesis: &Genesis, ledger: &Hyperparameters) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut require = |field: &str, value: String, holds: bool, wanted: String| {
        if !holds {
            problems.push(Problem { field: field.to_owned(), value, wanted });
        }
    };
    require(
        "ledger",
        genesis.ledger.to_string(),
        genesis.ledger == ledger.genesis,
        format!("{}, the hash of this ledger's block 0", ledger.genesis),
    );
    require(
        "netuid",
        genesis.netuid.to_string(),
        genesis.netuid == ledger.netuid,
        format!("{}, the subnet of this ledger", ledger.netuid),
    );
    let (blocks, kept) = (genesis.clock.blocks_per_window, ledger.commitment_retention_blocks);
    let most = (kept / blocks.max(1)).saturating_sub(KEPT_BEYOND_WINDOWS);
    require(
        "budget.retention_windows",
        genesis.budget.retention_windows.to_string(),
        genesis.budget.retention_windows <= most,
        format!(
            "at most {most}, since the ledger keeps commitments for {kept} blocks; take shorter windows, or a ledger with \
             a longer `commitment_retention_blocks`"
        ),
    );
    let windows = u64::from(ledger.tempo) / blocks.max(1) + 1;
    let (bytes, most) =
        (windows.saturating_mul(validator_bytes(genesis)), u64::from(ledger.commitment_bytes_per_tempo));
    require(
        "clock.blocks_per_window",
        blocks.to_string(),
        bytes <= most,
        format!(
            "longer: in the {windows} windows of a tempo a validator writes {bytes} bytes on this ledger, which takes \
             {most} of a key"
        ),
    );
    problems
}

/// What a ledger charges of a key's bytes for a commitment, beside its data.
const CHARGED_PER_COMMITMENT: u64 = 256;

/// The bytes that a validator writes in a window at most: what it holds where that is agreed on, the seal of its vote, the vote,
/// and what it applied.
fn validator_bytes(genesis: &Genesis) -> u64 {
    let (held, seal, vote, applied) = (8, 32, Findings::MAX_BYTES as u64 + 32 + 16, 1 + 3 * 32);
    let held = genesis.budget.hold_blocks.map_or(0, |_| held + CHARGED_PER_COMMITMENT);
    held + seal + vote + applied + 3 * CHARGED_PER_COMMITMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::{BlockHash, CorpusHashes, ModelConfig};

    fn small() -> Genesis {
        Genesis::small(ModelConfig::tiny(256), CorpusHashes::default())
    }

    #[test]
    fn a_window_is_counted_in_blocks_tokens_and_bytes() {
        let outlook = Outlook::of(&Rules::new(small()).unwrap(), Some(500));
        assert_eq!((outlook.window_blocks, outlook.window_seconds), (32, Some(16.0)));
        assert_eq!((outlook.tokens_per_step, outlook.tokens_per_miner), (32, 128));
        assert_eq!(outlook.rule, Some("mean-of-senders"));
        assert!(outlook.payload.kept_values > 0 && outlook.payload.bytes > 0);
        assert!(outlook.memory.miner_bytes > outlook.memory.validator_bytes);
        let blocks: Vec<u64> = outlook.timeline.iter().map(|moment| moment.block).collect();
        assert_eq!(blocks, [0, 26, 32, 36, 41, 47, 48, 9 * 32]);
    }

    #[test]
    fn what_does_not_fit_the_ledger_is_named() {
        let mut ledger = templar_chain::Hyperparameters {
            netuid: small().netuid,
            genesis: BlockHash::default(),
            block_time_ms: 1_000,
            tempo: 10,
            max_uids: 64,
            max_validators: 64,
            immunity_blocks: 100,
            weights_rate_limit_blocks: 5,
            weights_version: 0,
            weights_stake_threshold: Default::default(),
            commit_reveal: true,
            minimum_stake: Default::default(),
            commitment_bytes_per_tempo: 8_192,
            commitment_retention_blocks: 2_000,
            history_blocks: 4_096,
        };
        assert_eq!(ledger_problems(&small(), &ledger), []);
        (ledger.tempo, ledger.commitment_retention_blocks) = (320, 23 * 32);
        ledger.genesis = BlockHash::new([1; 32]);
        let fields: Vec<String> = ledger_problems(&small(), &ledger).into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["ledger", "budget.retention_windows", "clock.blocks_per_window"]);
    }
}
