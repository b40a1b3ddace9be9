//! Tiles: the part of a product that is held in registers, and the loops around it.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::pack::pack_strip;
use super::strip::{K_BLOCK, Left, Operand, Packed, Place, packed_b_len, tile};
use crate::Isa;
use crate::cpu::vector::Vector;

/// Values of the largest tile that [`compute`] has.
const LARGEST_TILE: usize = 6 * 16;

/// Most rows of `c` in one task: some tiles, so that the packed `a` (42 KiB with AVX-512) stays near.
///
/// More of them where the columns of `a` lie side by side in memory: a task reads a piece of each, and a short piece
/// costs as much as a long one.
pub(super) fn task_rows(isa: Isa, a_by_columns: bool) -> usize {
    match isa {
        Isa::Avx512 if a_by_columns => 252,
        Isa::Avx512 => 42,
        Isa::Avx2 | Isa::Neon => 96,
        Isa::Scalar => 64,
    }
}

/// Length of the packing buffer that [`multiply`] needs for `a`.
pub(crate) fn packed_a_len(isa: Isa, k: usize) -> usize {
    task_rows(isa, true) * k.min(K_BLOCK)
}

/// A product `c (+)= a b` for a `b` that is packed: `a: [rows, k]`, `c: [rows, columns]`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub a: Operand<'a>,
    pub rows: usize,
    pub columns: usize,
    /// Terms of each sum.
    pub k: usize,
    pub b: Packed<'a>,
    /// The first term used of the packed `b`, a multiple of [`K_BLOCK`].
    pub first_k: usize,
    /// The first column used of the packed `b`, a multiple of the tile's width.
    pub first_column: usize,
    /// Where `c` at (0, 0) lies.
    pub c: *mut f32,
    /// Values from a row of `c` to the next.
    pub c_stride: usize,
    /// Whether `c` is added to instead of overwritten.
    pub accumulate: bool,
}

/// Carries out a product on one thread; `a_pack` holds at least [`packed_a_len`] values.
///
/// # Safety
/// `c` must be valid for a block of `rows` rows of `columns` values, `c_stride` apart, that nobody else touches.
pub(crate) unsafe fn multiply(isa: Isa, product: Product, a_pack: &mut [f32]) {
    let (_, width) = tile(isa);
    let Product { a, rows, columns, k, b, first_k, first_column, .. } = product;
    a.assert_holds(rows, k);
    assert!(a_pack.len() >= packed_a_len(isa, k), "packing buffer too small");
    assert!(first_k + k <= b.k && first_column + columns <= b.n, "outside b");
    assert!(first_k.is_multiple_of(K_BLOCK) && first_column.is_multiple_of(width), "start inside a panel");
    assert!(b.data.len() >= packed_b_len(isa, b.k, b.n), "b is not packed whole");
    let step = task_rows(isa, a.is_by_columns());
    for first in (0..rows).step_by(step) {
        // SAFETY: a row inside the caller's block.
        let c = unsafe { product.c.add(first * product.c_stride) };
        let part = Product { a: a.at(first, 0), rows: step.min(rows - first), c, ..product };
        match isa {
            // SAFETY: the instruction set is available (`Cpu::new`); sizes are asserted above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { body::<{ avx512::ROWS }, { avx512::COLUMNS }>(isa, part, a_pack, avx512::compute) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { body::<6, 16>(isa, part, a_pack, compute_avx2) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { body::<6, 16>(isa, part, a_pack, compute::<std::arch::aarch64::float32x4_t, 6, 4>) },
            // SAFETY: as above.
            _ => unsafe { body::<4, 4>(Isa::Scalar, part, a_pack, compute::<f32, 4, 4>) },
        }
    }
}

/// Computes a tile: `c (+)= a b` for a strip of `a` and a panel of `b` packed `[steps, columns]`.
///
/// # Safety
/// The instruction set must be there, and the pointers valid for these sizes.
type Compute = unsafe fn(steps: usize, a: Left, b: *const f32, place: Place);

/// # Safety
/// As [`Compute`], on a machine with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn compute_avx2(steps: usize, a: Left, b: *const f32, place: Place) {
    // SAFETY: the caller's promise.
    unsafe { compute::<std::arch::x86_64::__m256, 6, 2>(steps, a, b, place) }
}

