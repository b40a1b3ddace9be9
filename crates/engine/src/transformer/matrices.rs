//! The four matrices of a layer, as they lie among the parameters or packed.

use super::{read, write};
use crate::layout::LayerOffsets;
use crate::ops::{Gemm, Heads, Ops, OpsResult, Transposition, View, ViewMut};
use templar_base::ModelConfig;

/// One of a layer's matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matrix {
    QueryKeyValue,
    /// Added to the stream.
    Output,
    GateUp,
    /// Added to the stream.
    Down,
}

impl Matrix {
    const ALL: [Self; 4] = [Self::QueryKeyValue, Self::Output, Self::GateUp, Self::Down];

    fn start(self, at: &LayerOffsets) -> usize {
        match self {
            Self::QueryKeyValue => at.query_key_value,
            Self::Output => at.output,
            Self::GateUp => at.gate_up,
            Self::Down => at.down,
        }
    }
}

/// Their sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixShapes {
    heads: Heads,
    hidden: usize,
    intermediate: usize,
}

impl MatrixShapes {
    pub(super) fn new(config: &ModelConfig) -> Self {
        Self { heads: Heads::of(config), hidden: config.hidden_size, intermediate: config.intermediate_size }
    }

    /// Outputs and inputs.
    fn of(&self, matrix: Matrix) -> (usize, usize) {
        match matrix {
            Matrix::QueryKeyValue => (self.heads.row(), self.hidden),
            Matrix::Output => (self.hidden, self.heads.queries()),
            Matrix::GateUp => (2 * self.intermediate, self.hidden),
            Matrix::Down => (self.hidden, self.intermediate),
        }
    }
}

/// The matrices of one layer in the order in which products read them.
#[derive(Default)]
pub(super) struct PackedLayer<P>(pub(super) [P; 4]);

impl<P> PackedLayer<P> {
    /// Packs those of the layer that lies at `at`.
    pub(super) fn pack<O: Ops<Packed = P>>(
        &mut self,
        ops: &mut O,
        shapes: MatrixShapes,
        parameters: &O::Memory,
        at: &LayerOffsets,
    ) -> OpsResult {
        for matrix in Matrix::ALL {
            let (n, k) = shapes.of(matrix);
            ops.pack(n, k, View::new(parameters, matrix.start(at)), &mut self.0[matrix as usize])?;
        }
        Ok(())
    }
}

/// The matrices of a layer that is run.
pub(super) struct LayerMatrices<'a, O: Ops> {
    pub shapes: MatrixShapes,
    pub parameters: &'a O::Memory,
    pub at: LayerOffsets,
    pub packed: Option<&'a PackedLayer<O::Packed>>,
}

impl<O: Ops> LayerMatrices<'_, O> {
    /// What `matrix` makes of some rows, added where its result goes into the stream.
    pub(super) fn apply(
        &self,
        ops: &mut O,
        matrix: Matrix,
        rows: usize,
        from: View<O::Memory>,
        to: ViewMut<O::Memory>,
    ) -> OpsResult {
        let accumulate = matches!(matrix, Matrix::Output | Matrix::Down);
        match self.packed {
            Some(PackedLayer(matrices)) => ops.gemm_packed(rows, from, &matrices[matrix as usize], to, accumulate),
            None => {
                let (n, k) = self.shapes.of(matrix);
                let shape = Gemm { m: rows, n, k, transposition: Transposition::Right, accumulate };
                ops.gemm(shape, from, View::new(self.parameters, matrix.start(&self.at)), to)
            }
        }
    }

    /// The inner values of the feed-forward part; those that make them are left in `gate_up`, except in judging.
    pub(super) fn activate(
        &self,
        ops: &mut O,
        rows: usize,
        from: View<O::Memory>,
        gate_up: &mut O::Owned,
        to: ViewMut<O::Memory>,
    ) -> OpsResult {
        if let Some(PackedLayer(matrices)) = self.packed {
            return ops.swiglu_packed(rows, from, &matrices[Matrix::GateUp as usize], to);
        }
        self.apply(ops, Matrix::GateUp, rows, from, write(gate_up))?;
        ops.swiglu_forward(rows, self.shapes.intermediate, read(gate_up), to)
    }
}
