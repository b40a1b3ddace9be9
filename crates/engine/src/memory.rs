//! How much memory a model needs, computed from its sizes.

use crate::ParamLayout;
use crate::machine::{TooLittleMemory, check_memory};
use crate::ops::Heads;
use crate::parts::{judged_sequences, logit_rows, trained_sequences};
use templar_base::{MatrixOptimiser, ModelConfig};

/// Bytes of an f32.
const VALUE: u64 = 4;

/// How a model is trained, as far as its memory depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingShape {
    /// Sequences of a micro-batch.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Whether activations are computed a second time rather than kept.
    pub is_recomputing: bool,
    /// What moves the matrices of the layers.
    pub hidden_matrices: MatrixOptimiser,
}

impl TrainingShape {
    fn rows(&self) -> usize {
        self.sequences * self.length
    }

    /// What passes through the model at once.
    fn in_parts_of(self, sequences: usize) -> Self {
        Self { sequences: self.sequences.min(sequences), ..self }
    }
}

/// Bytes that an engine on the CPU holds. Threads add some megabytes each for packed blocks of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryNeeds {
    /// The parameters.
    pub parameters: u64,
    /// The gradient; 0 for judging.
    pub gradient: u64,
    /// What the optimiser remembers and works in; 0 for judging.
    pub optimiser: u64,
    /// The activations of as much of a micro-batch as passes through the model at once, and the working memory of both
    /// passes.
    pub activations: u64,
}

impl MemoryNeeds {
    /// To train.
    pub fn training(config: &ModelConfig, shape: TrainingShape) -> Self {
        let parameters = config.parameter_count() as u64 * VALUE;
        let part = shape.in_parts_of(trained_sequences(shape.length, config.vocab_size));
        let (layer, layers) = (layer_values(config), config.num_hidden_layers);
        let kept = match shape.is_recomputing {
            true => layer + layers * config.hidden_size,
            false => layers * layer,
        };
        let muon = match shape.hidden_matrices {
            MatrixOptimiser::AdamW => 0,
            MatrixOptimiser::Muon => muon_values(config),
        };
        Self {
            parameters,
            gradient: parameters,
            optimiser: 2 * parameters + muon * VALUE,
            activations: VALUE
                * (part.rows() * (kept + backward_values(config))
                    + pass_values(config, part)
                    + shape.rows() * config.hidden_size) as u64,
        }
    }

    /// To judge or generate.
    pub fn judging(config: &ModelConfig, shape: TrainingShape) -> Self {
        let (group, part) = judged_sequences(shape.length);
        let (part, group) = (shape.in_parts_of(part), shape.in_parts_of(group));
        let activations = part.rows() * (layer_values(config) + config.intermediate_size)
            + group.rows() * 2 * config.hidden_size
            + matrix_values(config)
            + table_values(config, shape);
        let parameters = config.parameter_count() as u64 * VALUE;
        Self { parameters, gradient: 0, optimiser: 0, activations: activations as u64 * VALUE }
    }

    /// Fails where one copy of the parameters, the least that any use of a model takes, does not fit into this machine.
    pub fn check_parameters(what: &str, config: &ModelConfig) -> Result<(), TooLittleMemory> {
        check_memory(what, (config.parameter_count() as u64).saturating_mul(VALUE))
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.parameters + self.gradient + self.optimiser + self.activations
    }
}

/// Values that a layer keeps of a row: input, queries with keys and values, those before their norms, attention's output
/// and log-sum-exp, the middle, and SwiGLU's two inputs.
fn layer_values(config: &ModelConfig) -> usize {
    let heads = Heads::of(config);
    let raw = if config.qk_norm { heads.rotated() * heads.head_dim } else { 0 };
    2 * config.hidden_size + heads.row() + raw + heads.queries() + heads.heads + 2 * config.intermediate_size
}

/// Values of a row in the backward pass.
fn backward_values(config: &ModelConfig) -> usize {
    let heads = Heads::of(config);
    let attended = config.hidden_size.max(heads.queries());
    config.hidden_size + attended + heads.row() + config.intermediate_size
}

/// Stream, its norm and SwiGLU's output for each row, the logits that exist at once, and the table of the rotation.
fn pass_values(config: &ModelConfig, shape: TrainingShape) -> usize {
    let rows = shape.rows();
    let logits = rows.min(logit_rows(config.vocab_size)) * config.vocab_size;
    rows * (2 * config.hidden_size + config.intermediate_size) + logits + table_values(config, shape)
}

/// The table of the rotation.
fn table_values(config: &ModelConfig, shape: TrainingShape) -> usize {
    shape.length.next_multiple_of(64) * config.head_dim
}

/// The matrices of one layer.
fn matrix_values(config: &ModelConfig) -> usize {
    let heads = Heads::of(config);
    config.hidden_size * (heads.row() + heads.queries() + 3 * config.intermediate_size)
}

fn muon_values(config: &ModelConfig) -> u64 {
    let layout = ParamLayout::new(config);
    let (values, side) = crate::muon::largest(&layout);
    (2 * values + 3 * side * side) as u64
}
