//! The backward pass: from the losses to the gradient of every parameter, a part of the batch after the other.

use super::workspace::{BackwardMemory, LayerMemory, Workspace};
use super::{LayerRun, Positions, Transformer, read, write};
use crate::layout::LayerOffsets;
use crate::ops::{
    Attended, Attention, Gemm, HeadNorm, HeadNormGradients, HeadNormWeights, Heads, Norm, NormInput, Ops, OpsResult,
    Rope, Transposition, View, ViewMut,
};
use crate::parts;
use std::borrow::{Borrow, BorrowMut};
use templar_base::ModelConfig;

/// Where the gradient of `scale * sum(losses)` goes.
pub(crate) struct GradientSum<'a, M: ?Sized> {
    pub memory: &'a mut M,
    pub scale: f32,
    /// Whether it is added to what stands there.
    pub accumulate: bool,
}

impl<O: Ops> Transformer<O> {
    /// The losses as [`Self::losses`], and their gradient.
    pub(crate) fn gradient(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        gradient: GradientSum<O::Memory>,
    ) -> OpsResult<Vec<f32>> {
        let sequences = parts::trained_sequences(positions.length, self.config.vocab_size);
        self.gradient_in_parts(ops, parameters, positions, sequences, gradient)
    }

    /// [`Self::gradient`] by parts of so many sequences.
    pub(super) fn gradient_in_parts(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        sequences: usize,
        mut gradient: GradientSum<O::Memory>,
    ) -> OpsResult<Vec<f32>> {
        if !gradient.accumulate {
            self.zero_added_gradients(ops, gradient.memory)?;
        }
        let (hidden, mut losses) = (self.config.hidden_size, Vec::with_capacity(positions.rows()));
        self.reserve_embedded(ops, positions.rows())?;
        for part in positions.parts(sequences) {
            let first = losses.len();
            losses.extend(self.part_gradient(ops, parameters, &part, &mut gradient)?);
            gradient.accumulate = true;
            if let Some(backward) = &self.workspace.backward {
                let to = ViewMut::new(self.workspace.d_embedded.borrow_mut(), first * hidden);
                ops.copy(read(&backward.d_stream), to, part.rows() * hidden)?;
            }
        }
        // After all parts, since a tied head adds to the same table before.
        let d_embedded = read(&self.workspace.d_embedded);
        ops.embedding_backward(&positions.inputs, hidden, d_embedded, ViewMut::new(gradient.memory, 0))?;
        Ok(losses)
    }

    /// The losses of a part, and its gradient but for that of the embedding, of which the stream's is left.
    fn part_gradient(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        gradient: &mut GradientSum<O::Memory>,
    ) -> OpsResult<Vec<f32>> {
        self.run_layers(ops, parameters, positions, true, &mut [])?;
        self.reserve_backward(ops)?;
        let losses = self.head_backward(ops, parameters, positions, gradient)?;
        for layer in (0..self.config.num_hidden_layers).rev() {
            self.restore_layer(ops, parameters, positions, layer)?;
            self.layer_backward(ops, parameters, positions, layer, gradient)?;
        }
        Ok(losses)
    }

    /// Computes a layer once more if its activations were not kept; those of the last layer always were.
    fn restore_layer(&mut self, ops: &mut O, parameters: &O::Memory, positions: &Positions, layer: usize) -> OpsResult {
        if !self.is_recomputing || layer + 1 == self.config.num_hidden_layers {
            return Ok(());
        }
        let (entry, stream) = (&self.workspace.entries[layer], &mut self.workspace.stream);
        ops.copy(read(entry), write(stream), positions.rows() * self.config.hidden_size)?;
        let run = LayerRun { layer, first_row: 0, keep: true, packed: None };
        self.run_layer(ops, parameters, positions, run, &mut [])
    }

    /// Zeroes what the backward pass adds to: the norms, and the embedding unless the head writes it first.
    fn zero_added_gradients(&self, ops: &mut O, gradient: &mut O::Memory) -> OpsResult {
        for (index, tensor) in self.layout.tensors().iter().enumerate() {
            let embedding = index == 0 && !self.config.tie_word_embeddings;
            if embedding || !tensor.is_matrix() {
                ops.zero(ViewMut::new(gradient, tensor.range.start), tensor.range.len())?;
            }
        }
        Ok(())
    }

