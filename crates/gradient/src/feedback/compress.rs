//! The compression of accumulated values into a payload, in two passes over the segments.
//!
//! The first pass selects what is sent of each chunk and what a second scale would be worth. Then the modes and the base
//! exponents of all tensors are known. The second pass takes out what is sent, hashes what remains, and codes. Between
//! the passes there are the selected indices (two bytes for each value that is sent by its sign) and some thirty bytes a
//! chunk; rounded values, of which there may be as many as parameters, are selected again in the second pass.

use super::select::{Scratch, select_largest};
use super::source::SegmentSource;
use super::two_scales::{self, TwoScales};
use super::{FeedbackError, first_not_finite, held};
use crate::layout::{ChunkLayout, GradientLayout, Mode, split_mut};
use crate::merkle::{self, MerkleTree};
use crate::metadata::Metadata;
use crate::payload::{
    ChunkContent, MAX_EXPONENT_SPREAD, MINUS, Magnitudes, Payload, PayloadChunk, SegmentEncoder, TensorCode, size_of,
    step_for,
};
use crate::scale::{Scale, UNIT};
use rayon::prelude::*;
use templar_base::FeedbackValues;

/// Chunks that a thread takes at once.
const GROUP_CHUNKS: usize = 8;

/// What the first pass learns of one chunk.
#[derive(Debug, Clone, Copy)]
struct Selected {
    /// The scale where there is one, or the step of rounded values.
    scale: Scale,
    /// Values sent; not counted where they are rounded.
    count: u16,
    two: TwoScales,
}

/// What the first pass learns of some consecutive chunks.
#[derive(Debug, Default)]
struct Selection {
    chunks: Vec<Selected>,
    /// The selected values of all chunks, without magnitudes; none where they are rounded.
    kept: Vec<u16>,
}

/// Makes the payload of all accumulated values, and takes out of them what is sent.
pub(super) fn compress<E: From<FeedbackError>>(
    layout: &GradientLayout,
    metadata: Metadata,
    held_as: FeedbackValues,
    source: &mut impl SegmentSource<E>,
) -> Result<Payload, E> {
    metadata.check().map_err(FeedbackError::from)?;
    let mut selected = Vec::with_capacity(layout.chunk_count());
    let mut kept = Vec::with_capacity(layout.segment_count());
    for segment in 0..layout.segment_count() {
        let selection = source.with_segment(segment, |values| select_segment(layout, segment, values))??;
        selected.extend_from_slice(&selection.chunks);
        kept.push(selection.kept);
    }
    let plan = Plan::of(layout, held_as, &selected);
    let mut leaves = Vec::with_capacity(layout.chunk_count());
    let mut coded = Vec::with_capacity(layout.segment_count());
    for (segment, kept) in kept.into_iter().enumerate() {
        let (bytes, count, own) =
            source.with_segment(segment, |values| plan.code_segment(segment, &selected, &kept, values))?;
        leaves.extend_from_slice(&own);
        coded.push((bytes, count));
    }
    let metadata = Metadata { error_feedback_root: MerkleTree::of_leaves(leaves).root(), ..metadata };
    Ok(Payload::of_segments(layout, metadata, plan.codes, plan.scales, &coded))
}

/// Selects what is sent of a segment.
fn select_segment(layout: &GradientLayout, segment: usize, values: &[f32]) -> Result<Selection, FeedbackError> {
    let first = layout.segment_range(segment).start;
    let groups = layout.chunks()[layout.segment_chunks(segment)].par_chunks(GROUP_CHUNKS);
    let by_group: Vec<Result<Selection, FeedbackError>> = groups
        .map_init(Default::default, |buffers: &mut (Scratch, Vec<u16>), chunks| {
            let mut selection = Selection::default();
            for chunk in chunks {
                let values = &values[chunk.start - first..][..usize::from(chunk.len)];
                if let Some(place) = first_not_finite(values.iter().copied()) {
                    return Err(FeedbackError::NotFinite { index: chunk.start + place, value: values[place] });
                }
                select_chunk(layout, chunk, values, buffers, &mut selection);
            }
            Ok(selection)
        })
        .collect();
    let mut all = Selection::default();
    for selection in by_group {
        let selection = selection?;
        all.chunks.extend_from_slice(&selection.chunks);
        all.kept.extend_from_slice(&selection.kept);
    }
    Ok(all)
}

