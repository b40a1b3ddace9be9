//! Bits in and out of bytes, least significant first, through 64-bit words.

/// Collects bits into bytes.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    /// Bits of `word` in use, under 64.
    filled: u32,
}

impl BitWriter {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), word: 0, filled: 0 }
    }

    /// Appends the low `count` bits of `value`; `count` is under 64 and the bits above it are zero.
    #[inline]
    pub fn push(&mut self, value: u64, count: u32) {
        debug_assert!(count < 64 && value >> count == 0);
        self.word |= value << self.filled;
        let filled = self.filled + count;
        if filled < 64 {
            self.filled = filled;
            return;
        }
        self.bytes.extend_from_slice(&self.word.to_le_bytes());
        // `filled` reached 64 with a count under 64, so at least one bit was in use and the shift is under 64.
        self.word = value >> (64 - self.filled);
        self.filled = filled - 64;
    }

    /// The bytes, the last one filled up with zero bits.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.word.to_le_bytes()[..self.filled.div_ceil(8) as usize]);
        self.bytes
    }
}

/// Reads bits of a byte slice; past its end there are zeros, and `is_overrun` tells.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Bits of `peek` that are sure to be valid.
    pub const PEEK_BITS: u32 = 57;

    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next bits, at least 57 of them, without moving.
    #[inline]
    pub fn peek(&self) -> u64 {
        let byte = self.position / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(&[a, b, c, d, e, f, g, h]) => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => self.tail(byte),
        };
        word >> (self.position % 8)
    }

    #[cold]
    fn tail(&self, byte: usize) -> u64 {
        let rest = self.bytes.get(byte..).unwrap_or(&[]);
        rest.iter().take(8).enumerate().fold(0, |word, (i, value)| word | u64::from(*value) << (8 * i))
    }

    #[inline]
    pub fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// Reads `count` bits, at most 57.
    #[inline]
    pub fn take(&mut self, count: u32) -> u64 {
        debug_assert!(count <= Self::PEEK_BITS);
        let value = self.peek() & ((1 << count) - 1);
        self.skip(count);
        value
    }

    /// Whether more bits were read than there are.
    pub fn is_overrun(&self) -> bool {
        self.position > 8 * self.bytes.len()
    }

    /// Whether all bytes were used and what is left of the last one is zero.
    pub fn is_at_clean_end(&self) -> bool {
        self.position.div_ceil(8) == self.bytes.len() && self.tail(self.position / 8) >> (self.position % 8) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back_as_they_went(values in prop::collection::vec((any::<u64>(), 0u32..=57), 0..200)) {
            let mut writer = BitWriter::default();
            for (value, count) in &values {
                writer.push(value & ((1 << count) - 1), *count);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (value, count) in &values {
                prop_assert_eq!(reader.take(*count), value & ((1 << count) - 1));
            }
            prop_assert!(reader.is_at_clean_end() && !reader.is_overrun());
            reader.skip(8);
            prop_assert!(reader.is_overrun() && !reader.is_at_clean_end());
        }
    }
}
