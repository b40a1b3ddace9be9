//! The safetensors format: an 8-byte length, a JSON header that names the tensors, and their data.

use super::{CheckpointError, Precision};
use crate::{ParamLayout, Tensor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::ModelConfig;

/// The format's own bound on the header.
const HEADER_LIMIT: u64 = 100_000_000;

/// A tensor as a header describes it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// A tensor as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor<'a> {
    /// The type's name in the header, such as `BF16`.
    pub dtype: String,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// Its values, little-endian.
    pub bytes: &'a [u8],
}

impl StoredTensor<'_> {
    /// Number of values; none where the shape has more than can be counted.
    pub fn values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))
    }

    /// The values as f32, of a tensor of F32, BF16 or F16 whose bytes hold its shape.
    pub fn to_f32(&self) -> Result<Vec<f32>, String> {
        let precision = self.precision()?;
        self.check_size(precision.bytes())?;
        let mut values = vec![0.0; self.bytes.len() / precision.bytes()];
        precision.decode(self.bytes, &mut values);
        Ok(values)
    }

    /// The values as token ids, of a tensor of I64 or I32 whose bytes hold its shape.
    pub fn to_tokens(&self) -> Result<Vec<u32>, String> {
        let token = |value: i64| u32::try_from(value).map_err(|_| format!("{value} is not a token"));
        match self.dtype.as_str() {
            "I64" => {
                self.check_size(8)?;
                self.bytes.as_chunks::<8>().0.iter().map(|&bytes| token(i64::from_le_bytes(bytes))).collect()
            }
            "I32" => {
                self.check_size(4)?;
                self.bytes.as_chunks::<4>().0.iter().map(|&bytes| token(i32::from_le_bytes(bytes).into())).collect()
            }
            other => Err(format!("type {other} is not one of I64, I32")),
        }
    }

    fn precision(&self) -> Result<Precision, String> {
        Precision::from_safetensors_name(&self.dtype)
            .ok_or_else(|| format!("type {} is not one of F32, BF16, F16", self.dtype))
    }

    fn check_size(&self, bytes_per_value: usize) -> Result<(), String> {
        match self.values().and_then(|values| values.checked_mul(bytes_per_value)) {
            Some(size) if size == self.bytes.len() => Ok(()),
            _ => Err(format!("{} bytes do not hold its shape", self.bytes.len())),
        }
    }
}

/// The tensors of one safetensors file by name. `file` numbers it in errors.
pub fn stored_tensors(bytes: &[u8], file: usize) -> Result<BTreeMap<String, StoredTensor<'_>>, CheckpointError> {
    let (header, data) = split(bytes).map_err(|reason| CheckpointError::Frame { file, reason })?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header {
        let bad = |reason: String| CheckpointError::Tensor { name: name.clone(), reason };
        let Entry { dtype, shape, data_offsets: [start, end] } =
            serde_json::from_value(entry).map_err(|error| bad(error.to_string()))?;
        let bytes = data.get(start..end).ok_or_else(|| bad("its data lie outside the file; is it cut off?".into()))?;
        tensors.insert(name, StoredTensor { dtype, shape, bytes });
    }
    Ok(tensors)
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
    Ok(write_tensors(layout.tensors(), parameters, precision))
}

/// The bytes of a file with these neighbouring tensors of the layout that `parameters` belong to.
pub(super) fn write_tensors(tensors: &[Tensor], parameters: &[f32], precision: Precision) -> Vec<u8> {
    let first = tensors.first().map_or(0, |tensor| tensor.range.start);
    let end = tensors.last().map_or(0, |tensor| tensor.range.end);
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    for tensor in tensors {
        let offsets = [tensor.range.start, tensor.range.end].map(|place| (place - first) * precision.bytes());
        let dtype = precision.safetensors_name();
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Spaces, so that the data start at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = Vec::with_capacity(8 + header.len() + (end - first) * precision.bytes());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    precision.encode(&parameters[first..end], &mut bytes);
    bytes
}

/// The parameters, in canonical order, from a safetensors file or from all the shards of one.
///
/// As [`ParameterReader`], which holds one file at a time.
pub fn read_safetensors(config: &ModelConfig, files: &[&[u8]]) -> Result<Vec<f32>, CheckpointError> {
    let size = files.iter().map(|file| file.len() as u64).sum();
    let mut reader = ParameterReader::new(config, size)?;
    for bytes in files {
        reader.read(bytes)?;
    }
    reader.finish()
}

/// Collects a model's parameters from safetensors files.
///
/// Refuses missing, doubled and unknown tensors, other shapes and types. What a model does not store but older tools
/// wrote (rotary frequencies, the head of a tied model) is passed over.
pub struct ParameterReader {
    layout: ParamLayout,
    is_tied: bool,
    parameters: Vec<f32>,
    found: BTreeSet<usize>,
    files: usize,
}

impl ParameterReader {
    /// Nothing read yet of a model of these sizes; the files to come have `files_bytes` bytes in all. Fails where that
    /// is too little: a config.json must not make this allocate more than the files warrant.
    pub fn new(config: &ModelConfig, files_bytes: u64) -> Result<Self, CheckpointError> {
        let parameters = config.parameter_count() as u64;
        if parameters > files_bytes / 2 {
            return Err(CheckpointError::TooSmall { parameters, bytes: files_bytes });
        }
        let layout = ParamLayout::new(config);
        let parameters = vec![0.0; layout.total()];
        Ok(Self { layout, is_tied: config.tie_word_embeddings, parameters, found: BTreeSet::new(), files: 0 })
    }

    /// Takes the tensors of the next file.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let stored = stored_tensors(bytes, self.files)?;
        self.files += 1;
        for (name, stored) in stored {
            let bad = |reason: String| CheckpointError::Tensor { name: name.clone(), reason };
            let Some(tensor) = self.layout.tensor(&name) else {
                if name.ends_with(".rotary_emb.inv_freq") || (name == "lm_head.weight" && self.is_tied) {
                    continue;
                }
                return Err(bad("this architecture has no such tensor".into()));
            };
            let precision = stored.precision().map_err(bad)?;
            if stored.shape != tensor.shape {
                return Err(bad(format!("shape {:?} where config.json asks for {:?}", stored.shape, tensor.shape)));
            }
            stored.check_size(precision.bytes()).map_err(bad)?;
            if !self.found.insert(tensor.range.start) {
                return Err(bad("it occurs twice".into()));
            }
            precision.decode(stored.bytes, &mut self.parameters[tensor.range.clone()]);
        }
        Ok(())
    }

    /// The parameters in canonical order, if all are there.
    pub fn finish(self) -> Result<Vec<f32>, CheckpointError> {
        match self.layout.tensors().iter().find(|tensor| !self.found.contains(&tensor.range.start)) {
            Some(tensor) => Err(CheckpointError::Missing(tensor.name.clone())),
            None => Ok(self.parameters),
        }
    }
}

