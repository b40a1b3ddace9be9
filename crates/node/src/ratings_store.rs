//! The agreed ratings, on this node's disk: they move window by window, by what the ledger's votes say.

use crate::{DataFolder, NodeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use templar_base::{AuditLots, ContentHash, ElectorRule, Uid, Window};
use templar_gauntlet::{JudgeStanding, Ratings};
use tokio::sync::watch;

const FILE: &str = "ratings.json";
/// How long what needs the ratings waits for a window that is being settled.
const SETTLING_DEADLINE: Duration = Duration::from_secs(60);

/// Windows whose lots of audits and whose electors are known: audits of a window go on while the ratings move on.
const KEPT: usize = 8;

/// The lots of those that have not the usual ones.
pub(crate) type UnusualLots = BTreeMap<Uid, AuditLots>;

/// The ratings after the newest settled window. No lock is held while anybody is asked.
#[derive(Debug)]
pub(crate) struct RatingsStore {
    held: Mutex<Held>,
    /// Windows whose settling was begun and is not done.
    settling: watch::Sender<usize>,
    /// The run's rule of whose stake counts.
    rule: Option<ElectorRule>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Held {
    /// The window that was settled last; none before the first.
    window: Option<Window>,
    ratings: Ratings,
    /// How miners take part in the draws of audits of the last windows, as their ratings said after each.
    #[serde(default)]
    lots: Vec<(Window, UnusualLots)>,
    /// Who had judged of late at the starts of the last windows, where stake counts by that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    standings: Vec<(Window, JudgeStanding)>,
}

impl Held {
    /// These ratings after a window, and the lots that follow.
    fn then(self, window: Option<Window>, ratings: Ratings, rule: Option<&ElectorRule>) -> Self {
        let lots_of = |uid: &Uid| (*uid, ratings.audit_lots(*uid));
        let unusual = ratings.miners.keys().map(lots_of).filter(|(_, lots)| *lots != AuditLots::Usual).collect();
        let mut lots = self.lots;
        // A checkpoint may be older than what was held.
        lots.retain(|(past, _)| Some(*past) < window);
        lots.extend(window.map(|window| (window, unusual)));
        lots.drain(..lots.len().saturating_sub(KEPT));
        let next = window.map_or(Window::ZERO, Window::next);
        let mut standings = self.standings;
        standings.retain(|(past, _)| *past < next);
        standings.extend(ratings.standing(rule, next).map(|standing| (next, standing)));
        standings.drain(..standings.len().saturating_sub(KEPT));
        Self { window, ratings, lots, standings }
    }
}

/// A window that is being settled; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Settling {
    store: Arc<RatingsStore>,
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.store.settling.send_modify(|settling| *settling = settling.saturating_sub(1));
    }
}

impl RatingsStore {
    /// What was settled before a restart; a damaged file counts as none: they are made again from the ledger.
    pub(crate) fn load(folder: &DataFolder, rule: Option<ElectorRule>) -> Result<Self, NodeError> {
        let held = folder.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let held = held.unwrap_or_else(|| Held::default().then(None, Ratings::default(), rule.as_ref()));
        Ok(Self { held: Mutex::new(held), settling: watch::Sender::new(0), rule })
    }

    /// Who had judged of late at the starts of the last windows and of the next one; none where stake does not count by that.
    pub(crate) fn standings(&self) -> Vec<(Window, JudgeStanding)> {
        self.held().standings.clone()
    }

