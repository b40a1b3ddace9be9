//! Exact arithmetic that the rules stand on.

pub mod fixed;
pub(crate) mod wide;
