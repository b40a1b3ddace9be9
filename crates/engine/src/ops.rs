//! The fused operations that the model's schedule is written in; an implementation per kind of device.
//!
//! Matrices are row-major. A [`View`] is a place in device memory; sizes travel beside it. Tokens and a row's losses
//! live on the host. An implementation of the strict profile fixes the order of every sum (see `cpu`).

use crate::SparseDelta;
use std::borrow::BorrowMut;
use templar_base::ModelConfig;

/// A place to read from, in values.
#[derive(Debug)]
pub struct View<'a, M: ?Sized> {
    /// The memory that holds the values.
    pub memory: &'a M,
    /// The first value.
    pub start: usize,
}

impl<M: ?Sized> Clone for View<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: ?Sized> Copy for View<'_, M> {}

impl<'a, M: ?Sized> View<'a, M> {
    /// The values of `memory` from `start` on.
    pub fn new(memory: &'a M, start: usize) -> Self {
        Self { memory, start }
    }
}

/// A place to write to, in values.
#[derive(Debug)]
pub struct ViewMut<'a, M: ?Sized> {
    /// The memory that holds the values.
    pub memory: &'a mut M,
    /// The first value.
    pub start: usize,
}

impl<'a, M: ?Sized> ViewMut<'a, M> {
    /// The values of `memory` from `start` on.
    pub fn new(memory: &'a mut M, start: usize) -> Self {
        Self { memory, start }
    }
}

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

/// What a device does for the model. Outputs never overlap inputs.
pub trait Ops: Send {
    /// Device memory, borrowed.
    type Memory: ?Sized;
    /// Device memory, owned.
    type Owned: BorrowMut<Self::Memory> + Send;
    /// The weight of a linear layer in the order in which products read it.
    type Packed: Default + Send;

    /// Zeroed memory for `len` values.
    fn allocate(&mut self, len: usize) -> Self::Owned;

    /// Writes host values to the device.
    fn upload(&mut self, from: &[f32], to: ViewMut<Self::Memory>);

    /// Reads device values to the host.
    fn download(&mut self, from: View<Self::Memory>, to: &mut [f32]);

    /// `to[..len] = from[..len]`.
    fn copy(&mut self, from: View<Self::Memory>, to: ViewMut<Self::Memory>, len: usize);

    /// `to[..len] = 0`.
    fn zero(&mut self, to: ViewMut<Self::Memory>, len: usize);

    /// `y += alpha x` over `len` values.
    fn axpy(&mut self, alpha: f32, x: View<Self::Memory>, y: ViewMut<Self::Memory>, len: usize);

    /// The product that `shape` describes.
    fn gemm(&mut self, shape: Gemm, a: View<Self::Memory>, b: View<Self::Memory>, c: ViewMut<Self::Memory>);

    /// Packs `weight: [n, k]` into `to`, whose old content is lost.
    fn pack(&mut self, n: usize, k: usize, weight: View<Self::Memory>, to: &mut Self::Packed);

    /// `c (+)= a weightᵀ` with `a: [m, k]`, `c: [m, n]`: the bits of [`Ops::gemm`].
    fn gemm_packed(
        &mut self,
        m: usize,
        a: View<Self::Memory>,
        weight: &Self::Packed,
        c: ViewMut<Self::Memory>,
        accumulate: bool,
    );

    /// [`Ops::swiglu_forward`] of the product `a weightᵀ`, which is never held at once: the bits of the two.
    fn swiglu_packed(&mut self, m: usize, a: View<Self::Memory>, weight: &Self::Packed, out: ViewMut<Self::Memory>);

    /// `out[i] = table[tokens[i]]`, `table: [vocab, width]`, `out: [tokens, width]`; zeros for the ignored token.
    fn embedding_forward(
        &mut self,
        tokens: &[u32],
        width: usize,
        table: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
    );

    /// `d_table[tokens[i]] += d_out[i]`, in the order of the tokens.
    fn embedding_backward(
        &mut self,
        tokens: &[u32],
        width: usize,
        d_out: View<Self::Memory>,
        d_table: ViewMut<Self::Memory>,
    );

    /// `out = x / sqrt(mean(x²) + epsilon) * weight`, `x, out: [rows, width]`.
    fn rms_norm_forward(
        &mut self,
        shape: Norm,
        x: View<Self::Memory>,
        weight: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
    );

    /// Adds the gradient of `x` to `d_x`; adds the gradient of the weight to `d_weight`.
    fn rms_norm_backward(
        &mut self,
        shape: Norm,
        x: View<Self::Memory>,
        weight: View<Self::Memory>,
        d_out: View<Self::Memory>,
        d_x: ViewMut<Self::Memory>,
        d_weight: ViewMut<Self::Memory>,
    );

