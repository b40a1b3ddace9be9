//! From the ratings to a validator's weights on the ledger.

use crate::Ratings;
use templar_base::{Economics, Uid, Window};

/// The weights that the agreed ratings give after `window`: uids with a weight over zero, ascending, the largest 65535.
///
/// Proportional to [`crate::Rating::pay`] of those who were admitted in the last window in which something was merged; all
/// rise over the ramp after a miner's first payload or last penalty, which is what a cheater stands to lose. Whoever is
/// paid has at least 1: no honest part is rounded to nothing, however large the largest is.
pub fn weights(ratings: &Ratings, economics: &Economics, window: Window) -> Vec<(Uid, u16)> {
    let paid = ratings.miners.iter().filter(|(_, record)| record.is_paid);
    let raw: Vec<(Uid, f64)> = paid
        .map(|(uid, record)| {
            let windows = window.windows_since(record.ramp_since) + 1;
            let ramp = (windows as f64 / economics.ramp_windows.max(1) as f64).min(1.0);
            (*uid, record.rating.pay() * ramp)
        })
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let largest = raw.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    raw.into_iter().map(|(uid, weight)| (uid, ((weight / largest * 65_535.0).round() as u16).max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MinerRecord, Rating};
    use templar_base::PublicKey;

    #[test]
    fn a_small_contribution_is_not_rounded_to_nothing() {
        let record = |mean: f64, is_paid: bool| MinerRecord {
            rating: Rating { mean, variance: 0.0 },
            is_paid,
            ..MinerRecord::new(PublicKey::new([1; 32]), Window(0))
        };
        let miners = [(1.0, true), (1e-6, true), (1e-300, true), (0.0, true), (-1.0, true), (1.0, false)];
        let miners = (0u16..).zip(miners).map(|(uid, (mean, is_paid))| (Uid(uid), record(mean, is_paid)));
        let ratings = Ratings { miners: miners.collect(), ..Ratings::default() };
        let given = weights(&ratings, &Economics::default(), Window(1000));
        assert_eq!(given, [(Uid(0), u16::MAX), (Uid(1), 1), (Uid(2), 1)]);
    }
}
