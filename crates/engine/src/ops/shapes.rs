//! The sizes and operands of operations.

use super::{View, ViewMut};
use templar_base::ModelConfig;

/// Which operand of a product is read transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transposition {
    /// `c = a b`, `a: [m, k]`, `b: [k, n]`: the gradient of a linear layer's input.
    Neither,
    /// `c = a bᵀ`, `a: [m, k]`, `b: [n, k]`: a linear layer.
    Right,
    /// `c = aᵀ b`, `a: [k, m]`, `b: [k, n]`: the gradient of a linear layer's weight.
    Left,
}

/// Terms of a product that are summed in one chain of fused multiply-adds from zero; the chains' sums are added in
/// order. Part of the numerics.
pub const SUM_BLOCK: usize = 256;

/// The sizes of a product `c: [m, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of `c`.
    pub m: usize,
    /// Columns of `c`.
    pub n: usize,
    /// Length of each sum.
    pub k: usize,
    /// How `a` and `b` are read.
    pub transposition: Transposition,
    /// Whether `c` is added to instead of overwritten.
    pub accumulate: bool,
}

/// The sizes of the output head as it judges: `logits: [rows, vocab] = normed weightᵀ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Width of the rows.
    pub hidden: usize,
    /// Number of logits of a row.
    pub vocab: usize,
}

/// Logits of a row whose exponentials are summed against one largest logit; the blocks' sums are added in order. Part of
/// the numerics.
pub const LOSS_BLOCK: usize = 1024;

/// Rows `[rows, width]` that are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Number of rows.
    pub rows: usize,
    /// Number of values of one vector.
    pub width: usize,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// The sizes of the rows that hold queries, keys and values: `[heads | kv_heads | kv_heads] x head_dim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and of value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Heads {
    /// Those of a model.
    pub fn of(config: &ModelConfig) -> Self {
        Self { heads: config.num_attention_heads, kv_heads: config.num_key_value_heads, head_dim: config.head_dim }
    }

    /// Values of one row of queries, keys and values.
    pub fn row(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Values of one row of queries (and of the attention's output).
    pub fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Number of vectors at the start of a row that are rotated: queries and keys.
    pub fn rotated(&self) -> usize {
        self.heads + self.kv_heads
    }
}

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention<'a> {
    /// The heads.
    pub heads: Heads,
    /// Number of sequences.
    pub sequences: usize,
    /// Number of positions that hold keys and values.
    pub length: usize,
    /// The first position that asks; those before only hold keys and values (a cache). 0 in training.
    pub first_query: usize,
    /// The first position that each position sees, `[sequences, length]`; empty if all see from 0 on.
    pub document_starts: &'a [u32],
}

/// The factors of one AdamW update, the same for a whole tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Share of the weight (times the learning rate) that is taken off.
    pub weight_decay: f32,
    /// `1 / (1 - beta1^step)`.
    pub correction1: f32,
    /// `1 / (1 - beta2^step)`.
    pub correction2: f32,
    /// The gradient is multiplied by this first (clipping).
    pub gradient_scale: f32,
}

/// Rows of queries and keys whose heads are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNorm {
    /// Number of rows.
    pub rows: usize,
    /// The heads of a row.
    pub heads: Heads,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// The weights of a [`HeadNorm`], `[head_dim]` each.
#[derive(Debug)]
pub struct HeadNormWeights<'a, M: ?Sized> {
    /// Of every query head.
    pub query: View<'a, M>,
    /// Of every key head.
    pub key: View<'a, M>,
}

/// Where the gradients of a [`HeadNorm`]'s weights are added, `[head_dim]` each.
#[derive(Debug)]
pub struct HeadNormGradients<'a, M: ?Sized> {
    /// The memory that holds both.
    pub memory: &'a mut M,
    /// The first value of the queries' gradient.
    pub query: usize,
    /// The first value of the keys' gradient.
    pub key: usize,
}

/// Rows of queries and keys that are rotated by their positions: row `i` has position `first_position + i % length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rope {
    /// Number of rows.
    pub rows: usize,
    /// Rows of a sequence.
    pub length: usize,
    /// The position of a sequence's first row.
    pub first_position: usize,
    /// The heads of a row.
    pub heads: Heads,
    /// Whether the rows are turned back, as gradients are.
    pub is_backward: bool,
}

/// What [`super::Ops::attention_forward`] read and made.
#[derive(Debug)]
pub struct Attended<'a, M: ?Sized> {
    /// `[sequences * length, heads.row()]`.
    pub qkv: View<'a, M>,
    /// `[sequences * length, heads.queries()]`.
    pub out: View<'a, M>,
    /// `[sequences, heads, length]`.
    pub log_sum_exp: View<'a, M>,
}

/// What [`super::Ops::rms_norm_forward`] read.
#[derive(Debug)]
pub struct NormInput<'a, M: ?Sized> {
    /// `[rows, width]`.
    pub x: View<'a, M>,
    /// `[width]`.
    pub weight: View<'a, M>,
}

/// The places of one tensor in the buffers that an AdamW update reads and writes.
#[derive(Debug)]
pub struct AdamWBuffers<'a, M: ?Sized> {
    /// Read only.
    pub gradient: View<'a, M>,
    /// The parameters.
    pub parameters: ViewMut<'a, M>,
    /// The running mean of the gradient.
    pub first_moment: ViewMut<'a, M>,
    /// The running mean of the squared gradient.
    pub second_moment: ViewMut<'a, M>,
}
