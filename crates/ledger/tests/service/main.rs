//! The ledger as a service: its clients, its copies, and who lies to them.

mod connections;
mod contract;
mod follower;
mod liars;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
