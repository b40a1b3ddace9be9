//! Selection: the best ratings among the admitted, and a few places for newcomers.

use crate::Ratings;
use templar_base::random::Stream;
use templar_base::{Beacon, JudgingRule, Uid, Window};

/// Selects at most `places` of the admitted, best first. `rule.newcomer_places` of the places go by lot to newcomers that
/// would not have a place by rating, so that anyone can rise.
pub fn select(
    ratings: &Ratings,
    admitted: &[Uid],
    places: usize,
    rule: &JudgingRule,
    window: Window,
    beacon: Beacon,
) -> Vec<Uid> {
    let value = |uid: &Uid| ratings.miners.get(uid).map_or(f64::NEG_INFINITY, |record| record.rating.value());
    let mut ranked = admitted.to_vec();
    ranked.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
    if ranked.len() <= places {
        return ranked;
    }
    let is_new = |uid: &Uid| {
        ratings.miners.get(uid).is_none_or(|record| window.windows_since(record.since) < rule.newcomer_windows)
    };
    let by_rating = places.saturating_sub(rule.newcomer_places);
    let mut newcomers: Vec<Uid> = ranked[by_rating..].iter().copied().filter(is_new).collect();
    let mut stream = Stream::new(*beacon.as_bytes(), "gauntlet newcomers", window.0);
    let mut selected = ranked[..by_rating].to_vec();
    while selected.len() < places && !newcomers.is_empty() {
        selected.push(newcomers.remove(stream.below(newcomers.len() as u64) as usize));
    }
    let rest = ranked[by_rating..].iter().filter(|uid| !selected.contains(uid)).copied().collect::<Vec<_>>();
    selected.extend(rest.into_iter().take(places - selected.len()));
    selected
}
