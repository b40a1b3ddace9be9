//! Who sends again what was sent in an earlier window: its own, another's, or what was merged of all.

use crate::Rejection;
use templar_base::random::Stream;
use templar_base::{Beacon, Uid, Window};
use templar_gradient::{Aggregate, Payload, agreements_with, agreements_with_merged};

/// Payloads are compared with those of this many windows before.
pub const COMPARED_WINDOWS: u64 = 8;
/// Payloads are compared with what was merged in this many windows before. Reading an aggregate takes as long as reading all of
/// its payloads, and who sends an older one again sends what the parameters have long taken up.
pub const COMPARED_MERGES: u64 = 2;
/// Segments that are compared, at least; of a large model every sixteenth.
const LEAST_SEGMENTS: usize = 4;
const SEGMENTS_PART: usize = 16;

/// A candidate of an earlier window.
#[derive(Debug, Clone, Copy)]
pub struct EarlierPayload<'a> {
    /// Whose.
    pub uid: Uid,
    /// Of which window.
    pub window: Window,
    /// Whether nobody was merged in that window: then its miner has the values in its error feedback again, and sends nearly
    /// the same once more.
    pub is_of_null_window: bool,
    /// The payload.
    pub payload: &'a Payload,
}

/// The candidates of the last [`COMPARED_WINDOWS`] windows, and what was merged of them. They may be on a disk and are large: one
/// is in memory at a time.
pub trait EarlierPayloads: std::fmt::Debug + Sync {
    /// Shows each candidate that can be read.
    fn for_each(&self, visit: &mut dyn FnMut(EarlierPayload<'_>));

    /// Shows the aggregates of the last [`COMPARED_MERGES`] windows, as far as something was merged and can be read.
    fn for_each_merged(&self, visit: &mut dyn FnMut(Window, &Aggregate));
}

/// None are kept.
impl EarlierPayloads for () {
    fn for_each(&self, _: &mut dyn FnMut(EarlierPayload<'_>)) {}

    fn for_each_merged(&self, _: &mut dyn FnMut(Window, &Aggregate)) {}
}

/// For each payload the earlier one that it repeats, or the merge whose largest values it sends.
///
/// Of what a miner sends, error feedback leaves next to nothing to send again, so that honest payloads of two windows share
/// few coordinates. The limit is `limit` or half-way between the median candidate and equality, whichever is more: what is
/// unusual among these very payloads. The beacon, which is drawn after the seals, says which segments are compared.
pub(crate) fn find_repeats(
    payloads: &[(Uid, &Payload)],
    earlier: &dyn EarlierPayloads,
    limit: f64,
    window: Window,
    beacon: Beacon,
) -> Vec<Option<Rejection>> {
    let mut found = vec![None; payloads.len()];
    let Some((_, first)) = payloads.first() else { return found };
    let segments = drawn_segments(first.layout().segment_count(), window, beacon);
    let all: Vec<&Payload> = payloads.iter().map(|(_, payload)| *payload).collect();
    earlier.for_each(&mut |past| {
        let agreements = agreements_with(&all, past.payload, &segments);
        let limit = limit.max(usual(&agreements));
        for (((uid, _), agreement), found) in payloads.iter().zip(agreements).zip(&mut found) {
            let is_returned = past.is_of_null_window && past.uid == *uid;
            if agreement >= limit && found.is_none() && !is_returned {
                let percent = (agreement * 100.0) as u32;
                *found = Some(Rejection::Repeat { of: past.uid, window: past.window, percent });
            }
        }
    });
    earlier.for_each_merged(&mut |past, merged| {
        if past < window.minus(COMPARED_MERGES) {
            return;
        }
        let agreements = agreements_with_merged(&all, merged, &segments);
        let limit = limit.max(usual(&agreements));
        for (agreement, found) in agreements.into_iter().zip(&mut found) {
            if agreement >= limit && found.is_none() {
                *found = Some(Rejection::Merged { window: past, percent: (agreement * 100.0) as u32 });
            }
        }
    });
    found
}

/// Half-way between the median and equality; with few payloads the median says nothing.
fn usual(agreements: &[f64]) -> f64 {
    if agreements.len() <= 3 {
        return 0.9;
    }
    let mut sorted = agreements.to_vec();
    sorted.sort_by(f64::total_cmp);
    (1.0 + sorted[sorted.len() / 2]) / 2.0
}

fn drawn_segments(count: usize, window: Window, beacon: Beacon) -> Vec<usize> {
    let wanted = count.min(LEAST_SEGMENTS.max(count / SEGMENTS_PART));
    let mut all: Vec<usize> = (0..count).collect();
    let mut lots = Stream::new(*beacon.as_bytes(), "gauntlet segments", window.0);
    for place in 0..wanted {
        let other = place + lots.below((count - place) as u64) as usize;
        all.swap(place, other);
    }
    all.truncate(wanted);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_drawn_without_repeats_and_all_of_a_small_model_are_compared() {
        assert_eq!(drawn_segments(1, Window(3), Beacon::new([1; 32])), [0]);
        let mut few = drawn_segments(4, Window(3), Beacon::new([1; 32]));
        few.sort();
        assert_eq!(few, [0, 1, 2, 3]);
        let mut drawn = drawn_segments(1_000, Window(3), Beacon::new([1; 32]));
        assert_ne!(drawn, drawn_segments(1_000, Window(4), Beacon::new([1; 32])));
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn.len(), 62);
    }

    #[test]
    fn what_is_usual_is_what_most_do() {
        assert_eq!(usual(&[0.1, 0.1, 0.1, 1.0]), 0.55);
        assert_eq!(usual(&[1.0]), 0.9);
    }
}
