//! The exact selection of a chunk's largest values.
//!
//! The values are dealt into groups; the `count`-th largest of the groups' largest magnitudes is a bound that at least
//! `count` values reach, and hardly more do: of 4096 values in 256 groups some 73 where 64 are wanted. Finding the groups'
//! largest has no branch, only groups that reach the bound are looked into, and only what reaches it is put in order.

/// Neighbouring values, one for each of as many groups: the compiler handles them at once.
const LANES: usize = 8;
/// Values of a group.
const DEPTH: usize = 16;
/// Consecutive values that fill `LANES` groups.
const BLOCK: usize = LANES * DEPTH;
/// Places that a number of marks has bits for.
const WORD: usize = 64;

/// Buffers that are reused from chunk to chunk.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The largest magnitude of each group.
    largest: Vec<u32>,
    /// Magnitudes to find one of a rank among.
    ranked: Vec<u32>,
    /// Numbers of the groups that reach the bound.
    groups: Vec<u32>,
    /// What reaches the bound, see [`order`].
    candidates: Vec<u64>,
    /// A bit for each place.
    marks: Vec<u64>,
}

/// A magnitude's bits: with the sign gone, finite floats order as their bits do.
#[inline]
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// A number that orders values as they are selected: larger magnitudes first, then lower indices.
#[inline]
fn order(bits: u32, index: usize) -> u64 {
    u64::from(!bits) << 32 | index as u64
}

/// Writes to `kept` the indices of the `count` largest magnitudes of `values`, ascending, ties by the lower index;
/// zeros are never selected, so there may be fewer. The values are finite; an index fits 16 bits.
pub(crate) fn select_largest(values: &[f32], count: usize, scratch: &mut Scratch, kept: &mut Vec<u16>) {
    kept.clear();
    let count = count.min(values.len());
    if count == 0 {
        return;
    }
    match scratch.bound(values, count) {
        Some(bound) => scratch.select_over(values, count, bound, kept),
        None => select_many(values, count, &mut scratch.ranked, kept),
    }
}

impl Scratch {
    /// A magnitude that at least `count` values reach; none where the groups are too few to find one that is not zero.
    fn bound(&mut self, values: &[f32], count: usize) -> Option<u32> {
        self.largest.clear();
        for block in values.chunks(BLOCK) {
            self.largest.extend_from_slice(&largest_of_groups(block));
        }
        // Where every other group has to reach the bound it is low, and much of what reaches it is not wanted.
        if self.largest.len() < 2 * count {
            return None;
        }
        self.ranked.clone_from(&self.largest);
        let (_, bound, _) = self.ranked.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
        Some(*bound).filter(|bound| *bound > 0)
    }

    /// Selects `count` of the values that reach `bound`, which are no fewer.
    fn select_over(&mut self, values: &[f32], count: usize, bound: u32, kept: &mut Vec<u16>) {
        let Self { largest, groups, candidates, marks, .. } = self;
        // Each number is written, and the place moves on where it counts: a branch would be mispredicted for many.
        groups.resize(largest.len(), 0);
        let mut reached = 0;
        for (group, largest) in largest.iter().enumerate() {
            groups[reached] = group as u32;
            reached += usize::from(*largest >= bound);
        }
        candidates.resize(reached * DEPTH + 1, 0);
        let mut found = 0;
        for group in &groups[..reached] {
            let (block, lane) = (*group as usize / LANES, *group as usize % LANES);
            let first = block * BLOCK + lane;
            for (step, value) in values[first..values.len().min(first + BLOCK - lane)].iter().step_by(LANES).enumerate()
            {
                let bits = magnitude(*value);
                candidates[found] = order(bits, first + step * LANES);
                found += usize::from(bits >= bound);
            }
        }
        let candidates = &mut candidates[..found];
        // At least `count` groups reach the bound, each by one value or more.
        candidates.select_nth_unstable(count - 1);
        marks.clear();
        marks.resize(values.len().div_ceil(WORD), 0);
        for candidate in &candidates[..count] {
            let index = *candidate as u32 as usize;
            marks[index / WORD] |= 1 << (index % WORD);
        }
        for (word, marks) in marks.iter().enumerate() {
            let mut marks = *marks;
            while marks != 0 {
                kept.push((word * WORD) as u16 + marks.trailing_zeros() as u16);
                marks &= marks - 1;
            }
        }
    }
}

