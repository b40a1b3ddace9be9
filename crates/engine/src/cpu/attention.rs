//! Causal attention over grouped heads, some query rows at a time.
//!
//! For a head: `e = exp(scale q kᵀ - highest)` over the positions that a query may see, `o = (e v) / sum(e)`. A task is
//! one sequence and one key-value head with its group of query heads, so that keys and values are packed once for all of
//! them, and the gradient of a key belongs to one task. Scores exist for [`QUERY_ROWS`] queries at a time; the backward
//! pass recomputes them from the saved log-sum-exp.

use super::exponentials::{self, Exponentials};
use super::gemm::{
    K_BLOCK, Operand, Packed, Product, multiply, pack_b, packed_a_len, packed_b_len, row_by_plain, row_by_transposed,
};
use super::pool::{Disjoint, Pool};
use super::reduction::LANES;
use super::rows;
use crate::Isa;
use crate::ops::{Attention, Heads};
use std::ops::Range;

/// Query rows whose scores are held at once: whole tiles of 14 (AVX-512) and of 6 (AVX2). Part of the numerics, since
/// the gradients of keys and values are summed block by block.
const QUERY_ROWS: usize = 42;

/// Where things lie in one task's rows of queries, keys and values.
struct Place {
    sequence: usize,
    /// First value of the sequence in `qkv`.
    base: usize,
    key: usize,
    value: usize,
}

fn place(shape: &Attention, task: usize) -> Place {
    let heads = shape.heads;
    let (sequence, group) = (task / heads.kv_heads, task % heads.kv_heads);
    let base = sequence * shape.length * heads.row();
    let key = base + heads.queries() + group * heads.head_dim;
    Place { sequence, base, key, value: key + heads.kv_heads * heads.head_dim }
}

/// The first position that each query row may see, relative to `floor`, and `floor` itself: the first row's, rounded
/// down to a whole block, so that packed keys and values can be entered there.
fn visible(shape: &Attention, sequence: usize, row: usize) -> (usize, usize) {
    let first = |row: usize| match shape.document_starts {
        [] => 0,
        starts => starts[sequence * shape.length + row] as usize,
    };
    let floor = first(row) / K_BLOCK * K_BLOCK;
    (first(row), floor)
}

fn scale(head_dim: usize) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

/// [`forward`] for one query: a step of a generation. The same bits, without packing keys and values.
fn forward_one(isa: Isa, pool: &Pool, shape: Attention, qkv: &[f32], out: &mut [f32], log_sum_exp: &mut [f32]) {
    let heads = shape.heads;
    let (length, width, stride) = (shape.length, heads.head_dim, heads.row());
    let out = Disjoint::new(out);
    let log_sum_exp = Disjoint::new(log_sum_exp);
    pool.run(shape.sequences * heads.heads, |task, scratch| {
        let (sequence, head) = (task / heads.heads, task % heads.heads);
        let at = place(&shape, sequence * heads.kv_heads + head * heads.kv_heads / heads.heads);
        let (first, floor) = visible(&shape, sequence, length - 1);
        let seen = length - floor;
        let row = seen.next_multiple_of(LANES);
        let [scores, sums, attended, ..] = scratch.take([row, width, width, 0, 0, 0]);
        let query = at.base + (length - 1) * stride + head * width;
        let (scores, attended) = (&mut scores[..row], &mut attended[..width]);
        let keys = &qkv[at.key + floor * stride..];
        row_by_transposed(isa, &qkv[query..query + width], keys, stride, &mut scores[..seen], false);
        // SAFETY: each task has its own head of its own sequence.
        let (saved, out) = unsafe { (log_sum_exp.part(task, 1), out.part(task * width, width)) };
        let (span, mut sum, mut inverse) = (first - floor..seen, [Exponentials::default()], [0.0]);
        exponentials::masked_exponentials(isa, scores, std::slice::from_ref(&span), scale(width), &mut sum);
        exponentials::logarithms(isa, &sum, saved, &mut inverse);
        row_by_plain(isa, &scores[..seen], &qkv[at.value + floor * stride..], stride, attended, sums);
        rows::scaled_rows(isa, &inverse, attended, &mut [out]);
    });
}

