//! The forward pass of judging, which keeps nothing.
//!
//! A group of sequences passes through the model layer by layer: a layer's matrices are packed once, and parts of the
//! group that stay near the core pass through it one after the other.

use super::matrices::{MatrixShapes, PackedLayer};
use super::{LayerRun, Transformer, read};
use crate::batch::Positions;
use crate::ops::{Head, Ops, OpsResult, View};
use crate::parts;

impl<O: Ops> Transformer<O> {
    /// The loss of every row: `[sequences, length]`, 0 where the target is ignored.
    pub(crate) fn losses(&mut self, ops: &mut O, parameters: &O::Memory, positions: &Positions) -> OpsResult<Vec<f32>> {
        let (group, part) = parts::judged_sequences(positions.length);
        self.losses_in_parts(ops, parameters, positions, group, part)
    }

    /// [`Self::losses`] by groups of so many sequences, in parts of so many.
    pub(super) fn losses_in_parts(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        group: usize,
        part: usize,
    ) -> OpsResult<Vec<f32>> {
        let mut losses = Vec::with_capacity(positions.rows());
        for group in positions.parts(group) {
            losses.extend(self.group_losses(ops, parameters, &group, part)?);
        }
        Ok(losses)
    }

    fn group_losses(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        group: &Positions,
        part_sequences: usize,
    ) -> OpsResult<Vec<f32>> {
        let parts: Vec<Positions> = group.parts(part_sequences).collect();
        self.reserve_positions(ops, group.length)?;
        self.reserve_stream(ops, group.rows())?;
        self.reserve(ops, parts.iter().map(Positions::rows).max().unwrap_or(0), 1, 0)?;
        self.embed(ops, parameters, group)?;
        let shapes = MatrixShapes::new(&self.config);
        // Out of the model's hands while it is read.
        let mut packed: PackedLayer<O::Packed> = std::mem::take(&mut self.packed);
        for layer in 0..self.config.num_hidden_layers {
            packed.pack(ops, shapes, parameters, &self.layout.layer(layer))?;
            let mut first_row = 0;
            for part in &parts {
                let run = LayerRun { layer, first_row, keep: false, packed: Some(&packed) };
                self.run_layer(ops, parameters, part, run, &mut [])?;
                first_row += part.rows();
            }
        }
        self.packed = packed;
        self.final_norm(ops, parameters, 0, group.rows())?;
        let mut losses = vec![0.0; group.rows()];
        let head = Head { hidden: self.config.hidden_size, vocab: self.config.vocab_size };
        let weight = View::new(parameters, self.layout.head());
        ops.head_losses(head, read(&self.workspace.normed), weight, &group.targets, &mut losses)?;
        Ok(losses)
    }
}