type Header = BTreeMap<String, serde_json::Value>;

fn split(bytes: &[u8]) -> Result<(Header, &[u8]), String> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("it has under 8 bytes")?;
    let length = u64::from_le_bytes(*length);
    if length > HEADER_LIMIT {
        return Err(format!("a header of {length} bytes is over the limit of {HEADER_LIMIT}"));
    }
    let length = length as usize;
    let header = rest.get(..length).ok_or("the header is cut off")?;
    let mut header: Header = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
    header.remove("__metadata__");
    Ok((header, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{initial_parameters, preset};
    use proptest::prelude::*;

    fn config() -> ModelConfig {
        ModelConfig { hidden_size: 12, intermediate_size: 10, head_dim: 4, ..preset("nano", 30).unwrap() }
    }

    #[test]
    fn parameters_read_back_in_every_precision() {
        for tied in [true, false] {
            let config = ModelConfig { tie_word_embeddings: tied, ..config() };
            let parameters = initial_parameters(&config, [1; 32]);
            for (precision, tolerance) in
                [(Precision::F32, 0.0), (Precision::Bf16, 1.0 / 256.0), (Precision::F16, 1e-3)]
            {
                let bytes = write_safetensors(&config, &parameters, precision).unwrap();
                let again = read_safetensors(&config, &[&bytes]).unwrap();
                let near = |(x, y): (&f32, &f32)| (x - y).abs() <= x.abs() * tolerance + tolerance * 1e-4;
                assert!(parameters.iter().zip(&again).all(near));
                assert_eq!(write_safetensors(&config, &again, precision).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn errors_name_the_tensor() {
        let config = config();
        let parameters = initial_parameters(&config, [1; 32]);
        let bytes = write_safetensors(&config, &parameters, Precision::F32).unwrap();
        let refused = |config: &ModelConfig, bytes: &[u8]| read_safetensors(config, &[bytes]).unwrap_err().to_string();

        let huge = ModelConfig { vocab_size: 1 << 24, hidden_size: 1 << 17, ..config.clone() };
        assert!(refused(&huge, &bytes).contains("too few for the"));
        let cut = refused(&config, &bytes[..bytes.len() - 1]);
        assert_eq!(cut, "tensor `model.norm.weight`: its data lie outside the file; is it cut off?");
        let wide = ModelConfig { intermediate_size: 11, ..config.clone() };
        assert!(refused(&wide, &bytes).starts_with("tensor `model.layers.0.mlp.down_proj.weight`: shape [12, 10]"));
        let untied = ModelConfig { tie_word_embeddings: false, ..config.clone() };
        assert!(refused(&untied, &bytes).starts_with("tensor `lm_head.weight` is missing"));
        let shallow = ModelConfig { num_hidden_layers: 2, ..config.clone() };
        assert!(refused(&shallow, &bytes).contains("model.layers.2."));
        let double = read_safetensors(&config, &[&bytes, &bytes]).unwrap_err();
        assert!(double.to_string().ends_with("it occurs twice"));
        assert!(write_safetensors(&config, &parameters[1..], Precision::F32).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn broken_bytes_are_refused_without_harm(place in 0usize..4000, value: u8, cut in 0usize..4000) {
            let config = config();
            let mut bytes = write_safetensors(&config, &vec![0.5; config.parameter_count()], Precision::F16).unwrap();
            let place = place % bytes.len();
            bytes[place] = value;
            let _ = read_safetensors(&config, &[&bytes]);
            prop_assert!(read_safetensors(&config, &[&bytes[..cut]]).is_err());
            for (_, tensor) in stored_tensors(&bytes, 0).unwrap_or_default() {
                let _ = (tensor.to_f32(), tensor.to_tokens());
            }
        }
    }
}
