//! Seeded randomness: a counter-based generator keyed by (key, purpose, index).
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the n-th value is a function of
//! the key and n alone, so that any part of a stream can be had without the parts before it, on any machine.

/// Ten rounds are the authors' recommendation (seven already pass BigCrush).
const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One stream of random numbers; equal keys give equal streams.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    /// The upper half of the counter, so that streams of one Philox key stay apart.
    lane: [u32; 2],
    position: u64,
    block: [u32; 4],
}

impl Stream {
    /// The stream of this key, purpose and index. The purpose keeps the uses of one key apart.
    pub fn new(key: [u8; 32], purpose: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(b"templar random v1\0");
        hasher.update(purpose.as_bytes());
        hasher.update(&[0]);
        hasher.update(&index.to_le_bytes());
        let digest = hasher.finalize();
        let word = |i: usize| {
            let bytes = digest.as_bytes();
            u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
        };
        Self { key: [word(0), word(1)], lane: [word(2), word(3)], position: 0, block: [0; 4] }
    }

    /// Goes to the `position`-th 32-bit value of the stream.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
        if !position.is_multiple_of(4) {
            self.block = self.philox(position / 4);
        }
    }

    /// The next 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        let lane = (self.position % 4) as usize;
        if lane == 0 {
            self.block = self.philox(self.position / 4);
        }
        self.position += 1;
        self.block[lane]
    }

    /// The next 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// A uniform number under `bound`, without bias; 0 for a bound of 0.
    ///
    /// Multiply-shift with rejection (Lemire, "Fast random integer generation in an interval", 2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform number in [0, 1) with 24 bits, each exact in f32.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Fills `bytes` with uniform bits.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..chunk.len()]);
        }
    }

    fn philox(&self, counter: u64) -> [u32; 4] {
        let mut state = [counter as u32, (counter >> 32) as u32, self.lane[0], self.lane[1]];
        let mut key = self.key;
        for _ in 0..ROUNDS {
            state = round(state, key);
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        state
    }
}

fn round(state: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let first = u64::from(MULTIPLIERS[0]) * u64::from(state[0]);
    let second = u64::from(MULTIPLIERS[1]) * u64::from(state[2]);
    [(second >> 32) as u32 ^ state[1] ^ key[0], second as u32, (first >> 32) as u32 ^ state[3] ^ key[1], first as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The all-zero and the pi-digits known-answer tests of the authors' Random123 library (`philox4x32 10`).
    #[test]
    fn philox_matches_the_published_answers() {
        let run = |counter: [u32; 4], key: [u32; 2]| {
            let stream = Stream { key, lane: [counter[2], counter[3]], position: 0, block: [0; 4] };
            stream.philox(u64::from(counter[0]) | u64::from(counter[1]) << 32)
        };
        assert_eq!(run([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            run([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn seeking_gives_what_reading_on_gives() {
        let mut stream = Stream::new([1; 32], "test", 3);
        let values: Vec<u32> = (0..41).map(|_| stream.next_u32()).collect();
        for position in [0, 1, 4, 7, 40] {
            stream.seek(position);
            assert_eq!(stream.next_u32(), values[position as usize]);
        }
    }

    #[test]
    fn streams_of_other_purposes_and_indices_differ() {
        let first = |purpose, index| Stream::new([7; 32], purpose, index).next_u64();
        assert_ne!(first("a", 0), first("b", 0));
        assert_ne!(first("a", 0), first("a", 1));
    }

    #[test]
    fn numbers_under_a_bound_stay_under_it_and_reach_every_value() {
        let mut stream = Stream::new([2; 32], "bound", 0);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[stream.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(stream.below(0), 0);
    }
}
