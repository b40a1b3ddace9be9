//! The models that the engines are measured on.

use super::EngineBenchError;
use templar_engine::{Batch, ModelConfig, preset};

/// A batch's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Sequences of a batch.
    pub sequences: usize,
    /// Positions of a sequence.
    pub length: usize,
}

impl Shape {
    /// The batch that the native engine is measured with.
    pub const NATIVE: Self = Self { sequences: 8, length: 256 };

    /// Tokens of a batch.
    pub fn tokens(self) -> usize {
        self.sequences * self.length
    }
}

/// Tokens of the presets that are measured on a device: as many as in published models of their sizes.
const DEVICE_VOCABULARY: usize = 32_768;

/// The model whose figures stand for the whole: d 256, 6 layers, 8 heads, 4 key-value heads, ffn 688, vocabulary 8192.
pub const BENCH_SHAPE: &str = "8.5m";

/// (name, vocabulary, hidden, intermediate, layers, heads, kv heads, tied)
type Sizes = (&'static str, usize, usize, usize, usize, usize, usize, bool);

/// Fixed here rather than taken from the presets, so that figures of different versions can be compared.
const SHAPES: [Sizes; 4] = [
    ("1m", 2048, 128, 344, 4, 4, 2, true),
    (BENCH_SHAPE, 8192, 256, 688, 6, 8, 4, false),
    ("30m", 8192, 512, 1408, 10, 8, 4, true),
    ("120m", 8192, 768, 2048, 18, 12, 4, true),
];

/// The names of the models, smallest first.
pub fn names() -> [&'static str; 4] {
    SHAPES.map(|shape| shape.0)
}

/// The sizes of the model of this name.
pub fn model(name: &str) -> Result<ModelConfig, EngineBenchError> {
    let found = SHAPES.iter().find(|shape| shape.0 == name);
    let Some(&(_, vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, tied)) = found else {
        return Err(EngineBenchError::UnknownModel { name: name.to_owned() });
    };
    Ok(ModelConfig {
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim: hidden_size / heads,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: tied,
        qk_norm: false,
        initializer_range: 0.02,
    })
}

/// The preset of this name as it is measured on a device.
pub fn device_model(name: &str) -> Result<ModelConfig, EngineBenchError> {
    Ok(preset(name, DEVICE_VOCABULARY)?)
}

/// Multiplications and additions of a forward pass, for one token of a batch; a training step does three times as many.
///
/// Counted are the matrices and the half of the attention that the causal mask leaves.
pub fn forward_flops_per_token(config: &ModelConfig, length: usize) -> f64 {
    let table = config.vocab_size * config.hidden_size;
    // The embedding is looked up, the head is multiplied; a tied one is stored once and multiplied once.
    let multiplied = config.parameter_count() - if config.tie_word_embeddings { 0 } else { table };
    let attention = config.num_hidden_layers * config.num_attention_heads * config.head_dim * (length + 1);
    2.0 * (multiplied + attention) as f64
}

/// The batch that every engine gets. The other side makes the same one from the same formula.
pub fn batch(config: &ModelConfig, Shape { sequences, length }: Shape) -> Batch {
    let tokens = (0..sequences * (length + 1)).map(|place| ((place * place * 31 + place) % config.vocab_size) as u32);
    Batch::new(tokens.collect(), sequences, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_have_the_size_of_their_names() {
        for (name, millions) in names().into_iter().zip([1.0, 8.5, 30.0, 120.0]) {
            let config = model(name).unwrap();
            config.check().unwrap();
            let actual = config.parameter_count() as f64 / 1e6;
            assert!((actual / millions - 1.0).abs() < 0.15, "{name}: {actual}");
        }
        assert!(model("2m").is_err());
    }
}
