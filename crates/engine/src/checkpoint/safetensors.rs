//! The safetensors format: an 8-byte length, a JSON header that names the tensors, and their data.

use super::{CheckpointError, Precision};
use crate::ParamLayout;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::ModelConfig;

/// The format's own bound on the header.
const HEADER_LIMIT: u64 = 100_000_000;

/// A tensor in the header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
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
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    for tensor in layout.tensors() {
        let offsets = [tensor.range.start * precision.bytes(), tensor.range.end * precision.bytes()];
        let dtype = precision.safetensors_name();
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Spaces, so that the data start at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = Vec::with_capacity(8 + header.len() + parameters.len() * precision.bytes());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    precision.encode(parameters, &mut bytes);
    Ok(bytes)
}

/// The parameters, in canonical order, from a safetensors file or from all the shards of one.
///
/// Refuses missing, doubled and unknown tensors, other shapes and types. What a model does not store but older tools
/// wrote (rotary frequencies, the head of a tied model) is passed over.
pub fn read_safetensors(config: &ModelConfig, files: &[&[u8]]) -> Result<Vec<f32>, CheckpointError> {
    let layout = ParamLayout::new(config);
    let mut parameters = vec![0.0; layout.total()];
    let mut found = BTreeSet::new();
    for (file, bytes) in files.iter().enumerate() {
        let (header, data) = split(bytes).map_err(|reason| CheckpointError::Frame { file, reason })?;
        for (name, entry) in header {
            let bad = |reason: String| CheckpointError::Tensor { name: name.clone(), reason };
            let Some(tensor) = layout.tensor(&name) else {
                if name.ends_with(".rotary_emb.inv_freq") || (name == "lm_head.weight" && config.tie_word_embeddings) {
                    continue;
                }
                return Err(bad("this architecture has no such tensor".into()));
            };
            let entry: Entry = serde_json::from_value(entry).map_err(|error| bad(error.to_string()))?;
            let precision = Precision::from_safetensors_name(&entry.dtype)
                .ok_or_else(|| bad(format!("type {} is not one of F32, BF16, F16", entry.dtype)))?;
            if entry.shape != tensor.shape {
                return Err(bad(format!("shape {:?} where config.json asks for {:?}", entry.shape, tensor.shape)));
            }
            let [start, end] = entry.data_offsets;
            let values =
                data.get(start..end).ok_or_else(|| bad("its data lie outside the file; is it cut off?".into()))?;
            if values.len() != tensor.range.len() * precision.bytes() {
                return Err(bad(format!("{} bytes do not hold its shape", values.len())));
            }
            if !found.insert(tensor.range.start) {
                return Err(bad("it occurs twice".into()));
            }
            precision.decode(values, &mut parameters[tensor.range.clone()]);
        }
    }
    match layout.tensors().iter().find(|tensor| !found.contains(&tensor.range.start)) {
        Some(tensor) => Err(CheckpointError::Missing(tensor.name.clone())),
        None => Ok(parameters),
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
        }
    }
}
