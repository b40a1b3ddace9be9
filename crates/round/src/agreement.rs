//! From votes to one outcome: a pure function of what the ledger holds.

use crate::{Applied, Elector, Vote};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{
    AgreedFinding, AgreedFindings, BlockNumber, ContentHash, Finding, Mark, Nats, OwnText, PublicKey, Share, StepShare,
    Uid, is_right,
};

/// Whose opened votes on a window were right, of electors and of others: of each key the first vote up to `deadline` counts.
pub fn right_voters(votes: &[VoteRecord], deadline: BlockNumber, agreed: &BTreeMap<Uid, Share>) -> BTreeSet<PublicKey> {
    let mut first: BTreeMap<PublicKey, &VoteRecord> = BTreeMap::new();
    for record in votes.iter().filter(|record| record.block <= deadline) {
        let known = first.entry(record.hotkey).or_insert(record);
        if record.block < known.block {
            *known = record;
        }
    }
    let right = first.into_iter().filter(|(_, record)| is_right(record.vote.findings(), agreed));
    right.map(|(hotkey, _)| hotkey).collect()
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

/// What is agreed of a window's candidates, once [`tally`] no longer says that it is open.
///
/// Each mark is what more than half of the electors' stake says. A number is the highest that more than half of it reaches,
/// an error the lowest that more than half does not exceed: so whoever has no number to give, or another one, moves nothing
/// as long as most agree, and under half of the stake nobody can raise or lower anything.
pub fn agreed_findings(
    electors: &[Elector],
    votes: &[VoteRecord],
    deadline: BlockNumber,
    limit: usize,
) -> AgreedFindings {
    Count::of(electors, votes, deadline).findings(limit)
}

/// The verdict with the most stake behind it, and who holds it, by stake: what explains a window to people. None where
/// nobody voted.
pub fn leading_verdict(
    electors: &[Elector],
    votes: &[VoteRecord],
    deadline: BlockNumber,
) -> Option<(ContentHash, Vec<PublicKey>)> {
    let mut verdicts: BTreeMap<ContentHash, (u128, Vec<Elector>)> = BTreeMap::new();
    for ballot in Count::of(electors, votes, deadline).ballots {
        let (stake, by) = verdicts.entry(ballot.vote.verdict()).or_default();
        *stake += ballot.stake;
        by.push(ballot.elector);
    }
    let leading = verdicts.into_iter().max_by(|a, b| a.1.0.cmp(&b.1.0).then(b.0.cmp(&a.0)))?;
    let (verdict, (_, by)) = leading;
    Some((verdict, by_stake(by)))
}

/// An elector's vote that counts.
struct Ballot<'v> {
    elector: Elector,
    stake: u128,
    vote: &'v Vote,
}

/// The votes that count, and the stake of those that may still come.
struct Count<'v> {
    permitted: u128,
    voting: u128,
    ballots: Vec<Ballot<'v>>,
}

impl<'v> Count<'v> {
    fn of(electors: &[Elector], votes: &'v [VoteRecord], deadline: BlockNumber) -> Self {
        let permitted = electors.iter().map(|elector| u128::from(elector.stake)).sum();
        let ballot = |elector: &Elector| {
            let own = votes.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
            let vote = &own.min_by_key(|record| record.block)?.vote;
            Some(Ballot { elector: *elector, stake: u128::from(elector.stake), vote })
        };
        let ballots: Vec<Ballot<'v>> = electors.iter().filter_map(ballot).collect();
        let voting = ballots.iter().map(|ballot| ballot.stake).sum();
        Self { permitted, voting, ballots }
    }

    fn is_majority(&self, stake: u128) -> bool {
        stake * 2 > self.permitted
    }

    /// Whether the votes still to come cannot change on which side of a majority this stake is.
    fn is_settled(&self, stake: u128) -> bool {
        self.is_majority(stake) == self.is_majority(stake + (self.permitted - self.voting))
    }

    /// The stake that says something of a candidate.
    fn saying(&self, uid: Uid, says: impl Fn(Mark) -> bool) -> u128 {
        let own = |ballot: &&Ballot<'_>| ballot.finding(uid).is_some_and(|finding| says(finding.mark));
        self.ballots.iter().filter(own).map(|ballot| ballot.stake).sum()
    }

    /// All that any vote names.
    fn candidates(&self) -> BTreeSet<Uid> {
        let of = |ballot: &Ballot<'v>| ballot.vote.findings().miners.iter().map(|finding| finding.uid);
        self.ballots.iter().flat_map(of).collect()
    }

