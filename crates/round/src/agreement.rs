//! From votes to one outcome: a pure function of what the ledger holds.

use crate::{Applied, Vote};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{BlockNumber, ContentHash, PublicKey, Uid};

/// A validator with a permit and its stake at the window's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elector {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its stake, which is the weight of its vote.
    pub stake: u64,
}

/// A permit counts only for those who voted in one of so many windows before.
pub const ACTIVITY_WINDOWS: u64 = 8;

/// Those of the permitted whose stake counts in a window: who voted in one of the [`ACTIVITY_WINDOWS`] before it.
///
/// Pay is staked, so miners come to hold permits and never vote; and a validator may be gone for good. Neither may cost
/// the run its quorum for ever. Where nobody voted (at the start, or after an outage of all) all the permitted count.
/// A newcomer's first vote makes it an elector of the windows that follow.
pub fn active_electors(permitted: Vec<Elector>, voters: &BTreeSet<PublicKey>) -> Vec<Elector> {
    let active: Vec<Elector> = permitted.iter().copied().filter(|elector| voters.contains(&elector.hotkey)).collect();
    if active.is_empty() { permitted } else { active }
}

/// A well-formed vote as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRecord {
    /// Who voted.
    pub hotkey: PublicKey,
    /// The block that holds the vote.
    pub block: BlockNumber,
    /// The vote.
    pub vote: Vote,
}

/// A well-formed report of what was applied, as the ledger holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRecord {
    /// Who applied it.
    pub hotkey: PublicKey,
    /// What it applied.
    pub applied: Applied,
}

/// What the votes on a window come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Votes are still to come.
    Open,
    /// No quorum, or nobody selected: no outer step.
    Null,
    /// These payloads are merged; ascending.
    Selected(Vec<Uid>),
}

/// The outcome of a window's votes.
///
/// A quorum is two thirds of the permitted stake. Selected are the uids with the most voting stake behind them, `limit`
/// at most, each with more than half of the voting stake; ties go to the lower uid. Votes in blocks after `deadline` do
/// not count. The outcome stands once `head` has reached the deadline, or before if no vote that is still to come could
/// change it (the ledger takes one vote of a validator for a window): a miner that has earned a little stake may hold a
/// permit and never vote, and nobody should wait for it.
pub fn tally(
    electors: &[Elector],
    votes: &[VoteRecord],
    deadline: BlockNumber,
    head: BlockNumber,
    limit: usize,
) -> Outcome {
    let count = Count::of(electors, votes, deadline);
    if head < deadline && !count.is_final(limit) {
        return Outcome::Open;
    }
    if !count.has_quorum() {
        return Outcome::Null;
    }
    let mut agreed: Vec<(u128, Uid)> = count
        .support
        .iter()
        .filter(|(_, stake)| **stake * 2 > count.voting)
        .map(|(uid, stake)| (*stake, *uid))
        .collect();
    agreed.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    agreed.truncate(limit);
    let mut selected: Vec<Uid> = agreed.into_iter().map(|(_, uid)| uid).collect();
    selected.sort();
    if selected.is_empty() { Outcome::Null } else { Outcome::Selected(selected) }
}

/// The stake behind each thing that was voted for.
struct Count {
    permitted: u128,
    voting: u128,
    support: BTreeMap<Uid, u128>,
    verdicts: BTreeMap<ContentHash, (u128, Vec<Elector>)>,
}

impl Count {
    fn of(electors: &[Elector], votes: &[VoteRecord], deadline: BlockNumber) -> Self {
        let permitted = electors.iter().map(|elector| u128::from(elector.stake)).sum();
        let mut count = Self { permitted, voting: 0, support: BTreeMap::new(), verdicts: BTreeMap::new() };
        for elector in electors {
            let own = votes.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
            let Some(record) = own.min_by_key(|record| record.block) else { continue };
            let stake = u128::from(elector.stake);
            count.voting += stake;
            for uid in record.vote.selected() {
                *count.support.entry(*uid).or_default() += stake;
            }
            let (verdict, by) = count.verdicts.entry(record.vote.verdict()).or_default();
            *verdict += stake;
            by.push(*elector);
        }
        count
    }

    fn has_quorum(&self) -> bool {
        self.permitted > 0 && self.voting * 3 >= self.permitted * 2
    }

