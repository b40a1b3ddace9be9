//! Comparisons of the parts of this system with references, on one machine, and their reports.
//!
//! Each module measures one thing and returns its figures, which serialise to JSON and print as [`Section`]s:
//! [`engine`] beside PyTorch, [`bucket`] beside SeaweedFS, [`gradient`] and [`convergence`] beside the published rules
//! of exchange, [`judging`] beside the original's, [`learning`] a network beside training alone, [`ledger`] and
//! [`gateway`] against the clock, [`scale`] a network of a larger model against a machine's memory.
//! `templar bench` calls them; what takes long reports its [`Progress`].
//!
//! ```
//! use templar_bench::convergence::{Choice, Method, Sweep};
//!
//! let methods = Method::all(&[Choice::Diloco, Choice::Ours64], &[10, 30], Sweep::default());
//! assert_eq!(methods.len(), 4);
//! ```

pub mod bucket;
pub mod convergence;
pub mod engine;
mod error;
pub mod gateway;
pub mod gradient;
pub mod judging;
pub mod learning;
pub mod ledger;
mod memory;
pub mod plot;
mod progress;
pub mod scale;
mod section;
pub mod training_plot;

pub use error::{FileError, KeptError};
pub use progress::Progress;
pub use section::{Section, sections};
