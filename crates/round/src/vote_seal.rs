//! A vote that nobody can copy: its hash first, the vote when all others have theirs on the ledger.

use crate::Elector;
use crate::agreement::VoteRecord;
use crate::sealing::parse_exactly;
use crate::{SealTime, Vote};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockNumber, ContentHash, PublicKey, RunId, Window};

/// The hash of a vote with its salt, bound to run, window and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct VoteSeal(ContentHash);

impl VoteSeal {
    /// The seal of a validator's vote.
    pub fn of(run: RunId, window: Window, hotkey: PublicKey, vote: &Vote) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("templar sealed vote");
        hasher.update(run.as_bytes());
        hasher.update(&window.get().to_le_bytes());
        hasher.update(hotkey.as_bytes());
        hasher.update(&vote.encode());
        Self(ContentHash::new(*hasher.finalize().as_bytes()))
    }

    /// Reads a seal from the ledger; none where the bytes are malformed, and then it does not count.
    pub fn from_ledger(bytes: &[u8]) -> Option<Self> {
        parse_exactly(bytes)
    }
}

/// A well-formed seal as the ledger holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteSealRecord {
    /// Whose vote it seals.
    pub hotkey: PublicKey,
    /// The block that holds it.
    pub block: BlockNumber,
    /// The seal.
    pub seal: VoteSeal,
}

/// Nine tenths: of the electors' stake so much must have sealed before votes are opened early.
const ENOUGH: (u128, u128) = (9, 10);

/// The last block in which a seal counts, after which votes may be opened: the deadline, or, where that may be, the block before
/// it in which nine tenths of the electors' stake had sealed. None while `head` has reached neither.
///
/// A miner that has earned a little stake may hold a permit and never vote: nobody waits for it.
pub fn seals_end(
    electors: &[Elector],
    seals: &[VoteSealRecord],
    SealTime { deadline, may_end_early }: SealTime,
    head: BlockNumber,
) -> Option<BlockNumber> {
    let all: u128 = electors.iter().map(|elector| u128::from(elector.stake)).sum();
    let first = |elector: &Elector| {
        let own = seals.iter().filter(|record| record.hotkey == elector.hotkey).map(|record| record.block);
        Some((own.min()?, u128::from(elector.stake)))
    };
    let mut sealed: Vec<(BlockNumber, u128)> = electors.iter().filter_map(first).collect();
    sealed.sort();
    let mut stake = 0;
    let enough = sealed.into_iter().find(|(_, own)| {
        stake += own;
        may_end_early && all > 0 && stake * ENOUGH.1 >= all * ENOUGH.0
    });
    let end = enough.map_or(deadline, |(block, _)| block.min(deadline));
    (head >= end).then_some(end)
}

/// The votes that count: each was sealed before anybody could open one, and opened after.
pub fn opened(
    run: RunId,
    window: Window,
    (electors, seals): (&[Elector], &[VoteSealRecord]),
    votes: Vec<VoteRecord>,
    (time, head): (SealTime, BlockNumber),
) -> Vec<VoteRecord> {
    let Some(end) = seals_end(electors, seals, time, head) else { return Vec::new() };
    opened_after(run, window, (end, seals), votes)
}

