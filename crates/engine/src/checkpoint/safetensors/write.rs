//! Writing a safetensors file: the header, then the values segment by segment.

use super::header::header_bytes;
use crate::checkpoint::{CheckpointError, Precision, StreamError, ValueSource};
use crate::{ParamLayout, SEGMENT, Tensor};
use std::io::Write;
use templar_base::ModelConfig;

/// Writes a `model.safetensors` as Hugging Face writes it, with memory for one segment of values.
///
/// `source(start, values)` fills `values` with the parameters from `start` on, in canonical order and in ascending
/// ranges: such as [`crate::Engine::read`].
pub fn write_streamed(
    config: &ModelConfig,
    precision: Precision,
    out: &mut dyn Write,
    source: &mut ValueSource<'_>,
) -> Result<(), StreamError> {
    write_tensors(ParamLayout::new(config).tensors(), precision, out, source)
}

/// Writes a file with these neighbouring tensors of a layout.
pub(in crate::checkpoint) fn write_tensors(
    tensors: &[Tensor],
    precision: Precision,
    out: &mut dyn Write,
    source: &mut ValueSource<'_>,
) -> Result<(), StreamError> {
    out.write_all(&header_bytes(tensors, precision))?;
    let first = tensors.first().map_or(0, |tensor| tensor.range.start);
    let end = tensors.last().map_or(0, |tensor| tensor.range.end);
    let mut values = vec![0.0; SEGMENT.min(end - first)];
    let mut bytes = Vec::with_capacity(values.len() * precision.bytes());
    for start in (first..end).step_by(SEGMENT) {
        let values = &mut values[..SEGMENT.min(end - start)];
        source(start, values).map_err(StreamError::Values)?;
        bytes.clear();
        precision.encode(values, &mut bytes);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The bytes of a `model.safetensors` with these parameters (in canonical order), as Hugging Face writes it.
///
/// `parameters` has the length of the model's layout, else the error names the tensor that it ends in.
pub fn write_safetensors(
    config: &ModelConfig,
    parameters: &[f32],
    precision: Precision,
) -> Result<Vec<u8>, CheckpointError> {
    let layout = ParamLayout::new(config);
    if parameters.len() != layout.total() {
        let cut = layout.tensors().iter().find(|tensor| tensor.range.end > parameters.len());
        let name = cut.or(layout.tensors().last()).map(|tensor| tensor.name.clone()).unwrap_or_default();
        let reason = format!("{} values were given for a model of {}", parameters.len(), layout.total());
        return Err(CheckpointError::Tensor { name, reason });
    }
    Ok(tensors_in_memory(layout.tensors(), parameters, precision))
}

/// [`write_tensors`] into memory; `parameters` are those of the whole layout.
pub(in crate::checkpoint) fn tensors_in_memory(
    tensors: &[Tensor],
    parameters: &[f32],
    precision: Precision,
) -> Vec<u8> {
    let first = tensors.first().map_or(0, |tensor| tensor.range.start);
    let end = tensors.last().map_or(0, |tensor| tensor.range.end);
    let mut bytes = header_bytes(tensors, precision);
    bytes.reserve_exact((end - first) * precision.bytes());
    precision.encode(&parameters[first..end], &mut bytes);
    bytes
}
