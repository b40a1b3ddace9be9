//! From the ratings to a validator's weights on the ledger.

use crate::Ratings;
use templar_base::{Economics, Uid, Window};

/// The weights that the agreed ratings gives after `window`: uids with a weight over zero, ascending, the largest 65535.
///
/// Proportional to the average contribution of selected windows; a part goes to admitted miners that were not selected;
/// all rise over the ramp after a miner's first payload or last penalty, which is what a cheater stands to lose. Whoever
/// contributed has at least 1: no honest part is rounded to nothing, however large the largest is.
pub fn weights(ratings: &Ratings, economics: &Economics, window: Window) -> Vec<(Uid, u16)> {
    let selected: f64 = ratings.miners.values().map(|record| record.selected_average).sum();
    let unselected: f64 = ratings.miners.values().map(|record| record.unselected_average).sum();
    let unselected_share = if unselected > 0.0 { economics.unselected_share } else { 0.0 };
    let part = |amount: f64, total: f64| if total > 0.0 { amount / total } else { 0.0 };
    let raw: Vec<(Uid, f64)> = ratings
        .miners
        .iter()
        .map(|(uid, record)| {
            let windows = window.windows_since(record.ramp_since) + 1;
            let ramp = (windows as f64 / economics.ramp_windows.max(1) as f64).min(1.0);
            let own = (1.0 - unselected_share) * part(record.selected_average, selected)
                + unselected_share * part(record.unselected_average, unselected);
            (*uid, own * ramp)
        })
        .collect();
    let largest = raw.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let paid = raw.into_iter().filter(|(_, weight)| *weight > 0.0);
    paid.map(|(uid, weight)| (uid, (part(weight * 65_535.0, largest).round() as u16).max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MinerRecord, Rating};
    use templar_base::PublicKey;

    fn record(selected_average: f64, unselected_average: f64) -> MinerRecord {
        MinerRecord {
            hotkey: PublicKey::new([1; 32]),
            rating: Rating::newcomer(),
            is_proven: true,
            since: Window(0),
            ramp_since: Window(0),
            selected_average,
            unselected_average,
        }
    }

    #[test]
    fn a_small_contribution_is_not_rounded_to_nothing() {
        let averages = [(1.0, 0.0), (1e-6, 0.0), (1e-300, 0.0), (0.0, 1e-9), (0.0, 0.0), (-1.0, 0.0)];
        let miners = averages.iter().enumerate();
        let miners = miners.map(|(uid, (selected, unselected))| (Uid(uid as u16), record(*selected, *unselected)));
        let ratings = Ratings { miners: miners.collect(), ..Ratings::default() };
        // A negative average does not occur; it would earn nothing.
        let given = weights(&ratings, &Economics::default(), Window(1000));
        let small: Vec<Uid> = given.iter().filter(|(_, weight)| *weight > 0).map(|(uid, _)| *uid).collect();
        assert_eq!(small[..3], [Uid(0), Uid(1), Uid(2)]);
        assert!(given.iter().any(|(uid, weight)| *uid == Uid(1) && *weight == 1));
        assert!(given.iter().all(|(uid, _)| *uid != Uid(4) && *uid != Uid(5)));
    }
}
