//! From the ratings to a validator's weights on the ledger.

use crate::Ratings;
use templar_base::{Economics, Uid, Window};

/// The weights that the agreed ratings gives after `window`: uids with a weight over zero, ascending, the largest 65535.
///
/// Proportional to the average contribution of selected windows; a part goes to admitted miners that were not selected;
/// all rise over the ramp after a miner's first payload or last penalty, which is what a cheater stands to lose.
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
    let scaled = raw.into_iter().map(|(uid, weight)| (uid, part(weight * 65_535.0, largest).round() as u16));
    scaled.filter(|(_, weight)| *weight > 0).collect()
}
