//! Why a dashboard does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a dashboard does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// Somebody else listens there.
    #[error("address {address} is in use; stop the other program, or choose port 0 for a free one")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose an address of this machine")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of metrics cannot be written.
    #[error("cannot write the metrics into {}: {source}; name a file in a folder that exists and can be written", path.display())]
    File {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