    /// Whether the votes still to come can change neither the selection nor the agreed verdict.
    ///
    /// With r the stake that has not voted, the worst for a uid is that all of r votes without it, the best that all of
    /// r votes for it; both must say the same of each uid. The same goes for verdicts.
    fn is_final(&self, limit: usize) -> bool {
        let rest = self.permitted - self.voting;
        if self.permitted == 0 || !self.has_quorum() {
            return self.permitted > 0 && rest == 0;
        }
        let is_sure = |stake: u128| stake * 2 > self.voting + rest;
        let is_possible = |stake: u128| (stake + rest) * 2 > self.voting + rest;
        let agreed = self.support.values().filter(|stake| is_possible(**stake)).count();
        let verdict = self.verdicts.values().map(|(stake, _)| *stake).max().unwrap_or(0);
        self.support.values().chain([&0]).all(|stake| is_sure(*stake) == is_possible(*stake))
            && (agreed <= limit || rest == 0)
            && (verdict * 2 > self.permitted || (verdict + rest) * 2 <= self.permitted)
    }
}

/// The verdict that more than half of the permitted stake voted for, and who holds it, by stake; none where there is no
/// such one.
pub fn agreed_verdict(
    electors: &[Elector],
    votes: &[VoteRecord],
    deadline: BlockNumber,
) -> Option<(ContentHash, Vec<PublicKey>)> {
    let count = Count::of(electors, votes, deadline);
    let agreed = count.verdicts.into_iter().find(|(_, (stake, _))| stake * 2 > count.permitted);
    agreed.map(|(verdict, (_, by))| (verdict, by_stake(by)))
}

/// What most of the stake applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Majority {
    /// The report that more than half of the permitted stake made.
    pub applied: Applied,
    /// Who made it, by stake: where the aggregate can be fetched.
    pub by: Vec<PublicKey>,
}

/// The report that more than half of the permitted stake made; none while there is none.
pub fn applied_majority(electors: &[Elector], reports: &[AppliedRecord]) -> Option<Majority> {
    let permitted: u128 = electors.iter().map(|elector| u128::from(elector.stake)).sum();
    let mut support: BTreeMap<Applied, Vec<Elector>> = BTreeMap::new();
    for elector in electors {
        if let Some(report) = reports.iter().find(|report| report.hotkey == elector.hotkey) {
            support.entry(report.applied).or_default().push(*elector);
        }
    }
    let (applied, by) = support
        .into_iter()
        .find(|(_, electors)| electors.iter().map(|elector| u128::from(elector.stake)).sum::<u128>() * 2 > permitted)?;
    Some(Majority { applied, by: by_stake(by) })
}

