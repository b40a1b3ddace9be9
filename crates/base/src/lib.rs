//! The ground that every other crate of templar stands on: ids, hashes, keys and signatures, amounts, window
//! arithmetic, seeded randomness, and the genesis document of a run.
//!
//! Nothing here does I/O or reads a clock. Values check themselves when they are made, so that the rest of the code
//! may rely on them.
//!
//! ```
//! use templar_base::{BlockNumber, Keypair, Window, WindowClock};
//!
//! let alice = Keypair::from_uri("//Alice").unwrap();
//! assert_eq!(alice.public().to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
//!
//! let clock = WindowClock { start_block: BlockNumber(10), blocks_per_window: 20 };
//! assert_eq!(clock.window_of(BlockNumber(30)), Some(Window(1)));
//! ```

mod amount;
mod fault;
mod genesis;
mod hash;
mod id;
mod keys;
mod model;
mod outer_rule;
pub mod random;
mod setting;
mod window;

pub use amount::{Alpha, AmountError, RAO_PER_TAO, Rao};
pub use fault::{AtFault, Fault};
pub use genesis::{
    DataRule, Economics, FirstParameters, GENESIS_VERSION, Genesis, GenesisError, InnerOptimiser, InnerSchedule,
    JudgingRule, MatrixOptimiser, WindowBudget,
};
pub use hash::{Beacon, BlockHash, ContentHash, RunId, StateHash, StateRoot, TransactionHash};
pub use id::{BlockNumber, Netuid, Uid, Window};
pub use keys::{KeyError, Keypair, PublicKey, Signature};
pub use model::{ModelConfig, ModelConfigError, RopeScaling};
pub use outer_rule::{Domain, MergeMethod, OuterRule, StepRule, TensorClass, ValueCoding};
pub use setting::{MILLIONTHS, RunSetting, SettingChange, WindowRules};
pub use window::WindowClock;
