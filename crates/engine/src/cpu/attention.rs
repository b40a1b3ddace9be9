//! Causal attention over grouped heads, some query rows at a time.
//!
//! For a head: `e = exp(scale q kᵀ - highest)` over the positions that a query may see, `o = (e v) / sum(e)`. A task is one sequence and
//! one key-value head with its group of query heads, so that keys and values are packed once for all of them, and the
//! gradient of a key belongs to one task. Scores exist for [`QUERY_ROWS`] queries at a time; the backward pass makes
//! them again from the saved log-sum-exp.

use super::exponentials::{self, Exponentials};
use super::gemm::{
    K_BLOCK, Operand, Product, multiply, pack_b, packed_a_len, packed_b_len, row_by_plain, row_by_transposed,
};
use super::pool::{Disjoint, Pool};
use super::reduction::LANES;
use super::rows;
use crate::Isa;
use crate::ops::Attention;
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

/// See [`crate::ops::Ops::attention_forward`].
pub(crate) fn forward(isa: Isa, pool: &Pool, shape: Attention, qkv: &[f32], out: &mut [f32], log_sum_exp: &mut [f32]) {
    let heads = shape.heads;
    let (length, width, stride) = (shape.length, heads.head_dim, heads.row());
    let (queries, group) = (length - shape.first_query, heads.heads / heads.kv_heads);
    if queries == 1 {
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
        for head in task % heads.kv_heads * group..(task % heads.kv_heads + 1) * group {
            for row in (shape.first_query..length).step_by(QUERY_ROWS) {
                let row_end = length.min(row + QUERY_ROWS);
                let floor = visible(&shape, at.sequence, row).1;
                let (count, seen) = (row_end - row, row_end - floor);
                let between = seen.next_multiple_of(LANES);
                let scores = &mut scores[..count * between];
                let query = Operand::rows(qkv, at.base + row * stride + head * width, stride);
                let product = Product {
                    a: query,
                    rows: count,
                    columns: seen,
                    k: width,
                    b: keys,
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
                    let row = (row + index).min(row_end - 1);
                    visible(&shape, at.sequence, row).0 - floor..row + 1 - floor
                });
                exponentials::masked_exponentials(isa, scores, &spans[..count], scale(width), &mut sums);
                let saved = (at.sequence * heads.heads + head) * queries + row - shape.first_query;
                let mut inverses = [0.0; QUERY_ROWS];
                // SAFETY: rows of one sequence and head belong to one task.
                let saved = unsafe { log_sum_exp.part(saved, count) };
                exponentials::logarithms(isa, &sums[..count], saved, &mut inverses);
                let product = Product {
                    a: Operand::rows(scores, 0, between),
                    columns: width,
                    k: seen,
                    b: values,
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
                    unsafe { out.part(start, if index < count { width } else { 0 }) }
                });
                rows::scaled_rows(isa, &inverses[..count], &attended[..count * width], &mut to);
            }
        }
    });
}

/// What attention read and what it made of it.
pub(crate) struct Forward<'a> {
    pub qkv: &'a [f32],
    pub out: &'a [f32],
    pub log_sum_exp: &'a [f32],
}