/// Some query rows of one head, and the positions that they see: from `floor` on, up to the last row's own.
#[derive(Clone, Copy)]
struct Block {
    head: usize,
    /// The first query row.
    row: usize,
    /// Number of query rows.
    count: usize,
    floor: usize,
    /// Number of positions.
    seen: usize,
    /// Values from a row of scores to the next.
    between: usize,
}

impl Block {
    /// From `row` on, as many rows as a block has.
    fn new(shape: &Attention, sequence: usize, head: usize, row: usize) -> Self {
        let end = shape.length.min(row + QUERY_ROWS);
        let floor = visible(shape, sequence, row).1;
        let seen = end - floor;
        Self { head, row, count: end - row, floor, seen, between: seen.next_multiple_of(LANES) }
    }
}

/// The query heads that share the key-value head of a task.
fn group_of(heads: Heads, task: usize) -> Range<usize> {
    let group = heads.heads / heads.kv_heads;
    task % heads.kv_heads * group..(task % heads.kv_heads + 1) * group
}

/// See [`crate::ops::Ops::attention_forward`].
pub(crate) fn forward(isa: Isa, pool: &Pool, shape: Attention, qkv: &[f32], out: &mut [f32], log_sum_exp: &mut [f32]) {
    let heads = shape.heads;
    let (length, width, stride) = (shape.length, heads.head_dim, heads.row());
    if length - shape.first_query == 1 {
        return forward_one(isa, pool, shape, qkv, out, log_sum_exp);
    }
    let out = Disjoint::new(out);
    let log_sum_exp = Disjoint::new(log_sum_exp);
    pool.run(shape.sequences * heads.kv_heads, |task, scratch| {
        let at = place(&shape, task);
        let [a_pack, keys, values, scores, attended, _] = scratch.take([
            packed_a_len(isa, K_BLOCK),
            packed_b_len(isa, width, length),
            packed_b_len(isa, length, width),
            QUERY_ROWS * length.next_multiple_of(LANES),
            QUERY_ROWS * width,
            0,
        ]);
        let keys = pack_b(isa, Operand::transposed(qkv, at.key, stride), width, length, keys);
        let values = pack_b(isa, Operand::rows(qkv, at.value, stride), length, width, values);
        let task_of = ForwardTask { isa, shape, at, qkv, keys, values, out: &out, log_sum_exp: &log_sum_exp };
        for head in group_of(heads, task) {
            for row in (shape.first_query..length).step_by(QUERY_ROWS) {
                task_of.attend(Block::new(&shape, task_of.at.sequence, head, row), a_pack, scores, attended);
            }
        }
    });
}

/// One sequence and key-value head, whose keys and values are packed.
struct ForwardTask<'a> {
    isa: Isa,
    shape: Attention<'a>,
    at: Place,
    qkv: &'a [f32],
    keys: Packed<'a>,
    values: Packed<'a>,
    out: &'a Disjoint<'a>,
    log_sum_exp: &'a Disjoint<'a>,
}

impl ForwardTask<'_> {
    /// The outputs and log-sum-exps of a block; the other arguments are working memory.
    fn attend(&self, block: Block, a_pack: &mut [f32], scores: &mut [f32], attended: &mut [f32]) {
        let Self { isa, ref shape, ref at, .. } = *self;
        let Block { head, row, count, floor, seen, between } = block;
        let (heads, queries) = (shape.heads, shape.length - shape.first_query);
        let (width, stride) = (heads.head_dim, heads.row());
        let scores = &mut scores[..count * between];
        let product = Product {
            a: Operand::rows(self.qkv, at.base + row * stride + head * width, stride),
            rows: count,
            columns: seen,
            k: width,
            b: self.keys,
            first_k: 0,
            first_column: floor,
            c: scores.as_mut_ptr(),
            c_stride: between,
            accumulate: false,
        };
        // SAFETY: `scores` holds count rows of seen values.
        unsafe { multiply(isa, product, a_pack) };
        let mut sums = [Exponentials::default(); QUERY_ROWS];
        let spans: [Range<usize>; QUERY_ROWS] = std::array::from_fn(|index| {
            let row = row + index.min(count - 1);
            visible(shape, at.sequence, row).0 - floor..row + 1 - floor
        });
        exponentials::masked_exponentials(isa, scores, &spans[..count], scale(width), &mut sums);
        let saved = (at.sequence * heads.heads + head) * queries + row - shape.first_query;
        let mut inverses = [0.0; QUERY_ROWS];
        // SAFETY: rows of one sequence and head belong to one task.
        let saved = unsafe { self.log_sum_exp.part(saved, count) };
        exponentials::logarithms(isa, &sums[..count], saved, &mut inverses);
        let product = Product {
            a: Operand::rows(scores, 0, between),
            columns: width,
            k: seen,
            b: self.values,
            first_k: floor,
            first_column: 0,
            c: attended.as_mut_ptr(),
            c_stride: width,
            ..product
        };
        // SAFETY: `attended` holds QUERY_ROWS x width values.
        unsafe { multiply(isa, product, a_pack) };
        let first_out = at.sequence * queries + row - shape.first_query;
        let mut to: [&mut [f32]; QUERY_ROWS] = std::array::from_fn(|index| {
            let start = (first_out + index.min(count - 1)) * heads.queries() + head * width;
            // SAFETY: a head's columns of a sequence's rows belong to one task, which takes each row once.
            unsafe { self.out.part(start, if index < count { width } else { 0 }) }
        });
        rows::scaled_rows(isa, &inverses[..count], &attended[..count * width], &mut to);
    }
}

