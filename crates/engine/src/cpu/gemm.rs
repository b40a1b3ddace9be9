//! Matrix products with one fixed order of summation.
//!
//! Each value of `c = a b` is computed in blocks of [`K_BLOCK`] terms: inside a block one chain of fused multiply-adds
//! over ascending k that starts from zero, and the blocks' sums are added to `c` in ascending order. Tile shapes,
//! vector widths, packing and threads decide only which values are computed together, never how one is.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod row;
mod strip;
mod tile;

pub(crate) use pack::pack_b;
pub(crate) use row::{row_by_plain, row_by_transposed};
pub(crate) use strip::{K_BLOCK, Operand, Packed, packed_b_len};
pub(crate) use tile::{Product, multiply, packed_a_len};

use super::memory::Aligned;
use super::pool::{Disjoint, Pool};
use crate::Isa;
use pack::pack_panel;
use std::borrow::Borrow;
use strip::tile;
use tile::task_rows;

/// Values of packed `b` that one pass holds (1 MiB), so that it stays in the second-level cache of most machines.
const PACKED_LIMIT: usize = 1 << 18;

/// Outputs of one task of a product with one row.
const ROW_OUTPUTS: usize = 256;

/// Tasks for each thread, where there are rows enough: an unlucky share is a small part of the whole then.
const TASKS_PER_THREAD: usize = 4;

/// Tasks for each thread that are worth cutting by columns for: each part of the columns packs `a` again.
const LEAST_TASKS_PER_THREAD: usize = 2;

/// `c (+)= a b` with `a: [m, k]`, `b: [k, n]`, `c: [m, n]`.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub accumulate: bool,
}

/// Carries out a product, `c` contiguous, on all threads. `packed` is working memory that grows as needed.
pub(crate) fn gemm(isa: Isa, pool: &Pool, sizes: Sizes, a: Operand, b: Operand, c: &mut [f32], packed: &mut Aligned) {
    let Sizes { m, n, k, accumulate } = sizes;
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
    // A pass is as much of `b` as stays in the cache: all columns or a group of them, and some blocks of k.
    let (_, width) = tile(isa);
    let pass_n = (PACKED_LIMIT / K_BLOCK / width * width).min(n.next_multiple_of(width));
    let pass_k = (PACKED_LIMIT / pass_n / K_BLOCK).max(1) * K_BLOCK;
    let c = Disjoint::new(c);
    for first_column in (0..n).step_by(pass_n) {
        for first_k in (0..k).step_by(pass_k) {
            let part = Sizes {
                n: pass_n.min(n - first_column),
                k: pass_k.min(k - first_k),
                accumulate: accumulate || first_k > 0,
                ..sizes
            };
            let packed = pack_pass(isa, pool, (part.k, part.n), b.at(first_k, first_column), packed);
            let to = Target { c: &c, first_column, stride: n };
            multiply_pass(isa, pool, part, a.at(0, first_k), packed, to);
        }
    }
}

/// Where a pass goes: from a column of `c` on.
struct Target<'a, 'c> {
    c: &'a Disjoint<'c>,
    first_column: usize,
    stride: usize,
}

/// A whole `b`, packed once for many products.
#[derive(Default)]
pub struct PackedMatrix {
    values: Aligned,
    k: usize,
    n: usize,
}

impl PackedMatrix {
    /// Packs `b: [k, n]`.
    pub(crate) fn pack(&mut self, isa: Isa, pool: &Pool, k: usize, n: usize, b: Operand) {
        b.assert_holds(k, n);
        pack_pass(isa, pool, (k, n), b, &mut self.values);
        (self.k, self.n) = (k, n);
    }

    /// Length of each sum.
    pub(crate) fn terms(&self) -> usize {
        self.k
    }

    /// Columns of the product.
    pub(crate) fn columns(&self) -> usize {
        self.n
    }
}

/// [`gemm`] with a packed `b`.
pub(crate) fn gemm_packed(
    isa: Isa,
    pool: &Pool,
    m: usize,
    a: Operand,
    b: &PackedMatrix,
    c: &mut [f32],
    accumulate: bool,
) {
    let PackedMatrix { k, n, .. } = *b;
    assert_eq!(c.len(), m * n, "c of another size");
    a.assert_holds(m, k);
    let packed = Packed { data: b.values.borrow(), k, n };
    let to = Target { c: &Disjoint::new(c), first_column: 0, stride: n };
    multiply_pass(isa, pool, Sizes { m, n, k, accumulate }, a, packed, to);
}

/// Makes `a b` in strips of some rows, of which no more exist at once than there are threads, and hands each row to
/// `visit` with its number.
pub(crate) fn for_rows(
    isa: Isa,
    pool: &Pool,
    m: usize,
    a: Operand,
    b: &PackedMatrix,
    visit: impl Fn(usize, &[f32]) + Sync,
) {
    let PackedMatrix { k, n, .. } = *b;
    a.assert_holds(m, k);
    let packed = Packed { data: b.values.borrow(), k, n };
    let (height, width) = tile(isa);
    let (tasks, strips) = (row_tasks(isa, pool, m, a, 1), m.div_ceil(height));
    // Rows a power of two apart would meet in few places of the first-level cache.
    let stride = n.next_multiple_of(width) + width;
    pool.run(tasks, |task, scratch| {
        let row = m.min(share(strips, tasks, task) * height);
        let rows = m.min(share(strips, tasks, task + 1) * height) - row;
        let [a_pack, strip, ..] = scratch.take([packed_a_len(isa, k), rows * stride, 0, 0, 0, 0]);
        let strip = &mut strip[..rows * stride];
        let product = Product {
            a: a.at(row, 0),
            rows,
            columns: n,
            k,
            b: packed,
            first_k: 0,
            first_column: 0,
            c: strip.as_mut_ptr(),
            c_stride: stride,
            accumulate: false,
        };
        // SAFETY: the strip holds so many rows, a stride apart.
        unsafe { multiply(isa, product, a_pack) };
        for (values, row) in strip.chunks_exact(stride).zip(row..) {
            visit(row, &values[..n]);
        }
    });
}

