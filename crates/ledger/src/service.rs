//! A ledger as a service: on disk, with a queue, behind JSON-RPC, and copies that follow it.

pub(crate) mod authority;
mod counts;
mod guard;
pub(crate) mod local;
mod mempool;
pub(crate) mod meter;
mod queries;
pub(crate) mod replica;
#[cfg(feature = "server")]
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod store_error;
mod view;
