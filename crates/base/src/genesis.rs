//! The genesis document: everything that the nodes of a run must agree on before it starts. Its hash names the run.

use crate::{
    BlockHash, ContentHash, ModelConfig, ModelConfigError, Netuid, OuterRule, RunId, StateHash, Window, WindowClock,
};
use serde::{Deserialize, Serialize};

/// Version of the document's form and of the protocol behind it.
pub const GENESIS_VERSION: u32 = 1;
/// A document is a few kilobytes; more than this is refused before it is parsed.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The rules of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// [`GENESIS_VERSION`] of the program that wrote it.
    pub version: u32,
    /// A name for people.
    pub name: String,
    /// Genesis hash of the ledger that is the run's clock and bank.
    pub ledger: BlockHash,
    /// The run's subnet.
    pub netuid: Netuid,
    /// Which blocks belong to which window.
    pub clock: WindowClock,
    /// Deadlines within a window.
    pub budget: WindowBudget,
    /// Sizes of the model.
    pub model: ModelConfig,
    /// Numerics profile and kernel version that every node must compute with, such as `strict-2`.
    pub numerics: String,
    /// Where the first parameters come from.
    pub first_parameters: FirstParameters,
    /// State hash of the first parameters.
    pub first_state: StateHash,
    /// Text, tokens, and how they are shared out.
    pub data: DataRule,
    /// What a miner does with its batches.
    pub inner: InnerOptimiser,
    /// What a miner sends, and how it is merged and applied.
    pub outer: OuterRule,
    /// How contributions are measured, rated and selected.
    pub judging: JudgingRule,
    /// Who is paid what.
    pub economics: Economics,
}

/// Deadlines in blocks. Those after a window's end count from its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowBudget {
    /// A miner seals this many blocks before the end of its window, so that its commitment is in time.
    pub seal_blocks: u64,
    /// Reveals later than this are not gathered.
    pub reveal_blocks: u64,
    /// Votes in later blocks do not count. Agreement is reached before if all the permitted stake has voted.
    pub judge_blocks: u64,
    /// Votes on the ledger say what was applied by then; a node that has not applied goes without its payload.
    pub apply_blocks: u64,
    /// Objects of windows older than this many windows are deleted.
    pub retention_windows: u64,
    /// A checkpoint is published every so many windows.
    pub checkpoint_windows: u64,
}

/// Where the first parameters come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FirstParameters {
    /// Drawn from this seed by the engine's initial rule.
    Seed(ContentHash),
    /// Those of a model folder that each operator names; `first_state` says whether it is the right one.
    Folder,
}

/// Text, tokens, and how they are shared out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRule {
    /// Hash of the `tokenizer.json`.
    pub tokenizer: ContentHash,
    /// Hash of the manifest of the token shards.
    pub manifest: ContentHash,
    /// Tokens that the model sees at once.
    pub sequence_length: usize,
    /// Sequences in one batch, which is one inner step.
    pub sequences_per_batch: usize,
    /// Batches of one miner in one window: the most inner steps that it can do (H).
    pub batches_per_window: usize,
    /// How many miners have disjoint data in one window; uids from here on get none.
    pub slots: u16,
}

/// What moves the matrices within the layers. Embedding, output head and norms are moved by AdamW in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatrixOptimiser {
    /// AdamW like the rest.
    #[default]
    AdamW,
    /// Along the momentum made orthogonal.
    Muon,
}

impl MatrixOptimiser {
    fn is_adamw(&self) -> bool {
        *self == Self::AdamW
    }
}

/// What a miner does with its batches: AdamW with these constants, or Muon beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerOptimiser {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled decay of the matrices.
    pub weight_decay: f32,
    /// Largest global norm of a gradient.
    pub clip_norm: f32,
    /// What moves the matrices within the layers. A document that does not say means AdamW, and has the hash that it
    /// had before there was a choice.
    #[serde(default, skip_serializing_if = "MatrixOptimiser::is_adamw")]
    pub hidden_matrices: MatrixOptimiser,
    /// Learning rate by window.
    pub schedule: InnerSchedule,
}

