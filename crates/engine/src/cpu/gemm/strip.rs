//! What the kernels of a product agree on: the sizes of a tile, operands as they are in memory or packed, and where a
//! tile goes.

use crate::Isa;

/// Terms in one chain. A panel of `b` (32 x 256 values) and a strip of `a` (14 x 256) fit the first-level cache
/// together.
pub(crate) const K_BLOCK: usize = crate::ops::SUM_BLOCK;

/// The tile of each instruction set: rows and columns of `c` that are held in registers.
///
/// AVX-512: 14 x 2 of 32 registers accumulate, see [`super::avx512`]. AVX2: 6 x 2 of 16.
/// NEON: 6 x 4 of 32. A width divides [`K_BLOCK`], since attention enters packed keys at multiples of that.
pub(crate) fn tile(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 => (14, 32),
        Isa::Avx2 => (6, 16),
        Isa::Neon => (6, 16),
        Isa::Scalar => (4, 4),
    }
}

/// A matrix in a slice: element (i, j) is `data[start + i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub data: &'a [f32],
    pub start: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Operand<'a> {
    /// `[rows, columns]`, a row `stride` values after the other.
    pub(crate) fn rows(data: &'a [f32], start: usize, stride: usize) -> Self {
        Self { data, start, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of [`Operand::rows`].
    pub(crate) fn transposed(data: &'a [f32], start: usize, stride: usize) -> Self {
        Self { data, start, row_stride: 1, column_stride: stride }
    }

    /// Whether the values of a column lie side by side.
    pub(super) fn is_by_columns(&self) -> bool {
        self.row_stride == 1
    }

    /// The part from (`row`, `column`) on.
    pub(super) fn at(self, row: usize, column: usize) -> Self {
        Self { start: self.start + row * self.row_stride + column * self.column_stride, ..self }
    }

    pub(super) fn assert_holds(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = self.start + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
            assert!(last < self.data.len(), "operand outside its slice");
        }
    }
}

/// Length of a packed `b: [k, n]`.
pub(crate) fn packed_b_len(isa: Isa, k: usize, n: usize) -> usize {
    n.next_multiple_of(tile(isa).1) * k
}

/// A `b: [k, n]` packed for the tiles: for each block of k, for each panel of tile columns, for each k, the panel's row.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub data: &'a [f32],
    pub k: usize,
    pub n: usize,
}

/// A strip of `a`, as many rows as a tile has.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// `[steps, rows]`, zeros where a row is missing.
    Packed(*const f32),
    /// As it lies, a row `between` values after the other.
    Rows { from: *const f32, between: usize },
    /// As it lies, a step `between` values after the other.
    Columns { from: *const f32, between: usize },
}

/// Where a tile goes: the first `rows` x `columns` of it.
pub(super) struct Place {
    pub c: *mut f32,
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
    pub accumulate: bool,
}
