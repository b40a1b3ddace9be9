//! Where the tensors, chunks and segments of a pseudo-gradient lie in the flat range of parameters.

use std::ops::Range;
use std::sync::Arc;
use templar_base::ValueCoding;

/// Values of a chunk; the last chunk of a tensor may be shorter.
pub const CHUNK_VALUES: usize = 4096;

/// Chunks of a segment; the last segment may be shorter. Segments run on over the ends of tensors, so that a model's
/// many small tensors (norms) do not cost a segment each.
pub const SEGMENT_CHUNKS: usize = 256;

/// Most parameters that a layout takes: 2^40, far over any model, so that no sum of sizes can overflow.
const MAX_PARAMETERS: usize = 1 << 40;

/// Longest tensor name in bytes.
const MAX_NAME_BYTES: usize = 512;

/// How a payload codes the kept values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Mode {
    /// Each kept value is its sign times its chunk's scale.
    #[default]
    Sign = 0,
    /// Each kept value is its sign times the smaller or the larger of its chunk's two scales, as a further bit says.
    Magnitude = 1,
    /// Each kept value is a size of its own, as many steps of its chunk's. The only mode of a run with rounded values.
    Rounded = 2,
}

impl Mode {
    /// The mode of this byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Sign),
            1 => Some(Self::Magnitude),
            2 => Some(Self::Rounded),
            _ => None,
        }
    }
}

/// One tensor of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    /// The tensor's name, for people.
    pub name: String,
    /// Number of values.
    pub len: usize,
    /// Kept values of a full chunk, 1..=4096.
    pub kept_per_chunk: u16,
    /// Length of a row, 1..=len: values so far apart belong to the same column. Helps the coding of aggregates.
    pub row_len: usize,
    /// First value in the flat range of parameters.
    pub start: usize,
    /// First chunk in the layout's numbering.
    pub first_chunk: usize,
}

impl TensorLayout {
    /// The layout's numbers of the tensor's chunks.
    pub fn chunks(&self) -> Range<usize> {
        self.first_chunk..self.first_chunk + self.len.div_ceil(CHUNK_VALUES)
    }

    /// Rice parameter of the tensor's index gaps: `⌊log2(0.69 · 4096 / kept)⌋`, which minimises the expected length
    /// of geometric gaps; 5 for 64 of 4096. Fixed by the layout, so that no payload has two codings.
    pub fn rice_bits(&self) -> u32 {
        (69 * CHUNK_VALUES as u32 / (100 * u32::from(self.kept_per_chunk))).checked_ilog2().unwrap_or(0)
    }
}

/// One chunk: where it lies and what may be kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkLayout {
    pub start: usize,
    pub tensor: u32,
    /// 1..=4096.
    pub len: u16,
    /// 1..=len.
    pub kept: u16,
}

impl ChunkLayout {
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + usize::from(self.len)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    tensors: Vec<TensorLayout>,
    chunks: Vec<ChunkLayout>,
    parameters: usize,
    kept: usize,
    values: ValueCoding,
}

/// The tensors of a model in the order of the flat parameters, cut into chunks and segments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GradientLayout(Arc<Inner>);

/// A layout that cannot be built; the genesis or the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No tensors.
    #[error("a gradient layout needs at least one tensor")]
    Empty,
    /// A tensor without values.
    #[error("tensor `{name}` has no values; leave it out of the layout")]
    EmptyTensor {
        /// The tensor.
        name: String,
    },
    /// A kept count outside 1..=4096.
    #[error("tensor `{name}`: {kept} kept values of a chunk are outside 1..=4096; correct the genesis' tensor classes")]
    KeptOutOfRange {
        /// The tensor.
        name: String,
        /// The refused count.
        kept: u16,
    },
    /// A row of no values or more than the tensor has, or not one for each tensor.
    #[error("{rows} row lengths for {tensors} tensors, or one outside its tensor; take the last dimension of each")]
    Rows {
        /// Row lengths given.
        rows: usize,
        /// Tensors.
        tensors: usize,
    },
    /// Rounded values of too few or too many bits.
    #[error("rounded values of {bits} bits are outside 2..=24; correct the genesis' outer.values")]
    ValueBits {
        /// The refused number.
        bits: u8,
    },
    /// More parameters than any model has, or a name longer than any tensor's.
    #[error("tensor `{name}` brings the layout over its limit of 2^40 parameters, or its name over 512 bytes")]
    TooLarge {
        /// The tensor, its name cut to 64 characters.
        name: String,
    },
}