/// Learning rate by window: linear warm-up, flat, then linear decay to a part of the peak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerSchedule {
    /// Highest learning rate.
    pub peak: f32,
    /// Windows until the peak.
    pub warm_up_windows: u64,
    /// First window of the decay.
    pub decay_from_window: u64,
    /// Last window of the decay; the rate stays at `final_share` of the peak from here on.
    pub decay_to_window: u64,
    /// Part of the peak at the end.
    pub final_share: f32,
}

impl InnerSchedule {
    /// The learning rate of every inner step of `window`.
    pub fn learning_rate(&self, window: Window) -> f32 {
        if window.0 < self.warm_up_windows {
            return self.peak * ((window.0 + 1) as f32 / self.warm_up_windows as f32);
        }
        let span = self.decay_to_window.saturating_sub(self.decay_from_window);
        let done = window.0.saturating_sub(self.decay_from_window).min(span);
        if span == 0 || done == 0 {
            return self.peak;
        }
        let progress = done as f32 / span as f32;
        self.peak * (1.0 - progress * (1.0 - self.final_share))
    }
}

/// How contributions are measured, rated and selected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgingRule {
    /// Sequences of a window's evaluation batch.
    pub evaluation_sequences: usize,
    /// Parts that the evaluation batch is split into, for standard errors.
    pub evaluation_parts: usize,
    /// Most miners whose payloads are merged.
    pub selected: usize,
    /// Places among the selected that a beacon gives to admitted newcomers.
    pub newcomer_places: usize,
    /// A miner counts as a newcomer in its first windows.
    pub newcomer_windows: u64,
    /// Admission: the share of the upper half's median contribution that a miner must surely reach (kappa).
    pub admission_share: f64,
    /// Confirmation: the part of the predicted decrease that the full step must bring.
    pub confirmation_share: f64,
    /// From this share of equal kept coordinates with an earlier payload on, a payload is a copy.
    pub copy_agreement: f64,
    /// Variance that a rating gains in each window.
    pub rating_process_noise: f64,
    /// Sequences of the fixed held-out part whose loss is reported in every window.
    pub held_out_sequences: usize,
}

/// Who is paid what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Economics {
    /// Recent windows whose contributions are averaged into the weights.
    pub averaged_windows: u64,
    /// Part of the weights that goes to admitted miners that were not selected.
    pub unselected_share: f64,
    /// Windows over which a newcomer's weight rises to its full size.
    pub ramp_windows: u64,
    /// Windows between two settings of a validator's weights.
    pub weights_every_windows: u64,
}

