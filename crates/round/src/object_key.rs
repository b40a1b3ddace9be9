//! The names of objects in a node's bucket; they sort by window.

use std::fmt;
use templar_base::{Uid, Window};

/// The name of one object. Window numbers are zero-padded, so that names sort as windows do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKey {
    /// The run's genesis document.
    Genesis,
    /// A miner's sealed payload.
    Payload(Window),
    /// The key to it.
    Reveal(Window),
    /// A candidate's sealed payload, in the bucket of a validator that holds it.
    Mirror(Window, Uid),
    /// The key to it, as its miner signed it.
    MirrorKey(Window, Uid),
    /// A validator's full verdict.
    Verdict(Window),
    /// The merged payload.
    Aggregate(Window),
    /// A miner's answer to an audit.
    Audit(Window, Uid),
    /// The state that an audited training began with.
    AuditState(Window, Uid),
    /// What an auditor found wrong with a miner's payload.
    Evidence(Window, Uid),
    /// The hash of that, 32 bytes: it may be large, and is fetched by its hash.
    EvidenceName(Window, Uid),
    /// The manifest of the checkpoint at the start of a window.
    CheckpointManifest(Window),
    /// One file of a checkpoint, by its place in the manifest.
    CheckpointFile(Window, u32),
    /// What a validator found when it put the run's tasks to the model, the last times; it stays when windows go.
    Evaluations,
}

impl ObjectKey {
    /// Prefix of all objects of one window.
    pub fn window_prefix(window: Window) -> String {
        format!("window/{:010}/", window.0)
    }

    /// Prefix of all objects of the checkpoint at the start of one window.
    pub fn checkpoint_prefix(window: Window) -> String {
        format!("checkpoint/{:010}/", window.0)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genesis => f.write_str("genesis.json"),
            Self::Evaluations => f.write_str("evaluations.json"),
            Self::Payload(window) => write!(f, "{}payload", Self::window_prefix(*window)),
            Self::Reveal(window) => write!(f, "{}reveal", Self::window_prefix(*window)),
            Self::Mirror(window, uid) => write!(f, "{}mirror/{uid}", Self::window_prefix(*window)),
            Self::MirrorKey(window, uid) => write!(f, "{}mirror-key/{uid}", Self::window_prefix(*window)),
            Self::Verdict(window) => write!(f, "{}verdict", Self::window_prefix(*window)),
            Self::Aggregate(window) => write!(f, "{}aggregate", Self::window_prefix(*window)),
            Self::Audit(window, uid) => write!(f, "{}audit/{uid}", Self::window_prefix(*window)),
            Self::AuditState(window, uid) => write!(f, "{}audit-state/{uid}", Self::window_prefix(*window)),
            Self::Evidence(window, uid) => write!(f, "{}evidence/{uid}", Self::window_prefix(*window)),
            Self::EvidenceName(window, uid) => write!(f, "{}evidence-name/{uid}", Self::window_prefix(*window)),
            Self::CheckpointManifest(window) => write!(f, "{}manifest.json", Self::checkpoint_prefix(*window)),
            Self::CheckpointFile(window, file) => write!(f, "{}file/{file:05}", Self::checkpoint_prefix(*window)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_windows_do() {
        let names: Vec<String> =
            [2, 10, 100, 99_999].iter().map(|w| ObjectKey::Payload(Window(*w)).to_string()).collect();
        assert!(names.is_sorted());
        assert_eq!(names[0], "window/0000000002/payload");
        assert_eq!(ObjectKey::Mirror(Window(2), Uid(17)).to_string(), "window/0000000002/mirror/17");
    }
}
