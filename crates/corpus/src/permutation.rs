//! A keyed permutation of `0..size` in constant memory.
//!
//! A balanced Feistel network on the smallest even number of bits that holds `size`, walked along its cycle until the
//! value is inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). The bits cover less than four
//! times `size`, so that a walk takes fewer than four steps on average. The key is public once it is known, so the
//! round function only has to mix well, not to resist an attacker.

use templar_base::random::Stream;

/// Four rounds already make a pseudorandom permutation with ideal rounds (Luby and Rackoff); the rest is margin for
/// halves of only a few bits.
const ROUNDS: usize = 8;

/// A permutation of `0..size`; equal keys and sizes give equal permutations.
#[derive(Debug, Clone)]
pub struct Permutation {
    size: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..size` of this key, purpose and index.
    pub fn new(size: u64, key: [u8; 32], purpose: &str, index: u64) -> Self {
        let mut stream = Stream::new(key, purpose, index);
        let bits = 64 - size.saturating_sub(1).leading_zeros();
        Self { size, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| stream.next_u64()) }
    }

    /// How many values are permuted.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The value at `position`. Panics if `position` is not under the size: the caller's mistake.
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.size, "position {position} is outside a permutation of {} values", self.size);
        let mut value = position;
        loop {
            value = self.forward(value);
            if value < self.size {
                return value;
            }
        }
    }

    /// The position of `value`: the inverse of [`Permutation::at`]. Panics if `value` is not under the size.
    pub fn position_of(&self, value: u64) -> u64 {
        assert!(value < self.size, "value {value} is outside a permutation of {} values", self.size);
        let mut position = value;
        loop {
            position = self.backward(position);
            if position < self.size {
                return position;
            }
        }
    }

    fn mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }

    fn forward(&self, value: u64) -> u64 {
        let (mut left, mut right) = (value >> self.half_bits, value & self.mask());
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & self.mask()));
        }
        left << self.half_bits | right
    }

    fn backward(&self, value: u64) -> u64 {
        let (mut left, mut right) = (value >> self.half_bits, value & self.mask());
        for key in self.keys.into_iter().rev() {
            (left, right) = (right ^ (mix(left ^ key) & self.mask()), left);
        }
        left << self.half_bits | right
    }
}

/// A bijective 64-bit mixer: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). The upper half comes down in
/// the end because a round keeps the low bits only.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_value_comes_once_and_the_inverse_undoes(size in 1u64..3000, key in any::<[u8; 32]>()) {
            let permutation = Permutation::new(size, key, "test", 0);
            let mut seen = vec![false; size as usize];
            for position in 0..size {
                let value = permutation.at(position);
                prop_assert!(!std::mem::replace(&mut seen[value as usize], true));
                prop_assert_eq!(permutation.position_of(value), position);
            }
        }

        #[test]
        fn large_sizes_invert(size in 1u64..=1 << 62, position: u64, key in any::<[u8; 32]>()) {
            let permutation = Permutation::new(size, key, "test", 0);
            let position = position % size;
            prop_assert_eq!(permutation.position_of(permutation.at(position)), position);
        }
    }

    /// A fair shuffle of 6 values puts each value at each place with equal chance: 1000 of 6000 keys, give or take
    /// a few standard deviations (29 each).
    #[test]
    fn small_permutations_are_fair() {
        let mut counts = [[0u32; 6]; 6];
        for index in 0..6000 {
            let permutation = Permutation::new(6, [9; 32], "fair", index);
            for position in 0..6 {
                counts[position as usize][permutation.at(position) as usize] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// Another order would share out the text of a running run anew.
    #[test]
    fn the_permutation_is_pinned() {
        let permutation = Permutation::new(10, [1; 32], "pin", 0);
        let values: Vec<u64> = (0..10).map(|position| permutation.at(position)).collect();
        assert_eq!(values, [8, 7, 5, 2, 1, 9, 3, 4, 6, 0]);
    }
}
