//! A whole network as processes of one machine: plan, set up, watch, restart. It has no screen.
//!
//! [`Folder`] is where everything is stored; [`bring_up`] creates what is missing (keys, ledger, slots, genesis) by a
//! [`Plan`] that fits this machine and starts the processes; [`Children`] restarts those that die; [`Watch`] turns the
//! nodes' journals into windows. `templar up` shows them on a terminal, and a test can do without one.
//!
//! ```
//! use templar_localnet::{Folder, Role, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! let folder = Folder::open(&root.path().join("up"), false)?;
//! folder.save(&Settings::new(1, 2))?;
//! let settings = folder.settings()?.ok_or("the settings were just saved")?;
//! let nodes = settings.nodes();
//! assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["miner-0", "miner-1", "validator-0"]);
//! assert_eq!(nodes[2].role, Role::Validator);
//! # Ok(())
//! # }
//! ```

mod children;
mod error;
mod folder;
mod join;
mod node;
mod nodes;
mod plan;
mod setup;
mod stakes;
mod summary;
mod watch;

pub use children::{Children, Recipe, STOP_WITH_STDIN};
pub use error::{ChildError, SetupError};
pub use folder::{Folder, FolderError, Settings, read_settings};
pub use join::{Joined, join};
pub use node::Node;
pub use nodes::NETUID;
pub use plan::{Inputs, Plan};
pub use setup::{ACCESS_KEY_VARIABLE, Network, NetworkOptions, OWNER, SECRET_KEY_VARIABLE, Stage, bring_up};
pub use stakes::Stakes;
pub use summary::{Summary, Tally};
pub use templar_base::RuleName;
pub use templar_round::Role;
pub use watch::{NodeView, View, Watch, WindowEvent};