fn select_chunk(
    layout: &GradientLayout,
    chunk: &ChunkLayout,
    values: &[f32],
    (scratch, kept): &mut (Scratch, Vec<u16>),
    selection: &mut Selection,
) {
    if let Some(bits) = layout.rounded_bits() {
        let largest = values.iter().fold(0f32, |largest, value| value.abs().max(largest));
        selection.chunks.push(Selected { scale: step_for(largest, bits), count: 0, two: TwoScales::default() });
        return;
    }
    select_largest(values, usize::from(chunk.kept), scratch, kept);
    let magnitudes = kept.iter().map(|index| values[usize::from(*index)].abs());
    let sum: f64 = magnitudes.clone().map(f64::from).sum();
    let mean = if kept.is_empty() { 0.0 } else { sum / kept.len() as f64 };
    let scale = Scale::nearest(mean);
    let two = if scale.is_empty() {
        kept.clear();
        TwoScales::default()
    } else {
        TwoScales::of(magnitudes, mean, layout.tensors()[chunk.tensor as usize].rice_bits())
    };
    selection.chunks.push(Selected { scale, count: kept.len() as u16, two });
    selection.kept.extend(kept.iter().map(|index| signed(*index, values)));
}

/// A selected index with its value's sign.
fn signed(index: u16, values: &[f32]) -> u16 {
    if values[usize::from(index)] < 0.0 { index | MINUS } else { index }
}

/// How everything is coded: what is decided between the passes.
struct Plan<'a> {
    layout: &'a GradientLayout,
    held_as: FeedbackValues,
    codes: Vec<TensorCode>,
    /// The scale of each chunk in its tensor's mode; empty where it sends nothing.
    scales: Vec<Scale>,
}

impl<'a> Plan<'a> {
    fn of(layout: &'a GradientLayout, held_as: FeedbackValues, selected: &[Selected]) -> Self {
        let mode = |tensor: &crate::TensorLayout| match layout.rounded_bits() {
            Some(_) => Mode::Rounded,
            None => two_scales::choose_mode(selected[tensor.chunks()].iter().map(|chunk| &chunk.two)),
        };
        let modes: Vec<Mode> = layout.tensors().iter().map(mode).collect();
        let mut scales: Vec<Scale> = Vec::with_capacity(selected.len());
        for (tensor, mode) in layout.tensors().iter().zip(&modes) {
            let of_chunk = |chunk: &Selected| match mode {
                Mode::Magnitude if chunk.count > 0 => chunk.two.smaller(),
                Mode::Sign | Mode::Magnitude | Mode::Rounded => chunk.scale,
            };
            scales.extend(selected[tensor.chunks()].iter().map(of_chunk));
            drop_faint_chunks(&mut scales[tensor.chunks()]);
        }
        let codes = TensorCode::of_scales(layout, modes.into_iter(), &scales);
        Self { layout, held_as, codes, scales }
    }

