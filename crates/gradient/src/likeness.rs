//! How much of a payload is what was merged before.

use crate::layout::CHUNK_VALUES;
use crate::merged::{MergeHead, Merged, MergedChunk};
use crate::payload::{Lockstep, Payload};
use rayon::prelude::*;

/// Of each payload the part of its kept values, in these segments, that are among the largest of a merge, with the same sign: 0
/// of one that keeps nothing there, or has another layout.
///
/// The largest of a chunk are as many as a payload may keep of it, and all that are as large as the smallest of these: many
/// merged values are equal, and nobody is to choose among them. The merge is read once, however many payloads there are.
pub fn agreements_with_merged(payloads: &[&Payload], merged: &impl Merged, segments: &[usize]) -> Vec<f64> {
    let head = merged.head();
    let fits = |payload: &&Payload| payload.layout() == &head.layout;
    let compared: Vec<&Payload> = payloads.iter().copied().filter(fits).collect();
    let in_segment = |segment: &usize| {
        let mut found = vec![(0usize, 0usize); compared.len()];
        let mut together = Lockstep::new(compared.iter().copied(), *segment);
        let mut largest = Largest::new();
        merged.visit_segment(*segment, &mut |entries| {
            let Some(chunks) = together.next_chunks() else { return };
            largest.fill(head, &entries);
            for (chunk, (shared, kept)) in chunks.iter().zip(&mut found) {
                *kept += chunk.kept();
                *shared += chunk.values().filter(|(index, is_minus)| largest.has(*index, *is_minus)).count();
            }
        });
        found
    };
    let by_segment: Vec<Vec<(usize, usize)>> = segments.par_iter().map(in_segment).collect();
    let mut totals = vec![(0, 0); compared.len()];
    for found in by_segment {
        totals.iter_mut().zip(found).for_each(|(total, own)| *total = (total.0 + own.0, total.1 + own.1));
    }
    let mut totals = totals.into_iter();
    let agreement = |payload: &&Payload| match fits(payload).then(|| totals.next()).flatten() {
        Some((shared, kept)) if kept > 0 => shared as f64 / kept as f64,
        _ => 0.0,
    };
    payloads.iter().map(agreement).collect()
}

/// The signs of a chunk's largest merged values, in buffers that are reused.
struct Largest {
    /// By index in the chunk; 0 of what is not among them.
    signs: Vec<i8>,
    sizes: Vec<f32>,
}

impl Largest {
    fn new() -> Self {
        Self { signs: vec![0; CHUNK_VALUES], sizes: Vec::new() }
    }

    fn fill(&mut self, head: &MergeHead, entries: &MergedChunk<'_>) {
        let size = |sum: i64, count: u16| head.value(sum, count).abs();
        let most = usize::from(head.layout.chunks()[entries.chunk].kept);
        self.sizes.clear();
        self.sizes.extend(entries.entries().map(|(_, sum, count)| size(sum, count)));
        let least = match self.sizes.len() > most && most > 0 {
            true => *self.sizes.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a)).1,
            false => 0.0,
        };
        self.signs.fill(0);
        for (index, sum, count) in entries.entries().filter(|(_, sum, count)| size(*sum, *count) >= least) {
            debug_assert!(count > 0);
            self.signs[index] = sum.signum() as i8;
        }
    }

    fn has(&self, index: usize, is_minus: bool) -> bool {
        self.signs[index] == if is_minus { -1 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accumulation, Aggregate, ErrorFeedback, FeedbackError, GradientLayout, MergeRule, Metadata};
    use templar_base::Uid;

    fn layout(kept: u16) -> GradientLayout {
        GradientLayout::new([("first".to_owned(), 6000, kept), ("second".to_owned(), 300, kept)]).unwrap()
    }

    fn payload(layout: &GradientLayout, uid: u16, value: impl Fn(usize) -> f32) -> Payload {
        let rules = Accumulation::with_decay(0.9);
        let read = |range: std::ops::Range<usize>, out: &mut [f32]| {
            out.iter_mut().zip(range).for_each(|(out, index)| *out = value(index));
            Ok::<(), FeedbackError>(())
        };
        let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
        let sent = ErrorFeedback::new(layout).prepare(layout, rules, metadata, read).unwrap();
        Payload::decode(sent.bytes(), layout).unwrap()
    }

    /// Numbers without an order, apart for each seed.
    fn noise(seed: u64) -> impl Fn(usize) -> f32 {
        move |index| {
            let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (seed << 40));
            ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 8_388_608.0 - 1.0
        }
    }

    #[test]
    fn the_largest_of_a_merge_are_recognised_and_what_others_send_is_not() {
        let layout = layout(64);
        let sent: Vec<Payload> = (0..5).map(|uid| payload(&layout, uid, noise(u64::from(uid)))).collect();
        let weighted: Vec<(&Payload, u32)> = sent.iter().map(|payload| (payload, 1)).collect();
        let merged = Aggregate::merge(&layout, &weighted, MergeRule::default()).unwrap();
        let mut values = vec![0f32; layout.parameters()];
        merged.for_each(|index, value| values[index] = value);
        let resent = payload(&layout, 7, |index| values[index]);
        let flipped = payload(&layout, 8, |index| -values[index]);
        let other = payload(&layout, 9, noise(99));
        let all: Vec<usize> = (0..layout.segment_count()).collect();
        let found = agreements_with_merged(&[&resent, &flipped, &other], &merged, &all);
        assert_eq!(found[..2], [1.0, 0.0]);
        assert!(found[2] < 0.2, "{found:?}");
        assert_eq!(agreements_with_merged(&[&resent], &merged, &[]), [0.0]);
        let of_another_layout = payload(&self::layout(32), 1, noise(1));
        assert_eq!(agreements_with_merged(&[&of_another_layout, &resent], &merged, &all), [0.0, 1.0]);
    }
}