/// Packs a pass of `b: [k, n]`, a panel of a block of k to each task.
fn pack_pass<'a>(isa: Isa, pool: &Pool, (k, n): (usize, usize), b: Operand, packed: &'a mut Aligned) -> Packed<'a> {
    let (_, width) = tile(isa);
    let panels = n.div_ceil(width);
    let len = panels * width * k;
    let packed = &mut packed.at_least(len)[..len];
    let to = Disjoint::new(packed);
    pool.run(panels * k.div_ceil(K_BLOCK), |task, _| {
        let (block, column) = (task / panels * K_BLOCK, task % panels * width);
        let steps = K_BLOCK.min(k - block);
        // SAFETY: each panel of each block of k belongs to one task.
        let part = unsafe { to.part(block * panels * width + column * steps, width * steps) };
        pack_panel(isa, b.at(block, column), width.min(n - column), part);
    });
    Packed { data: packed, k, n }
}

/// Shares `whole` out to `parts` as evenly as it goes: the start of part `index`.
fn share(whole: usize, parts: usize, index: usize) -> usize {
    whole * index / parts
}

/// In how many tasks rows are cut, so that each thread gets as many, and `least` at least.
fn row_tasks(isa: Isa, pool: &Pool, rows: usize, a: Operand, least: usize) -> usize {
    let tasks = rows.div_ceil(task_rows(isa, a.is_by_columns())).max(least);
    tasks.next_multiple_of(pool.threads()).min(rows.div_ceil(tile(isa).0))
}

/// Multiplies by a packed pass. Tasks are cut in whole tiles and as evenly as it goes; with several threads there are
/// some for each, and few rows are cut by columns too.
fn multiply_pass(isa: Isa, pool: &Pool, sizes: Sizes, a: Operand, packed: Packed, to: Target) {
    let Sizes { m, n, k, accumulate } = sizes;
    let (height, width) = tile(isa);
    let (strips, panels) = (m.div_ceil(height), n.div_ceil(width));
    let (row_tasks, column_tasks) = match pool.threads() {
        1 => (row_tasks(isa, pool, m, a, 1), 1),
        threads => {
            let row_tasks = row_tasks(isa, pool, m, a, (TASKS_PER_THREAD * threads).min(strips.div_ceil(4)));
            (row_tasks, (LEAST_TASKS_PER_THREAD * threads).div_ceil(row_tasks.max(1)).min(panels))
        }
    };
    pool.run(row_tasks * column_tasks, |task, scratch| {
        let (row_task, column_task) = (task / column_tasks, task % column_tasks);
        let row = share(strips, row_tasks, row_task) * height;
        let row_end = m.min(share(strips, row_tasks, row_task + 1) * height);
        let column = share(panels, column_tasks, column_task) * width;
        let column_end = n.min(share(panels, column_tasks, column_task + 1) * width);
        let (rows, columns) = (row_end - row, column_end - column);
        let [a_pack, ..] = scratch.take([packed_a_len(isa, k), 0, 0, 0, 0, 0]);
        let product = Product {
            a: a.at(row, 0),
            rows,
            columns,
            k,
            b: packed,
            first_k: 0,
            first_column: column,
            c: to.c.block(row * to.stride + to.first_column + column, rows, columns, to.stride),
            c_stride: to.stride,
            accumulate,
        };
        // SAFETY: the tasks' blocks of `c` do not overlap.
        unsafe { multiply(isa, product, a_pack) };
    });
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
        let sizes = [
            (1, 1, 1),
            (1, 33, 257),
            (13, 31, 17),
            (15, 70, 300),
            (113, 47, 129),
            (230, 65, 520),
            (6, 1030, 9),
            (20, 1100, 513),
            (44, 32, 40),
            (30, 17, 300),
        ];
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
                            gemm(isa, &pool, Sizes { m, n, k, accumulate }, a, b, &mut c, &mut Aligned::default());
                            let same = c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits());
                            assert!(same, "{m}x{n}x{k} {isa} {threads} threads");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_tile_fits_the_blocks_that_attention_enters_at() {
        for isa in Isa::ALL {
            let (height, width) = tile(isa);
            let whole = [false, true].map(|a_by_columns| task_rows(isa, a_by_columns));
            assert!(K_BLOCK.is_multiple_of(width) && whole.iter().all(|rows| rows.is_multiple_of(height)), "{isa}");
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
                let product = Product {
                    a: Operand::rows(&a, 0, used),
                    rows,
                    columns,
                    k: used,
                    b: packed,
                    first_k,
                    first_column,
                    c: c.as_mut_ptr(),
                    c_stride: columns,
                    accumulate: false,
                };
                // SAFETY: `c` has these sizes.
                unsafe { multiply(isa, product, &mut a_pack) };
                assert_eq!(c, expected, "{isa}");
            }
        }
    }
}
