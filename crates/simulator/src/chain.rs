//! The ledger of the simulation: what was written in which block, and what readers find. Of everything the first counts.

use crate::machine::turnout;
use crate::{Violation, invariants};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{BlockNumber, ContentHash, Genesis, PublicKey, RunId, SettingChange, StateHash, Uid, Window};
use templar_round::{
    Applied, AppliedRecord, Candidates, Elector, Event, Held, HeldRecord, Outcome, Phases, SealCommitment,
    SealedRecord, Vote, VoteRecord, VoteSeal, VoteSealRecord, candidates, opened, opened_after, tally,
};

/// A message of a node to the ledger.
#[derive(Debug, Clone)]
pub(crate) enum Transaction {
    Seal(Window, SealCommitment),
    Held(Window, Held),
    VoteSeal(Window, VoteSeal),
    Vote(Window, Vote),
    Report(Window, Applied),
}

impl Transaction {
    /// Its bytes, without the signature and the key that every message has.
    pub fn bytes(&self) -> u64 {
        (match self {
            Self::Seal(_, commitment) => commitment.encoded_size(),
            Self::Held(_, held) => held.encoded_size(),
            Self::VoteSeal(_, seal) => seal.encoded_size(),
            Self::Vote(_, vote) => vote.encoded_size(),
            Self::Report(_, applied) => applied.encoded_size(),
        }) as u64
    }
}

/// What the whole ledger and the buckets' listings hold.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub seals: BTreeMap<(Window, PublicKey), SealedRecord>,
    pub held: BTreeMap<(Window, PublicKey), HeldRecord>,
    pub vote_seals: BTreeMap<(Window, PublicKey), VoteSealRecord>,
    pub votes: BTreeMap<(Window, PublicKey), VoteRecord>,
    pub reports: BTreeMap<(Window, PublicKey), AppliedRecord>,
    /// Keys that are out. They are in buckets; their moment is all that matters here.
    pub reveals: BTreeSet<(Window, Uid)>,
    /// Who published which checkpoint.
    pub checkpoints: BTreeMap<(Window, StateHash), BTreeSet<PublicKey>>,
    /// What the token's holders decided, in order.
    pub changes: Vec<SettingChange>,
    /// The most payloads merged in a window and the bits of its alpha, once the window has begun.
    rules: BTreeMap<Window, (usize, u32)>,
    /// The most payloads that are fetched and judged in a window; all where it is none.
    pool: Option<usize>,
}

/// The name of the run that seals are bound to.
pub(crate) const SIMULATED_RUN: RunId = RunId::new([0x51; 32]);
const ZERO: PublicKey = PublicKey::new([0; 32]);

impl Chain {
    /// An empty ledger of a run in which at most `pool` payloads are fetched and judged in a window.
    pub fn of(pool: Option<usize>) -> Self {
        Self { pool, ..Self::default() }
    }

    /// Takes a message into a block; gives the answer that its sender waits for.
    pub fn include(&mut self, block: BlockNumber, uid: Uid, hotkey: PublicKey, sent: Transaction) -> Option<Event> {
        match sent {
            Transaction::Seal(window, commitment) => {
                let record = SealedRecord { uid, hotkey, block, commitment };
                let first = self.seals.entry((window, hotkey)).or_insert(record);
                Some(Event::SealCommitted { window, block: first.block })
            }
            Transaction::Held(window, held) => {
                self.held.entry((window, hotkey)).or_insert(HeldRecord { hotkey, block, held });
                Some(Event::HeldWritten { window })
            }
            Transaction::VoteSeal(window, seal) => {
                self.vote_seals.entry((window, hotkey)).or_insert(VoteSealRecord { hotkey, block, seal });
                Some(Event::VoteSealed { window })
            }
            Transaction::Vote(window, vote) => {
                self.votes.entry((window, hotkey)).or_insert(VoteRecord { hotkey, block, vote });
                Some(Event::Voted { window })
            }
            Transaction::Report(window, applied) => {
                self.reports.entry((window, hotkey)).or_insert(AppliedRecord { hotkey, applied });
                None
            }
        }
    }

    pub fn vote_seals_on(&self, window: Window) -> Vec<VoteSealRecord> {
        self.vote_seals.range((window, ZERO)..(window.next(), ZERO)).map(|(_, seal)| *seal).collect()
    }

    pub fn held_on(&self, window: Window) -> Vec<HeldRecord> {
        self.held.range((window, ZERO)..(window.next(), ZERO)).map(|(_, held)| *held).collect()
    }

