//! The entropy coding of an aggregate's segment, one function for both directions.
//!
//! Position after position, in chunks: is it in the union, under what column and row lead to expect; how many sent it,
//! under the same; the sign, as a matrix of rank one would have it; and the magnitude. Magnitudes are sums of the
//! chunk's levels, the senders' scales, which are listed before with their frequencies; a sum is coded by its
//! probability among all sums of so many levels. What is no such sum is coded by length, leading bits and the rest,
//! over the power of two that all of the chunk share.

use super::AggregateError;
use super::level_sums::{FREQUENCY_BITS, LevelSums, MAX_COUNT, MAX_LEVELS, MAX_STEP};
use super::neighbourhood::{LEVELS, Neighbourhood, SIGN_CONTEXTS};
use super::range_coder::{Bit, Coder, Decoder, Encoder};
use crate::layout::GradientLayout;
use crate::merged::{ChunkEntries, MergeHead, MergedChunk};
use crate::scale::Scale;
use std::ops::Range;

/// Counts up to this are coded in unary under adaptive estimates.
const UNARY_COUNTS: u16 = 16;
const LENGTH_BITS: u32 = 6;
/// Classes of counts that share the estimates of signs and magnitudes.
const COUNT_CLASSES: usize = 4;
const STEP_BITS: u32 = 3;
const LEVEL_COUNT_BITS: u32 = 3;
/// The first level is coded by its distance from the chunk's before, where that is at most this.
const NEAR: u8 = 3;
const NEAR_BITS: u32 = 3;
const NUMBER_BITS: u32 = 6;

/// The adaptive estimates of one segment.
struct Estimates {
    empty: Bit,
    /// By the classes of column and row.
    present: Vec<[Bit; LEVELS]>,
    /// By the mean class of both.
    more: Vec<[Bit; UNARY_COUNTS as usize]>,
    /// By how many sent the entry, and by what the signs around lead to expect.
    sign: [[Bit; SIGN_CONTEXTS]; COUNT_CLASSES],
    /// By count: is it a sum where all agree; if not, where one is opposed.
    agree: [[Bit; 2]; MAX_COUNT + 1],
    length: [[Bit; 1 << LENGTH_BITS]; COUNT_CLASSES],
    lead: Vec<[Bit; 4]>,
    listed: Bit,
    near: [Bit; 1 << NEAR_BITS],
    level_count: [Bit; 1 << LEVEL_COUNT_BITS],
    step: [Bit; 1 << STEP_BITS],
    frequency: [Bit; 1 << FREQUENCY_BITS],
    /// Number of the first level of the last chunk that had some.
    first_level: u8,
}

impl Estimates {
    fn new() -> Self {
        Self {
            empty: Bit::NEW,
            present: vec![[Bit::NEW; LEVELS]; LEVELS],
            more: vec![[Bit::NEW; UNARY_COUNTS as usize]; LEVELS],
            sign: [[Bit::NEW; SIGN_CONTEXTS]; COUNT_CLASSES],
            agree: [[Bit::NEW; 2]; MAX_COUNT + 1],
            length: [[Bit::NEW; 1 << LENGTH_BITS]; COUNT_CLASSES],
            lead: vec![[Bit::NEW; 4]; COUNT_CLASSES << LENGTH_BITS],
            listed: Bit::NEW,
            near: [Bit::NEW; 1 << NEAR_BITS],
            level_count: [Bit::NEW; 1 << LEVEL_COUNT_BITS],
            step: [Bit::NEW; 1 << STEP_BITS],
            frequency: [Bit::NEW; 1 << FREQUENCY_BITS],
            first_level: 0,
        }
    }
}

/// Longest coding of these chunks in bytes. An adaptive bit costs hardly more than one bit on average whatever it
/// says; two are allowed for each position and twenty bytes for each entry, about twice its raw size.
pub(crate) fn max_bytes(layout: &GradientLayout, contributors: usize, chunks: Range<usize>) -> usize {
    let chunk_bytes = layout.chunks()[chunks].iter().map(|chunk| {
        let entries = usize::from(chunk.len).min(contributors.saturating_mul(usize::from(chunk.kept)));
        64 + usize::from(chunk.len) / 4 + 20 * entries
    });
    chunk_bytes.sum()
}

