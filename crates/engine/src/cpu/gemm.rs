//! Matrix products with one fixed order of summation.
//!
//! Each value of `c = a b` is computed in blocks of [`K_BLOCK`] terms: inside a block one chain of fused multiply-adds
//! over ascending k that starts from zero, and the blocks' sums are added to `c` in ascending order. Tile shapes,
//! vector widths, packing and threads decide only which values are computed together, never how one is.

use super::pool::{Disjoint, Pool};
use super::vector::{Vector, kernel};
use crate::Isa;

/// Terms in one chain of fused multiply-adds. A tile's packed strip of `a` (14 x 256 values) stays in the first-level
/// cache, and the packed `b` of common layers in the second. Part of the numerics.
pub(crate) const K_BLOCK: usize = 256;

/// Columns whose packed `b` (512 x 256 values, 512 KiB) is walked before the next rows.
const COLUMN_GROUP: usize = 512;

/// Values of packed `b` that one pass holds (1 MiB), so that it stays in the second-level cache of most machines.
const PACKED_LIMIT: usize = 1 << 18;

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

    /// The part from (`row`, `column`) on.
    fn at(self, row: usize, column: usize) -> Self {
        Self { start: self.start + row * self.row_stride + column * self.column_stride, ..self }
    }

    fn assert_holds(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = self.start + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
            assert!(last < self.data.len(), "operand outside its slice");
        }
    }
}

/// The tile of each instruction set: rows and columns of `c` that are held in registers.
///
/// AVX-512: 14 x 2 of 32 registers accumulate, the rest holds a row of `b` and a value of `a`. AVX2: 6 x 2 of 16.
pub(crate) fn tile(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 => (14, 32),
        Isa::Avx2 => (6, 16),
        Isa::Scalar => (4, 4),
    }
}

/// Rows of `c` in one task: some tiles, so that the packed `a` (about 110 KiB) stays near.
fn task_rows(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 112,
        Isa::Avx2 => 96,
        Isa::Scalar => 64,
    }
}

/// Length of the packing buffer that [`multiply`] needs for `a`.
pub(crate) fn packed_a_len(isa: Isa, k: usize) -> usize {
    task_rows(isa) * k.min(K_BLOCK)
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

/// Packs the whole of `b: [k, n]` into `to`.
pub(crate) fn pack_b<'a>(isa: Isa, b: Operand, k: usize, n: usize, to: &'a mut [f32]) -> Packed<'a> {
    let (_, width) = tile(isa);
    let padded = n.next_multiple_of(width);
    let to = &mut to[..padded * k];
    for k_start in (0..k).step_by(K_BLOCK) {
        let steps = K_BLOCK.min(k - k_start);
        for column in (0..n).step_by(width) {
            let at = k_start * padded + column * steps;
            let lanes = width.min(n - column);
            let panel = &mut to[at..at + width * steps];
            pack_panel(isa, width, b.at(k_start, column), lanes, steps, panel);
        }
    }
    Packed { data: to, k, n }
}

/// Packs `steps` rows of `lanes` columns of `b` into rows of `width`, zeros where a lane is missing.
fn pack_panel(isa: Isa, width: usize, b: Operand, lanes: usize, steps: usize, to: &mut [f32]) {
    b.assert_holds(steps, lanes);
    assert!(lanes <= width && to.len() == width * steps, "panel of another size");
    pack(isa, width, &b.data[b.start..], b.column_stride, b.row_stride, lanes, steps, to);
}

#[allow(clippy::too_many_arguments)]
fn pack(
    isa: Isa,
    width: usize,
    from: &[f32],
    lane_stride: usize,
    step_stride: usize,
    lanes: usize,
    steps: usize,
    to: &mut [f32],
) {
    match (isa, width) {
        // SAFETY: the instruction set is available; the callers asserted the sizes.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, _) => unsafe { transpose::pack_avx512(width, from, lane_stride, step_stride, lanes, steps, to) },
        (_, 6) => pack_lanes::<6>(from, lane_stride, step_stride, lanes, steps, to),
        (_, 16) => pack_lanes::<16>(from, lane_stride, step_stride, lanes, steps, to),
        _ => pack_lanes::<4>(from, lane_stride, step_stride, lanes, steps, to),
    }
}

