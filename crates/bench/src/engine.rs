//! Training, evaluation and generation beside PyTorch on the CPU, in turn, with the ratios.
//!
//! Each engine runs in a process of its own ([`serve_worker`] is ours), and they take turns for some rounds.

mod choice;
mod error;
mod measure;
mod models;
mod process;
mod python;
mod report;
mod second_thread;
mod turns;
mod worker;

pub use choice::EngineBench;
pub use error::EngineBenchError;
pub use measure::{Plan, measure};
pub use models::names;
pub use report::{Figures, Report};
pub use worker::serve_worker;