/// The most stake first: a low uid costs nothing, and must not decide who is asked first.
fn by_stake(mut electors: Vec<Elector>) -> Vec<PublicKey> {
    electors.sort_by(|a, b| b.stake.cmp(&a.stake).then(a.uid.cmp(&b.uid)));
    electors.into_iter().map(|elector| elector.hotkey).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parity_scale_codec::Encode;
    use proptest::prelude::*;
    use templar_base::StateHash;

    const DEADLINE: BlockNumber = BlockNumber(20);

    fn key(uid: u16) -> PublicKey {
        PublicKey::new([uid as u8 + 1; 32])
    }

    fn electors(stakes: &[u64]) -> Vec<Elector> {
        let elector =
            |(uid, stake): (usize, &u64)| Elector { uid: Uid(uid as u16), hotkey: key(uid as u16), stake: *stake };
        stakes.iter().enumerate().map(elector).collect()
    }

    fn vote(validator: u16, block: u64, selected: &[u16]) -> VoteRecord {
        let uids: Vec<Uid> = selected.iter().copied().map(Uid).collect();
        let vote = Vote::new(&uids, &uids, ContentHash::of(&uids.encode())).unwrap();
        VoteRecord { hotkey: key(validator), block: BlockNumber(block), vote }
    }

    #[test]
    fn a_window_without_two_thirds_of_the_stake_is_null() {
        let electors = electors(&[50, 50]);
        let votes = [vote(0, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(19), 15), Outcome::Open);
        assert_eq!(tally(&electors, &votes, DEADLINE, DEADLINE, 15), Outcome::Null);
    }

    #[test]
    fn a_uid_needs_more_than_half_of_the_voting_stake() {
        let electors = electors(&[50, 50, 50]);
        let votes = [vote(0, 12, &[5, 7]), vote(1, 12, &[7, 9]), vote(2, 12, &[5, 7])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(13), 15), Outcome::Selected(vec![Uid(5), Uid(7)]));
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(13), 1), Outcome::Selected(vec![Uid(7)]));
        let equal = [vote(0, 12, &[5]), vote(1, 12, &[7])];
        assert_eq!(tally(&electors[..2], &equal, DEADLINE, DEADLINE, 15), Outcome::Null);
    }

    #[test]
    fn late_votes_and_strangers_do_not_count() {
        let electors = electors(&[50, 50]);
        let votes = [vote(0, 12, &[5]), vote(1, 21, &[5]), vote(9, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(25), 15), Outcome::Null);
    }

    /// Bug: miners' pay grew into most of the permitted stake, and every window was null from then on.
    #[test]
    fn stake_that_never_votes_does_not_cost_the_quorum() {
        let electors = electors(&[500, 500, 600, 0]);
        let votes = [vote(0, 12, &[5]), vote(1, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, DEADLINE, 15), Outcome::Null);
        let active = active_electors(electors.clone(), &BTreeSet::from([key(0), key(1)]));
        assert_eq!(tally(&active, &votes, DEADLINE, BlockNumber(12), 15), Outcome::Selected(vec![Uid(5)]));
        assert_eq!(active_electors(electors.clone(), &BTreeSet::new()), electors);
    }

    #[test]
    fn a_small_colluding_stake_cannot_choose() {
        let electors = electors(&[60, 40]);
        let votes = [vote(0, 12, &[1]), vote(1, 12, &[2, 3])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(12), 15), Outcome::Selected(vec![Uid(1)]));
    }

    #[test]
    fn a_majority_of_the_stake_fixes_the_aggregate() {
        let electors = electors(&[40, 30, 30]);
        let applied = |byte| Applied { aggregate: None, state: StateHash::new([byte; 32]) };
        let report = |uid, byte| AppliedRecord { hotkey: key(uid), applied: applied(byte) };
        assert_eq!(applied_majority(&electors, &[report(0, 1), report(1, 2)]), None);
        let majority = applied_majority(&electors, &[report(2, 1), report(1, 2), report(0, 1)]).unwrap();
        assert_eq!((majority.applied, majority.by), (applied(1), vec![key(0), key(2)]));
    }

    /// Bug: miners that had earned a little stake held permits, never voted, and every window waited for its deadline.
    #[test]
    fn a_window_does_not_wait_for_stake_that_cannot_change_it() {
        let electors = electors(&[500, 500, 3, 2]);
        let votes = [vote(0, 12, &[5]), vote(1, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(12), 15), Outcome::Selected(vec![Uid(5)]));
        let close = [vote(0, 12, &[5, 6]), vote(1, 12, &[5])];
        assert_eq!(tally(&electors, &close, DEADLINE, BlockNumber(12), 15), Outcome::Open);
    }

    proptest! {
        /// An outcome that stands early is the outcome at the deadline, whatever comes in between.
        #[test]
        fn an_early_outcome_is_final(
            stakes in proptest::collection::vec(1u64..100, 1..5),
            choices in proptest::collection::vec((0u16..5, 10u64..25, proptest::collection::btree_set(0u16..6, 0..4)), 0..8),
        ) {
            let electors = electors(&stakes);
            let mut votes: Vec<VoteRecord> = Vec::new();
            for (validator, block, selected) in choices {
                if !votes.iter().any(|record| record.hotkey == key(validator)) {
                    votes.push(vote(validator, block, &selected.into_iter().collect::<Vec<_>>()));
                }
            }
            let last = tally(&electors, &votes, DEADLINE, BlockNumber(30), 3);
            prop_assert_ne!(&last, &Outcome::Open);
            for head in 10..30 {
                let seen: Vec<_> = votes.iter().filter(|record| record.block.0 <= head).cloned().collect();
                let early = tally(&electors, &seen, DEADLINE, BlockNumber(head), 3);
                prop_assert!(early == Outcome::Open || early == last);
                if early != Outcome::Open {
                    let verdict = |votes: &[VoteRecord]| agreed_verdict(&electors, votes, DEADLINE);
                    prop_assert_eq!(verdict(&seen).map(|(hash, _)| hash), verdict(&votes).map(|(hash, _)| hash));
                }
            }
        }
    }
}
