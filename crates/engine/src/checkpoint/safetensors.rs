//! The safetensors format: an 8-byte length, a JSON header that names the tensors, and their data.
//!
//! Files are written and read segment by segment, so that a checkpoint needs memory for one segment and not for another
//! copy of the model. The crate `safetensors` is not used: it takes a file as one slice and a tensor's data as a whole.

mod header;
mod naming;
mod read;
mod write;

pub use read::{ParameterReader, ParameterStream, Source, StoredTensor, check_types, read_safetensors, stored_tensors};
pub(super) use write::{tensors_in_memory, write_tensors};
pub use write::{write_safetensors, write_streamed};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Precision, StreamError};
    use crate::{ParamLayout, initial_parameters, preset};
    use proptest::prelude::*;
    use templar_base::ModelConfig;

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

    #[test]
    fn a_stream_writes_and_reads_the_bytes_of_the_whole_by_segments() {
        // More values than a segment, in one tensor and in all.
        let config = ModelConfig { hidden_size: 64, vocab_size: 20_000, tie_word_embeddings: false, ..config() };
        let parameters = initial_parameters(&config, [1; 32]);
        assert!(ParamLayout::new(&config).total() > 2 * crate::SEGMENT);
        for precision in [Precision::F32, Precision::F16] {
            let mut bytes = Vec::new();
            write_streamed(&config, precision, &mut bytes, &mut |start, values| {
                values.copy_from_slice(&parameters[start..start + values.len()]);
                Ok(())
            })
            .unwrap();
            assert!(bytes == write_safetensors(&config, &parameters, precision).unwrap());
            assert_eq!(read_safetensors(&config, &[&bytes]).unwrap().len(), parameters.len());
        }
    }

    #[test]
    fn errors_of_source_and_sink_come_through() {
        let config = config();
        let failing = write_streamed(&config, Precision::F32, &mut Vec::new(), &mut |_, _| Err("no values".into()));
        assert!(matches!(failing, Err(StreamError::Values(error)) if error.to_string() == "no values"));
        let bytes = write_safetensors(&config, &initial_parameters(&config, [1; 32]), Precision::F32).unwrap();
        let mut stream = ParameterStream::new(&config, bytes.len() as u64).unwrap();
        let failing = stream.read(&mut std::io::Cursor::new(&bytes), &mut |_, _| Err("no room".into()));
        assert!(matches!(failing, Err(StreamError::Values(error)) if error.to_string() == "no room"));
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
