//! The header of a safetensors file: an 8-byte length, and a JSON text that names the tensors and their places.

use crate::Tensor;
use crate::checkpoint::{CheckpointError, Precision};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// The format's own bound on the header.
const HEADER_LIMIT: u64 = 100_000_000;

/// A tensor as a header describes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    pub dtype: String,
    pub shape: Vec<usize>,
    /// First and last byte (not included) behind the header; inside the file.
    pub data_offsets: [usize; 2],
}

impl Entry {
    /// How its values are stored, if they are floats of a known kind.
    pub(super) fn precision(&self) -> Result<Precision, String> {
        Precision::from_safetensors_name(&self.dtype)
            .ok_or_else(|| format!("type {} is not one of F32, BF16, F16", self.dtype))
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.data_offsets[1] - self.data_offsets[0]
    }

    /// Checks that its bytes are as many as its shape needs.
    pub(super) fn check_size(&self, bytes_per_value: usize) -> Result<(), String> {
        let values = self.shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        match values.and_then(|values| values.checked_mul(bytes_per_value)) {
            Some(size) if size == self.bytes() => Ok(()),
            _ => Err(format!("{} bytes do not hold its shape", self.bytes())),
        }
    }
}

/// The tensors of a file by name, and the place where their data start.
pub(super) struct Header {
    pub tensors: BTreeMap<String, Entry>,
    pub data_start: u64,
}

/// Reads the header of a file of `length` bytes from its start. `file` numbers it in errors. What is allocated is bounded
/// by the file's length.
pub(super) fn read_header(from: &mut dyn Read, length: u64, file: usize) -> Result<Header, CheckpointError> {
    let frame = |reason: String| CheckpointError::Frame { file, reason };
    let unreadable = |error: io::Error| frame(format!("it cannot be read: {error}"));
    if length < 8 {
        return Err(frame("it has under 8 bytes".into()));
    }
    let mut prefix = [0; 8];
    from.read_exact(&mut prefix).map_err(unreadable)?;
    if prefix.starts_with(b"PK\x03\x04") || prefix.starts_with(b"\x80\x02") {
        return Err(frame("it is a pickled file of PyTorch: save it as safetensors".into()));
    }
    if prefix.to_ascii_lowercase().starts_with(b"<!doctyp") || prefix.to_ascii_lowercase().starts_with(b"<html") {
        return Err(frame("it is a page of the web, not the file: download the file again".into()));
    }
    let text_length = u64::from_le_bytes(prefix);
    if text_length > HEADER_LIMIT {
        return Err(frame(format!("a header of {text_length} bytes is over the limit of {HEADER_LIMIT}")));
    }
    if text_length > length - 8 {
        return Err(frame("the header is cut off".into()));
    }
    let mut text = vec![0; text_length as usize];
    from.read_exact(&mut text).map_err(unreadable)?;
    let data_start = 8 + text_length;
    let tensors = parse(&text, length - data_start, file)?;
    Ok(Header { tensors, data_start })
}

fn parse(text: &[u8], data_bytes: u64, file: usize) -> Result<BTreeMap<String, Entry>, CheckpointError> {
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text)
        .map_err(|error| CheckpointError::Frame { file, reason: format!("header: {error}") })?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let bad = |reason: String| CheckpointError::Tensor { name: name.clone(), reason };
        let entry: Entry = serde_json::from_value(entry).map_err(|error| bad(error.to_string()))?;
        let [start, end] = entry.data_offsets;
        if start > end || end as u64 > data_bytes {
            return Err(bad("its data lie outside the file; is it cut off?".into()));
        }
        tensors.insert(name, entry);
    }
    Ok(tensors)
}

/// The header of a file with these neighbouring tensors of a layout, with its length before it.
pub(super) fn header_bytes(tensors: &[Tensor], precision: Precision) -> Vec<u8> {
    let first = tensors.first().map_or(0, |tensor| tensor.range.start);
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    for tensor in tensors {
        let offsets = [tensor.range.start, tensor.range.end].map(|place| (place - first) * precision.bytes());
        let dtype = precision.safetensors_name();
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets});
        header.insert(tensor.name.clone(), entry);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    // Spaces, so that the data start at a multiple of eight.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
