//! The fused operations that the model's schedule is written in; an implementation per kind of device.
//!
//! Matrices are row-major. A [`View`] is a place in device memory; sizes travel beside it. Tokens and a row's losses
//! are on the host. An implementation of the strict profile fixes the order of every sum (see `cpu`).

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod shapes;
mod view;

pub use shapes::{
    AdamW, AdamWBuffers, Attended, Attention, Gemm, Head, HeadNorm, HeadNormGradients, HeadNormWeights, Heads,
    LOSS_BLOCK, Norm, NormInput, Rope, SUM_BLOCK, Transposition,
};
pub use view::{View, ViewMut};

use crate::SparseDelta;
use std::borrow::BorrowMut;

/// An operation that a device could not carry out. What it was writing to holds anything; the model's other buffers are
/// as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpsError {
    /// Memory ran out.
    #[error("the device has no room for {bytes} bytes more; use a smaller batch or model, or recompute activations")]
    OutOfMemory {
        /// What was to be allocated.
        bytes: u64,
    },
    /// The device or its driver failed.
    #[error("the device failed: {0}")]
    Device(String),
}

/// What an operation returns.
pub type OpsResult<T = ()> = Result<T, OpsError>;

/// The operations of a device. Outputs never overlap inputs.
///
/// Operations may run asynchronously; those that return host values ([`Ops::download`], losses,
/// [`Ops::sum_of_squares`]) wait for what they need, and report the failures of operations before them that were not
/// reported yet.
pub trait Ops: Send {
    /// Device memory, borrowed.
    type Memory: ?Sized;
    /// Device memory, owned.
    type Owned: BorrowMut<Self::Memory> + Send;
    /// The weight of a linear layer in the order in which products read it.
    type Packed: Default + Send;

    /// Zeroed memory for `len` values.
    fn allocate(&mut self, len: usize) -> OpsResult<Self::Owned>;

    /// Writes host values to the device.
    fn upload(&mut self, from: &[f32], to: ViewMut<Self::Memory>) -> OpsResult;

    /// Reads device values to the host.
    fn download(&mut self, from: View<Self::Memory>, to: &mut [f32]) -> OpsResult;

    /// `to[..len] = from[..len]`.
    fn copy(&mut self, from: View<Self::Memory>, to: ViewMut<Self::Memory>, len: usize) -> OpsResult;

    /// `to[..len] = 0`.
    fn zero(&mut self, to: ViewMut<Self::Memory>, len: usize) -> OpsResult;

    /// `y += alpha x` over `len` values.
    fn axpy(&mut self, alpha: f32, x: View<Self::Memory>, y: ViewMut<Self::Memory>, len: usize) -> OpsResult;

