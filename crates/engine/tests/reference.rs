//! A tiny random Llama as `transformers` saves it, with what PyTorch computes for it.

use serde_json::Value;
use templar_engine::checkpoint::{Precision, write_safetensors};
use templar_engine::checkpoint::{config_from_json, config_to_json, generation_config_from_json, read_safetensors};
use templar_engine::{Batch, CpuEngine, Engine, GenerateOptions, OptimiserConfig};

const CONFIG: &str = include_str!("vectors/llama_untied/config.json");
const GENERATION: &str = include_str!("vectors/llama_untied/generation_config.json");
const MODEL: &[u8] = include_bytes!("vectors/llama_untied/model.safetensors");
const EXPECTED: &str = include_str!("vectors/llama_untied/expected.json");
const EXPECTED_TENSORS: &[u8] = include_bytes!("vectors/llama_untied/expected.safetensors");

/// The bytes of one tensor of the expected values.
fn expected_bytes(name: &str) -> &'static [u8] {
    let (length, rest) = EXPECTED_TENSORS.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let place = |index: usize| header[name]["data_offsets"][index].as_u64().unwrap() as usize;
    &data[place(0)..place(1)]
}

fn engine() -> CpuEngine {
    let (config, tokens) = config_from_json(CONFIG).unwrap();
    assert_eq!((tokens.begin, &tokens.end[..]), (Some(1), &[2][..]));
    assert_eq!(generation_config_from_json(GENERATION).unwrap(), tokens);
    let parameters = read_safetensors(&config, &[MODEL]).unwrap();
    let mut engine = CpuEngine::new(config, OptimiserConfig::default(), 2).unwrap();
    engine.parameters_mut().copy_from_slice(&parameters);
    engine
}

fn inputs() -> Vec<u32> {
    let ids = expected_bytes("input_ids").as_chunks::<8>().0;
    ids.iter().map(|&id| i64::from_le_bytes(id) as u32).collect()
}

#[test]
fn logits_agree() {
    // A target behind the last position, so that every input has one.
    let tokens = inputs().chunks(48).flat_map(|row| row.iter().copied().chain([0])).collect();
    let logits = engine().logits(&Batch::new(tokens, 2, 48)).unwrap();
    let expected = expected_bytes("logits").as_chunks::<4>().0;
    assert_eq!(logits.len(), expected.len());
    for (ours, &theirs) in logits.iter().zip(expected) {
        assert!((ours - f32::from_le_bytes(theirs)).abs() < 1e-4);
    }
}

#[test]
fn loss_and_gradients_agree() {
    let mut engine = engine();
    let expected: Value = serde_json::from_str(EXPECTED).unwrap();
    let parameters = engine.parameters().to_vec();
    let mut gradient = vec![0.0; parameters.len()];
    let loss = engine.gradient(&parameters, &Batch::new(inputs(), 2, 47), &mut gradient).unwrap();
    assert!((f64::from(loss) - expected["loss"].as_f64().unwrap()).abs() < 1e-5, "{loss}");
    for tensor in engine.layout().tensors() {
        let values = &gradient[tensor.range.clone()];
        let theirs = &expected["gradients"][&tensor.name];
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let their_norm = theirs["norm"].as_f64().unwrap();
        assert!((norm / their_norm - 1.0).abs() < 1e-5, "{}: {norm} for {their_norm}", tensor.name);
        for (value, theirs) in values.iter().zip(theirs["first"].as_array().unwrap()) {
            let difference = f64::from(*value) - theirs.as_f64().unwrap();
            assert!(difference.abs() < 1e-5 * their_norm, "{}", tensor.name);
        }
    }
}

#[test]
fn greedy_tokens_agree() {
    let expected: Value = serde_json::from_str(EXPECTED).unwrap();
    let tokens = |name: &str| -> Vec<u32> {
        expected[name].as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
    };
    let (prompt, all) = (tokens("greedy_prompt"), tokens("greedy_tokens"));
    let options = GenerateOptions { max_new_tokens: all.len() - prompt.len(), ..Default::default() };
    assert_eq!(engine().generate(&prompt, &options, &mut |_| true).unwrap(), all[prompt.len()..]);
}

#[test]
fn what_we_write_reads_back() {
    let engine = engine();
    let bytes = write_safetensors(engine.config(), engine.parameters(), Precision::F32).unwrap();
    assert_eq!(read_safetensors(engine.config(), &[&bytes]).unwrap(), engine.parameters());
    let (config, tokens) = config_from_json(CONFIG).unwrap();
    assert_eq!(config_from_json(&config_to_json(&config, &tokens, Precision::F32)).unwrap(), (config, tokens));
}
