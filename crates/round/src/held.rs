//! What a window's candidates are: the payloads of its pool that more than half of the electors' stake holds. Availability is
//! agreed on first, so that all judge the same.
//!
//! After the deadline for keys each elector commits a bitmap over the pool: which payloads it has whole, opened, and checked as
//! far as that needs no other payload. What a bucket served to some validators only is then either nobody's candidate or
//! everybody's: some of those that hold a candidate put it into their own buckets, where whoever lacks it finds it.

use crate::sealing::parse_exactly;
use crate::{Elector, VoteRecord};
use parity_scale_codec::{Decode, Encode};
use std::collections::BTreeMap;
use templar_base::random::Stream;
use templar_base::{Beacon, BlockNumber, MAX_CANDIDATES, PublicKey, Uid, Window};

/// Buckets that have a candidate besides its miner's: one may be down, and another slow.
const MIRRORS: usize = 3;

// A bitmap has a bit for every place of the largest pool.
const _: () = assert!(MAX_CANDIDATES <= u64::BITS as usize);

/// Which payloads of a window's pool an elector holds: a bit for each, by uid, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Held(u64);

impl Held {
    /// Of the payloads of `pool`, ascending, those of which `holds` says so.
    pub fn of(pool: &[Uid], holds: impl Fn(Uid) -> bool) -> Self {
        let held = (0..MAX_CANDIDATES).zip(pool).filter(|(_, uid)| holds(**uid));
        Self(held.fold(0, |bits, (place, _)| bits | 1 << place))
    }

    /// Reads a bitmap from the ledger; none where the bytes are malformed, and then it does not count.
    pub fn from_ledger(bytes: &[u8]) -> Option<Self> {
        parse_exactly(bytes)
    }

    /// Whether the payload of a miner of `pool`, ascending, is held.
    pub fn holds(self, pool: &[Uid], uid: Uid) -> bool {
        pool.binary_search(&uid).is_ok_and(|place| self.has(place, pool.len()))
    }

    /// Whether the payload at this place of a pool of `len` is held. A bitmap with a bit beyond its pool is of another pool, and
    /// holds nothing of this one.
    fn has(self, place: usize, len: usize) -> bool {
        let beyond = u64::MAX.checked_shl(len as u32).unwrap_or(0);
        let bit = 1u64.checked_shl(place as u32).unwrap_or(0);
        self.0 & beyond == 0 && self.0 & bit != 0
    }
}

/// A well-formed bitmap as the ledger holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRecord {
    /// Who wrote it.
    pub hotkey: PublicKey,
    /// The block that holds it.
    pub block: BlockNumber,
    /// What its author holds.
    pub held: Held,
}

/// The candidates of a window, once nothing can change them any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidates {
    /// Who holds each, by uid: electors that stated so until the candidates stood.
    holders: BTreeMap<Uid, Vec<Elector>>,
}

/// The candidates among the payloads of `pool`, ascending: those that more than half of the electors' stake holds, writing or not.
/// What is written in blocks after `deadline` does not count. None while what is still to come by then could make another one a
/// candidate, as far as `head` shows. Of each elector the first bitmap counts.
pub fn candidates(
    pool: &[Uid],
    (electors, held): (&[Elector], &[HeldRecord]),
    deadline: BlockNumber,
    head: BlockNumber,
) -> Option<Candidates> {
    let all: u128 = electors.iter().map(|elector| u128::from(elector.stake)).sum();
    let written = in_order(electors, held, deadline);
    let (mut stakes, mut to_come) = (vec![0u128; pool.len()], all);
    let is_settled =
        |stakes: &[u128], to_come: u128| stakes.iter().all(|stake| (stake * 2 > all) == ((stake + to_come) * 2 > all));
    // An empty pool has no candidates, whoever writes.
    let mut end = pool.is_empty().then_some(BlockNumber::ZERO);
    for block in written.chunk_by(|a, b| a.0 == b.0) {
        if end.is_some() {
            break;
        }
        for (_, elector, bitmap) in block {
            to_come -= u128::from(elector.stake);
            let held = stakes.iter_mut().enumerate().filter(|(place, _)| bitmap.has(*place, pool.len()));
            for (_, stake) in held {
                *stake += u128::from(elector.stake);
            }
        }
        end = is_settled(&stakes, to_come).then_some(block[0].0);
    }
    let end = end.unwrap_or(deadline);
    if head < end {
        return None;
    }
    let holders = |place: usize| -> Vec<Elector> {
        let own = written.iter().filter(|(block, _, bitmap)| *block <= end && bitmap.has(place, pool.len()));
        own.map(|(_, elector, _)| **elector).collect()
    };
    let candidate = |(place, uid): (usize, &Uid)| {
        let mut by = holders(place);
        by.sort_by_key(|elector| elector.uid);
        let stake: u128 = by.iter().map(|elector| u128::from(elector.stake)).sum();
        (stake * 2 > all).then_some((*uid, by))
    };
    Some(Candidates { holders: pool.iter().enumerate().filter_map(candidate).collect() })
}

