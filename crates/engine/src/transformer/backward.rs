//! The backward pass: from the losses to the gradient of every parameter, a part of the batch after the other.

use super::{BackwardMemory, LayerRun, Positions, Transformer, Workspace, read, write};
use crate::ops::{Attention, Gemm, Ops, Transposition, View, ViewMut};
use crate::parts;
use std::borrow::{Borrow, BorrowMut};

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
    ) -> Vec<f32> {
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
    ) -> Vec<f32> {
        if !gradient.accumulate {
            self.zero_added_gradients(ops, gradient.memory);
        }
        let (hidden, mut losses) = (self.config.hidden_size, Vec::with_capacity(positions.rows()));
        self.reserve_embedded(ops, positions.rows());
        for part in positions.parts(sequences) {
            let first = losses.len();
            losses.extend(self.part_gradient(ops, parameters, &part, &mut gradient));
            gradient.accumulate = true;
            if let Some(backward) = &self.workspace.backward {
                let to = ViewMut::new(self.workspace.d_embedded.borrow_mut(), first * hidden);
                ops.copy(read(&backward.d_stream), to, part.rows() * hidden);
            }
        }
        // After all parts, since a tied head adds to the same table before.
        let d_embedded = read(&self.workspace.d_embedded);
        ops.embedding_backward(&positions.inputs, hidden, d_embedded, ViewMut::new(gradient.memory, 0));
        losses
    }

    /// The losses of a part, and its gradient but for that of the embedding, of which the stream's is left.
    fn part_gradient(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        gradient: &mut GradientSum<O::Memory>,
    ) -> Vec<f32> {
        self.run_layers(ops, parameters, positions, true, &mut []);
        self.reserve_backward(ops);
        let losses = self.head_backward(ops, parameters, positions, gradient);
        for layer in (0..self.config.num_hidden_layers).rev() {
            self.restore_layer(ops, parameters, positions, layer);
            self.layer_backward(ops, parameters, positions, layer, gradient);
        }
        losses
    }

    /// Computes a layer once more if its activations were not kept; those of the last layer always were.
    fn restore_layer(&mut self, ops: &mut O, parameters: &O::Memory, positions: &Positions, layer: usize) {
        if !self.is_recomputing || layer + 1 == self.config.num_hidden_layers {
            return;
        }
        let (entry, stream) = (&self.workspace.entries[layer], &mut self.workspace.stream);
        ops.copy(read(entry), write(stream), positions.rows() * self.config.hidden_size);
        let run = LayerRun { layer, first_row: 0, keep: true, packed: None };
        self.run_layer(ops, parameters, positions, run, &mut []);
    }

    /// Zeroes what the backward pass adds to: the norms, and the embedding unless the head writes it first.
    fn zero_added_gradients(&self, ops: &mut O, gradient: &mut O::Memory) {
        for (index, tensor) in self.layout.tensors().iter().enumerate() {
            let embedding = index == 0 && !self.config.tie_word_embeddings;
            if embedding || !tensor.is_matrix() {
                ops.zero(ViewMut::new(gradient, tensor.range.start), tensor.range.len());
            }
        }
    }

    /// From the stream to the losses, and back to the gradient of the stream.
    fn head_backward(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        gradient: &mut GradientSum<O::Memory>,
    ) -> Vec<f32> {
        let rows = positions.rows();
        self.final_norm(ops, parameters, 0, rows);
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let (chunk, norm, head) = (self.logit_rows(), self.norm(rows), self.layout.head());
        let mut losses = vec![0.0; rows];
        for (index, (targets, losses)) in positions.targets.chunks(chunk).zip(losses.chunks_mut(chunk)).enumerate() {
            let (first, count) = (index * chunk, targets.len());
            self.logits(ops, parameters, first, count);
            let workspace = &mut self.workspace;
            let Some(backward) = &mut workspace.backward else { continue };
            ops.cross_entropy(vocab, targets, gradient.scale, write(&mut workspace.logits), losses);
            let input =
                Gemm { m: count, n: hidden, k: vocab, transposition: Transposition::Neither, accumulate: false };
            let to = ViewMut::new(backward.d_normed.borrow_mut(), first * hidden);
            ops.gemm(input, read(&workspace.logits), View::new(parameters, head), to);
            let weight = Gemm {
                m: vocab,
                n: hidden,
                k: count,
                transposition: Transposition::Left,
                accumulate: gradient.accumulate || index > 0,
            };
            let normed = View::new(workspace.normed.borrow(), first * hidden);
            ops.gemm(weight, read(&workspace.logits), normed, ViewMut::new(&mut *gradient.memory, head));
        }
        let workspace = &mut self.workspace;
        if let Some(backward) = &mut workspace.backward {
            let at = self.layout.final_norm();
            ops.zero(write(&mut backward.d_stream), rows * hidden);
            ops.rms_norm_backward(
                norm,
                read(&workspace.stream),
                View::new(parameters, at),
                read(&backward.d_normed),
                write(&mut backward.d_stream),
                ViewMut::new(&mut *gradient.memory, at),
            );
        }
        losses
    }

    /// Takes the gradient of the stream from behind a layer to before it.
    fn layer_backward(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        layer: usize,
        gradient: &mut GradientSum<O::Memory>,
    ) {
        let GradientSum { memory: gradient, accumulate, .. } = gradient;
        let rows = positions.rows();
        let (heads, config, norm) = (self.heads, &self.config, self.norm(rows));
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let at = self.layout.layer(layer);
        let weight = |start| View::new(parameters, start);
        // Of a linear layer from k to n values: the gradients of its input and of its weight.
        let to_input = |n, k| Gemm { m: rows, n: k, k: n, transposition: Transposition::Neither, accumulate: false };
        let to_weight =
            |n, k| Gemm { m: n, n: k, k: rows, transposition: Transposition::Left, accumulate: *accumulate };
        let slot = self.memory_of(layer);
        let Workspace { layers, normed, activated, backward, .. } = &mut self.workspace;
        let memory = &mut layers[slot];
        let Some(backward) = backward else { return };
        let BackwardMemory { d_stream, d_normed, d_qkv, d_activated } = backward;
        let table = View::new(self.table.borrow(), 0);

        ops.gemm(to_input(hidden, inner), read(d_stream), weight(at.down), write(d_activated));
        ops.swiglu_backward(rows, inner, read(d_activated), write(&mut memory.gate_up), write(activated));
        let to = ViewMut::new(&mut **gradient, at.down);
        ops.gemm(to_weight(hidden, inner), read(d_stream), read(activated), to);
        ops.gemm(to_input(2 * inner, hidden), read(&memory.gate_up), weight(at.gate_up), write(d_normed));
        let (middle, weights) = (read(&memory.middle), weight(at.middle_norm));
        ops.rms_norm_forward(norm, middle, weights, write(normed));
        let to = ViewMut::new(&mut **gradient, at.gate_up);
        ops.gemm(to_weight(2 * inner, hidden), read(&memory.gate_up), read(normed), to);
        let to = ViewMut::new(&mut **gradient, at.middle_norm);
        ops.rms_norm_backward(norm, middle, weights, read(d_normed), write(d_stream), to);

        let queries = heads.queries();
        ops.gemm(to_input(hidden, queries), read(d_stream), weight(at.output), write(d_normed));
        let to = ViewMut::new(&mut **gradient, at.output);
        ops.gemm(to_weight(hidden, queries), read(d_stream), read(&memory.attended), to);
        let attention = Attention {
            heads,
            sequences: positions.sequences,
            length: positions.length,
            first_query: 0,
            document_starts: &positions.document_starts,
        };
        ops.attention_backward(
            attention,
            read(&memory.qkv),
            read(&memory.attended),
            read(&memory.log_sum_exp),
            read(d_normed),
            write(d_qkv),
        );
        ops.rope(rows, positions.length, 0, heads, table, write(d_qkv), true);
        if config.qk_norm {
            ops.head_norm_backward(
                rows,
                heads,
                config.rms_norm_eps,
                read(&memory.raw),
                weight(at.query_norm),
                weight(at.key_norm),
                write(d_qkv),
                gradient,
                at.query_norm,
                at.key_norm,
            );
        }
        ops.gemm(to_input(heads.row(), hidden), read(d_qkv), weight(at.query_key_value), write(d_normed));
        let (input, weights) = (read(&memory.input), weight(at.input_norm));
        ops.rms_norm_forward(norm, input, weights, write(normed));
        let to = ViewMut::new(&mut **gradient, at.query_key_value);
        ops.gemm(to_weight(heads.row(), hidden), read(d_qkv), read(normed), to);
        let to = ViewMut::new(&mut **gradient, at.input_norm);
        ops.rms_norm_backward(norm, input, weights, read(d_normed), write(d_stream), to);
    }
}
