//! The entropy coding of an aggregate's segment, one function for both directions.
//!
//! Position after position: is it in the union (under the density of the 16 positions before), how many sent it, the
//! sign of the sum, its magnitude. A coordinate of one sender carries one of few magnitudes, the senders' scales: they
//! are listed once for each chunk. Other magnitudes are coded by length, leading bits and the rest, after taking out
//! the power of two that all of the chunk share.

use crate::aggregate::AggregateError;
use crate::layout::GradientLayout;
use crate::merge::MergedChunks;
use crate::range_coder::{Bit, Coder, Decoder, Encoder};
use crate::scale::Scale;
use std::ops::Range;

/// Most magnitudes listed for a chunk; with more of them the coordinates are coded one by one. Bounds a decoder's work.
const MAX_LISTED: usize = 63;
const LISTED_BITS: u32 = 6;
/// Counts up to this are coded in unary under adaptive estimates.
const UNARY_COUNTS: u16 = 16;
const LENGTH_BITS: u32 = 6;
/// Classes of counts that share the estimates of magnitudes.
const COUNT_CLASSES: usize = 4;

/// The adaptive estimates of one segment.
struct Estimates {
    empty: Bit,
    present: [Bit; 17],
    more: [Bit; UNARY_COUNTS as usize],
    length: [[Bit; 1 << LENGTH_BITS]; COUNT_CLASSES],
    lead: Vec<[Bit; 4]>,
}

