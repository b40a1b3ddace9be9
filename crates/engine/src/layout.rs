//! Where each tensor lies in the one flat buffer of parameters.

use std::ops::Range;
use templar_base::ModelConfig;

/// One named tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in Hugging Face checkpoints.
    pub name: String,
    /// Its shape, outermost first: `[out, in]` for a matrix, `[width]` for a norm.
    pub shape: Vec<usize>,
    /// Its place in the flat buffer.
    pub range: Range<usize>,
}

impl Tensor {
    /// Whether it is a matrix; weight decay acts on matrices only.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }

    /// Whether it is a matrix within the layers: neither embedding nor output head.
    pub fn is_hidden(&self) -> bool {
        self.is_matrix() && self.name.starts_with("model.layers.")
    }
}

/// Where one layer's tensors start in the flat buffer.
///
/// `query_key_value` is one matrix `[(heads + 2 kv_heads) * head_dim, hidden]`, since the three are adjacent, and
/// `gate_up` is one matrix `[2 * intermediate, hidden]`: one product serves each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerOffsets {
    pub input_norm: usize,
    pub query_key_value: usize,
    pub query_norm: usize,
    pub key_norm: usize,
    pub output: usize,
    pub middle_norm: usize,
    pub gate_up: usize,
    pub down: usize,
}

/// The one canonical order of the parameters: of the flat buffer, the pseudo-gradient, the state hash, the checkpoint.
///
/// Embedding; each layer's input norm, q, k, v, (q and k norms,) o, middle norm, gate, up, down; final norm; and the
/// output head unless it is tied to the embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamLayout {
    tensors: Vec<Tensor>,
    total: usize,
    layers: Vec<LayerOffsets>,
    final_norm: usize,
    head: usize,
}

impl ParamLayout {
    /// The layout of a model of these sizes.
    pub fn new(config: &ModelConfig) -> Self {
        let mut builder = Builder::default();
        let (d, f, h) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (queries, keys) = (config.num_attention_heads * h, config.num_key_value_heads * h);
        let embedding = builder.add("model.embed_tokens.weight".into(), &[config.vocab_size, d]);
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let mut add =
                |name: &str, shape: &[usize]| builder.add(format!("model.layers.{layer}.{name}.weight"), shape);
            let input_norm = add("input_layernorm", &[d]);
            let query_key_value = add("self_attn.q_proj", &[queries, d]);
            add("self_attn.k_proj", &[keys, d]);
            add("self_attn.v_proj", &[keys, d]);
            let (query_norm, key_norm) = match config.qk_norm {
                true => (add("self_attn.q_norm", &[h]), add("self_attn.k_norm", &[h])),
                false => (0, 0),
            };
            let output = add("self_attn.o_proj", &[d, queries]);
            let middle_norm = add("post_attention_layernorm", &[d]);
            let gate_up = add("mlp.gate_proj", &[f, d]);
            add("mlp.up_proj", &[f, d]);
            let down = add("mlp.down_proj", &[d, f]);
            layers.push(LayerOffsets {
                input_norm,
                query_key_value,
                query_norm,
                key_norm,
                output,
                middle_norm,
                gate_up,
                down,
            });
        }
        let final_norm = builder.add("model.norm.weight".into(), &[d]);
        let head = match config.tie_word_embeddings {
            true => embedding,
            false => builder.add("lm_head.weight".into(), &[config.vocab_size, d]),
        };
        Self { tensors: builder.tensors, total: builder.total, layers, final_norm, head }
    }

    /// Every tensor in canonical order; the ranges follow each other without gaps.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Number of parameters: the length of the flat buffer.
    pub fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn layer(&self, layer: usize) -> LayerOffsets {
        self.layers[layer]
    }

    pub(crate) fn final_norm(&self) -> usize {
        self.final_norm
    }

    /// Where the output head starts; the embedding's place (0) when the two are tied.
    pub(crate) fn head(&self) -> usize {
        self.head
    }
}

#[derive(Default)]
struct Builder {
    tensors: Vec<Tensor>,
    total: usize,
}

impl Builder {
    fn add(&mut self, name: String, shape: &[usize]) -> usize {
        let start = self.total;
        self.total += shape.iter().product::<usize>();
        self.tensors.push(Tensor { name, shape: shape.to_vec(), range: start..self.total });
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn tensors_follow_each_other_and_count_what_the_config_counts() {
        for (tied, qk_norm) in [(true, false), (false, true), (false, false)] {
            let mut config = preset("nano", 300).unwrap();
            config.tie_word_embeddings = tied;
            config.qk_norm = qk_norm;
            let layout = ParamLayout::new(&config);
            let mut end = 0;
            for tensor in layout.tensors() {
                assert_eq!(tensor.range.start, end);
                assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
                end = tensor.range.end;
            }
            assert_eq!(end, layout.total());
            assert_eq!(end, config.parameter_count());
            assert_eq!(layout.tensor("lm_head.weight").is_some(), !tied);
        }
    }
}
