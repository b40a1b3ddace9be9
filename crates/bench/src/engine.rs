//! Training, evaluation and generation beside PyTorch on the CPU, in turn, with the ratios; and our engine on PyTorch beside
//! plain PyTorch, on any of its devices.
//!
//! Each engine runs in a process of its own ([`serve_worker`] is ours), and they take turns for some rounds.

mod choice;
mod error;
mod measure;
mod models;
mod on_device;
mod process;
mod python;
mod report;
mod second_thread;
mod turns;
mod window_cost;
mod worker;

pub use choice::EngineBench;
pub use error::EngineBenchError;
pub use models::names;
pub use report::{Figures, Report};
pub use window_cost::WindowCost;
pub use worker::{EngineWorker, serve_worker};
