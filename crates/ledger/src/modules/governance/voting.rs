//! Proposals, votes and decisions as a part of the ledger's state. Pure: what it needs of the rest is handed in.

use crate::state::{GovernanceRule, GovernanceState};
use std::collections::BTreeMap;
use templar_base::{Alpha, BlockNumber, PublicKey, SettingChange};
use templar_chain::governance::{
    Action, Ballot, GovernanceRefusal, MAX_TITLE_BYTES, Proposal, ProposalId, ProposalView, Status,
};

/// A proposal that has just been adopted, to be carried out by the transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub id: ProposalId,
    pub status: Status,
    pub action: Action,
}

impl GovernanceState {
    /// Whether a proposer whose stake counts for `own` may propose this now.
    pub fn admit(
        &self,
        rule: &GovernanceRule,
        (proposer, own): (&PublicKey, Alpha),
        (title, action): (&str, &Action),
    ) -> Result<(), GovernanceRefusal> {
        if title.len() > MAX_TITLE_BYTES {
            let (actual, limit) = (title.len() as u32, MAX_TITLE_BYTES as u32);
            return Err(GovernanceRefusal::TitleTooLong { actual, limit });
        }
        rule.check(action)?;
        let open = self.open.iter().filter_map(|id| self.proposals.get(id));
        if let Some(own) = open.into_iter().find(|proposal| proposal.proposer == *proposer) {
            return Err(GovernanceRefusal::OneProposalAtATime { id: own.id, closes_at: own.closes_at });
        }
        if self.open.len() >= usize::from(rule.max_open) {
            return Err(GovernanceRefusal::TooManyProposals { limit: rule.max_open });
        }
        if own < rule.proposer_stake {
            return Err(GovernanceRefusal::NotEnoughStakeToPropose { held: own, wanted: rule.proposer_stake });
        }
        Ok(())
    }

    /// Makes a proposal that was admitted. `stakes` is what each holder votes with.
    pub fn propose(
        &mut self,
        rule: &GovernanceRule,
        now: BlockNumber,
        proposer: &PublicKey,
        (title, action): (&str, &Action),
        stakes: impl Iterator<Item = (PublicKey, Alpha)>,
    ) -> ProposalId {
        let mut electorate = Alpha::ZERO;
        let mut held: BTreeMap<PublicKey, Alpha> = BTreeMap::new();
        for (coldkey, amount) in stakes {
            let sum = held.entry(coldkey).or_default();
            *sum = sum.saturating_add(amount);
            electorate = electorate.saturating_add(amount);
        }
        // Proposals are never removed, so their number is the next one's name.
        let id = ProposalId(self.proposals.len() as u32);
        for (coldkey, amount) in held.into_iter().filter(|(_, amount)| !amount.is_zero()) {
            self.snapshots.insert((id, coldkey), amount);
        }
        self.open.insert(id);
        let proposal = Proposal {
            id,
            proposer: *proposer,
            title: title.to_owned(),
            action: action.clone(),
            snapshot_at: now,
            closes_at: now.plus(rule.voting_blocks),
            status: Status::Open,
            electorate,
            yes: Alpha::ZERO,
            no: Alpha::ZERO,
            abstain: Alpha::ZERO,
        };
        self.proposals.insert(id, proposal);
        id
    }

    /// Votes, or changes a vote; returns the vote's weight.
    pub fn vote(&mut self, id: ProposalId, voter: &PublicKey, ballot: Ballot) -> Result<Alpha, GovernanceRefusal> {
        let mut proposal = self.proposals.get(&id).cloned().ok_or(GovernanceRefusal::NoSuchProposal { id })?;
        if proposal.status != Status::Open {
            return Err(GovernanceRefusal::ProposalClosed { id, at: proposal.closes_at });
        }
        let snapshot_at = proposal.snapshot_at;
        let weight = self.snapshots.get(&(id, *voter)).copied();
        let weight = weight.ok_or(GovernanceRefusal::NoStakeAtSnapshot { id, snapshot_at })?;
        if let Some(before) = self.votes.get(&(id, *voter)) {
            let count = count_of(&mut proposal, *before);
            *count = count.saturating_sub(weight);
        }
        // No sum exceeds the electorate, which fits.
        let count = count_of(&mut proposal, ballot);
        *count = count.saturating_add(weight);
        self.votes.insert((id, *voter), ballot);
        self.proposals.insert(id, proposal);
        Ok(weight)
    }

