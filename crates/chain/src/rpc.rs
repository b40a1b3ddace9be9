//! A ledger over JSON-RPC: one trait that names the methods for both sides, and the client.

#[cfg(feature = "client")]
mod address;
mod api;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod connection;

pub use api::LEDGER_ERROR_CODE;
#[cfg(feature = "client")]
pub use api::LedgerRpcClient;
#[cfg(feature = "server")]
pub use api::LedgerRpcServer;
#[cfg(feature = "client")]
pub use client::RpcChain;
#[cfg(feature = "client")]
pub use connection::RpcOptions;
