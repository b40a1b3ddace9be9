//! What a node has in hand, window by window: the results of some tasks that later ones need.

use crate::gather::Gathered;
use crate::snapshot::Pending;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use templar_base::{ContentHash, Window};
use templar_gradient::Aggregate;
use tokio::sync::watch;

/// Entries of the windows at hand. The lock is held for single reads and writes, never while anything is waited for.
#[derive(Debug)]
pub(crate) struct WindowWork<W> {
    kept: usize,
    windows: Mutex<BTreeMap<Window, W>>,
}

/// What every role has in hand for a window.
#[derive(Debug, Default)]
pub(crate) struct FollowWork {
    /// The aggregate that may be applied or published, and its hash.
    pub aggregate: Option<(ContentHash, Arc<Aggregate>)>,
}

/// What a miner has in hand for a window.
#[derive(Debug, Default)]
pub(crate) struct MinerWork {
    /// The sealed payload, whose key is published after the window's end.
    pub sealed: Option<Pending>,
}

/// What a validator has in hand for a window.
#[derive(Debug, Default)]
pub(crate) struct ValidatorWork {
    /// Ends the gathering.
    pub close: Option<watch::Sender<bool>>,
    /// What was gathered.
    pub gathered: Option<Arc<Gathered>>,
    /// The own verdict.
    pub verdict: Option<OwnVerdict>,
}

/// A validator's own verdict, before it is known whether most of the stake agrees.
#[derive(Debug, Clone)]
pub(crate) struct OwnVerdict {
    /// The signed document, whose hash the vote names.
    pub document: Vec<u8>,
}

impl<W: Default> WindowWork<W> {
    /// Keeps the entries of this many windows.
    pub(crate) fn keeping(kept: usize) -> Self {
        Self { kept: kept.max(1), windows: Mutex::default() }
    }

    /// Changes the entry of a window. The entries farthest from it are dropped where there are too many: a node that
    /// was set back works on older windows than before.
    pub(crate) fn change<T>(&self, window: Window, change: impl FnOnce(&mut W) -> T) -> T {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(windows.entry(window).or_default());
        while windows.len() > self.kept {
            let farthest = windows.keys().max_by_key(|other| other.0.abs_diff(window.0)).copied();
            farthest.and_then(|farthest| windows.remove(&farthest));
        }
        changed
    }

    /// Reads the entry of a window, if there is one.
    pub(crate) fn read<T>(&self, window: Window, read: impl FnOnce(&W) -> Option<T>) -> Option<T> {
        read(self.windows.lock().unwrap_or_else(PoisonError::into_inner).get(&window)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_nearest_to_the_one_at_hand_are_kept() {
        let work = WindowWork::<u32>::keeping(2);
        let known = |work: &WindowWork<u32>| {
            (0..9).filter(|window| work.read(Window(*window), |value| Some(*value)).is_some()).collect::<Vec<u64>>()
        };
        for window in [5, 6, 7] {
            work.change(Window(window), |value| *value = 1);
        }
        assert_eq!(known(&work), [6, 7]);
        // Set back to a checkpoint: what is worked on now must not be what is dropped.
        work.change(Window(3), |value| *value = 1);
        assert_eq!(known(&work), [3, 6]);
    }
}