/// The votes that were sealed up to the block `end`, before anybody could open one, and opened after it; of electors and of
/// others.
pub fn opened_after(
    run: RunId,
    window: Window,
    (end, seals): (BlockNumber, &[VoteSealRecord]),
    votes: Vec<VoteRecord>,
) -> Vec<VoteRecord> {
    let is_sealed = |record: &VoteRecord| {
        let own = seals.iter().filter(|seal| seal.hotkey == record.hotkey && seal.block <= end);
        let first = own.min_by_key(|seal| seal.block);
        first.is_some_and(|first| first.seal == VoteSeal::of(run, window, record.hotkey, &record.vote))
    };
    votes.into_iter().filter(|record| record.block > end && is_sealed(record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::{Findings, Nats, Uid};

    const DEADLINE: BlockNumber = BlockNumber(20);
    const TIME: SealTime = SealTime { deadline: DEADLINE, may_end_early: true };
    const WINDOW: Window = Window(4);

    fn key(uid: u16) -> PublicKey {
        PublicKey::new([uid as u8 + 1; 32])
    }

    fn electors(stakes: &[u64]) -> Vec<Elector> {
        let elector = |(uid, stake): (u16, &u64)| Elector { uid: Uid(uid), hotkey: key(uid), stake: *stake };
        (0..).zip(stakes).map(elector).collect()
    }

    fn vote(salt: u8) -> Vote {
        let findings = Findings { surplus: Nats(3), ..Findings::default() };
        Vote::new(findings, ContentHash::default()).unwrap().salted([salt; 16])
    }

    fn seal(uid: u16, block: u64, vote: &Vote) -> VoteSealRecord {
        let hotkey = key(uid);
        VoteSealRecord { hotkey, block: BlockNumber(block), seal: VoteSeal::of(RunId::default(), WINDOW, hotkey, vote) }
    }

    fn opening(uid: u16, block: u64, vote: &Vote) -> VoteRecord {
        VoteRecord { hotkey: key(uid), block: BlockNumber(block), vote: vote.clone() }
    }

    fn counted(stakes: &[u64], seals: &[VoteSealRecord], votes: Vec<VoteRecord>, head: u64) -> Vec<PublicKey> {
        let electors = electors(stakes);
        let when = (TIME, BlockNumber(head));
        let opened = opened(RunId::default(), WINDOW, (&electors, seals), votes, when);
        opened.into_iter().map(|record| record.hotkey).collect()
    }

    /// Hole S4: a validator that judged nothing sent the vote that another had sent.
    #[test]
    fn a_vote_that_was_sealed_after_others_were_opened_does_not_count() {
        let (first, second) = (vote(1), vote(2));
        let seals = [seal(0, 12, &first), seal(1, 13, &second), seal(2, 14, &first)];
        // The third takes the first one's vote as soon as it is open, and its hash along.
        let votes = || vec![opening(0, 14, &first), opening(1, 15, &second), opening(2, 15, &first)];
        assert_eq!(counted(&[46, 46, 8], &seals, votes(), 15), [key(0), key(1)]);
        // Another's seal is of no use under one's own key.
        let copied = VoteSealRecord { hotkey: key(2), ..seal(0, 12, &first) };
        assert_eq!(counted(&[46, 46, 8], &[seals[0], seals[1], copied], votes(), 15), [key(0), key(1)]);
    }

    #[test]
    fn who_opens_before_the_others_have_sealed_votes_in_vain_and_stops_nobody() {
        let (first, second, third) = (vote(1), vote(2), vote(3));
        let seals = [seal(0, 12, &first), seal(1, 13, &second), seal(2, 16, &third)];
        let votes = vec![opening(0, 13, &first), opening(1, 17, &second), opening(2, 18, &third)];
        assert_eq!(counted(&[40, 30, 30], &seals, votes, 18), [key(1), key(2)]);
    }

    #[test]
    fn without_one_of_three_votes_are_opened_after_the_deadline() {
        let (first, second) = (vote(1), vote(2));
        let seals = [seal(0, 12, &first), seal(1, 13, &second)];
        let electors = electors(&[40, 30, 30]);
        assert_eq!(seals_end(&electors, &seals, TIME, BlockNumber(19)), None);
        assert_eq!(seals_end(&electors, &seals, TIME, BlockNumber(25)), Some(DEADLINE));
        assert_eq!(counted(&[40, 30, 30], &seals, vec![opening(0, 20, &first), opening(1, 21, &second)], 25), [key(1)]);
    }

    #[test]
    fn little_stake_that_never_votes_holds_up_nobody() {
        let seals = [seal(0, 12, &vote(1)), seal(1, 13, &vote(2))];
        let end = |time, head| seals_end(&electors(&[500, 500, 3, 2]), &seals, time, BlockNumber(head));
        assert_eq!(end(TIME, 13), Some(BlockNumber(13)));
        // But for windows that wait for everybody, so that who is no elector can become one.
        let patient = SealTime { may_end_early: false, ..TIME };
        assert_eq!([end(patient, 19), end(patient, 20)], [None, Some(DEADLINE)]);
    }

    #[test]
    fn the_salt_hides_a_vote_that_could_be_guessed() {
        let seal = |salt| VoteSeal::of(RunId::default(), WINDOW, key(0), &vote(salt));
        assert_ne!(seal(1), seal(2));
    }
}
