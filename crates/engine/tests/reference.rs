//! A tiny random Llama as `transformers` saves it, with what PyTorch computes for it.

use templar_engine::checkpoint::{Precision, write_safetensors};
use templar_engine::checkpoint::{config_from_json, config_to_json, generation_config_from_json, read_safetensors};
use templar_engine::{
    Buffer, CpuBackend, DeviceName, Engine, EngineError, ModelConfig, OpenRequest, OptimiserConfig, ParamLayout,
    Reference, ReferenceError, Segments, Tolerance, open,
};

const CONFIG: &str = include_str!("vectors/llama_untied/config.json");
const GENERATION: &str = include_str!("vectors/llama_untied/generation_config.json");
const MODEL: &[u8] = include_bytes!("vectors/llama_untied/model.safetensors");
const EXPECTED: &str = include_str!("vectors/llama_untied/expected.json");
const EXPECTED_TENSORS: &[u8] = include_bytes!("vectors/llama_untied/expected.safetensors");

fn config() -> ModelConfig {
    let (config, tokens) = config_from_json(CONFIG).unwrap();
    assert_eq!((tokens.begin, &tokens.end[..]), (Some(1), &[2][..]));
    assert_eq!(generation_config_from_json(GENERATION).unwrap(), tokens);
    config
}

/// An engine with the vector's parameters, changed by `change`.
fn changed(optimiser: OptimiserConfig, change: impl Fn(&mut [f32])) -> Result<Box<dyn Engine>, EngineError> {
    let mut parameters = read_safetensors(&config(), &[MODEL]).unwrap();
    change(&mut parameters);
    let request = OpenRequest::new(config()).with_optimiser(optimiser).with_threads(2);
    let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], request)?;
    engine.write(Buffer::Parameters, 0, &parameters)?;
    Ok(engine)
}

fn engine(optimiser: OptimiserConfig) -> Result<Box<dyn Engine>, EngineError> {
    changed(optimiser, |_| ())
}

#[test]
fn logits_loss_gradients_and_greedy_tokens_agree() {
    let reference = Reference::parse(EXPECTED, EXPECTED_TENSORS).unwrap();
    let comparison = reference.compare(&engine, Tolerance::default()).unwrap();
    assert!(comparison.is_within(), "{comparison:#?}");
    assert!(comparison.logits.is_some() && comparison.loss.is_some());
    assert_eq!(comparison.gradients.len(), ParamLayout::new(&config()).tensors().len());
    assert_eq!(comparison.greedy.unwrap().tokens, 24);
}

#[test]
fn a_wrong_model_is_told_apart() {
    let reference = Reference::parse(EXPECTED, EXPECTED_TENSORS).unwrap();
    let range = |name: &str| ParamLayout::new(&config()).tensor(name).unwrap().range.clone();
    let norm = range("model.layers.1.input_layernorm.weight");
    let wrong = |optimiser| {
        changed(optimiser, |parameters| parameters[norm.clone()].iter_mut().for_each(|value| *value *= 1.01))
    };
    let comparison = reference.compare(&wrong, Tolerance::default()).unwrap();
    assert!(!comparison.is_within());
    assert!(!comparison.logits.unwrap().is_within);
    assert!(comparison.worst_gradient().unwrap().difference.largest_error > 1e-4);
    let norm = range("model.norm.weight");
    let broken = |optimiser| changed(optimiser, |parameters| parameters[norm.clone()].fill(f32::NAN));
    assert!(reference.compare(&broken, Tolerance::default()).is_err(), "greedy tokens of broken parameters");
}

#[test]
fn expected_figures_that_make_no_sense_are_refused() {
    let refused = |json: &str| Reference::parse(json, EXPECTED_TENSORS).unwrap_err();
    assert!(matches!(refused("{"), ReferenceError::Json(_)));
    assert!(matches!(refused(r#"{"greedy_prompt": [1], "greedy_tokens": [2, 3]}"#), ReferenceError::Json(_)));
    assert!(matches!(Reference::parse("{}", b"no"), Err(ReferenceError::File(_))));
    let bare = r#"{"loss": null, "gradients": null, "greedy_prompt": null, "training": null}"#;
    assert!(Reference::parse(bare, EXPECTED_TENSORS).unwrap().compare(&engine, Tolerance::default()).is_ok());
    let strange = r#"{"gradients": {"model.x.weight": {"norm": 1.0}}}"#;
    let reference = Reference::parse(strange, EXPECTED_TENSORS).unwrap();
    let refused = reference.compare(&engine, Tolerance::default()).unwrap_err();
    assert_eq!(refused, ReferenceError::Gradient("model.x.weight".into()));
    for cut in (0..EXPECTED_TENSORS.len()).step_by(997) {
        assert!(Reference::parse(EXPECTED, &EXPECTED_TENSORS[..cut]).is_err());
    }
}

#[test]
fn what_we_write_reads_back() {
    let parameters = engine(OptimiserConfig::default()).unwrap().to_vec(Buffer::Parameters).unwrap();
    let bytes = write_safetensors(&config(), &parameters, Precision::F32).unwrap();
    assert_eq!(read_safetensors(&config(), &[&bytes]).unwrap(), parameters);
    let (config, tokens) = config_from_json(CONFIG).unwrap();
    assert_eq!(config_from_json(&config_to_json(&config, &tokens, Precision::F32)).unwrap(), (config, tokens));
}