/// `to[step * W + lane] = from[lane * lane_stride + step * step_stride]`.
#[inline(always)]
fn pack_lanes<const W: usize>(
    from: &[f32],
    lane_stride: usize,
    step_stride: usize,
    lanes: usize,
    steps: usize,
    to: &mut [f32],
) {
    if lane_stride == 1 {
        for (step, row) in to.chunks_exact_mut(W).enumerate() {
            let source = &from[step * step_stride..step * step_stride + lanes];
            row[..lanes].copy_from_slice(source);
            row[lanes..].fill(0.0);
        }
        return;
    }
    // Sixteen steps at a time, so that a cache line of each lane is used whole.
    for first in (0..steps).step_by(16) {
        let count = 16.min(steps - first);
        let rows = &mut to[first * W..(first + count) * W];
        for lane in 0..W {
            if lane >= lanes {
                rows.iter_mut().skip(lane).step_by(W).for_each(|value| *value = 0.0);
                continue;
            }
            let source = &from[lane * lane_stride + first * step_stride..];
            for (step, row) in rows.chunks_exact_mut(W).enumerate() {
                row[lane] = source[step * step_stride];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod transpose {
    use super::pack_lanes;

    /// [`pack_lanes`] for the widths of AVX-512.
    ///
    /// # Safety
    /// AVX-512 must be there.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn pack_avx512(
        width: usize,
        from: &[f32],
        lane_stride: usize,
        step_stride: usize,
        lanes: usize,
        steps: usize,
        to: &mut [f32],
    ) {
        match width {
            14 => pack_lanes::<14>(from, lane_stride, step_stride, lanes, steps, to),
            _ => pack_lanes::<32>(from, lane_stride, step_stride, lanes, steps, to),
        }
    }
}

/// Some rows and columns of a product, for one task.
struct Block<'a> {
    a: Operand<'a>,
    rows: usize,
    /// Terms used of the packed `b`, from `first_k` (a multiple of [`K_BLOCK`]) on.
    k: usize,
    b: Packed<'a>,
    first_k: usize,
    /// The first column, a multiple of the tile's; and the number of columns.
    first_column: usize,
    columns: usize,
    /// Where `c` at (first row, first column) lies.
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
}

/// `c (+)= a b` for a `b` that is packed, on one thread.
///
/// Uses terms `first_k .. first_k + k` and columns `first_column .. first_column + columns` of the packed `b`; `a` holds
/// `[rows, k]` and `c` `[rows, columns]`.
///
/// # Safety
/// `c` must be valid for a block of `rows` rows of `columns` values, `c_stride` apart, that nobody else touches.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn multiply(
    isa: Isa,
    a: Operand,
    (rows, columns, k): (usize, usize, usize),
    b: Packed,
    (first_k, first_column): (usize, usize),
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
    a_pack: &mut [f32],
) {
    let step = task_rows(isa);
    for first in (0..rows).step_by(step) {
        let part = Block {
            a: a.at(first, 0),
            rows: step.min(rows - first),
            k,
            b,
            first_k,
            first_column,
            columns,
            // SAFETY: a row inside the caller's block.
            c: unsafe { c.add(first * c_stride) },
            c_stride,
            accumulate,
        };
        // SAFETY: the caller's promise, for a part of the rows.
        unsafe { run(isa, part, a_pack) };
    }
}

/// # Safety
/// As [`multiply`], with at most `task_rows` rows.
unsafe fn run(isa: Isa, block: Block, a_pack: &mut [f32]) {
    let (_, width) = tile(isa);
    block.a.assert_holds(block.rows, block.k);
    assert!(a_pack.len() >= packed_a_len(isa, block.k) && block.rows <= task_rows(isa), "packing buffer too small");
    assert!(block.first_k + block.k <= block.b.k && block.first_column + block.columns <= block.b.n, "outside b");
    assert!(block.first_k.is_multiple_of(K_BLOCK) && block.first_column.is_multiple_of(width), "start inside a panel");
    assert!(block.b.data.len() >= packed_b_len(isa, block.b.k, block.b.n), "b is not packed whole");
    match isa {
        // SAFETY: the instruction set is available (`Cpu::new`); sizes are asserted above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { run_avx512(block, a_pack) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { run_avx2(block, a_pack) },
        // SAFETY: as above.
        _ => unsafe { run_body::<f32, 4, 4>(Isa::Scalar, block, a_pack) },
    }
}

/// # Safety
/// As [`run`], on a machine with AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn run_avx512(block: Block, a_pack: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { run_body::<std::arch::x86_64::__m512, 14, 2>(Isa::Avx512, block, a_pack) }
}