    /// What was committed in time; of that the pool, by lot, where there is one. By uid.
    pub fn pool(&self, window: Window, phases: &Phases) -> Vec<SealedRecord> {
        let mut records = self.sealed(window, phases);
        if let Some(pool) = self.pool.filter(|pool| *pool < records.len()) {
            let lot = |record: &SealedRecord| {
                let ticket = [window.0.to_le_bytes().as_slice(), record.hotkey.as_bytes().as_slice()].concat();
                ContentHash::of(&ticket)
            };
            records.sort_by_key(lot);
            records.truncate(pool);
        }
        records.sort_by_key(|record| record.uid);
        records
    }

    /// The candidates as far as the head `at` tells: none while they may change. None at all of a run that does not agree on them.
    pub fn candidates(
        &self,
        window: Window,
        electors: &[Elector],
        phases: &Phases,
        at: BlockNumber,
    ) -> Option<Option<Candidates>> {
        let deadline = phases.hold(window)?;
        let pool: Vec<Uid> = self.pool(window, phases).iter().map(|record| record.uid).collect();
        Some(candidates(&pool, (electors, &self.held_on(window)), deadline, at))
    }

    /// The votes that count as far as the head `at` tells, in what counts of them.
    pub fn votes_on(&self, window: Window, electors: &[Elector], phases: &Phases, at: BlockNumber) -> Vec<VoteRecord> {
        let votes = self.votes.range((window, ZERO)..(window.next(), ZERO)).map(|(_, vote)| vote.clone());
        let seals = self.vote_seals_on(window);
        let votes = opened(SIMULATED_RUN, window, (electors, &seals), votes.collect(), (phases.seal_time(window), at));
        match self.candidates(window, electors, phases, at) {
            None => votes,
            Some(None) => Vec::new(),
            Some(Some(candidates)) => candidates.counted(votes),
        }
    }

    /// The votes of whomever that were sealed up to a block and opened after it.
    pub fn votes_opened_after(&self, window: Window, end: BlockNumber) -> Vec<VoteRecord> {
        let votes = self.votes.range((window, ZERO)..(window.next(), ZERO)).map(|(_, vote)| vote.clone());
        opened_after(SIMULATED_RUN, window, (end, &self.vote_seals_on(window)), votes.collect())
    }

    pub fn reports_on(&self, window: Window) -> Vec<AppliedRecord> {
        self.reports.range((window, ZERO)..(window.next(), ZERO)).map(|(_, report)| *report).collect()
    }

    /// What was committed in time.
    pub fn sealed(&self, window: Window, phases: &Phases) -> Vec<SealedRecord> {
        let end = phases.end(window);
        let all = self.seals.range((window, ZERO)..(window.next(), ZERO)).map(|(_, record)| *record);
        all.filter(|record| record.block < end).collect()
    }

    /// The outcome that a reader of the whole ledger computes afterwards.
    pub fn outcome(&self, window: Window, electors: &[Elector], phases: &Phases, limit: usize) -> Outcome {
        let end = BlockNumber(u64::MAX);
        tally(electors, &self.votes_on(window, electors, phases, end), phases.open(window), end, limit)
    }

    /// The stake that voted in time, and all of it.
    pub fn turnout(&self, window: Window, electors: &[Elector], phases: &Phases) -> (u64, u64) {
        let votes = self.votes_on(window, electors, phases, BlockNumber(u64::MAX));
        let in_time = votes.iter().filter(|vote| vote.block <= phases.open(window)).map(|vote| vote.hotkey);
        turnout(electors, &in_time.collect())
    }

    /// What a node finds when it reads the rules of a window that has begun, however late it reads them: the most
    /// payloads merged, and the bits of alpha.
    pub fn rules_of(&mut self, window: Window, genesis: &Genesis) -> Result<(usize, u32), String> {
        if let (Some(known), true) = (self.rules.get(&window), self.changes.is_empty()) {
            return Ok(*known);
        }
        let rules = genesis.rules_in(window, &self.changes).genesis;
        let found = (rules.judging.selected, rules.outer.alpha(window).to_bits());
        let known = *self.rules.entry(window).or_insert(found);
        if known == found { Ok(found) } else { Err(format!("the rules of window {window} changed after it had begun")) }
    }

    /// The newest checkpoint that more than half of the stake published.
    pub fn agreed_checkpoint(&self, electors: &[Elector]) -> Option<(Window, StateHash)> {
        let all: u64 = electors.iter().map(|elector| elector.stake).sum();
        let is_agreed = |by: &BTreeSet<PublicKey>| {
            let by = electors.iter().filter(|elector| by.contains(&elector.hotkey));
            by.map(|elector| elector.stake).sum::<u64>() * 2 > all
        };
        self.checkpoints.iter().rev().find(|(_, by)| is_agreed(by)).map(|(key, _)| *key)
    }
}

impl Violation {
    /// The history that nodes decided is the one that the ledger tells.
    pub(crate) fn of_history(finding: invariants::Finding, seed: u64, block: u64) -> Result<(), Self> {
        finding.map_err(|what| Self { invariant: invariants::Invariant::OneOutcome, seed, block, what })
    }
}
