//! Who copied whom: payloads that are nearly equal to one that was sealed earlier.

use templar_gradient::{Payload, agreements};

/// Finds copies among payloads in the order in which they were sealed; gives for each copy the place of the earlier
/// payload and the share of equal kept coordinates.
///
/// Honest pairs share few coordinates late in a training (about 0.08 of them), but many in its first windows, when all
/// miners learn the same simple things. So the limit is `limit` or half-way between the median pair and equality,
/// whichever is more: what is unusual among these very payloads.
pub fn find_copies(payloads: &[&Payload], limit: f64) -> Vec<Option<(usize, f64)>> {
    // The share is of the later one's values: else a few common values, sealed early, would turn honest payloads that
    // send them too into copies.
    let agreements = agreements(payloads);
    let mut sorted = agreements.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    // With three payloads or fewer, one copy makes half of the pairs: the median says nothing.
    let usual = if payloads.len() > 3 { (1.0 + median) / 2.0 } else { 0.9 };
    let limit = limit.max(usual);
    let mut copies = vec![None; payloads.len()];
    let mut pairs = agreements.into_iter();
    for (later, copy) in copies.iter_mut().enumerate() {
        for (earlier, agreement) in (0..later).zip(pairs.by_ref()) {
            if agreement >= limit && copy.is_none() {
                *copy = Some((earlier, agreement));
            }
        }
    }
    copies
}