    /// From the stream to the losses, and back to the gradient of the stream.
    fn head_backward(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        gradient: &mut GradientSum<O::Memory>,
    ) -> OpsResult<Vec<f32>> {
        let rows = positions.rows();
        self.final_norm(ops, parameters, 0, rows)?;
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let (chunk, norm, head) = (self.logit_rows(), self.norm(rows), self.layout.head());
        let mut losses = vec![0.0; rows];
        for (index, (targets, losses)) in positions.targets.chunks(chunk).zip(losses.chunks_mut(chunk)).enumerate() {
            let (first, count) = (index * chunk, targets.len());
            self.logits(ops, parameters, first, count)?;
            let workspace = &mut self.workspace;
            let Some(backward) = &mut workspace.backward else { continue };
            ops.cross_entropy(vocab, targets, gradient.scale, write(&mut workspace.logits), losses)?;
            let input =
                Gemm { m: count, n: hidden, k: vocab, transposition: Transposition::Neither, accumulate: false };
            let to = ViewMut::new(backward.d_normed.borrow_mut(), first * hidden);
            ops.gemm(input, read(&workspace.logits), View::new(parameters, head), to)?;
            let weight = Gemm {
                m: vocab,
                n: hidden,
                k: count,
                transposition: Transposition::Left,
                accumulate: gradient.accumulate || index > 0,
            };
            let normed = View::new(workspace.normed.borrow(), first * hidden);
            ops.gemm(weight, read(&workspace.logits), normed, ViewMut::new(&mut *gradient.memory, head))?;
        }
        let workspace = &mut self.workspace;
        if let Some(backward) = &mut workspace.backward {
            let at = self.layout.final_norm();
            ops.zero(write(&mut backward.d_stream), rows * hidden)?;
            let input = NormInput { x: read(&workspace.stream), weight: View::new(parameters, at) };
            let to = ViewMut::new(&mut *gradient.memory, at);
            ops.rms_norm_backward(norm, input, read(&backward.d_normed), write(&mut backward.d_stream), to)?;
        }
        Ok(losses)
    }

    /// Takes the gradient of the stream from after a layer to before it.
    fn layer_backward(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        layer: usize,
        gradient: &mut GradientSum<O::Memory>,
    ) -> OpsResult {
        let rows = positions.rows();
        let (norm, slot) = (self.norm(rows), self.memory_of(layer));
        let Workspace { layers, normed, activated, backward, .. } = &mut self.workspace;
        let Some(backward) = backward else { return Ok(()) };
        let mut layer = LayerBackward::<O> {
            config: &self.config,
            heads: self.heads,
            norm,
            at: self.layout.layer(layer),
            parameters,
            positions,
            memory: &mut layers[slot],
            normed,
            activated,
            backward,
            gradient: &mut *gradient.memory,
            accumulate: gradient.accumulate,
        };
        layer.feed_forward(ops)?;
        layer.attention(ops, View::new(self.table.borrow(), 0))
    }
}

/// The backward pass of one layer: its place among the parameters, its memory, and where its gradients go.
struct LayerBackward<'a, O: Ops> {
    config: &'a ModelConfig,
    heads: Heads,
    norm: Norm,
    at: LayerOffsets,
    parameters: &'a O::Memory,
    positions: &'a Positions,
    memory: &'a mut LayerMemory<O::Owned>,
    normed: &'a mut O::Owned,
    activated: &'a mut O::Owned,
    backward: &'a mut BackwardMemory<O::Owned>,
    gradient: &'a mut O::Memory,
    accumulate: bool,
}