    /// Waits until nothing is being settled, though not for ever.
    pub(crate) async fn settled(&self) {
        self.wait(SETTLING_DEADLINE).await;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest agreed rating of a miner.
    pub(crate) fn rating_of(&self, uid: Uid) -> Option<f64> {
        self.held().ratings.miners.get(&uid).map(|record| record.rating.mean)
    }

    /// Announces that a window is being settled, so that what comes later waits for it.
    pub(crate) fn begin(self: &Arc<Self>) -> Settling {
        self.settling.send_modify(|settling| *settling += 1);
        Settling { store: Arc::clone(self) }
    }

    /// The window that is to be settled next.
    pub(crate) fn next(&self) -> Window {
        self.held().window.map_or(Window::ZERO, Window::next)
    }

    /// The ratings at a window's start: after the window before was settled.
    pub(crate) async fn at_start_of(&self, window: Window) -> Result<Ratings, NodeError> {
        self.settled().await;
        self.held_at_start_of(window).ok_or(NodeError::RatingsUnknown { window })
    }

    /// The same, if they are held now.
    pub(crate) fn held_at_start_of(&self, window: Window) -> Option<Ratings> {
        let held = self.held();
        (held.window == window.previous()).then(|| held.ratings.clone())
    }

    /// The newest ratings, once nothing is being settled.
    pub(crate) async fn newest(&self) -> Ratings {
        self.settled().await;
        self.held().ratings.clone()
    }

    /// The lots of the draw of audits of a window, which go by the ratings after it; none before that window is settled. Where it is
    /// too long ago, all are the usual ones.
    pub(crate) fn lots_after(&self, window: Window) -> Option<UnusualLots> {
        let held = self.held();
        let known = held.lots.iter().find(|(past, _)| *past == window).map(|(_, lots)| lots.clone());
        (held.window >= Some(window)).then(|| known.unwrap_or_default())
    }

    /// The root of the ratings at a window's start.
    pub(crate) async fn root_at_start_of(&self, window: Window) -> Result<ContentHash, NodeError> {
        Ok(self.at_start_of(window).await?.root())
    }

    async fn wait(&self, deadline: Duration) {
        let mut settling = self.settling.subscribe();
        // The sender is the store's own, so that the only error is the deadline; what is missing then is said by name.
        let _ = tokio::time::timeout(deadline, settling.wait_for(|settling| *settling == 0)).await;
    }

    /// Takes the ratings after a window, if it is the next one.
    pub(crate) fn settle(&self, folder: &DataFolder, window: Window, ratings: Ratings) -> Result<(), NodeError> {
        let mut held = self.held();
        if held.window != window.previous() {
            return Ok(());
        }
        self.keep(&mut held, folder, Some(window), ratings)
    }

    /// Takes ratings that are agreed for a window's start, older or newer than those at hand.
    pub(crate) fn install(&self, folder: &DataFolder, next: Window, ratings: Ratings) -> Result<(), NodeError> {
        self.keep(&mut self.held(), folder, next.previous(), ratings)
    }

    fn keep(
        &self,
        held: &mut Held,
        folder: &DataFolder,
        window: Option<Window>,
        ratings: Ratings,
    ) -> Result<(), NodeError> {
        let taken = held.clone().then(window, ratings, self.rule.as_ref());
        folder.write(FILE, &[&serde_json::to_vec(&taken).map_err(templar_round::SignedError::from)?])?;
        *held = taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::RunId;
    use templar_gauntlet::MinerRecord;
    use templar_round::Role;

    #[tokio::test]
    async fn who_needs_ratings_waits_for_the_window_that_is_settled_and_not_for_ever() {
        let path = std::env::temp_dir().join(format!("templar-ratings-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = DataFolder::open(&path, RunId::default(), Role::Validator).unwrap();
        let store = Arc::new(RatingsStore::load(&folder, Some(ElectorRule::default())).unwrap());
        let settling = store.begin();
        let waiting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.at_start_of(Window(1)).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        let with = |magnitude| Ratings { magnitude, ..Ratings::default() };
        store.settle(&folder, Window(0), with(7)).unwrap();
        drop(settling);
        let ratings = waiting.await.unwrap().unwrap();
        assert_eq!(ratings.magnitude, 7);
        // One that hangs.
        let _hanging = store.begin();
        store.wait(Duration::from_millis(5)).await;
        assert_eq!(store.held_at_start_of(Window(1)), Some(ratings.clone()));
        // Each window once and in order, and what was taken is there after a restart.
        store.settle(&folder, Window(0), with(9)).unwrap();
        store.settle(&folder, Window(2), with(9)).unwrap();
        assert_eq!(RatingsStore::load(&folder, None).unwrap().held_at_start_of(Window(1)), Some(ratings));
        // Audits of a window go by the ratings after it, also when those have moved on.
        let mut owing = with(7);
        owing.miners.insert(Uid(3), {
            let record = MinerRecord::new(templar_base::PublicKey::new([1; 32]), Window(0));
            MinerRecord { owes_answer: true, ..record }
        });
        store.settle(&folder, Window(1), owing).unwrap();
        store.settle(&folder, Window(2), with(7)).unwrap();
        let lots = |window| RatingsStore::load(&folder, None).unwrap().lots_after(Window(window));
        assert_eq!(lots(1), Some([(Uid(3), AuditLots::Certain)].into()));
        assert_eq!((lots(0), lots(2), lots(3)), (Some(UnusualLots::new()), Some(UnusualLots::new()), None));
        // And whose stake counts in the last windows is known after a restart.
        let standings = RatingsStore::load(&folder, None).unwrap().standings();
        assert_eq!(standings, store.standings());
        assert_eq!(standings.iter().map(|(window, _)| window.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
        // A checkpoint may be older.
        store.install(&folder, Window(0), Ratings::default()).unwrap();
        assert_eq!(store.standings().len(), 1);
        assert_eq!(store.next(), Window(0));
        std::fs::remove_dir_all(path).unwrap();
    }
}
