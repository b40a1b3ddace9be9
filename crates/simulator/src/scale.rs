//! What a run costs at sizes that nobody has at home, by simulation, beside the published rule at the same links.

use crate::report::bytes;
use crate::scenario::{ClockChoice, Group, ModelChoice, RoleChoice, RulesChoice, Scenario};
use crate::{ScenarioError, Sizes, Violation};
use serde::Serialize;
use templar_base::Genesis;
use templar_record::MemoryOutlook;

/// What the figures rest on, for people.
pub const ASSUMPTIONS: &[&str] = &[
    "bytes of payloads and aggregates: from the code that makes them, on random values; real ones are smaller",
    "compressing 1.5 million, decoding 127 million kept values a second and core: measured (docs/benchmarks.md)",
    "outer step, state root and rebase at 60 million parameters a second and core, 64 cores: assumed",
    "training pauses while its processor compresses and applies; uploads and downloads do not stop it",
    "8 accelerators a node at 40 % of 989 TFLOP/s, six operations a parameter and token: assumed",
    "judging takes 1,300 forward passes of a sequence in a window, whatever is registered: an upper bound, 939 were counted",
    "8 validators; miners at 500/110, validators at 2000/1000 Mb/s down/up; buckets are object storage, without limit",
    "a checkpoint is f32; a joiner takes it, then every aggregate since, over its own link",
    "a message on the ledger has 104 bytes besides its body: key, signature, nonce",
    "groups: one is simulated, what lies above it is computed; 8 validators a group judge what groups send as well",
    "memory: computed from the layout of the engine, not measured at these sizes",
    "published rule: 14 bits a kept value, everybody uploads one payload and downloads 20 before training goes on",
];

/// Assumed: operations a second of a node.
const OPERATIONS: f64 = 8.0 * 989e12 * 0.4;
const VALIDATORS: usize = 8;
const CORES: u64 = 64;
const MINER_MBIT: (u64, u64) = (500, 110);
const VALIDATOR_MBIT: (u64, u64) = (2_000, 1_000);
/// Bits of a kept value of the published coding, and how many payloads everybody fetches.
const PUBLISHED_BITS: u64 = 14;
const PUBLISHED_PEERS: u64 = 20;
const MESSAGE_OVERHEAD: u64 = 104;
/// The window in which one more miner comes, when the first objects are gone.
const JOINS: u64 = 6;
const WINDOWS: u64 = 12;

/// One size.
#[derive(Debug, Clone, Copy)]
struct Case {
    preset: &'static str,
    miners: usize,
    block_ms: u64,
    window_blocks: u64,
    seal_blocks: u64,
    pool: usize,
    /// Miners of a group, where miners form groups.
    group: Option<usize>,
}

/// Windows from one merge of all groups to the next. What a group sends then keeps as many times the values of a miner's
/// payload.
const GROUPS_MERGE_EVERY: u16 = 4;

const CASES: [Case; 5] = [
    Case { preset: "1b", miners: 200, block_ms: 1_000, window_blocks: 300, seal_blocks: 10, pool: 64, group: None },
    Case { preset: "72b", miners: 20, block_ms: 12_000, window_blocks: 200, seal_blocks: 20, pool: 24, group: None },
    Case { preset: "72b", miners: 200, block_ms: 12_000, window_blocks: 200, seal_blocks: 20, pool: 24, group: None },
    Case { preset: "72b", miners: 1_000, block_ms: 12_000, window_blocks: 200, seal_blocks: 20, pool: 24, group: None },
    Case {
        preset: "72b",
        miners: 1_000,
        block_ms: 12_000,
        window_blocks: 200,
        seal_blocks: 20,
        pool: 24,
        group: Some(30),
    },
];

/// The published rule at the same links.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Bytes that everybody downloads in a window.
    pub down: u64,
    /// Bytes that everybody uploads.
    pub up: u64,
    /// Seconds of communication, in which a miner does not train.
    pub seconds: f64,
    /// Share of the time in which it trains, if the rest of a window is as long as ours.
    pub utilisation: f64,
}

/// Miners in groups of their own, each with its own aggregate in every window and its own validators; the groups are merged
/// with each other every few windows, as miners are. One group is simulated; what lies above it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Groups {
    /// Groups.
    pub count: usize,
    /// Windows from one merge of all groups to the next.
    pub merge_every: u64,
    /// Bytes that a group sends for such a merge.
    pub payload_bytes: u64,
    /// Bytes of the aggregate of all groups.
    pub aggregate_bytes: u64,
}

