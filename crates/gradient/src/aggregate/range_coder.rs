//! An adaptive binary range coder, carry by counting pending bytes as in LZMA.

const TOP: u32 = 1 << 24;
const PROBABILITY_BITS: u32 = 16;
/// The interval is cut with 12 bits, so that a range of 2^24 still leaves 12 bits of precision.
const CUT_BITS: u32 = 12;
/// Keeps both sides of a cut open.
const SMALLEST: u16 = 32;
/// After this many bits an estimate moves by a fixed share of 1/128: what fits a segment's thousands of bits.
const SLOWEST: u8 = 126;

/// `2^16 / (n + 2)`: how far the n-th bit moves an estimate.
const RATES: [u16; SLOWEST as usize + 1] = {
    let mut rates = [0; SLOWEST as usize + 1];
    let mut seen = 0;
    while seen < rates.len() {
        rates[seen] = ((1 << PROBABILITY_BITS) / (seen + 2)) as u16;
        seen += 1;
    }
    rates
};

/// An adaptive estimate of one bit's probability. The first bits move it as a plain average would, so that contexts
/// that see few bits learn at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit {
    zero: u16,
    seen: u8,
}

impl Bit {
    pub const NEW: Self = Self { zero: 1 << (PROBABILITY_BITS - 1), seen: 0 };

    fn cut(self, range: u32) -> u32 {
        (range >> CUT_BITS) * u32::from(self.zero >> (PROBABILITY_BITS - CUT_BITS))
    }

    fn learn(&mut self, bit: bool) {
        let target = if bit { 0 } else { 1 << PROBABILITY_BITS };
        let step = (target - i64::from(self.zero)) * i64::from(RATES[usize::from(self.seen)]);
        let moved = i64::from(self.zero) + (step >> PROBABILITY_BITS);
        self.zero = moved.clamp(i64::from(SMALLEST), i64::from(u16::MAX - SMALLEST)) as u16;
        self.seen = (self.seen + 1).min(SLOWEST);
    }
}

/// Both directions of coding, so that one function describes a format and cannot disagree with itself.
pub(crate) trait Coder {
    /// Whether this is the reading side, for which it is in vain to work out what to write.
    const READS: bool;

    /// Codes one bit under an adaptive estimate. An encoder takes `bit` and returns it, a decoder returns what it reads.
    fn bit(&mut self, estimate: &mut Bit, bit: bool) -> bool;

    /// Codes the low `count` bits of `value` at one bit each, at most 63.
    fn raw(&mut self, value: u64, count: u32) -> u64;

    /// Codes one of several symbols by their cumulative weights, which begin with 0 and sum to less than 2^20.
    fn symbol(&mut self, cumulative: &[u32], place: usize) -> usize;

    /// Codes `count` bits, highest first, with a tree of `2^count` estimates.
    fn tree(&mut self, estimates: &mut [Bit], value: u32, count: u32) -> u32 {
        let mut node = 1usize;
        for position in (0..count).rev() {
            let bit = self.bit(&mut estimates[node], value >> position & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        node as u32 - (1 << count)
    }
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    cache: u8,
    pending: u64,
    out: Vec<u8>,
}

impl Encoder {
    pub fn new() -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, pending: 1, out: Vec::new() }
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low >> 32 != 0 {
            let carry = (self.low >> 32) as u8;
            let mut byte = self.cache;
            while self.pending > 0 {
                self.out.push(byte.wrapping_add(carry));
                byte = 0xff;
                self.pending -= 1;
            }
            self.cache = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalise(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
    }

    /// The bytes, without the first, which is always zero, and without zeros at the end, which the decoder adds.
    pub fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        let end = self.out.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        self.out[1..end.max(1)].to_vec()
    }
}

impl Coder for Encoder {
    const READS: bool = false;

    fn bit(&mut self, estimate: &mut Bit, bit: bool) -> bool {
        let cut = estimate.cut(self.range);
        if bit {
            self.low += u64::from(cut);
            self.range -= cut;
        } else {
            self.range = cut;
        }
        estimate.learn(bit);
        self.normalise();
        bit
    }

    fn raw(&mut self, value: u64, count: u32) -> u64 {
        for position in (0..count).rev() {
            self.range >>= 1;
            if value >> position & 1 == 1 {
                self.low += u64::from(self.range);
            }
            self.normalise();
        }
        value
    }