impl Estimates {
    fn new() -> Self {
        Self {
            empty: Bit::NEW,
            present: [Bit::NEW; 17],
            more: [Bit::NEW; UNARY_COUNTS as usize],
            length: [[Bit::NEW; 1 << LENGTH_BITS]; COUNT_CLASSES],
            lead: vec![[Bit::NEW; 4]; COUNT_CLASSES << LENGTH_BITS],
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

/// Codes the merged content of chunks `chunks`.
pub(crate) fn encode(layout: &GradientLayout, chunks: Range<usize>, merged: &MergedChunks) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut estimates = Estimates::new();
    let mut start = 0;
    for (chunk_index, entries) in chunks.zip(&merged.entries) {
        let end = start + usize::from(*entries);
        let mut source = Source {
            indices: &merged.indices[start..end],
            sums: &merged.sums[start..end],
            counts: &merged.counts[start..end],
        };
        let len = layout.chunks()[chunk_index].len;
        // Coding what is there cannot fail: failures are the decoder's.
        let coded = code_chunk(&mut encoder, &mut estimates, len, u32::MAX, &mut source, &mut Discard);
        debug_assert!(coded.is_some());
        start = end;
    }
    encoder.finish()
}

/// Decodes chunks `chunks` from all of `bytes`; what it accepts is coded so by `encode`.
/// Allocates at most twelve bytes for each value of the chunks.
pub(crate) fn decode(
    layout: &GradientLayout,
    contributors: usize,
    total_weight: u32,
    chunks: Range<usize>,
    bytes: &[u8],
) -> Result<MergedChunks, AggregateError> {
    let mut decoder = Decoder::new(bytes);
    let mut estimates = Estimates::new();
    let mut merged = MergedChunks::default();
    for chunk_index in chunks.clone() {
        let chunk = &layout.chunks()[chunk_index];
        let before = merged.indices.len();
        let mut nothing = Source { indices: &[], sums: &[], counts: &[] };
        code_chunk(&mut decoder, &mut estimates, chunk.len, total_weight, &mut nothing, &mut merged)
            .ok_or(AggregateError::Entry { chunk: chunk_index })?;
        let entries = merged.indices.len() - before;
        let sent: u64 = merged.counts[before..].iter().map(|count| u64::from(*count)).sum();
        let most_sent = u64::from(total_weight) * u64::from(chunk.kept);
        if entries > contributors.saturating_mul(usize::from(chunk.kept)) || sent > most_sent {
            return Err(AggregateError::TooManyEntries { chunk: chunk_index, entries });
        }
        merged.entries.push(entries as u16);
    }
    if encode(layout, chunks.clone(), &merged) != bytes {
        return Err(AggregateError::NotCanonical { first_chunk: chunks.start });
    }
    Ok(merged)
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

    /// The magnitudes of coordinates of one sender, ascending, over 2^shift; none if there are too many.
    fn listed(&self, shift: u32) -> Vec<u64> {
        let mut listed: Vec<u64> = Vec::with_capacity(MAX_LISTED + 1);
        for (sum, count) in self.sums.iter().zip(self.counts) {
            let value = sum.unsigned_abs() >> shift;
            if *count != 1 {
                continue;
            }
            if let Err(place) = listed.binary_search(&value) {
                if listed.len() == MAX_LISTED {
                    return Vec::new();
                }
                listed.insert(place, value);
            }
        }
        listed
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

impl Sink for MergedChunks {
    fn entry(&mut self, index: u16, sum: i64, count: u16) {
        self.indices.push(index);
        self.sums.push(sum);
        self.counts.push(count);
    }
}

/// Codes one chunk; None if what is decoded cannot be an aggregate's.
fn code_chunk(
    coder: &mut impl Coder,
    estimates: &mut Estimates,
    len: u16,
    total_weight: u32,
    source: &mut Source<'_>,
    sink: &mut impl Sink,
) -> Option<()> {
    if coder.bit(&mut estimates.empty, source.indices.is_empty()) {
        return Some(());
    }
    let shift = coder.raw(u64::from(source.shared_shift()), 6) as u32;
    let listed = code_list(coder, source.listed(shift))?;
    let list_bits = usize::BITS - listed.len().leading_zeros();
    let mut list_estimates = [Bit::NEW; 1 << LISTED_BITS];
    let mut history = 0u32;
    for position in 0..len {
        let entry = source.next_at(position);
        let density = (history & 0xffff).count_ones() as usize;
        let present = coder.bit(&mut estimates.present[density], entry.is_some());
        history = history << 1 | u32::from(present);
        if !present {
            continue;
        }
        let (sum, count) = entry.unwrap_or((0, 0));
        let count = code_count(coder, estimates, count)?;
        if u32::from(count) > total_weight {
            return None;
        }
        let minus = coder.raw(u64::from(sum < 0), 1) == 1;
        let value = sum.unsigned_abs() >> shift;
        let value = if count == 1 && !listed.is_empty() {
            let place = listed.binary_search(&value).unwrap_or(0) as u32;
            let place = coder.tree(&mut list_estimates, place, list_bits);
            *listed.get(place as usize)?
        } else {
            code_value(coder, estimates, usize::from(count).min(COUNT_CLASSES) - 1, value)
        };
        let limit = Scale::MAX.units() as u64 * u64::from(count);
        if value > limit >> shift {
            return None;
        }
        let magnitude = (value << shift) as i64;
        sink.entry(position, if minus { -magnitude } else { magnitude }, count);
    }
    Some(())
}

/// The list of magnitudes: their number, then the steps from one to the next, each by its length.
fn code_list(coder: &mut impl Coder, listed: Vec<u64>) -> Option<Vec<u64>> {
    let length = coder.raw(listed.len() as u64, LISTED_BITS) as usize;
    let mut result = Vec::with_capacity(length);
    let mut before = 0u64;
    for place in 0..length {
        let step = listed.get(place).map_or(0, |value| value - before);
        let bits = coder.raw(u64::from(u64::BITS - step.leading_zeros()), LENGTH_BITS) as u32;
        let step = coder.raw(step, bits);
        before = before.checked_add(step).filter(|value| *value < 1 << 62)?;
        result.push(before);
    }
    Some(result)
}

fn code_count(coder: &mut impl Coder, estimates: &mut Estimates, count: u16) -> Option<u16> {
    let mut coded = 1u16;
    while coded <= UNARY_COUNTS {
        if !coder.bit(&mut estimates.more[usize::from(coded) - 1], count > coded) {
            return Some(coded);
        }
        coded += 1;
    }
    let rest = count.saturating_sub(coded);
    let bits = coder.raw(u64::from(u16::BITS - rest.leading_zeros()), 5) as u32;
    let rest = coder.raw(u64::from(rest), bits);
    u16::try_from(rest).ok()?.checked_add(coded)
}

/// A magnitude by its length, the two bits behind the leading one, and the rest.
fn code_value(coder: &mut impl Coder, estimates: &mut Estimates, class: usize, value: u64) -> u64 {
    let length = coder.tree(&mut estimates.length[class], u64::BITS - value.leading_zeros(), LENGTH_BITS);
    if length < 2 {
        return u64::from(length);
    }
    let below = length - 1;
    let lead_bits = below.min(2);
    let lead = &mut estimates.lead[class << LENGTH_BITS | length as usize];
    let lead = coder.tree(lead, (value >> (below - lead_bits) & ((1 << lead_bits) - 1)) as u32, lead_bits);
    let rest_bits = below - lead_bits;
    let rest = coder.raw(value & ((1 << rest_bits) - 1), rest_bits);
    1 << below | u64::from(lead) << rest_bits | rest
}
