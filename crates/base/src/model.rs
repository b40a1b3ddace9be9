//! The sizes of a model, as Hugging Face `LlamaConfig` names them.

use serde::{Deserialize, Serialize};

/// Sizes and options of a Llama-style decoder; the names and the meaning are those of Hugging Face's `LlamaConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Number of tokens of the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU's hidden layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; even. Need not be `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Longest sequence that the model is meant for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// Frequency scaling of the rotary position embedding, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Whether queries and keys pass an RMSNorm of their own before the rotation.
    #[serde(default)]
    pub qk_norm: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f32,
}

/// The frequency scaling that Llama 3.1 and later use (`rope_type = "llama3"`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// How much the low frequencies are slowed.
    pub factor: f64,
    /// Wavelengths over `original_max_position_embeddings / low_freq_factor` are slowed by `factor`.
    pub low_freq_factor: f64,
    /// Wavelengths under `original_max_position_embeddings / high_freq_factor` stay as they are.
    pub high_freq_factor: f64,
    /// Context length of the first training.
    pub original_max_position_embeddings: usize,
}

/// A model size that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("model config field `{field}`: {reason}")]
pub struct ModelConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl ModelConfig {
    /// A model of one layer and 16 values a token, for tests and examples.
    pub fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            head_dim: 16,
            max_position_embeddings: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            rope_scaling: None,
            tie_word_embeddings: true,
            qk_norm: false,
            initializer_range: 0.02,
        }
    }

    /// Checks that the sizes fit each other; every other function may rely on it.
    pub fn check(&self) -> Result<(), ModelConfigError> {
        let bad = |field, reason: &str| Err(ModelConfigError { field, reason: reason.to_owned() });
        for (field, value, limit) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 17),
            ("intermediate_size", self.intermediate_size, 1 << 19),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 10),
            ("head_dim", self.head_dim, 1 << 12),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
        ] {
            if value == 0 || value > limit {
                return Err(ModelConfigError { field, reason: format!("{value} is outside 1..={limit}") });
            }
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad("head_dim", "must be even, since the rotation turns pairs");
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return bad("num_key_value_heads", "must divide num_attention_heads");
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return bad("rms_norm_eps", "must be a positive number");
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return bad("rope_theta", "must be a number over 1");
        }
        if !(self.initializer_range.is_finite() && self.initializer_range > 0.0) {
            return bad("initializer_range", "must be a positive number");
        }
        if let Some(scaling) = &self.rope_scaling {
            let numbers = [scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor];
            if numbers.iter().any(|x| !x.is_finite() || *x <= 0.0)
                || scaling.high_freq_factor <= scaling.low_freq_factor
            {
                return bad("rope_scaling", "factors must be positive, high_freq_factor over low_freq_factor");
            }
        }
        Ok(())
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        let (d, f, h) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let attention = d * h * (2 * self.num_attention_heads + 2 * self.num_key_value_heads);
        let norms = 2 * d + if self.qk_norm { 2 * h } else { 0 };
        let head = if self.tie_word_embeddings { 0 } else { self.vocab_size * d };
        self.vocab_size * d + self.num_hidden_layers * (attention + 3 * d * f + norms) + d + head
    }
}
