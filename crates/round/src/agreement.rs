//! From votes to one outcome: a pure function of what the ledger holds.

use crate::{Applied, Vote};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{BlockNumber, ContentHash, PublicKey, StepShare, Uid};

/// A validator whose stake counts in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elector {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its lasting stake, which is the weight of its vote.
    pub stake: u64,
}

/// Stake counts as far as it was there at the end of a window and of this number of windows before it: stake that comes for a
/// block decides nothing.
pub const LASTING_WINDOWS: u64 = 8;

/// A permit counts for those who set weights within this number of windows: who falls silent weighs as an absence for that long,
/// so that silencing the others for a while makes nobody the ruler.
pub const ACTIVE_WINDOWS: u64 = 512;

/// A holder of a permit at a window's end, as far as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its stake at the window's end, and at the ends of the [`LASTING_WINDOWS`] windows before it, as far as there were
    /// any.
    pub stakes: Vec<u64>,
    /// When it set weights last; block 0 for never.
    pub weights_at: BlockNumber,
}

/// Those of the permitted whose stake counts, with their lasting stake: who set weights since block `since`.
///
/// Pay is staked, so miners come to hold permits and judge nothing; and a validator may be gone for good. Neither may cost
/// the run its majority for ever. Where nobody has set weights (at the start) all the permitted count.
pub fn electors(permitted: &[Permitted], since: BlockNumber) -> Vec<Elector> {
    let elector = |own: &Permitted| Elector {
        uid: own.uid,
        hotkey: own.hotkey,
        stake: own.stakes.iter().copied().min().unwrap_or(0),
    };
    let is_active = |own: &&Permitted| own.weights_at > BlockNumber::ZERO && own.weights_at >= since;
    let active: Vec<Elector> = permitted.iter().filter(is_active).map(elector).collect();
    let all = || permitted.iter().map(elector).collect();
    if active.is_empty() { all() } else { active }
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
    /// Nobody is selected: no outer step.
    Null,
    /// These payloads are merged, and a step is taken.
    Selected(Selection),
}

/// Whose payloads are merged, and what part of the outer step is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whose payloads; ascending.
    pub uids: Vec<Uid>,
    /// The part of the step.
    pub step: StepShare,
}

/// The outcome of a window's votes.
///
/// Agreed is what more than half of the electors' stake says, voting or not: so no stake under a half can choose, and none
/// can prevent. Selected are the uids with the most stake behind them, `limit` at most; ties go to the lower uid. The step
/// is the one with that majority; without one the smallest that was voted; and half of it where the agreed set is nobody's
/// own set, which nobody has measured. Votes in blocks after `deadline` do not count. The outcome stands once `head` has
/// reached the deadline, or before if no vote that is still to come could change it: a miner that has earned a little stake
/// may hold a permit and never vote, and nobody should wait for it.
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
    let uids = count.selected(limit);
    if uids.is_empty() {
        return Outcome::Null;
    }
    let step = count.step(&uids);
    Outcome::Selected(Selection { uids, step })
}

/// The stake behind each thing that was voted for.
struct Count {
    permitted: u128,
    voting: u128,
    support: BTreeMap<Uid, u128>,
    /// Of those who select anybody.
    steps: BTreeMap<StepShare, u128>,
    /// Each voter's own set, ascending.
    sets: BTreeSet<Vec<Uid>>,
    verdicts: BTreeMap<ContentHash, (u128, Vec<Elector>)>,
}

impl Count {
    fn of(electors: &[Elector], votes: &[VoteRecord], deadline: BlockNumber) -> Self {
        let permitted = electors.iter().map(|elector| u128::from(elector.stake)).sum();
        let mut count = Self {
            permitted,
            voting: 0,
            support: BTreeMap::new(),
            steps: BTreeMap::new(),
            sets: BTreeSet::new(),
            verdicts: BTreeMap::new(),
        };
        for elector in electors {
            let own = votes.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
            let Some(record) = own.min_by_key(|record| record.block) else { continue };
            count.add(elector, &record.vote);
        }
        count
    }

    fn add(&mut self, elector: &Elector, vote: &Vote) {
        let stake = u128::from(elector.stake);
        self.voting += stake;
        let mut set = vote.selected().to_vec();
        set.sort();
        for uid in &set {
            *self.support.entry(*uid).or_default() += stake;
        }
        if !set.is_empty() && stake > 0 {
            *self.steps.entry(vote.step()).or_default() += stake;
            self.sets.insert(set);
        }
        let (verdict, by) = self.verdicts.entry(vote.verdict()).or_default();
        *verdict += stake;
        by.push(*elector);
    }

    fn is_majority(&self, stake: u128) -> bool {
        stake * 2 > self.permitted
    }

    /// Whether `stake` becomes a majority if all who have not voted join it.
    fn may_be_majority(&self, stake: u128) -> bool {
        self.is_majority(stake + (self.permitted - self.voting))
    }

