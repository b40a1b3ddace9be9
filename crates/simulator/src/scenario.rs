//! Scenario files: a whole network in TOML. The fields are those of docs/simulator.md.

mod check;
mod setup;

use crate::{Behaviour, Faults};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use templar_base::{ElectorRule, Problem};

/// A scenario, as its file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A name for people.
    pub name: String,
    /// Of everything that is drawn; another one can be given for a run.
    #[serde(default)]
    pub seed: u64,
    /// Windows to simulate.
    pub windows: u64,
    /// What is trained.
    pub model: ModelChoice,
    /// Blocks and phases.
    #[serde(default)]
    pub clock: ClockChoice,
    /// What the rules select.
    #[serde(default)]
    pub rules: RulesChoice,
    /// Whose stake counts by its right votes; all validators' where it is left out.
    #[serde(default)]
    pub electors: Option<ElectorRule>,
    /// The nodes, by groups of equals.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    /// What goes wrong at random.
    #[serde(default)]
    pub faults: Faults,
    /// When the network is cut.
    #[serde(default, rename = "partition")]
    pub partitions: Vec<PartitionChoice>,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelChoice {
    /// Sizes and times only.
    Cost {
        /// Name of a preset, such as `1b`.
        preset: String,
        /// Tokens of the vocabulary.
        #[serde(default = "defaults::vocabulary")]
        vocabulary: usize,
        /// Tokens of a sequence.
        #[serde(default = "defaults::sequence_length")]
        sequence_length: usize,
    },
    /// A small model that is trained, judged and merged.
    Real {
        /// Width of the model, a multiple of 8.
        #[serde(default = "defaults::hidden")]
        hidden: usize,
        /// Layers.
        #[serde(default = "defaults::layers")]
        layers: usize,
        /// Most inner steps in a window.
        #[serde(default = "defaults::steps")]
        steps: usize,
    },
}

/// Blocks and phases of a window; what is left out follows from the length of a window as in a genesis.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockChoice {
    /// Milliseconds between blocks.
    pub block_ms: u64,
    /// Blocks of a window.
    pub window_blocks: u64,
    /// Blocks before a window's end at which miners seal.
    pub seal_blocks: Option<u64>,
    /// Blocks after it until keys are due.
    pub reveal_blocks: Option<u64>,
    /// Blocks after it until what validators hold counts; where it is left out, each judges what it has fetched.
    pub hold_blocks: Option<u64>,
    /// Blocks after it until votes are sealed.
    pub judge_blocks: Option<u64>,
    /// Blocks after it until votes are open.
    pub open_blocks: Option<u64>,
    /// Blocks after it until the step is applied.
    pub apply_blocks: Option<u64>,
    /// Windows for which objects are kept.
    pub retention_windows: Option<u64>,
    /// A checkpoint every N windows.
    pub checkpoint_windows: Option<u64>,
}

impl Default for ClockChoice {
    fn default() -> Self {
        Self {
            block_ms: 1_000,
            window_blocks: 60,
            seal_blocks: None,
            reveal_blocks: None,
            hold_blocks: None,
            judge_blocks: None,
            open_blocks: None,
            apply_blocks: None,
            retention_windows: None,
            checkpoint_windows: None,
        }
    }
}

/// What the rules select.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesChoice {
    /// Most payloads that are merged.
    pub selected: usize,
    /// Most payloads that are judged, drawn by lot; all where it is left out.
    pub pool: Option<usize>,
    /// Payloads that a validator fetches at a time.
    pub lanes: usize,
}

impl Default for RulesChoice {
    fn default() -> Self {
        Self { selected: 15, pool: None, lanes: 16 }
    }
}

/// What nodes of a group do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleChoice {
    /// Judges and votes.
    Validator,
    /// Trains and sends.
    Miner,
    /// Follows and writes nothing.
    Follower,
}

/// Equal nodes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// A name for people and partitions.
    pub name: String,
    /// What they do.
    pub role: RoleChoice,
    /// How many.
    #[serde(default = "defaults::one")]
    pub count: usize,
    /// Of each validator.
    #[serde(default = "defaults::stake")]
    pub stake: u64,
    /// Megabits a second from buckets; no limit where it is left out.
    pub down_mbit: Option<u64>,
    /// Megabits a second into the own bucket; no limit where it is left out.
    pub up_mbit: Option<u64>,
    /// Megabits a second out of the own bucket, to all readers; no limit where it is left out, as in object storage.
    pub bucket_mbit: Option<u64>,
    /// Milliseconds to the ledger and to buckets, one way.
    #[serde(default)]
    pub latency_ms: u64,
    /// Share of requests that are lost and repeated.
    #[serde(default)]
    pub loss: f64,
    /// Tokens a second that each trains.
    #[serde(default = "defaults::tokens_per_second")]
    pub tokens_per_second: u64,
    /// Cores that compress, merge and apply.
    #[serde(default = "defaults::cores")]
    pub cores: u64,
    /// How they treat the others.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Names of the groups that their buckets serve; all where it is left out.
    pub serves: Option<Vec<String>>,
    /// Whether `faults.corruption` may happen to them.
    #[serde(default)]
    pub corruptible: bool,
    /// The window in which they come.
    #[serde(default)]
    pub joins_window: u64,
}

/// Groups that are cut off from the ledger and from all others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionChoice {
    /// Names of groups.
    pub groups: Vec<String>,
    /// First block.
    pub from_block: u64,
    /// First block after it.
    pub until_block: u64,
}

/// A scenario that cannot be simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; name a scenario file, such as scenarios/honest.toml", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML of this form.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Values that cannot be used.
    #[error("{}: field {}{}", path.display(), problems.first().map(ToString::to_string).unwrap_or_default(), more(problems))]
    Values {
        /// The file.
        path: PathBuf,
        /// All of them, at least one.
        problems: Vec<Problem>,
    },
    /// The rules or the model cannot be made from it.
    #[error("the scenario cannot be simulated: {0}")]
    Rules(String),
}

fn more(problems: &[Problem]) -> String {
    match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more; `templar simulate check` lists all)", count - 1),
    }
}

impl Scenario {
    /// Reads a file whose values may be anything.
    pub fn read_unchecked(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| ScenarioError::Malformed { path: path.to_owned(), source: Box::new(source) })
    }

    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let scenario = Self::read_unchecked(path)?;
        let problems = scenario.problems();
        if problems.is_empty() { Ok(scenario) } else { Err(ScenarioError::Values { path: path.to_owned(), problems }) }
    }
}

mod defaults {
    pub const fn vocabulary() -> usize {
        32_768
    }
    pub const fn sequence_length() -> usize {
        2_048
    }
    pub const fn hidden() -> usize {
        32
    }
    pub const fn layers() -> usize {
        1
    }
    pub const fn steps() -> usize {
        40
    }
    pub const fn one() -> usize {
        1
    }
    pub const fn stake() -> u64 {
        100
    }
    pub const fn tokens_per_second() -> u64 {
        2_000
    }
    pub const fn cores() -> u64 {
        16
    }
}
