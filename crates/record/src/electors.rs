//! Whose stake counts: permit holders that set weights, and where the genesis asks for it, of these who has judged of late.

use crate::{PublicRecord, RecordError, Rules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use templar_base::{AgreedFindings, PublicKey, RunId, Uid, Window};
use templar_gauntlet::{Compared, JudgeStanding, OpenWindow, Ranking, Ratings};
use templar_round::{Elector, judging_electors, opened_after, right_voters, seals_end};

/// Standings of this many windows are kept: more than a reader goes back.
const KEPT: usize = 256;

/// What was read of windows, by run and window.
pub(crate) type ByWindow<T> = Mutex<BTreeMap<(RunId, Window), Arc<T>>>;

/// Keeps what was read of a window, and of the newest others as many as are wanted.
pub(crate) fn remember<T>(known: &ByWindow<T>, of: (RunId, Window), value: &Arc<T>, kept: usize) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(of, Arc::clone(value));
    while known.len() > kept {
        known.pop_first();
    }
}

/// Who has judged of late and who is rated how, at the starts of windows, and the newest ratings that a reader has folded.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    by_window: ByWindow<JudgeStanding>,
    rankings: ByWindow<Ranking>,
    folded: Mutex<Option<(RunId, Window, Ratings)>>,
}

impl PublicRecord {
    /// Whose stake counts in a window, and how much of it.
    ///
    /// Where the genesis asks for right votes it goes by the ratings at the window's start, once they were seen
    /// ([`Self::note_ratings`], [`Self::learn_electors`]). A reader that has not seen them counts all permit holders that set
    /// weights, which [`Self::knows_electors`] tells: a node that joins takes its first ratings by their stake. Under half of it
    /// nobody can make a reader believe anything.
    pub async fn electors(&self, run: &Rules, window: Window) -> Result<Vec<Elector>, RecordError> {
        let electors = self.electors_by_permit(&run.phases, window).await?;
        Ok(match self.standing(run, window).filter(|standing| standing.is_in_force) {
            Some(standing) => judging_electors(electors, |hotkey| standing.has_judged(hotkey)),
            None => electors,
        })
    }

    /// Whether [`Self::electors`] knows all that it needs of a window, and [`Self::pool`] too where what is held is agreed on.
    pub fn knows_electors(&self, run: &Rules, window: Window) -> bool {
        let knows_pool = run.phases.hold(window).is_none() || self.ranking(run, window).is_some();
        knows_pool && (run.genesis.electors.is_none() || self.standing(run, window).is_some())
    }

    /// The rated miners at a window's start, as far as ratings were seen.
    pub(crate) fn ranking(&self, run: &Rules, window: Window) -> Option<Arc<Ranking>> {
        let rankings = self.known.standings.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        rankings.get(&(run.id, window)).cloned()
    }

    /// How many right votes validators have at a window's start, as far as ratings were seen.
    pub fn standing(&self, run: &Rules, window: Window) -> Option<Arc<JudgeStanding>> {
        let standings = self.known.standings.by_window.lock().unwrap_or_else(PoisonError::into_inner);
        standings.get(&(run.id, window)).cloned()
    }

    /// Takes note of the ratings at a window's start, which must be agreed or made from what is.
    pub fn note_ratings(&self, run: &Rules, window: Window, ratings: &Ratings) {
        if let Some(standing) = ratings.standing(run.genesis.electors.as_ref(), window) {
            self.note_standing(run, window, standing);
        }
        if run.phases.hold(window).is_some() {
            let ranking = Arc::new(ratings.ranking());
            remember(&self.known.standings.rankings, (run.id, window), &ranking, KEPT);
        }
    }

    /// The same of what was kept of ratings.
    pub fn note_standing(&self, run: &Rules, window: Window, standing: JudgeStanding) {
        remember(&self.known.standings.by_window, (run.id, window), &Arc::new(standing), KEPT);
    }

    /// Sees to it that [`Self::electors`] knows a window: reads the newest checkpoint's ratings before it, and folds the votes
    /// since.
    pub async fn learn_electors(&self, run: &Rules, window: Window) -> Result<(), RecordError> {
        if self.knows_electors(run, window) {
            return Ok(());
        }
        let folded = || self.known.standings.folded.lock().unwrap_or_else(PoisonError::into_inner);
        // Who reads window after window goes on from the one before.
        let is_near =
            |from: Window| from <= window && window.windows_since(from) <= run.genesis.budget.checkpoint_windows;
        let held = folded().clone().filter(|(id, from, _)| *id == run.id && is_near(*from));
        let ratings = match held {
            Some((_, from, mut ratings)) => {
                self.fold_until(run, (from, window), &mut ratings).await?;
                ratings
            }
            None => self.ratings_at_start_of(run, window).await?.1,
        };
        *folded() = Some((run.id, window, ratings));
        Ok(())
    }

    /// Moves the right votes on by a window of which something was agreed. In other windows nothing moves: also a node that
    /// comes when their votes are gone must come to the same.
    pub(crate) async fn settle_right_votes(
        &self,
        run: &Rules,
        window: Window,
        agreed: &AgreedFindings,
        registered: &BTreeMap<Uid, PublicKey>,
        ratings: &mut Ratings,
    ) -> Result<(), RecordError> {
        let Some(rule) = run.genesis.electors.as_ref().filter(|_| !agreed.miners.is_empty()) else { return Ok(()) };
        let right = match ratings.right_votes.to_compare(window) {
            Some(open) => self.right_voters(run, open).await?,
            None => BTreeSet::new(),
        };
        let electors = self.electors(run, window).await?;
        let (head, seals) = self.vote_seals(window, &electors).await?;
        // Votes were counted, so that their seals are.
        let sealed_until = seals_end(&electors, &seals, run.phases.seal_time(window), head);
        let sealed_until = sealed_until.ok_or(RecordError::Undecided { window })?;
        let open = OpenWindow::new(window, sealed_until, agreed);
        ratings.right_votes.fold(Compared { rule, window, right: &right, open, registered });
        Ok(())
    }

    /// Whose votes on an earlier window were right, of all that held a permit then: who is no elector becomes one by judging.
    async fn right_voters(&self, run: &Rules, open: &OpenWindow) -> Result<BTreeSet<PublicKey>, RecordError> {
        let window = open.window;
        let end = self.metagraph(run.phases.end(window)).await?;
        let hotkeys: Vec<PublicKey> = end.validators().map(|neuron| neuron.hotkey).collect();
        let seals = self.seals_of(window, &hotkeys).await?;
        let votes = self.votes_of(window, &hotkeys).await?;
        let opened = opened_after(run.id, window, (open.sealed_until, &seals), votes);
        Ok(right_voters(&opened, run.phases.open(window), &open.shares))
    }
}
