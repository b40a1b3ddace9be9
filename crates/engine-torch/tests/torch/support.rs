//! Small models in both engines, and how near they are.

use std::path::{Path, PathBuf};
use templar_base::RopeScaling;
use templar_engine::{
    Backend, Batch, Buffer, DeviceName, Engine, EngineSource, MatrixOptimiser, ModelConfig, OpenRequest,
    OptimiserConfig, ParamLayout, initial_parameters,
};
use templar_engine_torch::{Precision, TorchBackend, TorchOptions};

/// The variable that names a Python with PyTorch.
const VARIABLE: &str = "TEMPLAR_TORCH_PYTHON";

/// The variable that names the device: `cpu` or `cuda`.
const DEVICE: &str = "TEMPLAR_TORCH_DEVICE";
/// The variable with the most ranks to test with: as many as there are GPUs.
const RANKS: &str = "TEMPLAR_TORCH_RANKS";

/// Whether this number of ranks can be tested with; a line that says so where they cannot.
pub fn has_ranks(ranks: usize) -> bool {
    let most = std::env::var(RANKS).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    if ranks > most {
        eprintln!("skipped: {ranks} ranks are more than {RANKS} allows");
    }
    ranks <= most
}

/// The device to test on, as PyTorch calls it.
pub fn device() -> String {
    std::env::var(DEVICE).unwrap_or_else(|_| "cpu".to_owned())
}

/// So low a limit that gradients are clipped.
pub const CLIP_NORM: f32 = 0.2;

/// The interpreter to test with; none, and a line that says so, where there is none.
pub fn torch() -> Option<PathBuf> {
    let python = std::env::var_os(VARIABLE).map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: {VARIABLE} names no Python with PyTorch");
    }
    python
}

/// Sizes that no shard of several ranks fits evenly.
fn small() -> ModelConfig {
    ModelConfig {
        hidden_size: 24,
        intermediate_size: 50,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 64,
        initializer_range: 0.1,
        ..ModelConfig::tiny(101)
    }
}

/// Untied with grouped heads; tied with norms of queries and keys; with slowed rotation and a vocabulary of one block
/// of logits and more.
pub const CONFIGS: [fn() -> ModelConfig; 3] = [
    || ModelConfig { tie_word_embeddings: false, ..small() },
    || ModelConfig { qk_norm: true, ..small() },
    || ModelConfig {
        num_key_value_heads: 4,
        rope_scaling: Some(RopeScaling {
            factor: 4.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 16,
        }),
        ..small()
    },
];

/// Batches of several lengths, the first of which has more rows than one block of logits.
pub fn batches(config: &ModelConfig) -> Vec<Batch> {
    let batch = |sequences: usize, length: usize, seed: usize| {
        let token = |at: usize| ((at * at * 31 + at * seed + 7) % config.vocab_size) as u32;
        Batch::new((0..sequences * (length + 1)).map(token).collect(), sequences, length)
    };
    vec![batch(21, 50, 3), batch(3, 17, 5)]
}

fn request(config: ModelConfig, hidden_matrices: MatrixOptimiser) -> OpenRequest {
    let optimiser = OptimiserConfig { clip_norm: CLIP_NORM, hidden_matrices, ..OptimiserConfig::default() };
    OpenRequest::new(config).with_optimiser(optimiser)
}

fn with_parameters(mut engine: Box<dyn Engine>, config: &ModelConfig) -> Box<dyn Engine> {
    engine.write(Buffer::Parameters, 0, &initial_parameters(config, [7; 32])).unwrap();
    engine
}

/// The native engine with first parameters, training with AdamW.
pub fn native(config: ModelConfig) -> Box<dyn Engine> {
    native_by(config, MatrixOptimiser::AdamW)
}

/// The same, training with another optimiser.
pub fn native_by(config: ModelConfig, optimiser: MatrixOptimiser) -> Box<dyn Engine> {
    with_parameters(EngineSource::default().open(request(config.clone(), optimiser)).unwrap(), &config)
}

/// PyTorch's with the same.
pub fn engine(python: &Path, config: ModelConfig, ranks: usize, precision: Precision) -> Box<dyn Engine> {
    engine_with(python, config, |options| (options.ranks, options.precision) = (ranks, precision))
}

/// The same with other options.
pub fn engine_with(python: &Path, config: ModelConfig, change: impl Fn(&mut TorchOptions)) -> Box<dyn Engine> {
    engine_by(python, config, MatrixOptimiser::AdamW, change)
}

/// The same, training with another optimiser.
pub fn engine_by(
    python: &Path,
    config: ModelConfig,
    optimiser: MatrixOptimiser,
    change: impl Fn(&mut TorchOptions),
) -> Box<dyn Engine> {
    let mut options = TorchOptions::new(python);
    change(&mut options);
    let backend = TorchBackend::new(options);
    let name: DeviceName = format!("torch:{}", device()).parse().unwrap();
    let device = backend.probe().into_iter().find(|device| device.name == name).unwrap();
    with_parameters(backend.open(&device, request(config.clone(), optimiser)).unwrap(), &config)
}

/// The size of the difference in parts of the size of what is expected.
pub fn relative(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut expected.iter().map(|value| f64::from(*value)))
}

/// The largest relative difference of a tensor.
pub fn worst_tensor(layout: &ParamLayout, actual: &[f32], expected: &[f32]) -> f64 {
    let of = |range: &std::ops::Range<usize>| relative(&actual[range.clone()], &expected[range.clone()]);
    layout.tensors().iter().map(|tensor| of(&tensor.range)).fold(0.0, f64::max)
}

/// Fails where two numbers differ by more than a part of the second.
pub fn assert_close(actual: f32, expected: f32, part: f64) {
    let (a, b) = (f64::from(actual), f64::from(expected));
    assert!((a - b).abs() <= part * b.abs(), "{a} is not within {part:e} of {b}");
}

/// The bits of values, so that no two that differ are equal.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
