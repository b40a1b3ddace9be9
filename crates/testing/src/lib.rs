//! What the tests of several crates share. Never published.
//!
//! Each part is behind a feature named after the crate that it needs, so that the tests of a small crate stay small.
//! Everything here may panic: a panic is how a test fails.

mod allocation;
#[cfg(feature = "bucket")]
pub mod bucket_contract;
#[cfg(feature = "chain")]
pub mod chain_contract;
mod exposition;
#[cfg(feature = "disk")]
mod failing_disk;
#[cfg(feature = "bucket")]
mod fault_proxy;
mod replay;
#[cfg(feature = "bucket")]
pub mod seaweedfs;

pub use allocation::{CountingAllocator, bytes_in_use, peak_bytes_of};
pub use exposition::samples_of;
#[cfg(feature = "disk")]
pub use failing_disk::FailingDisk;
#[cfg(feature = "bucket")]
pub use fault_proxy::{Fault, FaultProxy};
pub use replay::{Decoder, check_seeds, replay};