/// What attention read and what it made of it.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    pub qkv: &'a [f32],
    pub out: &'a [f32],
    pub log_sum_exp: &'a [f32],
}

/// See [`crate::ops::Ops::attention_backward`]. With `s = scale q kᵀ`:
/// `dv = pᵀ do`, `dp = do vᵀ`, `ds = p (dp - sum(p dp)) scale`, `dq = ds k`, `dk = dsᵀ q`; `sum(p dp) = sum(o do)`.
pub(crate) fn backward(isa: Isa, pool: &Pool, shape: Attention, forward: Forward, d_out: &[f32], d_qkv: &mut [f32]) {
    let (heads, qkv) = (shape.heads, forward.qkv);
    let (length, width, stride) = (shape.length, heads.head_dim, heads.row());
    let d_qkv = Disjoint::new(d_qkv);
    pool.run(shape.sequences * heads.kv_heads, |task, scratch| {
        let at = place(&shape, task);
        let scores_len = QUERY_ROWS * length.next_multiple_of(LANES);
        let [a_pack, keys_across, keys_along, values, work, small] = scratch.take([
            packed_a_len(isa, K_BLOCK),
            packed_b_len(isa, width, length),
            packed_b_len(isa, length, width),
            packed_b_len(isa, width, length),
            2 * scores_len,
            2 * packed_b_len(isa, QUERY_ROWS, width),
        ]);
        let keys_across = pack_b(isa, Operand::transposed(qkv, at.key, stride), width, length, keys_across);
        let keys_along = pack_b(isa, Operand::rows(qkv, at.key, stride), length, width, keys_along);
        let values = pack_b(isa, Operand::transposed(qkv, at.value, stride), width, length, values);
        for row in 0..length {
            for start in [at.key, at.value] {
                // SAFETY: the rows of a key-value head and sequence belong to one task.
                unsafe { d_qkv.part(start + row * stride, width) }.fill(0.0);
            }
        }
        let (p, d_s) = work.split_at_mut(scores_len);
        let task_of = BackwardTask { isa, shape, at, forward, d_out, keys_across, keys_along, values, d_qkv: &d_qkv };
        for head in group_of(heads, task) {
            for row in (0..length).step_by(QUERY_ROWS) {
                let block = Block::new(&shape, task_of.at.sequence, head, row);
                let (p, d_s) = (&mut p[..block.count * block.between], &mut d_s[..block.count * block.between]);
                task_of.scores(block, p, d_s, a_pack);
                task_of.add_gradients(block, p, d_s, a_pack, small);
            }
        }
    });
}

/// One sequence and key-value head, whose keys (both ways) and values are packed.
struct BackwardTask<'a> {
    isa: Isa,
    shape: Attention<'a>,
    at: Place,
    forward: Forward<'a>,
    d_out: &'a [f32],
    keys_across: Packed<'a>,
    keys_along: Packed<'a>,
    values: Packed<'a>,
    d_qkv: &'a Disjoint<'a>,
}