impl GradientLayout {
    /// A layout of tensors given as (name, number of values, kept values of each chunk of 4096), in the order of the
    /// flat parameters. A short chunk of n values keeps `⌊kept · n / 4096⌋` and at least one.
    pub fn new(tensors: impl IntoIterator<Item = (String, usize, u16)>) -> Result<Self, LayoutError> {
        let mut inner =
            Inner { tensors: Vec::new(), chunks: Vec::new(), parameters: 0, kept: 0, values: ValueCoding::Signs };
        for (name, len, kept_per_chunk) in tensors {
            if len == 0 {
                return Err(LayoutError::EmptyTensor { name });
            }
            if !(1..=CHUNK_VALUES).contains(&usize::from(kept_per_chunk)) {
                return Err(LayoutError::KeptOutOfRange { name, kept: kept_per_chunk });
            }
            if len > MAX_PARAMETERS - inner.parameters || name.len() > MAX_NAME_BYTES {
                return Err(LayoutError::TooLarge { name: name.chars().take(64).collect() });
            }
            let tensor_index = inner.tensors.len() as u32;
            let tensor = TensorLayout {
                name,
                len,
                kept_per_chunk,
                row_len: len.min(CHUNK_VALUES),
                start: inner.parameters,
                first_chunk: inner.chunks.len(),
            };
            for offset in (0..len).step_by(CHUNK_VALUES) {
                let chunk_len = CHUNK_VALUES.min(len - offset);
                let kept = (usize::from(kept_per_chunk) * chunk_len / CHUNK_VALUES).max(1);
                inner.chunks.push(ChunkLayout {
                    start: inner.parameters + offset,
                    tensor: tensor_index,
                    len: chunk_len as u16,
                    kept: kept as u16,
                });
                inner.kept += kept;
            }
            inner.parameters += len;
            inner.tensors.push(tensor);
        }
        if inner.tensors.is_empty() {
            return Err(LayoutError::Empty);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The same layout with the row length of each tensor, which is its last dimension. It decides how aggregates are
    /// coded, so it belongs to the model as the rest does.
    pub fn with_row_lengths(self, row_lengths: &[usize]) -> Result<Self, LayoutError> {
        let error = LayoutError::Rows { rows: row_lengths.len(), tensors: self.0.tensors.len() };
        let mut inner = Arc::unwrap_or_clone(self.0);
        if row_lengths.len() != inner.tensors.len() {
            return Err(error);
        }
        for (tensor, row_len) in inner.tensors.iter_mut().zip(row_lengths) {
            if !(1..=tensor.len).contains(row_len) {
                return Err(error);
            }
            tensor.row_len = *row_len;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The same layout with kept values that are sent so. Rounded ones have 2 to 24 bits.
    pub fn with_values(self, values: ValueCoding) -> Result<Self, LayoutError> {
        match values {
            ValueCoding::Rounded { bits } if !(2..=24).contains(&bits) => Err(LayoutError::ValueBits { bits }),
            _ => Ok(Self(Arc::new(Inner { values, ..Arc::unwrap_or_clone(self.0) }))),
        }
    }

    /// Bits of a rounded value; None where values are sent by their signs.
    pub fn rounded_bits(&self) -> Option<u8> {
        match self.0.values {
            ValueCoding::Signs => None,
            ValueCoding::Rounded { bits } => Some(bits),
        }
    }

    /// The tensors in the order of the flat parameters.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.0.tensors
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.0.parameters
    }

    /// Number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.0.chunks.len()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.0.chunks.len().div_ceil(SEGMENT_CHUNKS)
    }

    /// Most values that a payload can keep.
    pub fn kept(&self) -> usize {
        self.0.kept
    }

    /// The flat range of the chunk with this number, if there is one.
    pub fn chunk_range(&self, chunk: usize) -> Option<Range<usize>> {
        self.0.chunks.get(chunk).map(ChunkLayout::range)
    }

    /// The number of the chunk that holds this parameter, if there is such a parameter.
    pub fn chunk_of(&self, parameter: usize) -> Option<usize> {
        if parameter >= self.0.parameters {
            return None;
        }
        Some(self.0.chunks.partition_point(|chunk| chunk.start <= parameter) - 1)
    }

    pub(crate) fn chunks(&self) -> &[ChunkLayout] {
        &self.0.chunks
    }

    /// The numbers of a segment's chunks; none where there is no such segment.
    pub fn segment_chunks(&self, segment: usize) -> Range<usize> {
        let start = segment.saturating_mul(SEGMENT_CHUNKS).min(self.chunk_count());
        start..(start + SEGMENT_CHUNKS).min(self.chunk_count())
    }

    /// The flat range of a segment's values, at most 1,048,576 of them; empty where there is no such segment.
    pub fn segment_range(&self, segment: usize) -> Range<usize> {
        let chunks = &self.0.chunks[self.segment_chunks(segment)];
        match (chunks.first(), chunks.last()) {
            (Some(first), Some(last)) => first.start..last.range().end,
            _ => self.0.parameters..self.0.parameters,
        }
    }

    /// Most values of a segment.
    pub fn longest_segment(&self) -> usize {
        (0..self.segment_count()).map(|segment| self.segment_range(segment).len()).max().unwrap_or(0)
    }

    /// Cuts a buffer over the parameters into the segments' parts; the buffer has one value for each parameter.
    pub(crate) fn split_segments<'a>(&self, buffer: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        split_mut(buffer, (0..self.segment_count()).map(|segment| self.segment_range(segment).len()))
    }
}

/// Cuts the front of a buffer into consecutive parts of these lengths, which sum to at most the buffer's.
pub(crate) fn split_mut(buffer: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut rest = buffer;
    lengths
        .map(|length| {
            let (part, later) = std::mem::take(&mut rest).split_at_mut(length);
            rest = later;
            part
        })
        .collect()
}

impl PartialEq for GradientLayout {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for GradientLayout {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_chunks_keep_in_proportion_and_at_least_one() {
        let sizes = [1, 2, 63, 4095, 4096, 4097];
        let layout = GradientLayout::new(sizes.map(|len| (format!("t{len}"), len, 64))).unwrap();
        let kept: Vec<(u16, u16)> = layout.chunks().iter().map(|chunk| (chunk.len, chunk.kept)).collect();
        assert_eq!(kept, [(1, 1), (2, 1), (63, 1), (4095, 63), (4096, 64), (4096, 64), (1, 1)]);
        assert_eq!(layout.parameters(), sizes.iter().sum::<usize>());
        assert_eq!(layout.chunk_of(layout.parameters() - 1), Some(6));
        assert_eq!(layout.chunk_of(3), Some(2));
        assert_eq!(layout.chunk_of(layout.parameters()), None);
    }

    #[test]
    fn the_rice_parameter_follows_the_density() {
        let rice = |kept| GradientLayout::new([("t".to_owned(), 1, kept)]).unwrap().tensors()[0].rice_bits();
        assert_eq!([1, 16, 64, 104, 512, 4096].map(rice), [11, 7, 5, 4, 2, 0]);
    }

    #[test]
    fn refused_layouts_say_why() {
        assert_eq!(GradientLayout::new([]).unwrap_err(), LayoutError::Empty);
        let one = |len, kept| GradientLayout::new([("t".to_owned(), len, kept)]);
        assert!(matches!(one(0, 64), Err(LayoutError::EmptyTensor { .. })));
        assert!(matches!(one(5, 0), Err(LayoutError::KeptOutOfRange { .. })));
        assert!(matches!(one(5, 4097), Err(LayoutError::KeptOutOfRange { .. })));
        assert!(matches!(one(MAX_PARAMETERS + 1, 64), Err(LayoutError::TooLarge { .. })));
        for bits in [0, 1, 25] {
            let layout = one(5, 64).unwrap().with_values(ValueCoding::Rounded { bits });
            assert_eq!(layout.unwrap_err(), LayoutError::ValueBits { bits });
        }
    }
}
