//! What every other crate of templar builds on: ids, hashes, amounts, window arithmetic, seeded randomness, the genesis
//! document of a run and, with the feature `keys`, keys and signatures.
//!
//! Nothing here does I/O or reads a clock. Constructors check their values, so that the rest of the code may rely on
//! them.
//!
//! ```
//! use templar_base::{BlockNumber, Rao, Window, WindowClock};
//!
//! let clock = WindowClock { start_block: BlockNumber::new(10), blocks_per_window: 20 };
//! assert_eq!(clock.window_of(BlockNumber::new(30)), Some(Window::new(1)));
//!
//! let fee: Rao = "0.25".parse().unwrap();
//! assert_eq!(Rao::from_whole(1).checked_sub(fee).unwrap().to_string(), "0.750000000");
//! ```
//!
//! | feature | brings |
//! | --- | --- |
//! | `keys` | `Keypair`, `PublicKey`, `Signature`: sr25519, BIP-39 phrases, SS58 addresses |

mod amount;
mod exposition;
mod fault;
mod findings;
mod genesis;
mod hash;
mod id;
#[cfg(feature = "keys")]
mod keys;
mod model;
mod nats;
pub mod random;
mod right_vote;
mod setting;
mod settings_json;
mod step_share;
mod tally;
mod window;

pub use amount::{Alpha, AmountError, RAO_PER_TAO, Rao};
pub use exposition::{EXPOSITION_TYPE, Exposition, MetricKind};
pub use fault::{AtFault, Fault};
pub use findings::{
    AgreedFinding, AgreedFindings, Finding, Findings, FindingsError, MAX_CANDIDATES, MAX_PROBES, Mark, OwnText, Probe,
    Share,
};
pub use genesis::{
    AuditLots, AuditRule, CorpusHashes, DEFAULT_NETUID, DEFAULT_NUMERICS, DataRule, Documents, Domain, Economics,
    ElectorRule, EvaluationRule, EvaluationTask, FIELDS, FeedbackValues, FieldNote, FirstParameters, GENESIS_VERSION,
    Genesis, GenesisError, InnerOptimiser, InnerSchedule, JudgingRule, MAX_EVALUATION_TASKS, MAX_QUESTIONS_BYTES,
    MAX_TASK_NAME_BYTES, MatrixOptimiser, MergeMethod, Milestone, OuterRule, PER_MILLE, Parent, Problem, RateDecay,
    RuleName, ScaleRule, ShortcutGain, StepRule, TensorClass, ValueCoding, WindowBudget, is_open_numerics,
};
pub use hash::{Beacon, BlockHash, ContentHash, RunId, StateHash, StateRoot, TransactionHash};
pub use id::{BlockNumber, Netuid, Uid, Window};
#[cfg(feature = "keys")]
pub use keys::{DEVELOPMENT_PHRASE, KeyError, Keypair, PublicKey, Signature};
pub use model::{ModelConfig, ModelConfigError, RopeScaling};
pub use nats::Nats;
pub use right_vote::{LEAST_COMPARED, is_right};
pub use setting::{MILLIONTHS, RunSetting, SettingChange, WindowRules};
pub use settings_json::settings_json;
pub use step_share::StepShare;
pub use tally::{Histogram, Tally};
pub use window::WindowClock;