    /// The product that `shape` describes.
    fn gemm(
        &mut self,
        shape: Gemm,
        a: View<Self::Memory>,
        b: View<Self::Memory>,
        c: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// Packs `weight: [n, k]` into `to`, whose old content is lost.
    fn pack(&mut self, n: usize, k: usize, weight: View<Self::Memory>, to: &mut Self::Packed) -> OpsResult;

    /// `c (+)= a weightᵀ` with `a: [m, k]`, `c: [m, n]`: the bits of [`Ops::gemm`].
    fn gemm_packed(
        &mut self,
        m: usize,
        a: View<Self::Memory>,
        weight: &Self::Packed,
        c: ViewMut<Self::Memory>,
        accumulate: bool,
    ) -> OpsResult;

    /// [`Ops::swiglu_forward`] of the product `a weightᵀ`, which is never held at once: the bits of the two.
    fn swiglu_packed(
        &mut self,
        m: usize,
        a: View<Self::Memory>,
        weight: &Self::Packed,
        out: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// `out[i] = table[tokens[i]]`, `table: [vocab, width]`, `out: [tokens, width]`; zeros for the ignored token.
    fn embedding_forward(
        &mut self,
        tokens: &[u32],
        width: usize,
        table: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// `d_table[tokens[i]] += d_out[i]`, in the order of the tokens.
    fn embedding_backward(
        &mut self,
        tokens: &[u32],
        width: usize,
        d_out: View<Self::Memory>,
        d_table: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// `out = x / sqrt(mean(x²) + epsilon) * weight`, `x, out: [rows, width]`.
    fn rms_norm_forward(
        &mut self,
        shape: Norm,
        x: View<Self::Memory>,
        weight: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// Adds the gradient of `x` to `d_x`; adds the gradient of the weight to `d_weight`.
    fn rms_norm_backward(
        &mut self,
        shape: Norm,
        input: NormInput<Self::Memory>,
        d_out: View<Self::Memory>,
        d_x: ViewMut<Self::Memory>,
        d_weight: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// RMSNorm of each query and key head in place: `qkv: [rows, heads.row()]`. The raw queries and keys go to `raw: [rows, heads.rotated() * head_dim]`.
    fn head_norm_forward(
        &mut self,
        shape: HeadNorm,
        weights: HeadNormWeights<Self::Memory>,
        qkv: ViewMut<Self::Memory>,
        raw: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// Turns the gradient of the normalised queries and keys in `d_qkv` into that of the raw ones, in place; adds the
    /// gradients of the weights to `d_weights`.
    fn head_norm_backward(
        &mut self,
        shape: HeadNorm,
        weights: HeadNormWeights<Self::Memory>,
        raw: View<Self::Memory>,
        d_qkv: ViewMut<Self::Memory>,
        d_weights: HeadNormGradients<Self::Memory>,
    ) -> OpsResult;

    /// Rotates queries and keys of each row by its position, in place. `table: [positions, head_dim]` holds
    /// `head_dim / 2` cosines and then as many sines for each position.
    fn rope(&mut self, shape: Rope, table: View<Self::Memory>, qkv: ViewMut<Self::Memory>) -> OpsResult;

    /// Causal attention. `qkv: [sequences * length, heads.row()]`,
    /// `out: [sequences * (length - first_query), heads.queries()]`,
    /// `log_sum_exp: [sequences, heads, length - first_query]`.
    fn attention_forward(
        &mut self,
        shape: Attention,
        qkv: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
        log_sum_exp: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// The gradient of queries, keys and values (overwritten); `first_query` is 0.
    fn attention_backward(
        &mut self,
        shape: Attention,
        forward: Attended<Self::Memory>,
        d_out: View<Self::Memory>,
        d_qkv: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// `out = gate * sigmoid(gate) * up`, `gate_up: [rows, 2 * width]`, `out: [rows, width]`.
    fn swiglu_forward(
        &mut self,
        rows: usize,
        width: usize,
        gate_up: View<Self::Memory>,
        out: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// Replaces `gate_up` by its gradient, and makes what [`Ops::swiglu_forward`] had made of it once more.
    fn swiglu_backward(
        &mut self,
        rows: usize,
        width: usize,
        d_out: View<Self::Memory>,
        gate_up: ViewMut<Self::Memory>,
        out: ViewMut<Self::Memory>,
    ) -> OpsResult;

    /// `losses[i] = log(sum(exp(logits[i]))) - logits[i][targets[i]]`, 0 for an ignored target; the logits
    /// `[targets, vocab]` are replaced by their gradient times `gradient_scale`.
    fn cross_entropy(
        &mut self,
        vocab: usize,
        targets: &[u32],
        gradient_scale: f32,
        logits: ViewMut<Self::Memory>,
        losses: &mut [f32],
    ) -> OpsResult;

    /// The losses of [`Ops::cross_entropy`], bit for bit, of the logits `normed weightᵀ`, which are never held at once.
    /// `normed: [targets, hidden]`, `weight: [vocab, hidden]`.
    fn head_losses(
        &mut self,
        shape: Head,
        normed: View<Self::Memory>,
        weight: View<Self::Memory>,
        targets: &[u32],
        losses: &mut [f32],
    ) -> OpsResult;

    /// `to[indices[i]] += values[i]`, in order; `before[i]` becomes what was there before that addition. The delta was
    /// checked to fit.
    fn add_sparse(
        &mut self,
        delta: SparseDelta,
        to: ViewMut<Self::Memory>,
        before: Option<ViewMut<Self::Memory>>,
    ) -> OpsResult;

    /// Undoes [`Ops::add_sparse`] bit for bit: `to[indices[i]] = before[i]`, the last first, so that an index that occurs
    /// twice gets its first value again.
    fn restore_sparse(&mut self, indices: &[u32], before: View<Self::Memory>, to: ViewMut<Self::Memory>) -> OpsResult;

    /// The sum of the squares of `len` values.
    fn sum_of_squares(&mut self, x: View<Self::Memory>, len: usize) -> OpsResult<f64>;

    /// One AdamW update of `len` values.
    fn adamw(&mut self, rule: AdamW, buffers: AdamWBuffers<Self::Memory>, len: usize) -> OpsResult;
}