/// What a size comes to, a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename = "size")]
pub struct ScaleRow {
    /// Parameters of the model.
    pub parameters: u64,
    /// Registered miners.
    pub miners: usize,
    /// How they are grouped; none where all are one.
    pub groups: Option<Groups>,
    /// Payloads that are merged.
    pub merged: usize,
    /// Seconds of a window.
    pub window_seconds: f64,
    /// Share of the time in which miners train.
    pub utilisation: f64,
    /// Windows in which nothing was merged.
    pub null: usize,
    /// Bytes that a miner downloads.
    pub miner_down: u64,
    /// Bytes that it uploads.
    pub miner_up: u64,
    /// Bytes that a validator downloads.
    pub validator_down: u64,
    /// Bytes that it uploads, checkpoints not counted.
    pub validator_up: u64,
    /// Seconds of its judging and merging.
    pub validator_seconds: f64,
    /// Bytes of its memory.
    pub validator_memory: u64,
    /// Seconds until a new miner is in step.
    pub join_seconds: Option<f64>,
    /// Messages on the ledger.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// The published rule.
    pub published: Published,
}

/// Simulates all sizes.
pub fn scale(mut report: impl FnMut(&ScaleRow) -> Result<(), String>) -> Result<(), String> {
    CASES.iter().try_for_each(|case| report(&case.row().map_err(|error| error.to_string())?))
}

#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("{0}")]
    Sizes(String),
}

impl Case {
    fn group(&self, name: &str, role: RoleChoice, count: usize, mbit: (u64, u64), parameters: u64) -> Group {
        Group {
            name: name.to_owned(),
            role,
            count,
            stake: 100,
            down_mbit: Some(mbit.0),
            up_mbit: Some(mbit.1),
            bucket_mbit: None,
            latency_ms: 80,
            loss: 0.0,
            tokens_per_second: (OPERATIONS / (6.0 * parameters as f64)) as u64,
            cores: CORES,
            behaviour: Default::default(),
            serves: None,
            corruptible: false,
            joins_window: 0,
        }
    }

    fn scenario(&self, parameters: u64) -> Scenario {
        let late = Group { joins_window: JOINS, ..self.group("late", RoleChoice::Miner, 1, MINER_MBIT, parameters) };
        Scenario {
            name: format!("{} with {} miners", self.preset, self.miners),
            seed: 1,
            windows: WINDOWS,
            model: ModelChoice::Cost { preset: self.preset.to_owned(), vocabulary: 131_072, sequence_length: 2_048 },
            clock: ClockChoice {
                block_ms: self.block_ms,
                window_blocks: self.window_blocks,
                seal_blocks: Some(self.seal_blocks),
                retention_windows: Some(4),
                checkpoint_windows: Some(2),
                ..ClockChoice::default()
            },
            rules: RulesChoice { pool: Some(self.pool), ..RulesChoice::default() },
            electors: None,
            groups: vec![
                self.group("validators", RoleChoice::Validator, VALIDATORS, VALIDATOR_MBIT, parameters),
                self.group("miners", RoleChoice::Miner, self.simulated() - 1, MINER_MBIT, parameters),
                late,
            ],
            faults: Default::default(),
            partitions: Vec::new(),
        }
    }

    /// Miners that are simulated: all, or one group of them.
    fn simulated(&self) -> usize {
        self.group.unwrap_or(self.miners)
    }

    fn groups(&self, genesis: &Genesis) -> Result<Option<Groups>, ScaleError> {
        let Some(size) = self.group else { return Ok(None) };
        let count = self.miners.div_ceil(size);
        let (payload_bytes, aggregate_bytes) =
            Sizes::at(genesis, GROUPS_MERGE_EVERY, count as u16).map_err(ScaleError::Sizes)?;
        Ok(Some(Groups { count, merge_every: GROUPS_MERGE_EVERY.into(), payload_bytes, aggregate_bytes }))
    }