    /// The agreed uids, ascending.
    fn selected(&self, limit: usize) -> Vec<Uid> {
        let agreed = self.support.iter().filter(|(_, stake)| self.is_majority(**stake));
        let mut agreed: Vec<(u128, Uid)> = agreed.map(|(uid, stake)| (*stake, *uid)).collect();
        agreed.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        agreed.truncate(limit);
        let mut uids: Vec<Uid> = agreed.into_iter().map(|(_, uid)| uid).collect();
        uids.sort();
        uids
    }

    fn step(&self, agreed: &[Uid]) -> StepShare {
        let majority = self.steps.iter().find(|(_, stake)| self.is_majority(**stake));
        let smallest = self.steps.first_key_value();
        let step = majority.or(smallest).map_or(StepShare::Whole, |(step, _)| *step);
        if self.sets.contains(agreed) { step } else { step.halved() }
    }

    /// Whether the votes still to come can change neither the selection, nor the step, nor the agreed verdict: whether all
    /// who have not voted might join it or stay away, each comes to the same.
    fn is_final(&self, limit: usize) -> bool {
        let is_complete = self.permitted > 0 && self.permitted == self.voting;
        if is_complete || self.permitted == 0 {
            return is_complete;
        }
        let is_settled = |stake: u128| self.is_majority(stake) == self.may_be_majority(stake);
        let agreed = self.selected(usize::MAX);
        let step = self.steps.values().any(|stake| self.is_majority(*stake)) && self.sets.contains(&agreed);
        let verdict = self.verdicts.values().map(|(stake, _)| *stake).max().unwrap_or(0);
        self.support.values().chain([&0]).all(|stake| is_settled(*stake))
            && agreed.len() <= limit
            && (agreed.is_empty() || step)
            && is_settled(verdict)
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

    fn electors_of(stakes: &[u64]) -> Vec<Elector> {
        let elector =
            |(uid, stake): (usize, &u64)| Elector { uid: Uid(uid as u16), hotkey: key(uid as u16), stake: *stake };
        stakes.iter().enumerate().map(elector).collect()
    }

    fn vote_for(validator: u16, block: u64, selected: &[u16], step: StepShare) -> VoteRecord {
        let uids: Vec<Uid> = selected.iter().copied().map(Uid).collect();
        let vote = Vote::new(&uids, &uids, step, ContentHash::of(&uids.encode())).unwrap();
        VoteRecord { hotkey: key(validator), block: BlockNumber(block), vote }
    }

    fn vote(validator: u16, block: u64, selected: &[u16]) -> VoteRecord {
        vote_for(validator, block, selected, StepShare::Whole)
    }

    fn selected(uids: &[u16], step: StepShare) -> Outcome {
        Outcome::Selected(Selection { uids: uids.iter().copied().map(Uid).collect(), step })
    }

    fn whole(uids: &[u16]) -> Outcome {
        selected(uids, StepShare::Whole)
    }

    #[test]
    fn exactly_half_of_the_stake_agrees_on_nothing() {
        let electors = electors_of(&[50, 50]);
        let votes = [vote(0, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(19), 15), Outcome::Open);
        assert_eq!(tally(&electors, &votes, DEADLINE, DEADLINE, 15), Outcome::Null);
        assert_eq!(tally(&electors_of(&[51, 49]), &votes, DEADLINE, DEADLINE, 15), whole(&[5]));
    }

    #[test]
    fn a_uid_needs_more_than_half_of_all_stake_voting_or_not() {
        let electors = electors_of(&[50, 50, 50]);
        let votes = [vote(0, 12, &[5, 7]), vote(1, 12, &[7, 9]), vote(2, 12, &[5, 7])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(13), 15), whole(&[5, 7]));
        let first = selected(&[7], StepShare::Half);
        assert_eq!(tally(&electors, &votes, DEADLINE, DEADLINE, 1), first, "nobody measured that set alone");
        let equal = [vote(0, 12, &[5]), vote(1, 12, &[7])];
        assert_eq!(tally(&electors[..2], &equal, DEADLINE, DEADLINE, 15), Outcome::Null);
        // Hole S1: a uid that most of the voting stake chose, and not half of all, had a selection and no report.
        let electors = electors_of(&[36, 34, 30]);
        let votes = [vote(0, 12, &[5]), vote(1, 12, &[])];
        assert_eq!(tally(&electors, &votes, DEADLINE, DEADLINE, 15), Outcome::Null);
    }

    #[test]
    fn the_step_is_the_majority_s_or_the_smallest() {
        use StepShare::{Half, Quarter, Whole};
        let outcome = |stakes: &[u64], steps: &[StepShare]| {
            let votes: Vec<VoteRecord> = (0..).zip(steps).map(|(uid, step)| vote_for(uid, 12, &[5], *step)).collect();
            tally(&electors_of(stakes), &votes, DEADLINE, DEADLINE, 15)
        };
        assert_eq!(outcome(&[40, 30, 30], &[Whole, Half, Half]), selected(&[5], Half));
        assert_eq!(outcome(&[60, 20, 20], &[Whole, Half, Quarter]), selected(&[5], Whole));
        assert_eq!(outcome(&[40, 30, 30], &[Whole, Half, Quarter]), selected(&[5], Quarter));
        // A key without stake lowers nothing.
        assert_eq!(outcome(&[40, 40, 0], &[Whole, Half, Quarter]), selected(&[5], Half));
    }