    /// RMSNorm of each query and key head in place: `qkv: [rows, heads.row()]`, one weight for the queries and one for
    /// the keys, `[head_dim]` each. The raw queries and keys go to `raw: [rows, heads.rotated() * head_dim]`.
    #[allow(clippy::too_many_arguments)]
    fn head_norm_forward(
        &mut self,
        rows: usize,
        heads: Heads,
        epsilon: f32,
        query_weight: View<Self::Memory>,
        key_weight: View<Self::Memory>,
        qkv: ViewMut<Self::Memory>,
        raw: ViewMut<Self::Memory>,
    );

    /// Turns the gradient of the normalised queries and keys in `d_qkv` into that of the raw ones, in place; adds the
    /// gradients of the weights (`d_weights` at the two places given).
    #[allow(clippy::too_many_arguments)]
    fn head_norm_backward(
        &mut self,
        rows: usize,
        heads: Heads,
        epsilon: f32,
        raw: View<Self::Memory>,
        query_weight: View<Self::Memory>,
        key_weight: View<Self::Memory>,
        d_qkv: ViewMut<Self::Memory>,
        d_weights: &mut Self::Memory,
        d_query_weight: usize,
        d_key_weight: usize,
    );

    /// Rotates queries and keys of each row by its position, in place; `backward` turns the other way.
    /// Row `i` has position `first_position + i % length`; `table: [positions, head_dim]` holds `head_dim / 2` cosines
    /// and then as many sines for each position.
    #[allow(clippy::too_many_arguments)]
    fn rope(
        &mut self,
        rows: usize,
        length: usize,
        first_position: usize,
        heads: Heads,
        table: View<Self::Memory>,
        qkv: ViewMut<Self::Memory>,
        backward: bool,
    );

    /// Causal attention. `qkv: [sequences * length, heads.row()]`,
    /// `out: [sequences * (length - first_query), heads.queries()]`,
    /// `log_sum_exp: [sequences, heads, length - first_query]`.
    fn attention_forward(
        &mut self,
        shape: Attention,
        qkv: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
        log_sum_exp: ViewMut<Self::Memory>,
    );

    /// The gradient of queries, keys and values (overwritten); `first_query` is 0.
    fn attention_backward(
        &mut self,
        shape: Attention,
        qkv: View<Self::Memory>,
        out: View<Self::Memory>,
        log_sum_exp: View<Self::Memory>,
        d_out: View<Self::Memory>,
        d_qkv: ViewMut<Self::Memory>,
    );

    /// `out = gate * sigmoid(gate) * up`, `gate_up: [rows, 2 * width]`, `out: [rows, width]`.
    fn swiglu_forward(&mut self, rows: usize, width: usize, gate_up: View<Self::Memory>, out: ViewMut<Self::Memory>);

    /// Replaces `gate_up` by its gradient, and makes what [`Ops::swiglu_forward`] had made of it once more.
    fn swiglu_backward(
        &mut self,
        rows: usize,
        width: usize,
        d_out: View<Self::Memory>,
        gate_up: ViewMut<Self::Memory>,
        out: ViewMut<Self::Memory>,
    );

    /// `losses[i] = log(sum(exp(logits[i]))) - logits[i][targets[i]]`, 0 for an ignored target; the logits
    /// `[targets, vocab]` are replaced by their gradient times `gradient_scale`.
    fn cross_entropy(
        &mut self,
        vocab: usize,
        targets: &[u32],
        gradient_scale: f32,
        logits: ViewMut<Self::Memory>,
        losses: &mut [f32],
    );

    /// The losses of [`Ops::cross_entropy`], bit for bit, of the logits `normed weightᵀ`, which are never held at once.
    /// `normed: [targets, hidden]`, `weight: [vocab, hidden]`.
    fn head_losses(
        &mut self,
        shape: Head,
        normed: View<Self::Memory>,
        weight: View<Self::Memory>,
        targets: &[u32],
        losses: &mut [f32],
    );

    /// `to[indices[i]] += values[i]`, in order; `before[i]` becomes what was there before that addition. The delta was
    /// checked to fit.
    fn add_sparse(&mut self, delta: SparseDelta, to: ViewMut<Self::Memory>, before: Option<ViewMut<Self::Memory>>);

    /// Undoes [`Ops::add_sparse`] bit for bit: `to[indices[i]] = before[i]`, the last first, so that an index that occurs
    /// twice gets its first value again.
    fn restore_sparse(&mut self, indices: &[u32], before: View<Self::Memory>, to: ViewMut<Self::Memory>);

    /// The sum of the squares of `len` values.
    fn sum_of_squares(&mut self, x: View<Self::Memory>, len: usize) -> f64;

    /// One AdamW update of `len` values; each view is a place in its own flat buffer.
    fn adamw(
        &mut self,
        rule: AdamW,
        gradient: View<Self::Memory>,
        parameters: ViewMut<Self::Memory>,
        first_moment: ViewMut<Self::Memory>,
        second_moment: ViewMut<Self::Memory>,
        len: usize,
    );
}