impl<'a> BackwardTask<'a> {
    /// Where the first query of a block lies in `qkv`, and its output in `out`.
    fn starts(&self, block: Block) -> (usize, usize) {
        let (heads, at) = (self.shape.heads, &self.at);
        let column = block.head * heads.head_dim;
        let out = (at.sequence * self.shape.length + block.row) * heads.queries() + column;
        (at.base + block.row * heads.row() + column, out)
    }

    fn query(&self, block: Block) -> Operand<'a> {
        Operand::rows(self.forward.qkv, self.starts(block).0, self.shape.heads.row())
    }

    fn d_o(&self, block: Block) -> Operand<'a> {
        Operand::rows(self.d_out, self.starts(block).1, self.shape.heads.queries())
    }

    /// `p` and `ds` of a block.
    fn scores(&self, block: Block, p: &mut [f32], d_s: &mut [f32], a_pack: &mut [f32]) {
        let Self { isa, ref shape, ref at, .. } = *self;
        let Block { head, row, count, floor, seen, between } = block;
        let (heads, width) = (shape.heads, shape.heads.head_dim);
        let scores = Product {
            a: self.query(block),
            rows: count,
            columns: seen,
            k: width,
            b: self.keys_across,
            first_k: 0,
            first_column: floor,
            c: p.as_mut_ptr(),
            c_stride: between,
            accumulate: false,
        };
        // SAFETY: `p` and `d_s` hold count rows of seen values.
        unsafe {
            multiply(isa, scores, a_pack);
            multiply(isa, Product { a: self.d_o(block), b: self.values, c: d_s.as_mut_ptr(), ..scores }, a_pack);
        }
        let (saved, out_start) = ((at.sequence * heads.heads + head) * shape.length + row, self.starts(block).1);
        for (index, (p, d_s)) in p.chunks_exact_mut(between).zip(d_s.chunks_exact_mut(between)).enumerate() {
            let first = visible(shape, at.sequence, row + index).0 - floor;
            let end = row + index + 1 - floor;
            let from = out_start + index * heads.queries();
            let delta = rows::dot_product(isa, &self.forward.out[from..from + width], &self.d_out[from..from + width]);
            for values in [&mut *p, &mut *d_s] {
                values[..first].fill(0.0);
                values[end..].fill(0.0);
            }
            let (p, d_s) = (&mut p[first..end], &mut d_s[first..end]);
            let log_sum_exp = self.forward.log_sum_exp[saved + index];
            rows::attention_row_backward(isa, p, d_s, scale(width), log_sum_exp, delta);
        }
    }

    /// Writes the gradient of a block's queries, and adds those of the keys and values that it sees.
    fn add_gradients(&self, block: Block, p: &[f32], d_s: &[f32], a_pack: &mut [f32], small: &mut [f32]) {
        let Self { isa, ref at, d_qkv, .. } = *self;
        let Block { count, floor, seen, between, .. } = block;
        let (width, stride) = (self.shape.heads.head_dim, self.shape.heads.row());
        let (small_query, small_out) = small.split_at_mut(packed_b_len(isa, QUERY_ROWS, width));
        let to_query = Product {
            a: Operand::rows(d_s, 0, between),
            rows: count,
            columns: width,
            k: seen,
            b: self.keys_along,
            first_k: floor,
            first_column: 0,
            c: d_qkv.block(self.starts(block).0, count, width, stride),
            c_stride: stride,
            accumulate: false,
        };
        let to_key = Product {
            a: Operand::transposed(d_s, 0, between),
            rows: seen,
            k: count,
            b: pack_b(isa, self.query(block), count, width, small_query),
            first_k: 0,
            c: d_qkv.block(at.key + floor * stride, seen, width, stride),
            accumulate: true,
            ..to_query
        };
        let to_value = Product {
            a: Operand::transposed(p, 0, between),
            b: pack_b(isa, self.d_o(block), count, width, small_out),
            c: d_qkv.block(at.value + floor * stride, seen, width, stride),
            ..to_key
        };
        for product in [to_query, to_key, to_value] {
            // SAFETY: a sequence's columns of this key-value head and of its query heads belong to one task.
            unsafe { multiply(isa, product, a_pack) };
        }
    }
}