/// The largest magnitude of each group of a block, whose value number `i` is of group `i % LANES`; zero where a group of
/// the last block has none.
fn largest_of_groups(block: &[f32]) -> [u32; LANES] {
    let mut largest = [0f32; LANES];
    let (rows, rest) = block.as_chunks::<LANES>();
    for row in rows {
        for (largest, value) in largest.iter_mut().zip(row) {
            let value = value.abs();
            *largest = if value > *largest { value } else { *largest };
        }
    }
    for (largest, value) in largest.iter_mut().zip(rest) {
        *largest = value.abs().max(*largest);
    }
    largest.map(f32::to_bits)
}

/// Selects where much of the chunk is wanted: the smallest selected magnitude is found first; then one pass in index
/// order takes what is larger and as many equal ones as are missing, which is the tie rule for nothing.
fn select_many(values: &[f32], count: usize, scratch: &mut Vec<u32>, kept: &mut Vec<u16>) {
    let (threshold, mut ties) = smallest_selected(values, count, scratch);
    if threshold == 0 {
        kept.extend((0..values.len()).filter(|i| magnitude(values[*i]) > 0).map(|i| i as u16));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let bits = magnitude(*value);
        if bits < threshold {
            continue;
        }
        if bits == threshold {
            if ties == 0 {
                continue;
            }
            ties -= 1;
        }
        kept.push(index as u16);
    }
}

/// The `count`-th largest magnitude and how many of its equals belong to the selection.
///
/// A histogram over the exponents first cuts the candidates to the few that share the threshold's exponent.
fn smallest_selected(values: &[f32], count: usize, scratch: &mut Vec<u32>) -> (u32, usize) {
    const SHIFT: u32 = 21;
    let mut histogram = [0u16; 1 << (31 - SHIFT)];
    for value in values {
        histogram[(magnitude(*value) >> SHIFT) as usize] += 1;
    }
    let mut above = 0;
    let mut bucket = histogram.len() - 1;
    while above + usize::from(histogram[bucket]) < count {
        // `count` is at most the number of values, so the sum reaches it before the buckets end.
        above += usize::from(histogram[bucket]);
        bucket -= 1;
    }
    scratch.clear();
    scratch.extend(values.iter().map(|value| magnitude(*value)).filter(|bits| (bits >> SHIFT) as usize == bucket));
    let missing = count - above;
    let (larger, threshold, _) = scratch.select_nth_unstable_by(missing - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    let strictly_larger = larger.iter().filter(|bits| **bits > threshold).count();
    (threshold, missing - strictly_larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(values: &[f32], count: usize) -> Vec<u16> {
        let mut kept = Vec::new();
        select_largest(values, count, &mut Scratch::default(), &mut kept);
        kept
    }

    /// By full sorting, ties by index.
    fn oracle(values: &[f32], count: usize) -> Vec<u16> {
        let mut order: Vec<u16> = (0..values.len() as u16).filter(|i| values[usize::from(*i)] != 0.0).collect();
        order.sort_by(|a, b| {
            let of = |i: &u16| values[usize::from(*i)].abs();
            of(b).total_cmp(&of(a)).then(a.cmp(b))
        });
        order.truncate(count);
        order.sort_unstable();
        order
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        assert_eq!(select(&[1.0, -1.0, 1.0, 2.0, -1.0], 3), [0, 1, 3]);
        assert_eq!(select(&[0.0, -0.0, 0.0], 2), [0u16; 0]);
        assert_eq!(select(&[0.0, f32::MAX, f32::from_bits(1)], 3), [1, 2]);
        assert_eq!(select(&[5.0; 4096], 64), (0..64).collect::<Vec<u16>>());
        let few: Vec<f32> = (0..4096).map(|i| if i % 100 == 7 { -1.0 } else { 0.0 }).collect();
        assert_eq!(select(&few, 64), (0..41).map(|i| i * 100 + 7).collect::<Vec<u16>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_selection_is_that_of_a_full_sort(
            values in prop::collection::vec(prop_oneof![
                (-4i32..5).prop_map(|v| v as f32 * 0.25),
                -1e-3f32..1e-3,
                any::<f32>().prop_filter("finite", |v| v.is_finite()),
            ], 1..2000),
            count in prop_oneof![0usize..40, 0usize..2100],
        ) {
            prop_assert_eq!(select(&values, count), oracle(&values, count));
        }
    }
}
