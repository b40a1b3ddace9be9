//! The exact selection of a chunk's largest values.

/// A magnitude's bits: with the sign gone, finite floats order as their bits do.
#[inline]
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Writes to `kept` the indices of the `count` largest magnitudes of `values`, ascending, ties by the lower index;
/// zeros are never selected, so there may be fewer. `scratch` is reused between calls.
///
/// The smallest selected magnitude is found first; then one pass in index order takes what is larger and as many equal
/// ones as are missing, which is the tie rule for nothing.
pub(crate) fn select_largest(values: &[f32], count: usize, scratch: &mut Vec<u32>, kept: &mut Vec<u16>) {
    kept.clear();
    if count == 0 || values.is_empty() {
        return;
    }
    let count = count.min(values.len());
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
        select_largest(values, count, &mut Vec::new(), &mut kept);
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
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_selection_is_that_of_a_full_sort(
            values in prop::collection::vec(prop_oneof![
                (-4i32..5).prop_map(|v| v as f32 * 0.25),
                -1e-3f32..1e-3,
                any::<f32>().prop_filter("finite", |v| v.is_finite()),
            ], 1..300),
            count in 0usize..320,
        ) {
            prop_assert_eq!(select(&values, count), oracle(&values, count));
        }
    }
}
