//! How much of what was committed a judge has seen.

use crate::{Entry, Ratings, Rejection, Submission};

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
}