    /// Takes what is sent out of a segment's values; gives its coding, the number of values sent, and the leaves of what
    /// remains of each chunk.
    fn code_segment(
        &self,
        segment: usize,
        selected: &[Selected],
        kept: &[u16],
        values: &mut [f32],
    ) -> (Vec<u8>, usize, Vec<[u8; 32]>) {
        let numbers: Vec<usize> = self.layout.segment_chunks(segment).collect();
        let lengths = numbers.iter().map(|chunk| usize::from(self.layout.chunks()[*chunk].len));
        let mut rest = kept;
        let work: Vec<(usize, &mut [f32], &[u16])> = numbers
            .iter()
            .zip(split_mut(values, lengths))
            .map(|(chunk, values)| {
                let (own, later) = rest.split_at(usize::from(selected[*chunk].count));
                rest = later;
                (*chunk, values, own)
            })
            .collect();
        let taken: Vec<Taken> = work
            .into_par_iter()
            .with_min_len(GROUP_CHUNKS)
            .map_init(Default::default, |buffers: &mut (Scratch, Vec<u16>), (chunk, values, kept)| {
                let taken = self.take_chunk(chunk, &selected[chunk].two, kept, values, buffers);
                let content = PayloadChunk::new(chunk, 0, taken.content(self.scales[chunk]));
                content.units().for_each(|(index, units)| values[index] -= units as f32 * UNIT);
                held::round(values, self.held_as);
                Taken { leaf: merkle::leaf(values), ..taken }
            })
            .collect();
        let mut encoder = SegmentEncoder::new(self.layout, &self.codes, segment);
        let mut count = 0;
        for (chunk, taken) in numbers.into_iter().zip(&taken) {
            encoder.push(chunk, taken.content(self.scales[chunk]));
            count += taken.kept.len();
        }
        (encoder.finish(), count, taken.iter().map(|taken| taken.leaf).collect())
    }

    /// What is sent of a chunk; `kept` is what the first pass selected.
    fn take_chunk(
        &self,
        chunk_index: usize,
        two: &TwoScales,
        kept: &[u16],
        values: &[f32],
        (scratch, selected): &mut (Scratch, Vec<u16>),
    ) -> Taken {
        let chunk = &self.layout.chunks()[chunk_index];
        let scale = self.scales[chunk_index];
        let nothing = Taken { kept: Vec::new(), coding: TakenAs::OneScale, leaf: [0; 32] };
        if scale.is_empty() {
            return nothing;
        }
        match (self.codes[chunk.tensor as usize].mode, self.layout.rounded_bits()) {
            (Mode::Magnitude, _) => {
                let kept = kept.iter().map(|value| two.marked(*value, values)).collect();
                Taken { kept, coding: TakenAs::TwoScales { octaves: two.octaves() }, ..nothing }
            }
            (Mode::Rounded, Some(bits)) => {
                let size = |index: u16| size_of(values[usize::from(index)].abs(), scale, bits);
                select_largest(values, usize::from(chunk.kept), scratch, selected);
                selected.retain(|index| size(*index) > 0);
                let sizes = selected.iter().map(|index| size(*index)).collect();
                let kept = selected.iter().map(|index| signed(*index, values)).collect();
                Taken { kept, coding: TakenAs::Rounded { bits, sizes }, ..nothing }
            }
            (Mode::Sign, _) | (Mode::Rounded, None) => Taken { kept: kept.to_vec(), ..nothing },
        }
    }
}

/// What is sent of one chunk, and the leaf of what remains.
struct Taken {
    kept: Vec<u16>,
    coding: TakenAs,
    leaf: [u8; 32],
}

enum TakenAs {
    OneScale,
    TwoScales { octaves: u8 },
    Rounded { bits: u8, sizes: Vec<u32> },
}

impl Taken {
    fn content(&self, scale: Scale) -> ChunkContent<'_> {
        let magnitudes = match &self.coding {
            TakenAs::OneScale => Magnitudes::OneScale,
            TakenAs::TwoScales { octaves } => Magnitudes::TwoScales { octaves: *octaves },
            TakenAs::Rounded { bits, sizes } => Magnitudes::Rounded { bits: *bits, sizes },
        };
        ChunkContent { scale, kept: &self.kept, magnitudes }
    }
}

/// Empties the scales of a tensor that do not fit its exponent range.
fn drop_faint_chunks(scales: &mut [Scale]) {
    let largest = scales.iter().map(|scale| scale.exponent()).max().unwrap_or(0);
    let limit = largest.saturating_sub(MAX_EXPONENT_SPREAD);
    for scale in scales.iter_mut().filter(|scale| scale.exponent() < limit) {
        *scale = Scale::EMPTY;
    }
}