    fn symbol(&mut self, cumulative: &[u32], place: usize) -> usize {
        let step = self.range / cumulative[cumulative.len() - 1];
        self.low += u64::from(step * cumulative[place]);
        self.range = step * (cumulative[place + 1] - cumulative[place]);
        self.normalise();
        place
    }
}

/// The reading side; behind the end there are zeros.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    /// How far the bytes, as a number, lie over the low end of what was decoded. Always under the range, if they can
    /// come from an encoder.
    code: u32,
    range: u32,
    bytes: std::slice::Iter<'a, u8>,
    /// Whether the bytes left what any encoder writes.
    is_outside: bool,
    ends_with_zero: bool,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let ends_with_zero = bytes.last() == Some(&0);
        let mut decoder = Self { code: 0, range: u32::MAX, bytes: bytes.iter(), is_outside: false, ends_with_zero };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.next();
        }
        decoder.is_outside = decoder.code == decoder.range;
        decoder
    }

    /// Whether an encoder of all that was decoded writes these bytes and no others: it writes the low end, to the last
    /// byte that is not zero.
    pub fn is_exact(&self) -> bool {
        !self.is_outside && self.code == 0 && self.bytes.as_slice().is_empty() && !self.ends_with_zero
    }

    fn next(&mut self) -> u32 {
        self.bytes.next().map_or(0, |byte| u32::from(*byte))
    }

    fn normalise(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.code = self.code << 8 | self.next();
        }
    }
}

impl Coder for Decoder<'_> {
    const READS: bool = true;

    fn bit(&mut self, estimate: &mut Bit, _: bool) -> bool {
        let cut = estimate.cut(self.range);
        let bit = self.code >= cut;
        if bit {
            self.code -= cut;
            self.range -= cut;
        } else {
            self.range = cut;
        }
        estimate.learn(bit);
        self.normalise();
        bit
    }

    fn raw(&mut self, _: u64, count: u32) -> u64 {
        let mut value = 0;
        for _ in 0..count {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            self.is_outside |= self.code >= self.range;
            value = value << 1 | u64::from(bit);
            self.normalise();
        }
        value
    }

    fn symbol(&mut self, cumulative: &[u32], _: usize) -> usize {
        let total = cumulative[cumulative.len() - 1];
        let step = self.range / total;
        let found = self.code / step;
        self.is_outside |= found >= total;
        let found = found.min(total - 1);
        // The first weight begins at 0, so at least one sum is not over `found`; symbols without weight are passed.
        let place = cumulative.partition_point(|sum| *sum <= found) - 1;
        self.code -= step * cumulative[place];
        self.range = step * (cumulative[place + 1] - cumulative[place]);
        self.normalise();
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(coder: &mut impl Coder, symbols: &[(u8, bool, u64)]) -> Vec<(bool, u64)> {
        let mut estimates = [Bit::NEW; 4];
        let mut tree = [Bit::NEW; 16];
        symbols
            .iter()
            .map(|(context, bit, value)| {
                let bit = coder.bit(&mut estimates[usize::from(context % 4)], *bit);
                let value = match context % 4 {
                    3 => coder.symbol(&[0, 5, 5, 9, 1000], [0, 2, 3][(value % 3) as usize]) as u64,
                    0 => coder.raw(value & 0xff_ffff, 24),
                    _ => u64::from(coder.tree(&mut tree, (value & 15) as u32, 4)),
                };
                (bit, value)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn symbols_come_back(symbols in prop::collection::vec((any::<u8>(), prop::bool::weighted(0.03), any::<u64>()), 0..300)) {
            let mut encoder = Encoder::new();
            let written = code(&mut encoder, &symbols);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(code(&mut decoder, &symbols), written);
            prop_assert!(decoder.is_exact());
        }

        #[test]
        fn bytes_are_exact_where_an_encoder_writes_them(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(255)], 0..40),
            contexts in prop::collection::vec(any::<u8>(), 0..100),
            is_mended in any::<bool>(),
        ) {
            let symbols: Vec<(u8, bool, u64)> = contexts.into_iter().map(|context| (context, false, 0)).collect();
            let read = |bytes: &[u8]| {
                let mut decoder = Decoder::new(bytes);
                let found = code(&mut decoder, &symbols);
                // The encoder takes symbols by number: those with weight are 0, 2 and 3.
                let number = |context: u8, value: u64| if context % 4 == 3 { [0, 0, 1, 2][value as usize] } else { value };
                let again = symbols.iter().zip(&found).map(|(symbol, found)| (symbol.0, found.0, number(symbol.0, found.1)));
                let mut encoder = Encoder::new();
                code(&mut encoder, &again.collect::<Vec<_>>());
                (decoder.is_exact(), encoder.finish())
            };
            let (is_exact, written) = read(&bytes);
            prop_assert_eq!(is_exact, written == bytes);
            if is_mended {
                prop_assert!(read(&written) == (true, written.clone()));
            }
        }
    }

    #[test]
    fn rare_bits_cost_their_entropy() {
        let mut encoder = Encoder::new();
        let mut estimate = Bit::NEW;
        for i in 0..64_000u32 {
            encoder.bit(&mut estimate, i.wrapping_mul(2_654_435_761) >> 26 == 0);
        }
        // 64 000 bits of probability 1/64: 0.116 bits each are 929 bytes.
        assert!(encoder.finish().len() < 1000);
    }
}