    /// The most that `voter` has voted with on any open proposal: which, how much, and until when it is locked.
    pub fn locked(&self, voter: &PublicKey) -> Option<(ProposalId, Alpha, BlockNumber)> {
        let voted = self.open.iter().filter(|id| self.votes.contains(&(**id, *voter)));
        let locked = voted.filter_map(|id| {
            let weight = self.snapshots.get(&(*id, *voter)).copied()?;
            Some((*id, weight, self.proposals.get(id)?.closes_at))
        });
        locked.max_by_key(|(_, weight, closes_at)| (*weight, *closes_at))
    }

    /// Decides what closes at `now`, in order. What was adopted is for the caller to carry out; where that fails it says
    /// so with [`GovernanceState::fail`].
    pub fn close_due(&mut self, rule: &GovernanceRule, now: BlockNumber) -> Vec<Decided> {
        let is_due = |id: &&ProposalId| self.proposals.get(id).is_some_and(|proposal| proposal.closes_at <= now);
        let due: Vec<ProposalId> = self.open.iter().filter(is_due).copied().collect();
        let mut decided = Vec::with_capacity(due.len());
        for id in due {
            self.open.remove(&id);
            let Some(mut proposal) = self.proposals.get(&id).cloned() else { continue };
            proposal.status = rule.outcome(&proposal);
            decided.push(Decided { id, status: proposal.status, action: proposal.action.clone() });
            if let (Status::Adopted, Action::Setting(setting)) = (proposal.status, &proposal.action) {
                let change = SettingChange { decided_at: now, setting: *setting };
                self.changes.insert(self.changes.len() as u32, change);
            }
            self.drop_snapshot(id);
            self.proposals.insert(id, proposal);
        }
        decided
    }

    fn drop_snapshot(&mut self, id: ProposalId) {
        // What voters weighed stays to be seen: entries of those who did not vote go.
        let (first, last) = (PublicKey::new([0; 32]), PublicKey::new([255; 32]));
        let held: Vec<PublicKey> = self.snapshots.range((id, first)..=(id, last)).map(|((_, key), _)| *key).collect();
        for key in held.into_iter().filter(|key| !self.votes.contains(&(id, *key))) {
            self.snapshots.remove(&(id, key));
        }
    }

    /// Notes that what was just adopted cannot be carried out.
    pub fn fail(&mut self, id: ProposalId) {
        if let Some(proposal) = self.proposals.get(&id).cloned() {
            self.proposals.insert(id, Proposal { status: Status::Failed, ..proposal });
        }
    }

    /// A proposal with its votes of keys after `after`, `limit` of them at most.
    pub fn view(
        &self,
        rule: &GovernanceRule,
        id: ProposalId,
        after: Option<PublicKey>,
        limit: usize,
    ) -> Option<ProposalView> {
        let proposal = self.proposals.get(&id)?.clone();
        let outcome = if proposal.status == Status::Open { rule.outcome(&proposal) } else { proposal.status };
        let (first, last) = (after.unwrap_or(PublicKey::new([0; 32])), PublicKey::new([255; 32]));
        let found = self.votes.range((id, first)..=(id, last)).filter(|(place, _)| Some(place.1) != after);
        let votes = found.take(limit).map(|(place, ballot)| {
            let weight = self.snapshots.get(place).copied().unwrap_or_default();
            (place.1, *ballot, weight)
        });
        Some(ProposalView { outcome, votes: votes.collect(), proposal })
    }

    /// The newest proposals, newest first, `limit` at most.
    pub fn newest(&self, limit: usize) -> Vec<Proposal> {
        let count = self.proposals.len() as u32;
        let ids = (0..count).rev().take(limit).map(ProposalId);
        ids.filter_map(|id| self.proposals.get(&id).cloned()).collect()
    }

    /// All adopted run settings, in the order of their adoption.
    pub fn changes(&self) -> Vec<SettingChange> {
        self.changes.iter().map(|(_, change)| *change).collect()
    }
}