/// A genesis document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The document is not JSON of the right form.
    #[error("genesis document does not parse: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The document is larger than any that this program writes.
    #[error("genesis document is {actual} bytes, over the limit of {limit}")]
    TooLarge {
        /// Its size.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// Another version of the protocol.
    #[error("genesis document has version {actual}, this program speaks {GENESIS_VERSION}; use the matching release")]
    Version {
        /// The document's version.
        actual: u32,
    },
    /// The model's sizes do not fit each other.
    #[error(transparent)]
    Model(#[from] ModelConfigError),
    /// A rule with a value that makes no sense.
    #[error("genesis field `{field}`: {reason}")]
    Field {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Genesis {
    /// Reads and checks a document.
    pub fn from_json(bytes: &[u8]) -> Result<Self, GenesisError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(GenesisError::TooLarge { actual: bytes.len(), limit: MAX_DOCUMENT_BYTES });
        }
        let genesis: Self = serde_json::from_slice(bytes)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The document's canonical text: the fields in their order, indented.
    pub fn to_json(&self) -> String {
        // Plain structs of strings and numbers: serialising them to memory cannot fail.
        serde_json::to_string_pretty(self).expect("genesis serialises")
    }

    /// The run's name: the hash of the canonical text, whatever the spacing that it came with.
    pub fn run_id(&self) -> RunId {
        RunId::new(
            *blake3::hash(format!("templar genesis v{GENESIS_VERSION}\0{}", self.to_json()).as_bytes()).as_bytes(),
        )
    }

    /// Checks that the values fit each other; the rest of the program may rely on it.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.version != GENESIS_VERSION {
            return Err(GenesisError::Version { actual: self.version });
        }
        self.model.check()?;
        let budget = &self.budget;
        let (judging, outer, inner) = (&self.judging, &self.outer, &self.inner);
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let rate = |x: f32| x.is_finite() && x > 0.0;
        for (holds, field, reason) in [
            (self.name.len() <= 64, "name", "has over 64 bytes"),
            (self.numerics.len() <= 32, "numerics", "has over 32 bytes"),
            (self.clock.blocks_per_window >= 4, "clock.blocks_per_window", "must be at least 4"),
            (
                budget.seal_blocks >= 2 && budget.seal_blocks < self.clock.blocks_per_window,
                "budget.seal_blocks",
                "must be at least 2, since a commitment takes a block, and under a window",
            ),
            (
                budget.reveal_blocks >= 1
                    && budget.reveal_blocks < budget.judge_blocks
                    && budget.judge_blocks < budget.apply_blocks
                    && budget.apply_blocks + budget.seal_blocks < self.clock.blocks_per_window,
                "budget",
                "wants 1 <= reveal < judge < apply, and apply + seal within a window",
            ),
            (budget.checkpoint_windows >= 1, "budget.checkpoint_windows", "must be at least 1"),
            (
                budget.retention_windows >= 2 * budget.checkpoint_windows,
                "budget.retention_windows",
                "must hold two checkpoints",
            ),
            (
                (1..=self.model.max_position_embeddings).contains(&self.data.sequence_length),
                "data.sequence_length",
                "must be 1 to the model's max_position_embeddings",
            ),
            ((1..=4096).contains(&self.data.sequences_per_batch), "data.sequences_per_batch", "must be 1 to 4096"),
            ((1..=65_536).contains(&self.data.batches_per_window), "data.batches_per_window", "must be 1 to 65536"),
            ((1..=4096).contains(&self.data.slots), "data.slots", "must be 1 to 4096"),
            (rate(inner.schedule.peak) && inner.schedule.peak < 1.0, "inner.schedule.peak", "must be in (0, 1)"),
            (share(f64::from(inner.schedule.final_share)), "inner.schedule.final_share", "must be in [0, 1]"),
            (
                share(f64::from(inner.beta1)) && share(f64::from(inner.beta2)) && rate(inner.epsilon),
                "inner",
                "betas must be in [0, 1], epsilon over 0",
            ),
            (rate(inner.clip_norm) && share(f64::from(inner.weight_decay)), "inner", "clip_norm or weight_decay"),
            ((2..=64).contains(&judging.evaluation_parts), "judging.evaluation_parts", "must be 2 to 64"),
            (
                judging.evaluation_sequences >= judging.evaluation_parts
                    && judging.evaluation_sequences.is_multiple_of(judging.evaluation_parts)
                    && judging.evaluation_sequences <= 65_536,
                "judging.evaluation_sequences",
                "must be a multiple of evaluation_parts, 65536 at most",
            ),
            ((1..=256).contains(&judging.selected), "judging.selected", "must be 1 to 256"),
            (judging.newcomer_places <= judging.selected, "judging.newcomer_places", "must be at most `selected`"),
            (
                share(judging.admission_share) && share(judging.confirmation_share) && share(judging.copy_agreement),
                "judging",
                "shares must be in [0, 1]",
            ),
            (judging.rating_process_noise > 0.0, "judging.rating_process_noise", "must be over 0"),
            (judging.held_out_sequences >= 1, "judging.held_out_sequences", "must be at least 1"),
            (share(self.economics.unselected_share), "economics.unselected_share", "must be in [0, 1]"),
            (self.economics.averaged_windows >= 1, "economics.averaged_windows", "must be at least 1"),
            (self.economics.weights_every_windows >= 1, "economics.weights_every_windows", "must be at least 1"),
        ]
        .into_iter()
        .chain(outer.checks())
        {
            if !holds {
                return Err(GenesisError::Field { field, reason });
            }
        }
        Ok(())
    }
}
