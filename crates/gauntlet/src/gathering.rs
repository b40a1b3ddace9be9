//! How much of what was committed a judge has seen.

use crate::{Entry, Ratings, Rejection, Submission};
use std::collections::BTreeSet;
use templar_base::Uid;

/// How many payloads came, good or bad, and of how many, as far as that shows how well this judge is connected.
///
/// Those count that are rated; all where none is. Otherwise anyone could commit to payloads that do
/// not exist from more slots than there are miners, and every judge would assume that the fault is its own.
pub fn gathered_share(entries: &[Entry], ratings: &Ratings) -> (usize, usize) {
    let is_known = |entry: &&Entry| {
        ratings.miners.get(&entry.uid).is_some_and(|known| known.is_proven && known.hotkey == entry.hotkey)
    };
    let known: Vec<&Entry> = entries.iter().filter(is_known).collect();
    let counted = if known.is_empty() { entries.iter().collect() } else { known };
    let missing = |entry: &&&Entry| matches!(entry.submission, Submission::Rejected(Rejection::Missing));
    (counted.len() - counted.iter().filter(missing).count(), counted.len())
}

/// Units of a rating's weight.
const WEIGHT_UNITS: f64 = 1e6;

/// The rated weight of the candidates whose payload did not come, and that of all candidates, in millionths of an equal share;
/// where no candidate is rated each weighs the same.
pub fn lacking_weight(entries: &[Entry], candidates: &BTreeSet<Uid>, ratings: &Ratings) -> (u64, u64) {
    let is_here = |uid: Uid| {
        let own = entries.iter().find(|entry| entry.uid == uid);
        own.is_some_and(|entry| matches!(entry.submission, Submission::Payload { .. }))
    };
    let weight = |uid: &Uid| (ratings.weight_of(*uid) * WEIGHT_UNITS) as u64;
    let is_anybody_rated = candidates.iter().any(|uid| weight(uid) > 0);
    let weight = |uid: &Uid| if is_anybody_rated { weight(uid) } else { 1 };
    let all = candidates.iter().map(weight).fold(0, u64::saturating_add);
    let lacking = candidates.iter().filter(|uid| !is_here(**uid)).map(weight).fold(0, u64::saturating_add);
    (lacking, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MinerRecord;
    use templar_base::{BlockNumber, PublicKey, Uid, Window};

    fn entry(uid: u16, failure: Rejection) -> Entry {
        let (hotkey, block) = (PublicKey::new([uid as u8; 32]), BlockNumber(1));
        Entry { uid: Uid(uid), hotkey, block, submission: Submission::Rejected(failure) }
    }

    fn known(ratings: &mut Ratings, uid: u16, key: u8) {
        let record = MinerRecord { is_proven: true, ..MinerRecord::new(PublicKey::new([key; 32]), Window(0)) };
        ratings.miners.insert(Uid(uid), record);
    }

    #[test]
    fn empty_promises_of_unknown_miners_do_not_count() {
        let entries = [
            entry(1, Rejection::Missing),
            entry(2, Rejection::Commitment),
            entry(3, Rejection::Missing),
            entry(4, Rejection::Missing),
        ];
        let mut ratings = Ratings::default();
        assert_eq!(gathered_share(&entries, &ratings), (1, 4), "where no miner is known, all count");
        known(&mut ratings, 1, 1);
        known(&mut ratings, 2, 2);
        assert_eq!(gathered_share(&entries, &ratings), (1, 2));
        // A slot that changed hands is unknown.
        known(&mut ratings, 3, 99);
        assert_eq!(gathered_share(&entries, &ratings), (1, 2));
    }

    #[test]
    fn a_candidate_that_is_lacking_weighs_as_its_rating_and_the_same_where_nobody_is_rated() {
        let entries = [entry(1, Rejection::Missing), entry(2, Rejection::Missing), entry(3, Rejection::NotHeld)];
        let candidates: BTreeSet<Uid> = [Uid(1), Uid(2), Uid(4)].into();
        let mut ratings = Ratings::default();
        assert_eq!(lacking_weight(&entries, &candidates, &ratings), (3, 3));
        assert_eq!(lacking_weight(&entries, &BTreeSet::new(), &ratings), (0, 0));
        for (uid, mean) in [(2, 0.5), (4, 1.0)] {
            known(&mut ratings, uid, uid as u8);
            ratings.miners.get_mut(&Uid(uid)).unwrap().rating.mean = mean;
        }
        assert_eq!(lacking_weight(&entries, &candidates, &ratings), (1_500_000, 1_500_000), "strangers weigh nothing");
    }
}