impl<O: Ops> LayerBackward<'_, O> {
    /// Of a linear layer from `k` to `n` values: the gradient of its input.
    fn to_input(&self, n: usize, k: usize) -> Gemm {
        Gemm { m: self.norm.rows, n: k, k: n, transposition: Transposition::Neither, accumulate: false }
    }

    /// Of a linear layer from `k` to `n` values: the gradient of its weight.
    fn to_weight(&self, n: usize, k: usize) -> Gemm {
        let (transposition, accumulate) = (Transposition::Left, self.accumulate);
        Gemm { m: n, n: k, k: self.norm.rows, transposition, accumulate }
    }

    /// `x += Wdown swiglu(Wgate_up norm(x))`, backwards.
    fn feed_forward(&mut self, ops: &mut O) -> OpsResult {
        let (rows, at, norm) = (self.norm.rows, self.at, self.norm);
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let [down_input, down_weight] = [self.to_input(hidden, inner), self.to_weight(hidden, inner)];
        let [up_input, up_weight] = [self.to_input(2 * inner, hidden), self.to_weight(2 * inner, hidden)];
        let weight = |start| View::new(self.parameters, start);
        let (memory, gradient) = (&mut *self.memory, &mut *self.gradient);
        let BackwardMemory { d_stream, d_normed, d_activated, .. } = &mut *self.backward;

        ops.gemm(down_input, read(d_stream), weight(at.down), write(d_activated))?;
        ops.swiglu_backward(rows, inner, read(d_activated), write(&mut memory.gate_up), write(self.activated))?;
        ops.gemm(down_weight, read(d_stream), read(self.activated), ViewMut::new(&mut *gradient, at.down))?;
        ops.gemm(up_input, read(&memory.gate_up), weight(at.gate_up), write(d_normed))?;
        let input = || NormInput { x: read(&memory.middle), weight: weight(at.middle_norm) };
        ops.rms_norm_forward(norm, input().x, input().weight, write(self.normed))?;
        ops.gemm(up_weight, read(&memory.gate_up), read(self.normed), ViewMut::new(&mut *gradient, at.gate_up))?;
        let to = ViewMut::new(gradient, at.middle_norm);
        ops.rms_norm_backward(norm, input(), read(d_normed), write(d_stream), to)
    }

    /// `x += Wo attention(rope(Wqkv norm(x)))`, backwards.
    fn attention(&mut self, ops: &mut O, table: View<O::Memory>) -> OpsResult {
        let (rows, at, norm, heads, positions) = (self.norm.rows, self.at, self.norm, self.heads, self.positions);
        let (hidden, queries, row) = (self.config.hidden_size, heads.queries(), heads.row());
        let [output_input, output_weight] = [self.to_input(hidden, queries), self.to_weight(hidden, queries)];
        let [qkv_input, qkv_weight] = [self.to_input(row, hidden), self.to_weight(row, hidden)];
        let weight = |start| View::new(self.parameters, start);
        let (memory, gradient) = (&*self.memory, &mut *self.gradient);
        let BackwardMemory { d_stream, d_normed, d_qkv, .. } = &mut *self.backward;

        ops.gemm(output_input, read(d_stream), weight(at.output), write(d_normed))?;
        ops.gemm(output_weight, read(d_stream), read(&memory.attended), ViewMut::new(&mut *gradient, at.output))?;
        let (sequences, length) = (positions.sequences, positions.length);
        let document_starts = &positions.document_starts;
        let shape = Attention { heads, sequences, length, first_query: 0, document_starts };
        let forward =
            Attended { qkv: read(&memory.qkv), out: read(&memory.attended), log_sum_exp: read(&memory.log_sum_exp) };
        ops.attention_backward(shape, forward, read(d_normed), write(d_qkv))?;
        let rope = Rope { rows, length, first_position: 0, heads, is_backward: true };
        ops.rope(rope, table, write(d_qkv))?;
        if self.config.qk_norm {
            let shape = HeadNorm { rows, heads, epsilon: norm.epsilon };
            let weights = HeadNormWeights { query: weight(at.query_norm), key: weight(at.key_norm) };
            let to = HeadNormGradients { memory: &mut *gradient, query: at.query_norm, key: at.key_norm };
            ops.head_norm_backward(shape, weights, read(&memory.raw), write(d_qkv), to)?;
        }
        ops.gemm(qkv_input, read(d_qkv), weight(at.query_key_value), write(d_normed))?;
        let input = || NormInput { x: read(&memory.input), weight: weight(at.input_norm) };
        ops.rms_norm_forward(norm, input().x, input().weight, write(self.normed))?;
        ops.gemm(qkv_weight, read(d_qkv), read(self.normed), ViewMut::new(&mut *gradient, at.query_key_value))?;
        let to = ViewMut::new(gradient, at.input_norm);
        ops.rms_norm_backward(norm, input(), read(d_normed), write(d_stream), to)
    }
}
