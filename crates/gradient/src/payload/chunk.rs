//! What a payload sends of one chunk: which values, and of which magnitudes.

use super::rounding;
use crate::scale::Scale;

/// A kept value: its index in the chunk (12 bits) and, on top, 1 for minus.
pub(crate) const MINUS: u16 = 1 << 15;

/// Marks a kept value of the larger scale.
pub(crate) const LARGE: u16 = 1 << 14;

/// The index of a kept value.
pub(crate) const INDEX: u16 = LARGE - 1;

/// The magnitudes of a chunk's kept values: one variant for each mode of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Magnitudes<'a> {
    /// All are the chunk's scale.
    OneScale,
    /// The chunk's scale, or, where the value is marked [`LARGE`], the scale this many octaves above it.
    TwoScales { octaves: u8 },
    /// Each is a number of steps of its own; the chunk's scale is the step.
    Rounded { bits: u8, sizes: &'a [u32] },
}

/// The content of one chunk; what the codings read and write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ChunkContent<'a> {
    /// The scale, or the smaller one, or the step.
    pub scale: Scale,
    /// Ascending by index.
    pub kept: &'a [u16],
    pub magnitudes: Magnitudes<'a>,
}

/// What a payload sends of one chunk.
#[derive(Debug, Clone, Copy)]
pub struct PayloadChunk<'a> {
    /// The chunk's number in the layout.
    pub chunk: usize,
    /// The chunk's first value in the flat parameters.
    pub start: usize,
    /// The chunk's scale, or the smaller one, or the step of its rounded values.
    pub scale: Scale,
    /// The larger scale; the same where there is one.
    pub larger_scale: Scale,
    kept: &'a [u16],
    magnitudes: Magnitudes<'a>,
}

impl<'a> PayloadChunk<'a> {
    /// The chunk with this number, whose first value is at `start`.
    pub(crate) fn new(chunk: usize, start: usize, content: ChunkContent<'a>) -> Self {
        let ChunkContent { scale, kept, magnitudes } = content;
        let larger_scale = match magnitudes {
            // The decoder and the compression both checked that the larger scale is in range.
            Magnitudes::TwoScales { octaves } => scale.raised(octaves).unwrap_or(scale),
            Magnitudes::OneScale | Magnitudes::Rounded { .. } => scale,
        };
        Self { chunk, start, scale, larger_scale, kept, magnitudes }
    }

    /// Number of kept values.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// The kept values, ascending: index in the chunk, and whether the sign is minus.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (usize, bool)> + 'a {
        self.kept.iter().map(|value| (usize::from(value & INDEX), value & MINUS != 0))
    }

    /// The kept values, ascending: index in the chunk, and the value in units of 2^[`crate::UNIT_EXPONENT`].
    pub fn units(&self) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a> {
        self.units_by(std::convert::identity as fn(i64) -> i64)
    }

    /// As [`Self::units`], each magnitude changed by `change`, which of values sent by their signs is called for the
    /// chunk's two scales only.
    pub(crate) fn units_by<F: Fn(i64) -> i64>(
        &self,
        change: F,
    ) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a, F> {
        let step = self.scale.units();
        let (small, large) = (change(step), change(self.larger_scale.units()));
        let by_marks = [small, large, -small, -large];
        let sizes = self.sizes();
        self.kept.iter().enumerate().map(move |(place, value)| {
            let units = match sizes.get(place) {
                None => by_marks[usize::from(value >> 14)],
                Some(size) => {
                    let units = change(i64::from(*size) * step);
                    if value & MINUS == 0 { units } else { -units }
                }
            };
            (usize::from(value & INDEX), units)
        })
    }

    /// What the kept values' magnitudes add up to, in units of 2^[`crate::UNIT_EXPONENT`]; of two scales the smaller
    /// one counts for all.
    pub fn magnitude(&self) -> u64 {
        let step = self.scale.units() as u64;
        match self.magnitudes {
            Magnitudes::OneScale | Magnitudes::TwoScales { .. } => step.saturating_mul(self.kept() as u64),
            // At most 4096 contributions, each under 2^45.
            Magnitudes::Rounded { sizes, .. } => sizes.iter().map(|size| u64::from(*size) * step).sum(),
        }
    }

    /// Number of this chunk's values that `other` has too, with the same sign and, of rounded values, of a size within
    /// an eighth.
    pub(crate) fn shared_with(&self, other: &Self) -> usize {
        match self.magnitudes {
            Magnitudes::OneScale | Magnitudes::TwoScales { .. } => shared_values(self.kept, other.kept),
            Magnitudes::Rounded { .. } => close_values(self, other),
        }
    }

    fn sizes(&self) -> &'a [u32] {
        match self.magnitudes {
            Magnitudes::Rounded { sizes, .. } => sizes,
            Magnitudes::OneScale | Magnitudes::TwoScales { .. } => &[],
        }
    }
}

/// What stands for the size of a chunk's values where payloads are compared, in units: the scale, or the power of two
/// that rounded values of this many bits stay under.
pub(crate) fn level(scale: Scale, rounded_bits: Option<u8>) -> i64 {
    scale.units() << rounded_bits.map_or(0, rounding::span_bits)
}

/// Number of equal (index, sign) pairs of two ascending lists; without branches on the data, which is random.
fn shared_values(left: &[u16], right: &[u16]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < left.len() && j < right.len() {
        let (a, b) = (left[i] & !LARGE, right[j] & !LARGE);
        shared += usize::from(a == b);
        i += usize::from(a & INDEX <= b & INDEX);
        j += usize::from(b & INDEX <= a & INDEX);
    }
    shared
}

/// Number of rounded values that both keep, with the same sign, the smaller at least seven eighths of the larger.
fn close_values(left: &PayloadChunk<'_>, right: &PayloadChunk<'_>) -> usize {
    let mut others = right.units().peekable();
    let is_close = |(index, units): &(usize, i64)| {
        while others.next_if(|(other, _)| other < index).is_some() {}
        let Some((_, other)) = others.next_if(|(other, _)| other == index) else { return false };
        let (smaller, larger) = (units.abs().min(other.abs()), units.abs().max(other.abs()));
        units.signum() == other.signum() && larger - smaller <= larger / 8
    };
    left.units().filter(is_close).count()
}