    /// The agreed uids, ascending.
    fn selected(&self, limit: usize) -> Vec<Uid> {
        let support = |uid: Uid| (self.saying(uid, |mark| mark == Mark::Selected), uid);
        let mut agreed: Vec<(u128, Uid)> = self.candidates().into_iter().map(support).collect();
        agreed.retain(|(stake, _)| self.is_majority(*stake));
        agreed.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        agreed.truncate(limit);
        let mut uids: Vec<Uid> = agreed.into_iter().map(|(_, uid)| uid).collect();
        uids.sort();
        uids
    }

    /// The stake behind each part of the step, of those who select anybody, and their sets.
    fn steps(&self) -> (BTreeMap<StepShare, u128>, BTreeSet<Vec<Uid>>) {
        let (mut steps, mut sets) = (BTreeMap::<StepShare, u128>::new(), BTreeSet::new());
        for ballot in self.ballots.iter().filter(|ballot| ballot.stake > 0) {
            let set = ballot.vote.selected();
            if !set.is_empty() {
                *steps.entry(ballot.vote.step()).or_default() += ballot.stake;
                sets.insert(set);
            }
        }
        (steps, sets)
    }

    fn step(&self, agreed: &[Uid]) -> StepShare {
        let (steps, sets) = self.steps();
        let majority = steps.iter().find(|(_, stake)| self.is_majority(**stake));
        let smallest = steps.first_key_value();
        let step = majority.or(smallest).map_or(StepShare::Whole, |(step, _)| *step);
        if sets.contains(agreed) { step } else { step.halved() }
    }

    fn mark(&self, uid: Uid) -> Option<Mark> {
        let says = |says: fn(Mark) -> bool| self.is_majority(self.saying(uid, says));
        let single = [Mark::Fraud, Mark::Silent, Mark::Harmful, Mark::Copy, Mark::Dropped];
        let is_named = says(|_| true);
        let marked = single.into_iter().find(|own| self.is_majority(self.saying(uid, |mark| mark == *own)));
        let admitted = says(Mark::is_admitted).then_some(Mark::Admitted);
        marked.or(admitted).or(is_named.then_some(Mark::NotAdmitted))
    }

    fn findings(&self, limit: usize) -> AgreedFindings {
        let selected = self.selected(limit);
        let numbers = Numbers { permitted: self.permitted, to_come: 0 };
        let miner = |uid: Uid| {
            let mark = if selected.contains(&uid) { Mark::Selected } else { self.mark(uid)? };
            let sure = self.ballots.iter().filter(|ballot| ballot.finding(uid).is_some_and(|own| own.is_sure));
            let is_sure = self.is_majority(sure.map(|ballot| ballot.stake).sum());
            Some((uid, AgreedFinding { mark, is_sure, share: self.share(uid, numbers) }))
        };
        let is_null = selected.is_empty();
        AgreedFindings {
            miners: self.candidates().into_iter().filter_map(miner).collect(),
            step: (!is_null).then(|| self.step(&selected)),
            magnitude: numbers.reached(self.magnitudes()),
            surplus: self.surplus(numbers).filter(|_| !is_null),
            probes: self.probes(numbers),
        }
    }

    /// The highest value that more than half of the stake reaches, of each probe that has one.
    fn probes(&self, numbers: Numbers) -> BTreeMap<Uid, OwnText> {
        let mut probes: BTreeMap<Uid, Vec<(OwnText, u128)>> = BTreeMap::new();
        for ballot in &self.ballots {
            for probe in &ballot.vote.findings().probes {
                probes.entry(probe.uid).or_default().push((probe.own_text, ballot.stake));
            }
        }
        probes.into_iter().filter_map(|(uid, values)| Some((uid, numbers.reached(values)?))).collect()
    }

    fn shares(&self, uid: Uid) -> Vec<(Share, u128)> {
        self.ballots.iter().filter_map(|ballot| Some((ballot.finding(uid)?.share?, ballot.stake))).collect()
    }

    fn share(&self, uid: Uid, numbers: Numbers) -> Option<Share> {
        let shares = self.shares(uid);
        let by_error = shares.iter().map(|(share, stake)| (share.error_code(), *share, *stake));
        let error = numbers.not_exceeded(by_error.map(|(code, share, stake)| ((code, share), stake)).collect());
        Some(numbers.reached(shares)?.with_error_of(error?.1))
    }

    fn magnitudes(&self) -> Vec<(u64, u128)> {
        let own = |ballot: &Ballot<'_>| (ballot.vote.findings().magnitude, ballot.stake);
        self.ballots.iter().map(own).filter(|(magnitude, _)| *magnitude > 0).collect()
    }

