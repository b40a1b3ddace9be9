//! Whole networks of templar nodes under a virtual clock, network, disk and adversaries, from one seed.
//!
//! A [`World`] drives the machines of `templar_round` as a node does, and checks the [`invariants`] after every event.
//! What is trained is a [`Model`]: [`CostModel`] has sizes only, so that
//! thousands of nodes take seconds; [`RealModel`] is trained, judged and merged. A [`Scenario`] says it all in a file. No
//! clock is read: equal seeds give equal logs, byte for byte.
//!
//! ```
//! use templar_base::{CorpusHashes, Genesis, ModelConfig};
//! use templar_simulator::{CostModel, Faults, NodeSpec, Role, Setup, World};
//!
//! let mut nodes: Vec<NodeSpec> = [40, 35, 25].map(|stake| NodeSpec::near(Role::Validator { stake })).into();
//! nodes.extend((0..4).map(|_| NodeSpec::near(Role::Miner)));
//! let mut world = World::new(Setup {
//!     seed: 7,
//!     genesis: Genesis::small(ModelConfig::tiny(256), CorpusHashes::default()),
//!     block_time: 1_000,
//!     nodes,
//!     faults: Faults::none(),
//!     partitions: Vec::new(),
//!     model: Box::new(CostModel::FREE),
//!     pool: None,
//!     lanes: 16,
//! });
//! world.run_to(4 * 32)?;
//! assert!(world.windows().iter().all(|window| window.merged == 4));
//! # Ok::<(), templar_simulator::Violation>(())
//! ```

mod attacks;
mod chain;
mod costs;
mod faults;
pub mod invariants;
mod links;
mod log;
mod machine;
mod model;
mod node;
mod original;
mod report;
mod scale;
mod scenario;
mod simulate;
mod time;
mod world;

pub use attacks::{
    ATTACK_HEADS, Aim, ArenaRun, ArenaSizes, Attack, AttackError, AttackOptions, FinishedRun, JudgingName, KeyTally,
    Row, Spread, attacks, run_attacks,
};
pub use costs::{Machinery, Sizes};
pub use faults::{Faults, Partition};
pub use invariants::{Invariant, Violation};
pub use links::Bandwidth;
pub use machine::{Effect, Machine, Role, selected};
pub use model::{CostModel, Judgement, Judging, MinerWindow, Model, ModelError, RealModel, SealOrder, Step};
pub use node::{Behaviour, Node, NodeSpec, Tally, WorkTimes};
pub use original::{Original, OriginalRuling, OriginalWindow, TrialModel, TriedOn};
pub use report::{HEADS, MinerSummary, NullReason, Summary, Traffic, WindowReport};
pub use scale::{ASSUMPTIONS, Groups, Published, ScaleRow, scale, scale_text};
pub use scenario::{
    ClockChoice, Group, ModelChoice, PartitionChoice, RoleChoice, RulesChoice, Scenario, ScenarioError,
};
pub use simulate::{SimulationError, check, simulate};
pub use time::Moment;
pub use world::{Setup, World};