/// # Safety
/// As [`run`], on a machine with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(block: Block, a_pack: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { run_body::<std::arch::x86_64::__m256, 6, 2>(Isa::Avx2, block, a_pack) }
}

/// # Safety
/// As [`run`], on a machine with the instruction set of `V`, whose tile is `ROWS` x `VECTORS` registers.
#[inline(always)]
unsafe fn run_body<V: Vector, const ROWS: usize, const VECTORS: usize>(isa: Isa, block: Block, a_pack: &mut [f32]) {
    let width = VECTORS * V::LANES;
    let b_padded = block.b.n.next_multiple_of(width);
    for k_done in (0..block.k).step_by(K_BLOCK) {
        let steps = K_BLOCK.min(block.k - k_done);
        let k_start = block.first_k + k_done;
        let packed_steps = K_BLOCK.min(block.b.k - k_start);
        let accumulate = block.accumulate || k_done > 0;
        for row in (0..block.rows).step_by(ROWS) {
            let source = block.a.at(row, k_done);
            let strip = &mut a_pack[row * steps..(row + ROWS) * steps];
            let lanes = ROWS.min(block.rows - row);
            pack(isa, ROWS, &source.data[source.start..], source.row_stride, source.column_stride, lanes, steps, strip);
        }
        for group in (0..block.columns).step_by(COLUMN_GROUP) {
            let group_end = block.columns.min(group + COLUMN_GROUP);
            for row in (0..block.rows).step_by(ROWS) {
                for column in (group..group_end).step_by(width) {
                    let panel = k_start * b_padded + (block.first_column + column) * packed_steps;
                    // SAFETY: strips and panels lie inside their buffers, `c` inside the caller's block, by the
                    // assertions in `run`.
                    unsafe {
                        compute_tile::<V, ROWS, VECTORS>(
                            steps,
                            a_pack.as_ptr().add(row * steps),
                            block.b.data.as_ptr().add(panel),
                            block.c.add(row * block.c_stride + column),
                            block.c_stride,
                            ROWS.min(block.rows - row),
                            width.min(block.columns - column),
                            accumulate,
                        );
                    }
                }
            }
        }
    }
}

/// One tile: `c (+)= a b` with `a` packed `[steps, ROWS]` and `b` packed `[steps, VECTORS * LANES]`; writes `rows` x
/// `columns` of it.
///
/// # Safety
/// The instruction set of `V`; pointers valid for these sizes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn compute_tile<V: Vector, const ROWS: usize, const VECTORS: usize>(
    steps: usize,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
    c_stride: usize,
    rows: usize,
    columns: usize,
    accumulate: bool,
) {
    // SAFETY: the caller's promise covers every pointer below.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for _ in 0..steps {
            let mut right = [V::zero(); VECTORS];
            for (index, value) in right.iter_mut().enumerate() {
                *value = V::load(b.add(index * V::LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*a.add(row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
            a = a.add(ROWS);
            b = b.add(VECTORS * V::LANES);
        }
        if rows == ROWS && columns == VECTORS * V::LANES {
            for (row, sums) in sums.into_iter().enumerate() {
                for (index, sum) in sums.into_iter().enumerate() {
                    let place = c.add(row * c_stride + index * V::LANES);
                    let value = if accumulate { V::load(place).add(sum) } else { sum };
                    value.store(place);
                }
            }
            return;
        }
        // The largest tile has 14 x 32 values.
        let mut whole = [0.0f32; 14 * 32];
        for (row, sums) in sums.into_iter().enumerate() {
            for (index, sum) in sums.into_iter().enumerate() {
                sum.store(whole.as_mut_ptr().add((row * VECTORS + index) * V::LANES));
            }
        }
        for row in 0..rows {
            for column in 0..columns {
                let place = c.add(row * c_stride + column);
                let sum = whole[row * VECTORS * V::LANES + column];
                *place = if accumulate { *place + sum } else { sum };
            }
        }
    }
}

kernel! {
    /// `out[j] (+)= sum_k x[k] rows[j * stride + k]`: one row of `a` times a transposed `b`, without packing, which would
    /// cost more than the product. Eight chains at a time hide the latency of each.
    fn row_by_transposed(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], accumulate: bool) {
        for (group, out) in out.chunks_mut(8).enumerate() {
            for (block, x) in x.chunks(K_BLOCK).enumerate() {
                let mut sums = [0.0f32; 8];
                let row = |index: usize| {
                    // Missing rows of the last group repeat its last one, and their sums are dropped.
                    let start = (group * 8 + index.min(out.len() - 1)) * stride + block * K_BLOCK;
                    &rows[start..start + x.len()]
                };
                let rows: [&[f32]; 8] = std::array::from_fn(row);
                for (k, x) in x.iter().enumerate() {
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = x.mul_add(row[k], *sum);
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = if accumulate || block > 0 { *out + sum } else { sum };
                }
            }
        }
    }
}

kernel! {
    /// `out[j] = sum_k x[k] rows[k * stride + j]`: one row of `a` times `b`, without packing. `sums` is working memory of
    /// `out`'s length.
    fn row_by_plain(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], sums: &mut [f32]) {
        let width = out.len();
        let sums = &mut sums[..width];
        for (block, x) in x.chunks(K_BLOCK).enumerate() {
            sums.fill(0.0);
            for (k, x) in x.iter().enumerate() {
                let row = &rows[(block * K_BLOCK + k) * stride..][..width];
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum = x.mul_add(*value, *sum);
                }
            }
            for (out, sum) in out.iter_mut().zip(&*sums) {
                *out = if block > 0 { *out + sum } else { *sum };
            }
        }
    }
}