    fn surplus(&self, numbers: Numbers) -> Option<(Nats, Nats)> {
        let stepping = || self.ballots.iter().filter(|ballot| ballot.vote.findings().selected().next().is_some());
        let surplus = stepping().map(|ballot| (ballot.vote.findings().surplus, ballot.stake)).collect();
        let error = stepping().map(|ballot| (ballot.vote.findings().surplus_error, ballot.stake)).collect();
        Some((numbers.reached(surplus)?, numbers.not_exceeded(error)?))
    }

    /// Whether the votes still to come can change nothing of what is agreed: whether all who have not voted join, raise or
    /// lower it, or stay away, each comes to the same.
    fn is_final(&self, limit: usize) -> bool {
        let is_complete = self.permitted > 0 && self.permitted == self.voting;
        if is_complete || self.permitted == 0 {
            return is_complete;
        }
        let agreed = self.selected(usize::MAX);
        let (steps, sets) = self.steps();
        let has_step = steps.values().any(|stake| self.is_majority(*stake)) && sets.contains(&agreed);
        // A uid that nobody has named yet must be out of reach of those to come.
        self.is_settled(0)
            && agreed.len() <= limit
            && (agreed.is_empty() || has_step)
            && self.candidates().into_iter().all(|uid| self.is_final_of(uid))
            && self.are_numbers_final()
    }

    fn is_final_of(&self, uid: Uid) -> bool {
        let sure = self.ballots.iter().filter(|ballot| ballot.finding(uid).is_some_and(|own| own.is_sure));
        let is_sure_settled = self.is_settled(sure.map(|ballot| ballot.stake).sum());
        let marks = [Mark::Selected, Mark::Fraud, Mark::Silent, Mark::Harmful, Mark::Copy, Mark::Dropped];
        let are_marks_settled = marks.into_iter().all(|own| self.is_settled(self.saying(uid, |mark| mark == own)));
        is_sure_settled
            && are_marks_settled
            && self.is_settled(self.saying(uid, Mark::is_admitted))
            && self.is_settled(self.saying(uid, |_| true))
            && self.with_and_without_those_to_come(|numbers| self.share(uid, numbers))
    }

    fn are_numbers_final(&self) -> bool {
        self.with_and_without_those_to_come(|numbers| numbers.reached(self.magnitudes()))
            && self.with_and_without_those_to_come(|numbers| self.surplus(numbers))
            && self.with_and_without_those_to_come(|numbers| self.probes(numbers))
    }

    fn with_and_without_those_to_come<T: PartialEq>(&self, agreed: impl Fn(Numbers) -> T) -> bool {
        let numbers = |to_come| Numbers { permitted: self.permitted, to_come };
        agreed(numbers(0)) == agreed(numbers(self.permitted - self.voting))
    }
}

impl Ballot<'_> {
    fn finding(&self, uid: Uid) -> Option<&Finding> {
        let miners = &self.vote.findings().miners;
        miners.binary_search_by_key(&uid, |finding| finding.uid).ok().map(|place| &miners[place])
    }
}

/// How numbers are agreed on.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    permitted: u128,
    /// The stake of those that are taken to say the most extreme that there is.
    to_come: u128,
}

impl Numbers {
    /// The highest value that more than half of the stake reaches.
    fn reached<T: Ord + Copy>(self, mut values: Vec<(T, u128)>) -> Option<T> {
        values.sort_by(|a, b| b.cmp(a));
        self.first_with_majority(values)
    }

    /// The lowest value that more than half of the stake does not exceed.
    fn not_exceeded<T: Ord + Copy>(self, mut values: Vec<(T, u128)>) -> Option<T> {
        values.sort();
        self.first_with_majority(values)
    }

    fn first_with_majority<T: Copy>(self, values: Vec<(T, u128)>) -> Option<T> {
        let mut sum = self.to_come;
        let passes = |(_, stake): &(T, u128)| {
            sum += stake;
            sum * 2 > self.permitted
        };
        values.into_iter().find(passes).map(|(value, _)| value)
    }
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
    use crate::{Permitted, electors};
    use parity_scale_codec::Encode;
    use proptest::prelude::*;
    use templar_base::{Findings, StateHash};

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
        let share = Some(Share::new(1.0, 0.1));
        let finding = |uid: &u16| Finding { uid: Uid(*uid), mark: Mark::Selected, is_sure: true, share };
        let miners: Vec<Finding> = selected.iter().map(finding).collect();
        let hash = ContentHash::of(&miners.encode());
        let vote = Vote::new(Findings { miners, step, ..Findings::default() }, hash).unwrap();
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
        let applied =
            |byte| Applied { aggregate: None, state: StateHash::new([byte; 32]), record: ContentHash::default() };
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
                    let agreed = |votes: &[VoteRecord]| agreed_findings(&electors, votes, DEADLINE, 3);
                    prop_assert_eq!(agreed(&seen), agreed(&votes));
                }
            }
        }
    }
}
