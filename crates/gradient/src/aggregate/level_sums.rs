//! How likely each sum of a chunk's entries is, from the scales of its senders.
//!
//! A chunk's contributions have few magnitudes, the levels: the scales of the miners that sent something of it. A
//! coordinate that c miners sent holds, where they agree on the sign, the sum of c levels. The tables here are the
//! distributions of such sums if each sender's level is drawn anew: the c-fold convolution, in integers.

use crate::scale::Scale;

/// Most levels of a chunk.
pub(crate) const MAX_LEVELS: usize = 7;
/// Largest count that has a table.
pub(crate) const MAX_COUNT: usize = 16;
/// Largest step from level to level, in octaves.
pub(crate) const MAX_STEP: u8 = 7;
/// Frequencies of levels are 1..=15.
pub(crate) const FREQUENCY_BITS: u32 = 4;
/// Levels further apart than this many grid steps have no tables: they bound a decoder's work.
const MAX_SPAN: usize = 127;
/// Probabilities of levels over 2^7.
const SHARE_BITS: u32 = 7;

/// The levels of a chunk, and the tables of their sums as far as they were needed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LevelSums {
    /// Scales and their frequencies, ascending.
    levels: Vec<(Scale, u8)>,
    /// The levels' distances from the smallest, in units of that one, with their probabilities.
    distances: Vec<(usize, u32)>,
    /// The power of two that the smallest level is.
    grid_bits: u32,
    /// By count and number of opposed senders: weights of the sums, summed up.
    tables: Vec<Option<Vec<u32>>>,
    /// By count: weights of the sums where all agree.
    weights: Vec<Vec<u32>>,
}

impl LevelSums {
    /// The levels and how often each occurs, ascending; None where there are none, too many, or too far apart.
    pub fn new(levels: Vec<(Scale, u8)>) -> Option<Self> {
        let (first, last) = (levels.first()?.0, levels.last()?.0);
        let grid_bits = first.units().trailing_zeros();
        let over_first = |scale: Scale| (scale.units() >> grid_bits) as u64 - 1;
        let span = over_first(last);
        if levels.len() > MAX_LEVELS || span > MAX_SPAN as u64 {
            return None;
        }
        let total: u32 = levels.iter().map(|(_, frequency)| u32::from(*frequency)).sum();
        let share = |frequency: u8| ((u32::from(frequency) << SHARE_BITS) / total.max(1)).max(1);
        let distance = |(level, frequency): &(Scale, u8)| (over_first(*level) as usize, share(*frequency));
        let distances: Vec<(usize, u32)> = levels.iter().map(distance).collect();
        let mut single = vec![0u32; span as usize + 1];
        for (distance, share) in &distances {
            single[*distance] = share << SHARE_BITS;
        }
        let tables = vec![None; 2 * (MAX_COUNT + 1)];
        Some(Self { levels, distances, grid_bits, tables, weights: vec![Vec::new(), single] })
    }

    /// The levels of a chunk with these entries of one sender, where those are scales near enough to each other.
    pub fn of_singles(magnitudes: impl Iterator<Item = u64>) -> Option<Self> {
        let mut found: Vec<(Scale, u32)> = Vec::new();
        for magnitude in magnitudes {
            let scale = Scale::of_units(magnitude)?;
            match found.binary_search_by_key(&scale, |(scale, _)| *scale) {
                Ok(place) => found[place].1 += 1,
                Err(_) if found.len() == MAX_LEVELS => return None,
                Err(place) => found.insert(place, (scale, 1)),
            }
        }
        if found.windows(2).any(|pair| pair[1].0.octaves_above(pair[0].0, u8::MAX) > MAX_STEP) {
            return None;
        }
        let most = found.iter().map(|(_, count)| *count).max()?;
        let largest = (1 << FREQUENCY_BITS) - 1;
        let frequency = |count: u32| ((largest * count + most / 2) / most).max(1) as u8;
        Self::new(found.into_iter().map(|(scale, count)| (scale, frequency(count))).collect())
    }

    /// The levels with their frequencies.
    pub fn levels(&self) -> &[(Scale, u8)] {
        &self.levels
    }

    /// The cumulative weights of the sums of `count` senders of whom `opposed` (0 or 1) are of the other sign, and the
    /// sum of the table's first place in grid steps. `count` is 1..=[`MAX_COUNT`], and at least 2 with one opposed.
    pub fn table(&mut self, count: usize, opposed: usize) -> (&[u32], i64) {
        let agreeing = count - opposed;
        while self.weights.len() <= agreeing {
            let next = self.convolved(&self.weights[self.weights.len() - 1], false);
            self.weights.push(next);
        }
        let slot = 2 * count + opposed;
        if self.tables[slot].is_none() {
            let cumulative = match opposed {
                0 => cumulated(&self.weights[agreeing]),
                _ => cumulated(&self.convolved(&self.weights[agreeing], true)),
            };
            self.tables[slot] = Some(cumulative);
        }
        let span = self.distances.last().map_or(0, |(distance, _)| *distance) as i64;
        let first = agreeing as i64 - opposed as i64 * (1 + span);
        (self.tables[slot].as_deref().unwrap_or(&[]), first)
    }

