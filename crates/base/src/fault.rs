//! Whose fault an error is: the one notion by which every crate decides whether to retry, whom to reject and what to
//! report.
//!
//! ```
//! use templar_base::{AtFault, Fault};
//!
//! enum ReadError {
//!     TimedOut,
//!     WrongHash,
//! }
//!
//! impl AtFault for ReadError {
//!     fn fault(&self) -> Fault {
//!         match self {
//!             Self::TimedOut => Fault::Passing,
//!             Self::WrongHash => Fault::Peer,
//!         }
//!     }
//! }
//!
//! assert!(ReadError::TimedOut.is_retryable());
//! assert!(!ReadError::WrongHash.is_retryable());
//! ```

use std::fmt;

/// Where an error comes from, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A condition that passes, such as a timeout or a server that is away: the same request may succeed later, and
    /// repeating it does no harm.
    Passing,
    /// A peer sent what it must not send: reject it, and do not ask that peer for the same again.
    Peer,
    /// The operator of this node has to act: a wrong setting, a missing right, a full disk.
    Operator,
    /// A bug, or an inconsistency of this node's own state: stop what would make it worse, and report it.
    Ours,
}

impl Fault {
    /// Whether the same request, repeated unchanged, may succeed.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Passing)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passing => "passing",
            Self::Peer => "peer",
            Self::Operator => "operator",
            Self::Ours => "ours",
        })
    }
}

/// An error that knows whose fault it is.
pub trait AtFault {
    /// Whose fault the error is.
    fn fault(&self) -> Fault;

    /// Whether the same request, repeated unchanged, may succeed.
    fn is_retryable(&self) -> bool {
        self.fault().is_retryable()
    }
}