/// At most [`task_rows`] rows of a product, in tiles of `ROWS` x `COLUMNS`.
///
/// # Safety
/// As [`multiply`], on a machine with the instruction set of `compute`, whose tile has this size.
unsafe fn body<const ROWS: usize, const COLUMNS: usize>(
    isa: Isa,
    product: Product,
    a_pack: &mut [f32],
    compute: Compute,
) {
    let Product { a, rows, columns, b, c_stride, .. } = product;
    let b_padded = b.n.next_multiple_of(COLUMNS);
    // A strip that one panel passes by is not worth packing.
    let is_direct =
        |row: usize| (a.column_stride == 1 || a.is_by_columns()) && columns <= COLUMNS && row + ROWS <= rows;
    for k_done in (0..product.k).step_by(K_BLOCK) {
        let steps = K_BLOCK.min(product.k - k_done);
        let k_start = product.first_k + k_done;
        let packed_steps = K_BLOCK.min(b.k - k_start);
        // Where the rows of `a` lie side by side in memory, what is near is read together: a few steps of all strips.
        let piece = if a.is_by_columns() { 8 } else { steps };
        for step in (0..steps).step_by(piece) {
            for row in (0..rows).step_by(ROWS).filter(|row| !is_direct(*row)) {
                let strip = &mut a_pack[row * steps + step * ROWS..row * steps + steps.min(step + piece) * ROWS];
                pack_strip(isa, a.at(row, k_done + step), ROWS.min(rows - row), strip);
            }
        }
        // A panel of `b` stays in the first-level cache while the strips of `a` pass by.
        for column in (0..columns).step_by(COLUMNS) {
            let panel = k_start * b_padded + (product.first_column + column) * packed_steps;
            for row in (0..rows).step_by(ROWS) {
                // SAFETY: strips and panels lie inside their buffers, `c` inside the caller's block, by the assertions
                // in `multiply`.
                unsafe {
                    let place = Place {
                        c: product.c.add(row * c_stride + column),
                        stride: c_stride,
                        rows: ROWS.min(rows - row),
                        columns: COLUMNS.min(columns - column),
                        accumulate: product.accumulate || k_done > 0,
                    };
                    let left = match is_direct(row) {
                        true => {
                            let from = a.data.as_ptr().add(a.at(row, k_done).start);
                            match a.column_stride {
                                1 => Left::Rows { from, between: a.row_stride },
                                between => Left::Columns { from, between },
                            }
                        }
                        false => Left::Packed(a_pack.as_ptr().add(row * steps)),
                    };
                    compute(steps, left, b.data.as_ptr().add(panel), place);
                }
            }
        }
    }
}

/// The sums of a tile, for each a chain of multiply-adds from zero on; a row's values of `a` lie `between` apart.
///
/// # Safety
/// As [`Compute`], with the instruction set of `V`.
#[inline(always)]
unsafe fn chains<V: Vector, const ROWS: usize, const VECTORS: usize>(
    steps: usize,
    mut rows: [*const f32; ROWS],
    between: usize,
    mut b: *const f32,
) -> [[V; VECTORS]; ROWS] {
    // SAFETY: the caller's promise; a pointer is moved behind its last value and not read there.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for _ in 0..steps {
            let mut right = [V::zero(); VECTORS];
            for (index, value) in right.iter_mut().enumerate() {
                *value = V::load(b.add(index * V::LANES));
            }
            for (sums, row) in sums.iter_mut().zip(&mut rows) {
                let left = V::splat(**row);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
                *row = row.wrapping_add(between);
            }
            b = b.add(VECTORS * V::LANES);
        }
        sums
    }
}

/// A [`Compute`] for a tile of `ROWS` x `VECTORS` registers.
///
/// # Safety
/// As [`Compute`], with the instruction set of `V`.
#[inline(always)]
unsafe fn compute<V: Vector, const ROWS: usize, const VECTORS: usize>(
    steps: usize,
    a: Left,
    b: *const f32,
    place: Place,
) {
    // SAFETY: the caller's promise covers every pointer below.
    unsafe {
        // What the sums go to is far away in memory: it is fetched while they are computed.
        for row in 0..place.rows {
            for index in 0..VECTORS {
                V::prefetch(place.c.wrapping_add(row * place.stride + index * V::LANES));
            }
        }
        let sums = match a {
            Left::Packed(a) => chains::<V, ROWS, VECTORS>(steps, std::array::from_fn(|row| a.add(row)), ROWS, b),
            Left::Columns { from, between } => {
                chains::<V, ROWS, VECTORS>(steps, std::array::from_fn(|row| from.add(row)), between, b)
            }
            Left::Rows { from, between } => {
                chains::<V, ROWS, VECTORS>(steps, std::array::from_fn(|row| from.add(row * between)), 1, b)
            }
        };
        if place.rows == ROWS && place.columns == VECTORS * V::LANES {
            for (row, sums) in sums.into_iter().enumerate() {
                for (index, sum) in sums.into_iter().enumerate() {
                    let to = place.c.add(row * place.stride + index * V::LANES);
                    let value = if place.accumulate { V::load(to).add(sum) } else { sum };
                    value.store(to);
                }
            }
            return;
        }
        let mut whole = [0.0f32; LARGEST_TILE];
        for (row, sums) in sums.into_iter().enumerate() {
            for (index, sum) in sums.into_iter().enumerate() {
                sum.store(whole.as_mut_ptr().add((row * VECTORS + index) * V::LANES));
            }
        }
        for row in 0..place.rows {
            for column in 0..place.columns {
                let to = place.c.add(row * place.stride + column);
                let sum = whole[row * VECTORS * V::LANES + column];
                *to = if place.accumulate { *to + sum } else { sum };
            }
        }
    }
}
