//! What electors hold of a window's pool, the candidates that follow, and where these are mirrored.

use crate::electors::{ByWindow, remember};
use crate::{PublicRecord, RecordError, Rules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use templar_base::{Beacon, BlockNumber, PublicKey, Uid, Window};
use templar_chain::Topic;
use templar_gauntlet::{Ranking, pool};
use templar_round::{Candidates, Elector, Held, HeldRecord, VoteRecord, candidates};

/// Pools and candidates of this many windows are kept.
const KEPT: usize = 32;

/// What was read already and does not change: by run and window.
#[derive(Debug, Default)]
pub(crate) struct Availability {
    pools: ByWindow<Vec<Uid>>,
    candidates: ByWindow<Candidates>,
}

/// What is known of a window's candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownCandidates {
    /// The run does not agree on them, or the ratings at the window's start, which the pool goes by, are not known here.
    NotAgreedOn,
    /// What is still to come may change them.
    Open,
    /// They stand.
    Stand(Arc<Candidates>),
}

impl KnownCandidates {
    /// What counts of these votes: nothing while it is open what they may be about.
    pub(crate) fn counted(&self, votes: Vec<VoteRecord>) -> Vec<VoteRecord> {
        match self {
            Self::NotAgreedOn => votes,
            Self::Open => Vec::new(),
            Self::Stand(candidates) => candidates.counted(votes),
        }
    }
}

/// What a validator needs to know of what others hold.
#[derive(Debug, Clone)]
pub struct HeldReading {
    /// The head when it was read.
    pub at: BlockNumber,
    /// The window's pool, ascending.
    pub pool: Arc<Vec<Uid>>,
    /// The electors' well-formed bitmaps over it.
    pub held: Vec<HeldRecord>,
}

impl PublicRecord {
    /// The uids of a window's pool, ascending: whose payloads are fetched and may be judged. None where the ratings at its start
    /// are not known here. The window must be over.
    pub async fn pool(&self, run: &Rules, window: Window) -> Result<Option<Arc<Vec<Uid>>>, RecordError> {
        let known = |all: &Availability| {
            let pools = all.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.get(&(run.id, window)).cloned()
        };
        if let Some(pool) = known(&self.known.availability) {
            return Ok(Some(pool));
        }
        let Some(ranking) = self.ranking(run, window) else { return Ok(None) };
        let sealed = self.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
        let sealed: Vec<Uid> = sealed.records.iter().map(|record| record.uid).collect();
        let pool = Arc::new(self.pool_of(run, window, (&ranking, &sealed)).await?);
        remember(&self.known.availability.pools, (run.id, window), &pool, KEPT);
        Ok(Some(pool))
    }

    /// The pool of these who sealed a payload.
    pub async fn pool_of(
        &self,
        run: &Rules,
        window: Window,
        (ranking, sealed): (&Ranking, &[Uid]),
    ) -> Result<Vec<Uid>, RecordError> {
        let beacon = self.beacon(run.phases.end(window)).await?;
        let places = self.rules_in(run, window).await?.genesis.judging.pool;
        let drawn: BTreeSet<Uid> = pool(ranking, sealed, places, window, beacon);
        Ok(drawn.into_iter().collect())
    }

    /// What electors state that they hold of a window, and the head that it is complete up to. None is left out unseen: see
    /// [`Commitments::commitments_of`](templar_chain::Commitments::commitments_of).
    pub async fn held(
        &self,
        run: &Rules,
        window: Window,
        electors: &[Elector],
    ) -> Result<Option<HeldReading>, RecordError> {
        // The head first: what is committed after it may be missing without harm.
        let at = self.chain.head().await?.number;
        let Some(pool) = self.pool(run, window).await? else { return Ok(None) };
        let hotkeys: Vec<PublicKey> = electors.iter().map(|elector| elector.hotkey).collect();
        let records = self.chain.commitments_of(self.netuid, Topic::Held, window.get(), &hotkeys).await?;
        let held = records.iter().filter_map(|record| {
            let held = Held::from_ledger(&record.data)?;
            Some(HeldRecord { hotkey: record.hotkey, block: record.block, held })
        });
        Ok(Some(HeldReading { at, pool, held: held.collect() }))
    }

    /// The candidates of a window that is over.
    pub async fn candidates(
        &self,
        run: &Rules,
        window: Window,
        electors: &[Elector],
    ) -> Result<KnownCandidates, RecordError> {
        let Some(deadline) = run.phases.hold(window) else { return Ok(KnownCandidates::NotAgreedOn) };
        let known = |all: &Availability| {
            let candidates = all.candidates.lock().unwrap_or_else(PoisonError::into_inner);
            candidates.get(&(run.id, window)).cloned()
        };
        if let Some(candidates) = known(&self.known.availability) {
            return Ok(KnownCandidates::Stand(candidates));
        }
        let Some(read) = self.held(run, window, electors).await? else { return Ok(KnownCandidates::NotAgreedOn) };
        let Some(found) = candidates(&read.pool, (electors, &read.held), deadline, read.at) else {
            return Ok(KnownCandidates::Open);
        };
        let found = Arc::new(found);
        // Who does not know yet whose stake counts may come to other candidates.
        if self.knows_electors(run, window) {
            remember(&self.known.availability.candidates, (run.id, window), &found, KEPT);
        }
        Ok(KnownCandidates::Stand(found))
    }

    /// Whose buckets should have a window's candidates besides their miners', by uid; nobody's where that is not agreed on, or not
    /// yet.
    pub async fn mirrors(&self, run: &Rules, window: Window) -> Result<BTreeMap<Uid, Vec<PublicKey>>, RecordError> {
        if run.phases.hold(window).is_none() {
            return Ok(BTreeMap::new());
        }
        let electors = self.electors(run, window).await?;
        let KnownCandidates::Stand(found) = self.candidates(run, window, &electors).await? else {
            return Ok(BTreeMap::new());
        };
        let beacon: Beacon = self.beacon(run.phases.draw(window)).await?;
        Ok(found.all_mirrors(window, &beacon))
    }
}