/// Each elector's first bitmap that is in time, in the order of blocks.
fn in_order<'e>(
    electors: &'e [Elector],
    held: &[HeldRecord],
    deadline: BlockNumber,
) -> Vec<(BlockNumber, &'e Elector, Held)> {
    let first = |elector: &'e Elector| {
        let own = held.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
        let first = own.min_by_key(|record| record.block)?;
        Some((first.block, elector, first.held))
    };
    let mut written: Vec<_> = electors.iter().filter_map(first).collect();
    written.sort_by_key(|(block, elector, _)| (*block, elector.uid));
    written
}

impl Candidates {
    /// Whose payloads, ascending.
    pub fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.holders.keys().copied()
    }

    /// Whether a miner's payload is one.
    pub fn contains(&self, uid: Uid) -> bool {
        self.holders.contains_key(&uid)
    }

    /// Who stated to hold a candidate.
    pub fn holders(&self, uid: Uid) -> &[Elector] {
        self.holders.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// Whose buckets have a candidate besides its miner's: up to three of its holders, by stake, drawn by the beacon of
    /// [`Phases::draw`](crate::Phases::draw). So nobody chooses what it has to keep, and a lie costs a draw at most.
    pub fn mirrors(&self, window: Window, uid: Uid, beacon: &Beacon) -> Vec<PublicKey> {
        let mut left = self.holders(uid).to_vec();
        let mut lots = Stream::new(*beacon.as_bytes(), &format!("mirrors of uid {uid}"), window.get());
        let mut drawn = Vec::new();
        while drawn.len() < MIRRORS {
            let all = left.iter().fold(0u64, |sum, elector| sum.saturating_add(elector.stake));
            let mut lot = lots.below(all);
            let is_drawn = |elector: &Elector| {
                let is_own = lot < elector.stake;
                lot = lot.saturating_sub(elector.stake);
                is_own
            };
            // Nobody is left, or nobody with stake.
            let Some(place) = left.iter().position(is_drawn) else { break };
            drawn.push(left.remove(place).hotkey);
        }
        drawn
    }

    /// The same for all candidates.
    pub fn all_mirrors(&self, window: Window, beacon: &Beacon) -> BTreeMap<Uid, Vec<PublicKey>> {
        self.uids().map(|uid| (uid, self.mirrors(window, uid, beacon))).collect()
    }

    /// What counts of these votes: what they say of candidates, and of audits of earlier windows.
    pub fn counted(&self, votes: Vec<VoteRecord>) -> Vec<VoteRecord> {
        let of_candidates =
            |record: VoteRecord| VoteRecord { vote: record.vote.about(|uid| self.contains(uid)), ..record };
        votes.into_iter().map(of_candidates).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vote;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use templar_base::{ContentHash, Finding, Findings, Mark, OwnText, Probe, Share};

    const DEADLINE: BlockNumber = BlockNumber(20);

    fn key(uid: u16) -> PublicKey {
        PublicKey::new([uid as u8 + 1; 32])
    }

    fn electors(stakes: &[u64]) -> Vec<Elector> {
        let elector = |(uid, stake): (u16, &u64)| Elector { uid: Uid(uid), hotkey: key(uid), stake: *stake };
        (0..).zip(stakes).map(elector).collect()
    }

    fn pool(uids: &[u16]) -> Vec<Uid> {
        uids.iter().copied().map(Uid).collect()
    }

    fn record(uid: u16, block: u64, pool: &[Uid], held: &[u16]) -> HeldRecord {
        let held = Held::of(pool, |uid| held.contains(&uid.0));
        HeldRecord { hotkey: key(uid), block: BlockNumber(block), held }
    }

    fn uids(found: &Option<Candidates>) -> Option<Vec<u16>> {
        found.as_ref().map(|found| found.uids().map(|uid| uid.0).collect())
    }

    fn found(stakes: &[u64], pool: &[Uid], held: &[HeldRecord], head: u64) -> Option<Candidates> {
        candidates(pool, (&electors(stakes), held), DEADLINE, BlockNumber(head))
    }

    #[test]
    fn what_half_of_the_stake_or_less_holds_is_nobody_s_candidate() {
        let pool = pool(&[3, 5, 9]);
        let held = [record(0, 12, &pool, &[3, 5]), record(1, 12, &pool, &[3, 9])];
        assert_eq!(uids(&found(&[50, 50], &pool, &held, 12)), Some(vec![3]));
        assert_eq!(uids(&found(&[51, 49], &pool, &held, 12)), Some(vec![3, 5]));
        // Stake that does not write weighs as stake that holds nothing.
        assert_eq!(uids(&found(&[30, 30, 40], &pool, &held, 20)), Some(vec![3]));
        assert_eq!(uids(&found(&[25, 25, 50], &pool, &held, 20)), Some(vec![]));
    }

    #[test]
    fn it_ends_as_soon_as_nothing_to_come_can_change_it_and_at_the_deadline_at_the_latest() {
        let pool = pool(&[3, 5]);
        let agreeing = [record(0, 12, &pool, &[3]), record(1, 14, &pool, &[3])];
        assert_eq!(uids(&found(&[30, 30, 30], &pool, &agreeing, 13)), None);
        assert_eq!(uids(&found(&[30, 30, 30], &pool, &agreeing, 14)), Some(vec![3]));
        let differing = [record(0, 12, &pool, &[3]), record(1, 14, &pool, &[3, 5])];
        assert_eq!(uids(&found(&[30, 30, 30], &pool, &differing, 19)), None);
        assert_eq!(uids(&found(&[30, 30, 30], &pool, &differing, 20)), Some(vec![3]));
        // What comes after the end is not asked for the mirror.
        let late = [agreeing[0], agreeing[1], record(2, 15, &pool, &[3])];
        assert_eq!(found(&[30, 30, 30], &pool, &late, 30).unwrap().holders(Uid(3)).len(), 2);
        assert_eq!(uids(&found(&[30, 30, 30], &[], &[], 5)), Some(vec![]), "an empty pool has no candidates");
        assert_eq!(uids(&found(&[], &pool, &[], 19)), None);
        assert_eq!(uids(&found(&[], &pool, &[], 20)), Some(vec![]));
    }

    #[test]
    fn late_strangers_second_and_misshapen_bitmaps_do_not_count() {
        let pool = pool(&[3, 5]);
        let beyond = HeldRecord { held: Held(0b101), ..record(0, 12, &pool, &[]) };
        let held = [
            beyond,
            record(1, 21, &pool, &[3]),
            record(2, 13, &pool, &[3]),
            record(2, 12, &pool, &[5]),
            record(9, 12, &pool, &[3, 5]),
        ];
        assert_eq!(uids(&found(&[20, 20, 60], &pool, &held, 30)), Some(vec![5]));
    }

    #[test]
    fn mirrors_are_holders_by_stake_and_differ_from_window_to_window() {
        let pool = pool(&[3, 5]);
        let stakes = [100, 100, 100, 100, 1];
        let held: Vec<HeldRecord> = (0..5).map(|uid| record(uid, 12, &pool, &[3])).collect();
        let found = found(&stakes, &pool, &held, 12).unwrap();
        let mirrors = |window: u64| found.mirrors(Window(window), Uid(3), &Beacon::new([window as u8; 32]));
        let mut drawn = [0; 5];
        for window in 0..400 {
            let mirrors = mirrors(window);
            assert_eq!(mirrors, found.all_mirrors(Window(window), &Beacon::new([window as u8; 32]))[&Uid(3)]);
            assert_eq!(mirrors.iter().collect::<BTreeSet<_>>().len(), 3);
            (0..5).filter(|uid| mirrors.contains(&key(*uid))).for_each(|uid| drawn[usize::from(uid)] += 1);
        }
        assert!(drawn[..4].iter().all(|times| (250..350).contains(times)) && drawn[4] < 30, "{drawn:?}");
        assert!(found.mirrors(Window(1), Uid(5), &Beacon::default()).is_empty(), "no candidate");
        // Fewer holders than places.
        let few = super::candidates(&pool, (&electors(&[60, 40]), &held[..2]), DEADLINE, BlockNumber(12)).unwrap();
        assert_eq!(few.mirrors(Window(1), Uid(3), &Beacon::default()).len(), 2);
    }

    #[test]
    fn of_a_vote_counts_what_it_says_of_candidates_and_of_audits() {
        let pool = pool(&[3, 5]);
        let found = found(&[9], &pool, &[record(0, 12, &pool, &[3])], 12).unwrap();
        let finding = |uid, mark| Finding { uid: Uid(uid), mark, is_sure: true, share: Some(Share::new(1.0, 0.1)) };
        let miners = vec![finding(3, Mark::Selected), finding(5, Mark::Selected), finding(8, Mark::Fraud)];
        let probes = [3, 5].map(|uid| Probe { uid: Uid(uid), own_text: OwnText::new(0.5) }).into();
        let findings = Findings { miners, probes, ..Findings::default() };
        let vote = Vote::new(findings, ContentHash::default()).unwrap();
        let counted = found.counted(vec![VoteRecord { hotkey: key(0), block: BlockNumber(15), vote }]);
        let said = counted[0].vote.findings();
        assert_eq!(said.miners[0], finding(3, Mark::Selected));
        assert_eq!(said.miners[1..], [Finding { share: None, ..finding(8, Mark::Fraud) }]);
        assert_eq!(said.probes.iter().map(|probe| probe.uid).collect::<Vec<_>>(), [Uid(3)]);
        assert!(said.check().is_ok());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let read = Held::from_ledger(&bytes);
            prop_assert_eq!(read.is_some(), bytes.len() == 8);
            if let Some(held) = read {
                prop_assert_eq!(held.encode(), bytes);
                // Whatever the bits, no more are held than there are places, of a pool of any size.
                for len in [0, 1, 63, 64, 1_000] {
                    let pool: Vec<Uid> = (0..len).map(Uid).collect();
                    let record = HeldRecord { hotkey: key(0), block: BlockNumber(1), held };
                    let found = candidates(&pool, (&electors(&[5]), &[record]), DEADLINE, DEADLINE).unwrap();
                    prop_assert!(found.uids().count() <= usize::from(len).min(64));
                }
            }
        }

        #[test]
        fn a_bitmap_says_what_it_was_made_of(len in 0u16..70, held in proptest::collection::btree_set(0u16..70, 0..70)) {
            let pool: Vec<Uid> = (0..len).map(Uid).collect();
            let bitmap = Held::of(&pool, |uid| held.contains(&uid.0));
            for place in 0..usize::from(len) {
                let is_held = place < MAX_CANDIDATES && held.contains(&(place as u16));
                prop_assert_eq!(bitmap.has(place, pool.len()), is_held);
                prop_assert_eq!(bitmap.holds(&pool, Uid(place as u16)), is_held);
            }
        }

        /// What stands early stands at the deadline, whatever comes in between; so do the mirrors.
        #[test]
        fn candidates_that_stand_early_are_final(
            stakes in proptest::collection::vec(0u64..100, 1..5),
            writes in proptest::collection::vec((0u16..6, 10u64..25, 0u64..16), 0..8),
        ) {
            let (pool, electors) = (pool(&[1, 4, 6, 7]), electors(&stakes));
            let mut held: Vec<HeldRecord> = Vec::new();
            for (uid, block, bits) in writes {
                if !held.iter().any(|record| record.hotkey == key(uid)) {
                    held.push(HeldRecord { hotkey: key(uid), block: BlockNumber(block), held: Held(bits) });
                }
            }
            let last = candidates(&pool, (&electors, &held), DEADLINE, BlockNumber(30));
            prop_assert!(last.is_some());
            for head in 9..30 {
                let seen: Vec<HeldRecord> = held.iter().filter(|record| record.block.0 <= head).copied().collect();
                let early = candidates(&pool, (&electors, &seen), DEADLINE, BlockNumber(head));
                prop_assert!(early.is_none() || early == last);
                // Who reads later than it knows the head comes to no other result.
                let ahead = candidates(&pool, (&electors, &held), DEADLINE, BlockNumber(head));
                prop_assert!(ahead.is_none() || ahead == last);
            }
        }
    }
}
