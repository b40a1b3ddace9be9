//! Limits, so that no client can exhaust the server and no reader the ledger.

use std::time::Duration;

/// Limits of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most finished windows that are kept in memory; older ones are not shown.
    pub windows: usize,
    /// Least time between two looks at the ledger.
    pub pause: Duration,
    /// Most open connections.
    pub max_connections: usize,
    /// Most open connections of one address (IPv6: one /64).
    pub max_connections_per_address: usize,
    /// Most live streams of events.
    pub max_streams: usize,
    /// Most live streams of one address.
    pub max_streams_per_address: usize,
    /// Longest wait for a request's head, and for the next request on an open connection.
    pub header_timeout: Duration,
    /// Longest time that a client may leave bytes of an answer untaken.
    pub write_timeout: Duration,
    /// Longest life of a connection; a live stream reconnects by itself.
    pub connection_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            windows: 1_024,
            pause: Duration::from_secs(1),
            max_connections: 512,
            max_connections_per_address: 64,
            max_streams: 128,
            max_streams_per_address: 16,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            connection_lifetime: Duration::from_secs(600),
        }
    }
}