/// Codes the merged chunks of one segment, one after the other.
pub(crate) struct SegmentEncoder<'a>(Coding<'a, Encoder>);

impl<'a> SegmentEncoder<'a> {
    pub fn new(layout: &'a GradientLayout) -> Self {
        Self(Coding::new(Encoder::new(), layout, u32::MAX))
    }

    /// Codes the next chunk.
    pub fn push(&mut self, merged: &MergedChunk<'_>) {
        let source = Source { indices: merged.indices, sums: merged.sums, counts: merged.counts };
        // Coding an existing content cannot fail: failures are the decoder's.
        let coded = self.0.chunk(merged.chunk, source, &mut Discard);
        debug_assert!(coded.is_some());
    }

    /// The segment's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0.coder.finish()
    }
}

/// Decodes a segment from all of `bytes` and calls `visit` with each chunk in order. Bytes that it accepts are the
/// encoder's: wherever the encoder has a choice of words, the decoder checks that it would have taken the same.
/// Allocates the entries of one chunk, at most twelve bytes for each of its values, and four bytes for each column of a
/// tensor.
pub(crate) fn decode(
    head: &MergeHead,
    segment: usize,
    bytes: &[u8],
    visit: &mut dyn FnMut(MergedChunk<'_>),
) -> Result<(), AggregateError> {
    let (layout, total_weight) = (&head.layout, head.total_weight());
    let chunks = layout.segment_chunks(segment);
    let mut coding = Coding::new(Decoder::new(bytes), layout, total_weight);
    let mut entries = ChunkEntries::default();
    for chunk_index in chunks.clone() {
        let chunk = &layout.chunks()[chunk_index];
        entries.clear();
        let nothing = Source { indices: &[], sums: &[], counts: &[] };
        let chunk_head = coding.chunk(chunk_index, nothing, &mut entries);
        let chunk_head = chunk_head.ok_or(AggregateError::Entry { chunk: chunk_index })?;
        let found = Source { indices: &entries.indices, sums: &entries.sums, counts: &entries.counts };
        let count = found.indices.len();
        let sent: u64 = found.counts.iter().map(|count| u64::from(*count)).sum();
        let most_sent = u64::from(total_weight) * u64::from(chunk.kept);
        if count > head.contributors.len().saturating_mul(usize::from(chunk.kept)) || sent > most_sent {
            return Err(AggregateError::TooManyEntries { chunk: chunk_index, entries: count });
        }
        coding.is_canonical &= chunk_head.is_of(&found);
        visit(entries.of_chunk(layout, chunk_index));
    }
    if !coding.is_canonical || !coding.coder.is_exact() {
        return Err(AggregateError::NotCanonical { first_chunk: chunks.start });
    }
    Ok(())
}

/// What the encoder reads; empty for the decoder.
struct Source<'a> {
    indices: &'a [u16],
    sums: &'a [i64],
    counts: &'a [u16],
}

impl Source<'_> {
    /// The entry at this position, if the front one lies there.
    fn next_at(&mut self, position: u16) -> Option<(i64, u16)> {
        if *self.indices.first()? != position {
            return None;
        }
        let entry = (self.sums[0], self.counts[0]);
        (self.indices, self.sums, self.counts) = (&self.indices[1..], &self.sums[1..], &self.counts[1..]);
        Some(entry)
    }

    /// The power of two that all sums share, at most 63.
    fn shared_shift(&self) -> u32 {
        self.sums.iter().fold(0, |bits, sum| bits | sum.unsigned_abs()).trailing_zeros().min(63)
    }

    /// The levels of the chunk, as the coordinates of one sender tell.
    fn levels(&self) -> Option<LevelSums> {
        let singles = self.sums.iter().zip(self.counts).filter(|(_, count)| **count == 1);
        LevelSums::of_singles(singles.map(|(sum, _)| sum.unsigned_abs()))
    }
}

/// What is said of a chunk before its entries.
enum ChunkHead {
    Empty,
    Entries { shift: u32, levels: Option<LevelSums> },
}

impl ChunkHead {
    /// Whether an encoder says this of these entries.
    fn is_of(&self, entries: &Source<'_>) -> bool {
        match self {
            Self::Empty => entries.indices.is_empty(),
            Self::Entries { shift, levels } => {
                !entries.indices.is_empty()
                    && *shift == entries.shared_shift()
                    && levels.as_ref().map(LevelSums::levels) == entries.levels().as_ref().map(LevelSums::levels)
            }
        }
    }
}

