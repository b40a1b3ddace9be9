//! A whole network as processes of one machine: plan, set up, watch, restart. It has no screen.
//!
//! [`Folder`] is where everything is stored. [`Folder::prepare`] makes a new network by a [`Plan`] that fits this machine
//! and its text, [`Folder::check`] finds out whether an existing one is whole and what it may become: only then
//! [`bring_up`] starts the processes. [`Children`] restarts those that die; [`Watch`] turns the nodes' journals into
//! windows. `templar up` shows them on a terminal, and a test can do without one.
//!
//! ```
//! use templar_localnet::{Folder, Role, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! let folder = Folder::open(&root.path().join("up"))?;
//! folder.save(&Settings::new(1, 2))?;
//! let settings = folder.settings()?.ok_or("the settings were just saved")?;
//! let nodes = settings.nodes();
//! assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["miner-0", "miner-1", "validator-0"]);
//! assert_eq!(nodes[2].role, Role::Validator);
//! # Ok(())
//! # }
//! ```

mod children;
mod draft;
mod error;
mod existing;
mod fit;
mod folder;
mod follow;
mod gateway;
pub mod interrupt;
mod join;
mod listen;
mod memory;
mod node;
mod nodes;
mod plan;
mod prepare;
mod record_watch;
mod setup;
mod share;
mod stakes;
mod summary;
mod trained;
mod watch;
mod wishes;

pub use children::{Children, Recipe, STOP_WITH_STDIN};
pub use draft::Draft;
pub use error::{ChildError, SetupError};
pub use existing::Checked;
pub use folder::{Folder, FolderError, Settings, read_settings};
pub use follow::{Follow, NotWatched};
pub use gateway::{gateway_of, start_gateway};
pub use join::{Joined, Place};
pub use listen::{ListenError, listen_address, machine_address, metrics_place};
pub use node::Node;
pub use nodes::NETUID;
pub use plan::{Inputs, Plan};
pub use prepare::Preparing;
pub use record_watch::RecordWatch;
pub use setup::{ACCESS_KEY_VARIABLE, Network, OWNER, SECRET_KEY_VARIABLE, Stage, bring_up};
pub use share::{FetchedRun, RunAddress, ShareError};
pub use stakes::Stakes;
pub use summary::{Summary, Tally};
pub use templar_base::RuleName;
pub use templar_round::Role;
pub use trained::{OpenRecord, Trained, TrainedError, newest_model, save_checkpoint};
pub use watch::{NOTHING_GAINED, NodeView, View, ViewSource, Watch, WindowEvent};
pub use wishes::{By, NetworkOptions, Wish};