fn count_of(proposal: &mut Proposal, ballot: Ballot) -> &mut Alpha {
    match ballot {
        Ballot::Yes => &mut proposal.yes,
        Ballot::No => &mut proposal.no,
        Ballot::Abstain => &mut proposal.abstain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::RunSetting;

    fn key(number: u8) -> PublicKey {
        PublicKey::new([number; 32])
    }

    fn rule() -> GovernanceRule {
        GovernanceRule { voting_blocks: 10, proposer_stake: Alpha::from_rao(5), ..GovernanceRule::mainnet_like() }
    }

    const ACTION: Action = Action::Setting(RunSetting::Selected(7));

    /// A proposal of key 1 at block 100, with these stakes of the keys 1, 2, 3, ….
    fn proposed(stakes: &[u64]) -> (GovernanceState, ProposalId) {
        let mut state = GovernanceState::default();
        let held = stakes.iter().enumerate().map(|(place, amount)| (key(place as u8 + 1), Alpha::from_rao(*amount)));
        let id = state.propose(&rule(), BlockNumber(100), &key(1), ("seven", &ACTION), held);
        (state, id)
    }

    fn status(state: &GovernanceState, id: ProposalId) -> Status {
        state.proposals.get(&id).unwrap().status
    }

    #[test]
    fn a_majority_decides_at_the_close_and_nothing_changes_after_it() {
        let (mut state, id) = proposed(&[40, 60]);
        assert_eq!(state.vote(id, &key(1), Ballot::Yes).unwrap(), Alpha::from_rao(40));
        state.vote(id, &key(2), Ballot::No).unwrap();
        assert_eq!(state.view(&rule(), id, None, 9).unwrap().outcome, Status::NoMajority);
        state.vote(id, &key(2), Ballot::Abstain).unwrap();
        assert_eq!(state.close_due(&rule(), BlockNumber(109)), []);
        let decided = state.close_due(&rule(), BlockNumber(110));
        assert_eq!(decided, [Decided { id, status: Status::Adopted, action: ACTION }]);
        let change = SettingChange { decided_at: BlockNumber(110), setting: RunSetting::Selected(7) };
        assert_eq!(state.changes(), [change]);
        let closed = state.view(&rule(), id, None, 9).unwrap();
        let late = state.vote(id, &key(2), Ballot::No).unwrap_err();
        assert_eq!(late, GovernanceRefusal::ProposalClosed { id, at: BlockNumber(110) });
        assert_eq!(state.close_due(&rule(), BlockNumber(111)), []);
        assert_eq!(state.view(&rule(), id, None, 9).unwrap(), closed);
    }

    #[test]
    fn a_small_turnout_or_a_tie_adopts_nothing() {
        let (mut state, id) = proposed(&[10, 90]);
        state.vote(id, &key(1), Ballot::Yes).unwrap();
        assert_eq!(state.close_due(&rule(), BlockNumber(110))[0].status, Status::NoQuorum);
        assert_eq!(status(&state, id), Status::NoQuorum);
        let (mut state, id) = proposed(&[50, 50]);
        state.vote(id, &key(1), Ballot::Yes).unwrap();
        state.vote(id, &key(2), Ballot::No).unwrap();
        assert_eq!(state.close_due(&rule(), BlockNumber(110))[0].status, Status::NoMajority);
        assert_eq!(state.changes(), []);
    }

    #[test]
    fn only_stake_of_the_snapshot_votes() {
        let (mut state, id) = proposed(&[40, 60]);
        let refusal = state.vote(id, &key(3), Ballot::Yes).unwrap_err();
        assert_eq!(refusal, GovernanceRefusal::NoStakeAtSnapshot { id, snapshot_at: BlockNumber(100) });
        let unknown = ProposalId(8);
        let refusal = state.vote(unknown, &key(1), Ballot::Yes).unwrap_err();
        assert_eq!(refusal, GovernanceRefusal::NoSuchProposal { id: unknown });
    }

    #[test]
    fn what_the_genesis_does_not_allow_cannot_be_proposed() {
        let mut state = GovernanceState::default();
        let mut propose = |proposer, action: Action, stake| {
            let held = std::iter::once((key(1), Alpha::from_rao(stake)));
            state.admit(&rule(), (&key(proposer), Alpha::from_rao(stake)), ("", &action))?;
            Ok(state.propose(&rule(), BlockNumber(1), &key(proposer), ("", &action), held))
        };
        let outside = [
            Action::Setting(RunSetting::LearningRateFactor(0)),
            Action::Setting(RunSetting::OuterAlpha(2_000_001)),
            Action::Setting(RunSetting::InnerSteps(0)),
            Action::Setting(RunSetting::Selected(65)),
            Action::Revenue { burned_per_mille: 900, treasury_per_mille: 200 },
            Action::Price {
                service: templar_chain::access::Service::Generation,
                per_thousand: Alpha::from_rao(u64::MAX),
            },
            Action::Spend { to: key(1), hotkey: key(1), amount: Alpha::from_rao(0) },
        ];
        for action in outside {
            assert!(matches!(propose(1, action, 5), Err(GovernanceRefusal::OutOfBounds { .. })));
        }
        let wanted = Alpha::from_rao(5);
        assert_eq!(
            propose(1, ACTION, 4),
            Err(GovernanceRefusal::NotEnoughStakeToPropose { held: Alpha::from_rao(4), wanted })
        );
        for proposer in 1..=16 {
            propose(proposer, ACTION, 5).unwrap();
        }
        let (id, closes_at) = (ProposalId(3), BlockNumber(11));
        assert_eq!(propose(4, ACTION, 5), Err(GovernanceRefusal::OneProposalAtATime { id, closes_at }));
        assert_eq!(propose(17, ACTION, 5), Err(GovernanceRefusal::TooManyProposals { limit: 16 }));
        // Of several reasons the first is told: what is wrong with the proposal, then the others', then the proposer's.
        let (long, wrong) = ("t".repeat(MAX_TITLE_BYTES + 1), Action::Setting(RunSetting::InnerSteps(0)));
        let refused = |title: &str, action: &Action| {
            state.admit(&rule(), (&key(17), Alpha::from_rao(4)), (title, action)).unwrap_err()
        };
        assert!(matches!(refused(&long, &wrong), GovernanceRefusal::TitleTooLong { .. }));
        assert!(matches!(refused("", &wrong), GovernanceRefusal::OutOfBounds { .. }));
        assert!(matches!(refused("", &ACTION), GovernanceRefusal::TooManyProposals { .. }));
    }

    #[test]
    fn votes_are_told_by_pages() {
        let (mut state, id) = proposed(&[9; 5]);
        for voter in 1..=5 {
            state.vote(id, &key(voter), Ballot::Yes).unwrap();
        }
        let page = |after: Option<u8>| -> Vec<PublicKey> {
            let view = state.view(&rule(), id, after.map(key), 2).unwrap();
            view.votes.into_iter().map(|(voter, ..)| voter).collect()
        };
        assert_eq!([page(None), page(Some(2)), page(Some(4)), page(Some(5))].concat(), [1, 2, 3, 4, 5].map(key));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However often votes change, the tally is that of the last ones, and a restored state goes on as the first.
        #[test]
        fn the_last_votes_count(
            stakes in proptest::collection::vec(5u64..1000, 1..6),
            votes in proptest::collection::vec((1u8..7, 0u8..3), 0..30),
        ) {
            let (mut state, id) = proposed(&stakes);
            let mut stored: BTreeMap<(u8, Vec<u8>), Vec<u8>> = BTreeMap::new();
            let mut last = BTreeMap::new();
            for (voter, ballot) in votes {
                let ballot = [Ballot::Yes, Ballot::No, Ballot::Abstain][usize::from(ballot)];
                if state.vote(id, &key(voter), ballot).is_ok() {
                    last.insert(voter, ballot);
                }
            }
            for (number, table) in state.tables() {
                for (key, value) in table.settle().1 {
                    if let Some(value) = value {
                        stored.insert((number, key), value);
                    }
                }
            }
            let sum = |wanted| last.iter().filter(|(_, ballot)| **ballot == wanted)
                .map(|(voter, _)| stakes[usize::from(*voter) - 1]).sum::<u64>();
            let proposal = state.view(&rule(), id, None, 9).unwrap().proposal;
            prop_assert_eq!([proposal.yes.as_rao(), proposal.no.as_rao(), proposal.abstain.as_rao()], [sum(Ballot::Yes), sum(Ballot::No), sum(Ballot::Abstain)]);
            prop_assert_eq!(proposal.electorate.as_rao(), stakes.iter().sum::<u64>());
            let mut restored = GovernanceState::default();
            for ((number, key), value) in &stored {
                let found = restored.tables().into_iter().find(|(given, _)| given == number);
                prop_assert!(found.unwrap().1.restore(key, value));
            }
            restored.index();
            prop_assert_eq!(state.close_due(&rule(), BlockNumber(110)), restored.close_due(&rule(), BlockNumber(110)));
            let digests = |state: &mut GovernanceState| -> Vec<[u8; 32]> {
                state.tables().into_iter().map(|(_, table)| table.settle().0).collect()
            };
            prop_assert_eq!(digests(&mut state), digests(&mut restored));
        }
    }
}