    /// The weights of the sums with one more level, which is taken off where `is_opposed`.
    fn convolved(&self, weights: &[u32], is_opposed: bool) -> Vec<u32> {
        let span = self.distances.last().map_or(0, |(distance, _)| *distance);
        let mut out = vec![0u32; weights.len() + span];
        for (distance, share) in &self.distances {
            let shift = if is_opposed { span - distance } else { *distance };
            for (out, weight) in out[shift..].iter_mut().zip(weights) {
                *out += weight * share;
            }
        }
        // What can occur keeps a weight, however unlikely.
        out.iter_mut().for_each(|weight| *weight = (*weight >> SHARE_BITS).max(u32::from(*weight > 0)));
        out
    }

    /// The place in its table of this magnitude, if it is there with no sender opposed, or else with one; and how many
    /// are opposed.
    pub fn place(&mut self, count: usize, magnitude: u64) -> Option<(usize, usize)> {
        let grid = self.grid_bits;
        if magnitude & ((1 << grid) - 1) != 0 {
            return None;
        }
        let sum = (magnitude >> grid) as i64;
        let kinds = if count > 1 { 0..2 } else { 0..1 };
        for opposed in kinds {
            let (table, first) = self.table(count, opposed);
            // Where senders differ the sum may be of either sign; magnitudes are looked up as they are.
            let place = usize::try_from(sum - first).ok();
            if let Some(place) = place.filter(|place| place + 1 < table.len() && table[*place] < table[place + 1]) {
                return Some((opposed, place));
            }
        }
        None
    }

    /// The magnitude at a place of a table; None where the sum is negative.
    pub fn magnitude(&mut self, count: usize, opposed: usize, place: usize) -> Option<u64> {
        let (_, first) = self.table(count, opposed);
        u64::try_from(first + place as i64).ok().map(|sum| sum << self.grid_bits)
    }
}

fn cumulated(weights: &[u32]) -> Vec<u32> {
    let mut sum = 0;
    let mut cumulative = Vec::with_capacity(weights.len() + 1);
    cumulative.push(0);
    for weight in weights {
        sum += weight;
        cumulative.push(sum);
    }
    cumulative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_every_sum_of_levels() {
        let scales: Vec<Scale> = [3, 4, 6].map(|exponent| Scale::new(exponent).unwrap()).to_vec();
        let units: Vec<u64> = scales.iter().map(|scale| scale.units() as u64).collect();
        let mut sums = LevelSums::of_singles(units.iter().copied()).unwrap();
        for a in &units {
            let (opposed, place) = sums.place(1, *a).unwrap();
            assert_eq!((opposed, sums.magnitude(1, 0, place)), (0, Some(*a)));
            for b in &units {
                let (opposed, place) = sums.place(2, a + b).unwrap();
                assert_eq!((opposed, sums.magnitude(2, 0, place)), (0, Some(a + b)));
                let (opposed, place) = sums.place(2, a.abs_diff(*b)).unwrap();
                assert_eq!((opposed, sums.magnitude(2, 1, place)), (1, Some(a.abs_diff(*b))));
                for c in &units {
                    assert_eq!(sums.place(3, a + b + c).map(|(opposed, _)| opposed), Some(0));
                }
            }
        }
        assert_eq!(sums.place(1, units[0] + 8), None);
        assert_eq!(sums.place(2, 7), None);
    }

    #[test]
    fn the_heaviest_table_stays_within_its_words() {
        let levels: Vec<(Scale, u8)> = (0..MAX_LEVELS as u8).map(|octave| (Scale::new(octave).unwrap(), 15)).collect();
        let mut sums = LevelSums::new(levels).unwrap();
        for count in 2..=MAX_COUNT {
            let (table, _) = sums.table(count, 1);
            assert!(table.is_sorted() && *table.last().unwrap() < 1 << 20);
        }
    }

    #[test]
    fn levels_too_far_apart_have_no_tables() {
        let units = [32u64 << 3, 32 << 12];
        assert_eq!(LevelSums::of_singles(units.into_iter()), None);
        assert_eq!(LevelSums::of_singles(std::iter::once(33)), None);
        assert_eq!(LevelSums::of_singles(std::iter::empty()), None);
    }
}
