//! The ratings that most of the stake agreed on last, on this validator's disk.

use crate::{DataFolder, NodeError};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use templar_base::Window;
use templar_gauntlet::Ratings;
use tokio::sync::watch;

const FILE: &str = "ratings.json";
/// How long a judgement waits for an adoption that is under way. Longer than [`templar_record::fetch_verdict`] takes.
const ADOPTION_DEADLINE: Duration = Duration::from_secs(60);

/// The agreed ratings. No lock is held while a peer is asked: what is to be adopted is fetched first.
#[derive(Debug)]
pub(crate) struct RatingsStore {
    held: Mutex<Held>,
    /// Adoptions that were begun and are not done.
    adopting: watch::Sender<usize>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Held {
    /// The window whose verdict the ratings come from.
    window: Option<Window>,
    ratings: Ratings,
}

/// An adoption under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Adoption {
    store: Arc<RatingsStore>,
}

impl Adoption {
    /// What is adopted into.
    pub(crate) fn store(&self) -> Arc<RatingsStore> {
        Arc::clone(&self.store)
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        self.store.adopting.send_modify(|adopting| *adopting = adopting.saturating_sub(1));
    }
}

impl RatingsStore {
    /// What was agreed before a restart; a damaged file counts as none.
    pub(crate) fn load(folder: &DataFolder) -> Result<Self, NodeError> {
        let held = folder.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { held: Mutex::new(held), adopting: watch::Sender::new(0) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces an adoption, so that a judgement that comes later waits for it.
    pub(crate) fn begin_adoption(self: &Arc<Self>) -> Adoption {
        self.adopting.send_modify(|adopting| *adopting += 1);
        Adoption { store: Arc::clone(self) }
    }

    /// The agreed ratings, once no adoption is under way any more. One that hangs is not waited for longer than its
    /// deadline.
    pub(crate) async fn ratings(&self) -> Ratings {
        self.ratings_within(ADOPTION_DEADLINE).await
    }

    async fn ratings_within(&self, deadline: Duration) -> Ratings {
        let mut adopting = self.adopting.subscribe();
        // The sender is the store's own, so that the only error is the deadline.
        let _ = tokio::time::timeout(deadline, adopting.wait_for(|adopting| *adopting == 0)).await;
        self.held().ratings.clone()
    }

    /// The ratings held now, whatever is under way.
    pub(crate) fn held_ratings(&self) -> Ratings {
        self.held().ratings.clone()
    }

    /// Whether the ratings of this window, or of a later one, are held.
    pub(crate) fn has(&self, window: Window) -> bool {
        self.held().window.is_some_and(|known| known >= window)
    }

    /// Takes the ratings of a window's agreed verdict, unless later ones are held.
    pub(crate) fn install(&self, folder: &DataFolder, window: Window, ratings: Ratings) -> Result<(), NodeError> {
        let mut held = self.held();
        if held.window.is_some_and(|known| known >= window) {
            return Ok(());
        }
        let taken = Held { window: Some(window), ratings };
        folder.write(FILE, &[&serde_json::to_vec(&taken).map_err(templar_round::SignedError::from)?])?;
        *held = taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::RunId;
    use templar_round::Role;

    #[tokio::test]
    async fn a_judgement_waits_for_the_adoption_under_way_and_not_for_ever() {
        let path = std::env::temp_dir().join(format!("templar-ratings-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = DataFolder::open(&path, RunId::default(), Role::Validator).unwrap();
        let store = Arc::new(RatingsStore::load(&folder).unwrap());
        let ratings = Ratings { magnitude: 7, ..Ratings::default() };
        let adoption = store.begin_adoption();
        let waiting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.ratings().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        store.install(&folder, Window(3), ratings.clone()).unwrap();
        drop(adoption);
        assert_eq!(waiting.await.unwrap(), ratings);
        // One that hangs.
        let _hanging = store.begin_adoption();
        assert_eq!(store.ratings_within(Duration::from_millis(5)).await, ratings);
        // Older ones do not come back, and what was taken is there after a restart.
        store.install(&folder, Window(2), Ratings::default()).unwrap();
        assert!(store.has(Window(3)) && !store.has(Window(4)));
        assert_eq!(RatingsStore::load(&folder).unwrap().ratings().await, ratings);
        std::fs::remove_dir_all(path).unwrap();
    }
}