    fn row(&self) -> Result<ScaleRow, ScaleError> {
        // The sizes first: the speed of training follows from the number of parameters.
        let genesis = self.scenario(1).genesis(1)?;
        let sizes = Sizes::of(&genesis).map_err(ScaleError::Sizes)?;
        let scenario = self.scenario(sizes.parameters);
        let mut world = scenario.world(None)?;
        world.run_to(scenario.last_block())?;
        world.check_history()?;
        let joined = &world.nodes[VALIDATORS + self.simulated() - 1];
        let start = JOINS * self.window_blocks * self.block_ms;
        let join_seconds = joined.in_step_at.map(|at| at.0.saturating_sub(start) as f64 / 1e3);
        // Windows between the first, in which nothing is merged yet, and the newcomer's.
        let quiet: Vec<_> = world.windows().iter().filter(|row| (1..JOINS).contains(&row.window)).collect();
        let mean = |of: fn(&crate::WindowReport) -> u64| {
            quiet.iter().map(|row| of(row)).sum::<u64>() / quiet.len().max(1) as u64
        };
        let messages = mean(|row| row.messages);
        let window_seconds = (self.window_blocks * self.block_ms) as f64 / 1e3;
        let row = ScaleRow {
            parameters: sizes.parameters,
            miners: self.miners,
            groups: None,
            merged: genesis.judging.selected.min(self.simulated()),
            window_seconds,
            utilisation: quiet.iter().map(|row| row.utilisation).sum::<f64>() / quiet.len().max(1) as f64,
            null: world.windows().iter().filter(|row| row.null.is_some()).count(),
            miner_down: mean(|row| row.miner.down),
            miner_up: mean(|row| row.miner.up),
            validator_down: mean(|row| row.validator.down),
            validator_up: quiet.iter().map(|row| row.validator.up).min().unwrap_or(0),
            validator_seconds: quiet.iter().map(|row| row.judging_seconds).fold(0.0, f64::max),
            validator_memory: MemoryOutlook::of(&genesis).validator_bytes,
            join_seconds,
            messages,
            message_bytes: mean(|row| row.message_bytes) + messages * MESSAGE_OVERHEAD,
            published: Published::of(sizes.kept, window_seconds),
        };
        Ok(match self.groups(&genesis)? {
            Some(groups) => row.above(groups),
            None => row,
        })
    }
}

impl ScaleRow {
    /// One group's figures as all groups', with what they move between them in the mean of their windows.
    fn above(self, groups: Groups) -> Self {
        let a_window = |amount: u64| amount / groups.merge_every;
        Self {
            merged: self.merged * groups.count,
            miner_down: self.miner_down + a_window(groups.aggregate_bytes),
            // One validator of a group makes and sends its payload; all fetch and judge those of the groups.
            validator_down: self.validator_down
                + a_window(groups.aggregate_bytes + groups.payload_bytes * groups.count as u64),
            validator_up: self.validator_up + a_window(groups.aggregate_bytes),
            validator_seconds: self.validator_seconds * (1.0 + 1.0 / groups.merge_every as f64),
            messages: self.messages * groups.count as u64,
            message_bytes: self.message_bytes * groups.count as u64,
            groups: Some(groups),
            ..self
        }
    }
}

impl Published {
    fn of(kept: u64, window_seconds: f64) -> Self {
        let up = kept * PUBLISHED_BITS / 8;
        let down = up * PUBLISHED_PEERS;
        let seconds = |bytes: u64, mbit: u64| bytes as f64 * 8.0 / (mbit as f64 * 1e6);
        let seconds = seconds(up, MINER_MBIT.1) + seconds(down, MINER_MBIT.0);
        Self { down, up, seconds, utilisation: window_seconds / (window_seconds + seconds) }
    }
}

/// A size in lines for people.
pub fn scale_text(row: &ScaleRow) -> String {
    let billions = row.parameters as f64 / 1e9;
    let join = row.join_seconds.map_or_else(|| "longer than simulated".to_owned(), duration);
    let published = &row.published;
    let groups = row.groups.map_or_else(String::new, |groups| {
        let Groups { count, merge_every, payload_bytes, aggregate_bytes } = groups;
        let (payload, aggregate) = (bytes(payload_bytes), bytes(aggregate_bytes));
        format!(
            "\n  {count} groups, merged every {merge_every} windows: {payload} a group, an aggregate of {aggregate}"
        )
    });
    format!(
        "{billions:.1}B, {} miners, windows of {}, {} null of {WINDOWS}, {} merged{groups}\n\
         \x20 utilisation     {:6.2} %   published rule {:6.2} %\n\
         \x20 a miner         {} down, {} up   published rule {} down, {} up, {} without training\n\
         \x20 a validator     {} down, {} up, {} of judging and merging, {} of memory\n\
         \x20 a newcomer      in step after {join}\n\
         \x20 the ledger      {} messages, {}",
        row.miners,
        duration(row.window_seconds),
        row.null,
        row.merged,
        100.0 * row.utilisation,
        100.0 * published.utilisation,
        bytes(row.miner_down),
        bytes(row.miner_up),
        bytes(published.down),
        bytes(published.up),
        duration(published.seconds),
        bytes(row.validator_down),
        bytes(row.validator_up),
        duration(row.validator_seconds),
        bytes(row.validator_memory),
        row.messages,
        bytes(row.message_bytes),
    )
}

fn duration(seconds: f64) -> String {
    if seconds >= 600.0 { format!("{:.0} min", seconds / 60.0) } else { format!("{seconds:.0} s") }
}