    #[test]
    fn late_votes_and_strangers_do_not_count() {
        let electors = electors_of(&[50, 50]);
        let votes = [vote(0, 12, &[5]), vote(1, 21, &[5]), vote(9, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(25), 15), Outcome::Null);
    }

    fn permitted(uid: u16, stakes: &[u64], weights_at: u64) -> Permitted {
        Permitted { uid: Uid(uid), hotkey: key(uid), stakes: stakes.to_vec(), weights_at: BlockNumber(weights_at) }
    }

    /// Bug: miners' pay grew into most of the permitted stake, and every window was null from then on.
    #[test]
    fn stake_that_never_judges_does_not_cost_the_majority() {
        let all = [permitted(0, &[500], 90), permitted(1, &[500], 95), permitted(2, &[600], 0)];
        let votes = [vote(0, 12, &[5]), vote(1, 12, &[5])];
        let active = electors(&all, BlockNumber(1));
        assert_eq!(tally(&active, &votes, DEADLINE, BlockNumber(12), 15), whole(&[5]));
        let new = [permitted(0, &[500], 0), permitted(1, &[500], 0)];
        assert_eq!(electors(&new, BlockNumber(1)).len(), 2, "at the start everybody counts");
    }

    /// Hole B2: stake held for one block, at a window's end, was quorum and majority.
    #[test]
    fn stake_that_comes_for_a_block_counts_for_nothing() {
        let all =
            [permitted(0, &[500, 500, 500], 90), permitted(1, &[400, 400, 500], 95), permitted(2, &[5000, 0, 0], 96)];
        let counted: Vec<u64> = electors(&all, BlockNumber(1)).iter().map(|elector| elector.stake).collect();
        assert_eq!(counted, [500, 400, 0]);
    }

    /// Hole B5: after eight silent windows the only one to speak was the only elector.
    #[test]
    fn who_is_silent_still_counts_so_that_a_small_stake_cannot_rule() {
        let all = [permitted(0, &[500], 90), permitted(1, &[500], 95), permitted(2, &[10], 4000)];
        let long_silent = electors(&all, BlockNumber(80));
        assert_eq!(tally(&long_silent, &[vote(2, 12, &[5])], DEADLINE, DEADLINE, 15), Outcome::Null);
        let gone = electors(&all, BlockNumber(100));
        assert_eq!(gone.len(), 1, "who set no weights for so long is gone");
    }

    #[test]
    fn a_small_colluding_stake_cannot_choose() {
        let electors = electors_of(&[60, 40]);
        let votes = [vote(0, 12, &[1]), vote(1, 12, &[2, 3])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(12), 15), whole(&[1]));
    }

    #[test]
    fn a_majority_of_the_stake_fixes_the_aggregate() {
        let electors = electors_of(&[40, 30, 30]);
        let applied = |byte| Applied { aggregate: None, state: StateHash::new([byte; 32]) };
        let report = |uid, byte| AppliedRecord { hotkey: key(uid), applied: applied(byte) };
        assert_eq!(applied_majority(&electors, &[report(0, 1), report(1, 2)]), None);
        let majority = applied_majority(&electors, &[report(2, 1), report(1, 2), report(0, 1)]).unwrap();
        assert_eq!((majority.applied, majority.by), (applied(1), vec![key(0), key(2)]));
    }

    /// Bug: miners that had earned a little stake held permits, never voted, and every window waited for its deadline.
    #[test]
    fn a_window_does_not_wait_for_stake_that_cannot_change_it() {
        let electors = electors_of(&[500, 500, 3, 2]);
        let votes = [vote(0, 12, &[5]), vote(1, 12, &[5])];
        assert_eq!(tally(&electors, &votes, DEADLINE, BlockNumber(12), 15), whole(&[5]));
        let close = [vote(0, 12, &[5, 6]), vote(1, 12, &[5])];
        assert_eq!(tally(&electors, &close, DEADLINE, BlockNumber(12), 15), Outcome::Open);
    }

    proptest! {
        /// An outcome that stands early is the outcome at the deadline, whatever comes in between.
        #[test]
        fn an_early_outcome_is_final(
            stakes in proptest::collection::vec(1u64..100, 1..5),
            choices in proptest::collection::vec(
                (0u16..5, 10u64..25, proptest::collection::btree_set(0u16..6, 0..4), 0u8..3),
                0..8,
            ),
        ) {
            let electors = electors_of(&stakes);
            let mut votes: Vec<VoteRecord> = Vec::new();
            for (validator, block, selected, step) in choices {
                if !votes.iter().any(|record| record.hotkey == key(validator)) {
                    let step = StepShare::from_code(step).unwrap();
                    votes.push(vote_for(validator, block, &selected.into_iter().collect::<Vec<_>>(), step));
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