/// Where the decoder's entries go.
trait Sink {
    fn entry(&mut self, index: u16, sum: i64, count: u16);
}

struct Discard;

impl Sink for Discard {
    fn entry(&mut self, _: u16, _: i64, _: u16) {}
}

impl Sink for ChunkEntries {
    fn entry(&mut self, index: u16, sum: i64, count: u16) {
        self.push(index, sum, count);
    }
}

/// A segment's coding, in either direction.
struct Coding<'a, C> {
    coder: C,
    estimates: Estimates,
    around: Neighbourhood,
    layout: &'a GradientLayout,
    total_weight: u32,
    /// Whether an encoder would have coded everything so; kept by the decoder.
    is_canonical: bool,
}

impl<'a, C: Coder> Coding<'a, C> {
    fn new(coder: C, layout: &'a GradientLayout, total_weight: u32) -> Self {
        let (estimates, around) = (Estimates::new(), Neighbourhood::default());
        Self { coder, estimates, around, layout, total_weight, is_canonical: true }
    }

    /// Codes one chunk; None if what is decoded cannot be an aggregate's.
    fn chunk(&mut self, chunk: usize, mut source: Source<'_>, sink: &mut impl Sink) -> Option<ChunkHead> {
        self.around.enter(self.layout, chunk);
        let len = self.layout.chunks()[chunk].len;
        if self.coder.bit(&mut self.estimates.empty, source.indices.is_empty()) {
            (0..len).for_each(|_| self.around.step(0, 0));
            return Some(ChunkHead::Empty);
        }
        let shift = self.coder.raw(u64::from(source.shared_shift()), 6) as u32;
        let mut sums = self.levels(source.levels())?;
        for position in 0..len {
            let entry = source.next_at(position);
            let (column, row) = self.around.levels();
            if !self.coder.bit(&mut self.estimates.present[column][row], entry.is_some()) {
                self.around.step(0, 0);
                continue;
            }
            let (sum, count) = entry.unwrap_or((0, 0));
            let count = self.count((column + row) / 2, count)?;
            if u32::from(count) > self.total_weight {
                return None;
            }
            let signs = &mut self.estimates.sign[usize::from(count).min(COUNT_CLASSES) - 1];
            let minus = self.coder.bit(&mut signs[self.around.sign_context()], sum < 0);
            let magnitude = self.magnitude(&mut sums, count, shift, sum.unsigned_abs())?;
            if magnitude > Scale::MAX.units() as u64 * u64::from(count) {
                return None;
            }
            self.is_canonical &= !(minus && magnitude == 0);
            let magnitude = magnitude as i64;
            sink.entry(position, if minus { -magnitude } else { magnitude }, count);
            self.around.step(count, if minus { -1 } else { 1 });
        }
        Some(ChunkHead::Entries { shift, levels: sums })
    }

    /// The levels: whether there are any, their number, the first, the steps from one to the next, the frequencies.
    fn levels(&mut self, levels: Option<LevelSums>) -> Option<Option<LevelSums>> {
        let (coder, estimates) = (&mut self.coder, &mut self.estimates);
        if !coder.bit(&mut estimates.listed, levels.is_some()) {
            return Some(None);
        }
        let known = levels.as_ref().map_or(&[][..], LevelSums::levels);
        let count = coder.tree(&mut estimates.level_count, known.len() as u32, LEVEL_COUNT_BITS) as usize;
        debug_assert!(known.len() <= MAX_LEVELS);
        let mut number = known.first().map_or(0, |(level, _)| level.number());
        let mut list = Vec::with_capacity(count);
        for place in 0..count {
            let level = known.get(place).copied().unwrap_or_default();
            if place == 0 {
                number = code_first_level(coder, estimates, number)?;
            } else {
                let step = level.0.number().saturating_sub(number).min(MAX_STEP);
                number += coder.tree(&mut estimates.step, u32::from(step), STEP_BITS) as u8;
            }
            let frequency = coder.tree(&mut estimates.frequency, u32::from(level.1), FREQUENCY_BITS) as u8;
            list.push((Scale::of_number(number)?, frequency));
        }
        if let Some((level, _)) = list.first() {
            estimates.first_level = level.number();
        }
        match levels {
            Some(levels) => Some(Some(levels)),
            None => LevelSums::new(list).map(Some),
        }
    }

