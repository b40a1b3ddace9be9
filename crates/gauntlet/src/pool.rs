//! The pool: whose payloads are judged. Judging has a fixed price, however many miners there are.

use crate::Ratings;
use std::collections::BTreeSet;
use templar_base::random::Stream;
use templar_base::{Beacon, Uid, Window};

/// Every fourth place goes by lot: a low rating is never worse than none.
const LOT_PART: usize = 4;

/// The rated miners, the best first: all that the pool needs of the ratings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranking(Vec<Uid>);

impl Ratings {
    /// The rated miners, the best first; of equals the lower uid.
    pub fn ranking(&self) -> Ranking {
        let value = |uid: &Uid| self.miners.get(uid).map_or(f64::NEG_INFINITY, |record| record.rating.value());
        let mut rated: Vec<Uid> = self.miners.keys().copied().filter(|uid| self.weight_of(*uid) > 0.0).collect();
        rated.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
        Ranking(rated)
    }
}

/// Of those who sealed a payload, at most `places`: the best rated, and a quarter of the places by lot among all others.
/// The beacon is drawn after the seals.
pub fn pool(ranking: &Ranking, sealed: &[Uid], places: usize, window: Window, beacon: Beacon) -> BTreeSet<Uid> {
    let all: BTreeSet<Uid> = sealed.iter().copied().collect();
    if all.len() <= places {
        return all;
    }
    let rated = ranking.0.iter().copied().filter(|uid| all.contains(uid));
    let mut drawn: BTreeSet<Uid> = rated.take(places - places.div_ceil(LOT_PART)).collect();
    let mut others: Vec<Uid> = all.difference(&drawn).copied().collect();
    let mut lots = Stream::new(*beacon.as_bytes(), "gauntlet pool", window.0);
    while drawn.len() < places && !others.is_empty() {
        drawn.insert(others.swap_remove(lots.below(others.len() as u64) as usize));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MinerRecord, Rating};
    use templar_base::PublicKey;

    fn rated(uids: std::ops::Range<u16>) -> Ratings {
        let record = |uid: u16| MinerRecord {
            rating: Rating { mean: 1.0 - f64::from(uid) / 1_000.0, variance: 0.01 },
            is_proven: true,
            ..MinerRecord::new(PublicKey::new([uid as u8; 32]), Window(0))
        };
        Ratings { miners: uids.map(|uid| (Uid(uid), record(uid))).collect(), ..Ratings::default() }
    }

    #[test]
    fn the_best_rated_are_judged_and_everybody_else_has_the_same_lot() {
        let (ranking, sealed) = (rated(0..100).ranking(), (0..1_000).map(Uid).collect::<Vec<_>>());
        let mut drawn = BTreeSet::new();
        for window in 0..400 {
            let pool = pool(&ranking, &sealed, 64, Window(window), Beacon::new([window as u8; 32]));
            assert_eq!(pool.len(), 64);
            assert!((0..48).all(|uid| pool.contains(&Uid(uid))), "the 48 best rated have their places");
            drawn.extend(pool.into_iter().filter(|uid| uid.0 >= 48));
        }
        assert!(drawn.len() > 940, "{} of 952 were drawn in 400 windows", drawn.len());
        assert!(drawn.iter().any(|uid| uid.0 < 100), "also those with a low rating");
    }

    #[test]
    fn where_nobody_is_rated_all_places_go_by_lot_and_few_are_all_judged() {
        let sealed: Vec<Uid> = (0..100).map(Uid).collect();
        let beacon = Beacon::new([3; 32]);
        assert_eq!(pool(&Ranking::default(), &sealed, 64, Window(1), beacon).len(), 64);
        assert_eq!(pool(&Ranking::default(), &sealed[..10], 64, Window(1), beacon).len(), 10);
    }
}