/// Outputs of one task of a product with one row.
const ROW_OUTPUTS: usize = 256;

/// `c (+)= a b`, `c: [m, n]` contiguous, on all threads. `packed` is working memory that grows as needed.
#[allow(clippy::too_many_arguments)]
pub(crate) fn gemm(
    isa: Isa,
    pool: &Pool,
    (m, n, k): (usize, usize, usize),
    a: Operand,
    b: Operand,
    c: &mut [f32],
    accumulate: bool,
    packed: &mut Vec<f32>,
) {
    assert_eq!(c.len(), m * n, "c of another size");
    a.assert_holds(m, k);
    b.assert_holds(k, n);
    if m == 1 && a.column_stride == 1 && b.row_stride == 1 {
        let (x, c) = (&a.data[a.start..a.start + k], Disjoint::new(c));
        return pool.pieces(n, ROW_OUTPUTS, |start, end, _| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { c.part(start, end - start) };
            row_by_transposed(isa, x, &b.data[b.at(0, start).start..], b.column_stride, out, accumulate);
        });
    }
    let (_, width) = tile(isa);
    let padded = n.next_multiple_of(width);
    let pass_k = (PACKED_LIMIT / padded / K_BLOCK).max(1) * K_BLOCK;
    let needed = padded * pass_k.min(k);
    if packed.len() < needed {
        packed.resize(needed, 0.0);
    }
    let c = Disjoint::new(c);
    for pass in (0..k).step_by(pass_k) {
        let pass_len = pass_k.min(k - pass);
        let panels = padded / width;
        let to = Disjoint::new(&mut packed[..padded * pass_len]);
        // Eight panels a task: enough work (some 64 KiB to copy) to be worth a thread.
        let groups = panels.div_ceil(8);
        pool.run(groups * pass_len.div_ceil(K_BLOCK), |task, _| {
            let (block, group) = (task / groups * K_BLOCK, task % groups * 8);
            let steps = K_BLOCK.min(pass_len - block);
            for panel in group..panels.min(group + 8) {
                let column = panel * width;
                // SAFETY: each panel of each block of k belongs to one task.
                let part = unsafe { to.part(block * padded + column * steps, width * steps) };
                pack_panel(isa, width, b.at(pass + block, column), width.min(n - column), steps, part);
            }
        });
        let packed = Packed { data: &packed[..padded * pass_len], k: pass_len, n };
        // Few rows are cut by columns too, so that the threads have enough tasks to share evenly.
        let rows = task_rows(isa);
        let row_tasks = m.div_ceil(rows);
        let column_tasks = match pool.threads() {
            1 => 1,
            threads => (4 * threads).div_ceil(row_tasks).min(panels),
        };
        let columns = panels.div_ceil(column_tasks) * width;
        let column_tasks = n.div_ceil(columns);
        pool.run(row_tasks * column_tasks, |task, scratch| {
            let (row, column) = (task / column_tasks * rows, task % column_tasks * columns);
            let (row_count, column_count) = (rows.min(m - row), columns.min(n - column));
            let [a_pack, ..] = scratch.take([packed_a_len(isa, pass_len), 0, 0, 0, 0, 0]);
            let block = Block {
                a: a.at(row, pass),
                rows: row_count,
                k: pass_len,
                b: packed,
                first_k: 0,
                first_column: column,
                columns: column_count,
                c: c.block(row * n + column, row_count, column_count, n),
                c_stride: n,
                accumulate: accumulate || pass > 0,
            };
            // SAFETY: the tasks' blocks of `c` do not overlap.
            unsafe { run(isa, block, a_pack) };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::random::Stream;

    fn random(len: usize, index: u64) -> Vec<f32> {
        let mut stream = Stream::new([3; 32], "gemm test", index);
        (0..len).map(|_| stream.unit_f32() - 0.5).collect()
    }

    /// The definition, a value at a time.
    fn oracle((m, n, k): (usize, usize, usize), a: Operand, b: Operand, c: &mut [f32], accumulate: bool) {
        let at = |x: Operand, i, j| x.data[x.start + i * x.row_stride + j * x.column_stride];
        for i in 0..m {
            for j in 0..n {
                let place = &mut c[i * n + j];
                for block in (0..k).step_by(K_BLOCK) {
                    let mut sum = 0.0f32;
                    for step in block..k.min(block + K_BLOCK) {
                        sum = at(a, i, step).mul_add(at(b, step, j), sum);
                    }
                    *place = if accumulate || block > 0 { *place + sum } else { sum };
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_and_thread_count_gives_the_oracles_bits() {
        let sizes =
            [(1, 1, 1), (1, 33, 257), (13, 31, 17), (15, 70, 300), (113, 47, 129), (230, 65, 520), (6, 1030, 9)];
        for (index, (m, n, k)) in sizes.into_iter().enumerate() {
            let (a, b) = (random(m * k, 2 * index as u64), random(k * n, 2 * index as u64 + 1));
            for (left, right) in [(false, false), (false, true), (true, false)] {
                let a = if left { Operand::transposed(&a, 0, m) } else { Operand::rows(&a, 0, k) };
                let b = if right { Operand::transposed(&b, 0, k) } else { Operand::rows(&b, 0, n) };
                for accumulate in [false, true] {
                    let start = random(m * n, 99);
                    let mut expected = start.clone();
                    oracle((m, n, k), a, b, &mut expected, accumulate);
                    for isa in Isa::available() {
                        for threads in [1, 3] {
                            let pool = Pool::new(threads).unwrap();
                            let mut c = start.clone();
                            gemm(isa, &pool, (m, n, k), a, b, &mut c, accumulate, &mut Vec::new());
                            let same = c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits());
                            assert!(same, "{m}x{n}x{k} {isa} {threads} threads");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_packed_operand_multiplies_like_the_part_alone() {
        let (k, n) = (600, 70);
        let b = random(k * n, 7);
        for isa in Isa::available() {
            let width = tile(isa).1;
            let mut memory = vec![0.0; packed_b_len(isa, k, n)];
            let packed = pack_b(isa, Operand::rows(&b, 0, n), k, n, &mut memory);
            for (rows, columns, used, first_k, first_column) in [(5, n - width, 300, 256, width), (120, 3, 344, 256, 0)]
            {
                let a = random(rows * used, 8);
                let mut expected = vec![0.0; rows * columns];
                let part = Operand::rows(&b, first_k * n + first_column, n);
                oracle((rows, columns, used), Operand::rows(&a, 0, used), part, &mut expected, false);
                let mut c = vec![0.0; rows * columns];
                let mut a_pack = vec![0.0; packed_a_len(isa, used)];
                // SAFETY: `c` has these sizes.
                unsafe {
                    multiply(
                        isa,
                        Operand::rows(&a, 0, used),
                        (rows, columns, used),
                        packed,
                        (first_k, first_column),
                        (c.as_mut_ptr(), columns),
                        false,
                        &mut a_pack,
                    );
                }
                assert_eq!(c, expected, "{isa}");
            }
        }
    }
}