    fn count(&mut self, class: usize, count: u16) -> Option<u16> {
        let mut coded = 1u16;
        while coded <= UNARY_COUNTS {
            if !self.coder.bit(&mut self.estimates.more[class][usize::from(coded) - 1], count > coded) {
                return Some(coded);
            }
            coded += 1;
        }
        let rest = count.saturating_sub(coded);
        let bits = self.coder.raw(u64::from(u16::BITS - rest.leading_zeros()), 5) as u32;
        let rest = u16::try_from(self.coder.raw(u64::from(rest), bits)).ok()?;
        self.is_canonical &= bits == u16::BITS - rest.leading_zeros();
        rest.checked_add(coded)
    }

    /// A magnitude by the table of its count, or as it is.
    fn magnitude(&mut self, sums: &mut Option<LevelSums>, count: u16, shift: u32, magnitude: u64) -> Option<u64> {
        let places = usize::from(count);
        let Some(sums) = sums.as_mut().filter(|_| places <= MAX_COUNT) else {
            return self.shifted_value(places, shift, magnitude);
        };
        let place = if C::READS { None } else { sums.place(places, magnitude) };
        let agree = &mut self.estimates.agree[places];
        let is_agreed = self.coder.bit(&mut agree[0], place.is_some_and(|(opposed, _)| opposed == 0));
        if !is_agreed && (places == 1 || !self.coder.bit(&mut agree[1], place.is_some())) {
            let magnitude = self.shifted_value(places, shift, magnitude)?;
            self.is_canonical &= !C::READS || sums.place(places, magnitude).is_none();
            return Some(magnitude);
        }
        let opposed = usize::from(!is_agreed);
        let (table, _) = sums.table(places, opposed);
        let place = self.coder.symbol(table, place.map_or(0, |(_, place)| place));
        let magnitude = sums.magnitude(places, opposed, place)?;
        // Where nobody is opposed there is one way to code a sum.
        self.is_canonical &= is_agreed || !C::READS || sums.place(places, magnitude) == Some((opposed, place));
        Some(magnitude)
    }

    /// A magnitude as it is, over the power of two that all of the chunk share.
    fn shifted_value(&mut self, count: usize, shift: u32, magnitude: u64) -> Option<u64> {
        let value = self.value(count.min(COUNT_CLASSES) - 1, magnitude >> shift);
        (value <= u64::MAX >> shift).then_some(value << shift)
    }

    /// A magnitude by its length, the two bits behind the leading one, and the rest.
    fn value(&mut self, class: usize, value: u64) -> u64 {
        let estimates = &mut self.estimates;
        let bits = u64::BITS - value.leading_zeros();
        let length = self.coder.tree(&mut estimates.length[class], bits, LENGTH_BITS);
        if length < 2 {
            return u64::from(length);
        }
        let below = length - 1;
        let lead_bits = below.min(2);
        let lead = &mut estimates.lead[class << LENGTH_BITS | length as usize];
        let lead = self.coder.tree(lead, (value >> (below - lead_bits) & ((1 << lead_bits) - 1)) as u32, lead_bits);
        let rest_bits = below - lead_bits;
        let rest = self.coder.raw(value & ((1 << rest_bits) - 1), rest_bits);
        1 << below | u64::from(lead) << rest_bits | rest
    }
}

/// The number of a chunk's first level: by its distance from the last chunk's, or, where that is far, as it is.
fn code_first_level(coder: &mut impl Coder, estimates: &mut Estimates, number: u8) -> Option<u8> {
    const FAR: u32 = (1 << NEAR_BITS) - 1;
    let lowest = estimates.first_level.saturating_sub(NEAR);
    let distance = |number: u8| number.checked_sub(lowest).map_or(FAR, u32::from).min(FAR);
    match coder.tree(&mut estimates.near, distance(number), NEAR_BITS) {
        FAR => Some(coder.raw(u64::from(number), NUMBER_BITS) as u8).filter(|number| distance(*number) == FAR),
        near => lowest.checked_add(near as u8),
    }
}