/// See [`crate::ops::Ops::attention_backward`]. With `s = scale q kᵀ`:
/// `dv = pᵀ do`, `dp = do vᵀ`, `ds = p (dp - sum(p dp)) scale`, `dq = ds k`, `dk = dsᵀ q`; `sum(p dp) = sum(o do)`.
pub(crate) fn backward(isa: Isa, pool: &Pool, shape: Attention, forward: Forward, d_out: &[f32], d_qkv: &mut [f32]) {
    let Forward { qkv, out, log_sum_exp } = forward;
    let heads = shape.heads;
    let (length, width, stride) = (shape.length, heads.head_dim, heads.row());
    let group = heads.heads / heads.kv_heads;
    let out_stride = heads.queries();
    let d_qkv = Disjoint::new(d_qkv);
    pool.run(shape.sequences * heads.kv_heads, |task, scratch| {
        let at = place(&shape, task);
        let query_pack_len = packed_b_len(isa, QUERY_ROWS, width);
        let [a_pack, keys_across, keys_along, values, work, small] = scratch.take([
            packed_a_len(isa, K_BLOCK),
            packed_b_len(isa, width, length),
            packed_b_len(isa, length, width),
            packed_b_len(isa, width, length),
            2 * QUERY_ROWS * length.next_multiple_of(LANES),
            2 * query_pack_len,
        ]);
        let (small_query, small_out) = small.split_at_mut(query_pack_len);
        let keys_across = pack_b(isa, Operand::transposed(qkv, at.key, stride), width, length, keys_across);
        let keys_along = pack_b(isa, Operand::rows(qkv, at.key, stride), length, width, keys_along);
        let values = pack_b(isa, Operand::transposed(qkv, at.value, stride), width, length, values);
        for row in 0..length {
            for start in [at.key, at.value] {
                // SAFETY: the rows of a key-value head and sequence belong to one task.
                unsafe { d_qkv.part(start + row * stride, width) }.fill(0.0);
            }
        }
        for head in task % heads.kv_heads * group..(task % heads.kv_heads + 1) * group {
            for row in (0..length).step_by(QUERY_ROWS) {
                let row_end = length.min(row + QUERY_ROWS);
                let floor = visible(&shape, at.sequence, row).1;
                let (count, seen) = (row_end - row, row_end - floor);
                let between = seen.next_multiple_of(LANES);
                let (p, d_s) = work.split_at_mut(QUERY_ROWS * length.next_multiple_of(LANES));
                let (p, d_s) = (&mut p[..count * between], &mut d_s[..count * between]);
                let query_start = at.base + row * stride + head * width;
                let query = Operand::rows(qkv, query_start, stride);
                let out_start = (at.sequence * length + row) * out_stride + head * width;
                let d_o = Operand::rows(d_out, out_start, out_stride);
                let scores = Product {
                    a: query,
                    rows: count,
                    columns: seen,
                    k: width,
                    b: keys_across,
                    first_k: 0,
                    first_column: floor,
                    c: p.as_mut_ptr(),
                    c_stride: between,
                    accumulate: false,
                };
                // SAFETY: `p` and `d_s` hold count rows of seen values.
                unsafe {
                    multiply(isa, scores, a_pack);
                    multiply(isa, Product { a: d_o, b: values, c: d_s.as_mut_ptr(), ..scores }, a_pack);
                }
                let saved = (at.sequence * heads.heads + head) * length + row;
                for (index, (p, d_s)) in p.chunks_exact_mut(between).zip(d_s.chunks_exact_mut(between)).enumerate() {
                    let first = visible(&shape, at.sequence, row + index).0 - floor;
                    let end = row + index + 1 - floor;
                    let from = out_start + index * out_stride;
                    let delta = rows::dot_product(isa, &out[from..from + width], &d_out[from..from + width]);
                    for values in [&mut *p, &mut *d_s] {
                        values[..first].fill(0.0);
                        values[end..].fill(0.0);
                    }
                    let (p, d_s) = (&mut p[first..end], &mut d_s[first..end]);
                    rows::attention_row_backward(isa, p, d_s, scale(width), log_sum_exp[saved + index], delta);
                }
                let to_query = Product {
                    a: Operand::rows(d_s, 0, between),
                    columns: width,
                    k: seen,
                    b: keys_along,
                    first_k: floor,
                    first_column: 0,
                    c: d_qkv.block(query_start, count, width, stride),
                    c_stride: stride,
                    ..scores
                };
                let to_key = Product {
                    a: Operand::transposed(d_s, 0, between),
                    rows: seen,
                    k: count,
                    b: pack_b(isa, query, count, width, small_query),
                    first_k: 0,
                    c: d_qkv.block(at.key + floor * stride, seen, width, stride),
                    accumulate: true,
                    ..to_query
                };
                let to_value = Product {
                    a: Operand::transposed(p, 0, between),
                    b: pack_b(isa, d_o, count, width, small_out),
                    c: d_qkv.block(at.value + floor * stride, seen, width, stride),
                    ..to_key
                };
                for product in [to_query, to_key, to_value] {
                    // SAFETY: a sequence's columns of this key-value head and of its query heads belong to one task.
                    unsafe { multiply(isa, product, a_pack) };
                }
            }
        }
    });
}
