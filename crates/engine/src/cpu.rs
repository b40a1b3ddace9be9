//! The operations on the CPU, in the strict profile: one fixed order of every sum, for any threads and instructions.

mod attention;
mod crew;
pub mod elementary;
mod exponentials;
mod gemm;
mod loss;
mod memory;
mod peak;
mod pool;
mod reduction;
mod rows;
mod vector;

pub(crate) use elementary::exp;
pub use peak::fma_burst;

use crate::batch::IGNORED_TOKEN;
use crate::ops::{
    AdamW, AdamWBuffers, Attended, Attention, Gemm, Head, HeadNorm, HeadNormGradients, HeadNormWeights, Norm,
    NormInput, Ops, OpsResult, Rope, Transposition, View, ViewMut,
};
use crate::{EngineError, Isa, SparseDelta};
use gemm::{Operand, PackedMatrix, Sizes};
use memory::Aligned;
use pool::{Disjoint, Pool};

/// Rows of one task of a row-wise kernel, and of one partial sum over rows. Part of the numerics.
const ROW_CHUNK: usize = 64;

/// Values of one task of a value-wise kernel, and of one partial sum of squares. Part of the numerics.
const VALUE_CHUNK: usize = 1 << 16;

/// Columns of one task of a kernel that must see the rows in order.
const COLUMN_CHUNK: usize = 64;

/// Values of one task of the optimiser: small matrices are shared out, too. No part of the numerics.
const OPTIMISER_CHUNK: usize = 1 << 14;

/// The operations on the CPU. Memory is a slice of the host.
pub struct Cpu {
    isa: Isa,
    pool: Pool,
    /// The packed right side of a product.
    packed: Aligned,
    /// A block of the head, packed.
    packed_head: PackedMatrix,
    /// Partial sums of a reduction over rows.
    partial: Vec<f32>,
}

type Read<'a> = View<'a, [f32]>;
type Write<'a> = ViewMut<'a, [f32]>;

impl<'a> View<'a, [f32]> {
    fn take(self, len: usize) -> &'a [f32] {
        &self.memory[self.start..self.start + len]
    }
}

impl<'a> ViewMut<'a, [f32]> {
    fn take(self, len: usize) -> &'a mut [f32] {
        &mut self.memory[self.start..self.start + len]
    }
}

impl Cpu {
    /// The operations with these instructions on `threads` threads, of which the calling thread is one.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, EngineError> {
        if !isa.is_available() {
            return Err(EngineError::IsaMissing(isa));
        }
        Ok(Self {
            isa,
            pool: Pool::new(threads)?,
            packed: Aligned::default(),
            packed_head: PackedMatrix::default(),
            partial: Vec::new(),
        })
    }

    /// The instructions in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl Ops for Cpu {
    type Memory = [f32];
    type Owned = Aligned;
    type Packed = PackedMatrix;

    fn allocate(&mut self, len: usize) -> OpsResult<Aligned> {
        Aligned::new(len)
    }

    fn upload(&mut self, from: &[f32], to: Write) -> OpsResult {
        to.take(from.len()).copy_from_slice(from);
        Ok(())
    }

    fn download(&mut self, from: Read, to: &mut [f32]) -> OpsResult {
        to.copy_from_slice(from.take(to.len()));
        Ok(())
    }

    fn copy(&mut self, from: Read, to: Write, len: usize) -> OpsResult {
        let (from, to) = (from.take(len), Disjoint::new(to.take(len)));
        self.pool.pieces(len, VALUE_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            unsafe { to.part(start, end - start) }.copy_from_slice(&from[start..end]);
        });
        Ok(())
    }

    fn zero(&mut self, to: Write, len: usize) -> OpsResult {
        let to = Disjoint::new(to.take(len));
        self.pool.pieces(len, VALUE_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            unsafe { to.part(start, end - start) }.fill(0.0);
        });
        Ok(())
    }

    fn axpy(&mut self, alpha: f32, x: Read, y: Write, len: usize) -> OpsResult {
        let (x, y) = (x.take(len), Disjoint::new(y.take(len)));
        self.pool.pieces(len, VALUE_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            rows::axpy(self.isa, alpha, &x[start..end], unsafe { y.part(start, end - start) });
        });
        Ok(())
    }

    fn gemm(&mut self, shape: Gemm, a: Read, b: Read, c: Write) -> OpsResult {
        let Gemm { m, n, k, transposition, accumulate } = shape;
        let (a, b) = (a.take(m * k), b.take(k * n));
        let (a, b) = match transposition {
            Transposition::Neither => (Operand::rows(a, 0, k), Operand::rows(b, 0, n)),
            Transposition::Right => (Operand::rows(a, 0, k), Operand::transposed(b, 0, k)),
            Transposition::Left => (Operand::transposed(a, 0, m), Operand::rows(b, 0, n)),
        };
        let sizes = Sizes { m, n, k, accumulate };
        gemm::gemm(self.isa, &self.pool, sizes, a, b, c.take(m * n), &mut self.packed);
        Ok(())
    }

    fn pack(&mut self, n: usize, k: usize, weight: Read, to: &mut PackedMatrix) -> OpsResult {
        to.pack(self.isa, &self.pool, k, n, Operand::transposed(weight.take(n * k), 0, k));
        Ok(())
    }

    fn gemm_packed(&mut self, m: usize, a: Read, weight: &PackedMatrix, c: Write, accumulate: bool) -> OpsResult {
        let (n, k) = (weight.columns(), weight.terms());
        let a = Operand::rows(a.take(m * k), 0, k);
        gemm::gemm_packed(self.isa, &self.pool, m, a, weight, c.take(m * n), accumulate);
        Ok(())
    }

    fn swiglu_packed(&mut self, m: usize, a: Read, weight: &PackedMatrix, out: Write) -> OpsResult {
        let (width, k) = (weight.columns() / 2, weight.terms());
        let out = Disjoint::new(out.take(m * width));
        gemm::for_rows(self.isa, &self.pool, m, Operand::rows(a.take(m * k), 0, k), weight, |row, gate_up| {
            // SAFETY: each row is visited once.
            let out = unsafe { out.part(row * width, width) };
            rows::swiglu_forward(self.isa, gate_up, out, width);
        });
        Ok(())
    }

    fn embedding_forward(&mut self, tokens: &[u32], width: usize, table: Read, out: Write) -> OpsResult {
        let out = Disjoint::new(out.take(tokens.len() * width));
        self.pool.pieces(tokens.len(), ROW_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.part(start * width, (end - start) * width) };
            for (out, &token) in out.chunks_exact_mut(width).zip(&tokens[start..end]) {
                match token {
                    IGNORED_TOKEN => out.fill(0.0),
                    _ => {
                        let row = View::new(table.memory, table.start + token as usize * width);
                        out.copy_from_slice(row.take(width));
                    }
                }
            }
        });
        Ok(())
    }

    fn embedding_backward(&mut self, tokens: &[u32], width: usize, d_out: Read, d_table: Write) -> OpsResult {
        let d_out = d_out.take(tokens.len() * width);
        let d_table = Disjoint::new(&mut d_table.memory[d_table.start..]);
        // A task has some columns of every row, so that a token that comes twice is added in the tokens' order.
        self.pool.pieces(width, COLUMN_CHUNK, |start, end, _| {
            for (d_out, &token) in d_out.chunks_exact(width).zip(tokens) {
                if token != IGNORED_TOKEN {
                    // SAFETY: pieces of columns do not overlap.
                    let row = unsafe { d_table.part(token as usize * width + start, end - start) };
                    rows::add(self.isa, &d_out[start..end], row);
                }
            }
        });
        Ok(())
    }

    fn rms_norm_forward(&mut self, shape: Norm, x: Read, weight: Read, out: Write) -> OpsResult {
        let Norm { rows, width, epsilon } = shape;
        let (x, weight, out) = (x.take(rows * width), weight.take(width), Disjoint::new(out.take(rows * width)));
        self.pool.pieces(rows, ROW_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.part(start * width, (end - start) * width) };
            rows::rms_norm_forward(self.isa, &x[start * width..end * width], weight, epsilon, out);
        });
        Ok(())
    }

    fn rms_norm_backward(
        &mut self,
        shape: Norm,
        input: NormInput<[f32]>,
        d_out: Read,
        d_x: Write,
        d_weight: Write,
    ) -> OpsResult {
        let (Norm { rows, width, epsilon }, NormInput { x, weight }) = (shape, input);
        let (x, d_out) = (x.take(rows * width), d_out.take(rows * width));
        let (weight, d_weight) = (weight.take(width), d_weight.take(width));
        let d_x = Disjoint::new(d_x.take(rows * width));
        let chunks = rows.div_ceil(ROW_CHUNK);
        self.partial.clear();
        self.partial.resize(chunks * width, 0.0);
        let partial = Disjoint::new(&mut self.partial);
        self.pool.pieces(rows, ROW_CHUNK, |start, end, scratch| {
            let [s, ..] = scratch.take([width, 0, 0, 0, 0, 0]);
            let rows = start * width..end * width;
            // SAFETY: pieces do not overlap, and each has its own partial sum.
            let (d_x, partial) =
                unsafe { (d_x.part(rows.start, rows.len()), partial.part(start / ROW_CHUNK * width, width)) };
            let (x, d_out) = (&x[rows.clone()], &d_out[rows]);
            rows::rms_norm_backward(self.isa, x, weight, epsilon, d_out, d_x, partial, s);
        });
        for partial in self.partial.chunks_exact(width) {
            rows::add(self.isa, partial, d_weight);
        }
        Ok(())
    }

    fn head_norm_forward(
        &mut self,
        shape: HeadNorm,
        weights: HeadNormWeights<[f32]>,
        qkv: Write,
        raw: Write,
    ) -> OpsResult {
        let HeadNorm { rows, heads, epsilon } = shape;
        let (width, stride, kept) = (heads.head_dim, heads.row(), heads.rotated() * heads.head_dim);
        let (query_weight, key_weight) = (weights.query.take(width), weights.key.take(width));
        let (qkv, raw) = (Disjoint::new(qkv.take(rows * stride)), Disjoint::new(raw.take(rows * kept)));
        self.pool.pieces(rows, ROW_CHUNK, |start, end, _| {
            for row in start..end {
                // SAFETY: each row belongs to one piece.
                let (x, raw) = unsafe { (qkv.part(row * stride, kept), raw.part(row * kept, kept)) };
                raw.copy_from_slice(x);
                let (queries, keys) = x.split_at_mut(heads.queries());
                let (raw_queries, raw_keys) = raw.split_at(heads.queries());
                rows::rms_norm_forward(self.isa, raw_queries, query_weight, epsilon, queries);
                rows::rms_norm_forward(self.isa, raw_keys, key_weight, epsilon, keys);
            }
        });
        Ok(())
    }

    fn head_norm_backward(
        &mut self,
        shape: HeadNorm,
        weights: HeadNormWeights<[f32]>,
        raw: Read,
        d_qkv: Write,
        d_weights: HeadNormGradients<[f32]>,
    ) -> OpsResult {
        let HeadNorm { rows, heads, epsilon } = shape;
        let (width, stride, kept) = (heads.head_dim, heads.row(), heads.rotated() * heads.head_dim);
        let (query_weight, key_weight) = (weights.query.take(width), weights.key.take(width));
        let (raw, d_qkv) = (raw.take(rows * kept), Disjoint::new(d_qkv.take(rows * stride)));
        self.partial.clear();
        self.partial.resize(rows.div_ceil(ROW_CHUNK) * 2 * width, 0.0);
        let partial = Disjoint::new(&mut self.partial);
        self.pool.pieces(rows, ROW_CHUNK, |start, end, scratch| {
            let [s, d_x, ..] = scratch.take([width, kept, 0, 0, 0, 0]);
            let d_x = &mut d_x[..kept];
            // SAFETY: each piece has its own partial sum.
            let partial = unsafe { partial.part(start / ROW_CHUNK * 2 * width, 2 * width) };
            let (d_query, d_key) = partial.split_at_mut(width);
            for row in start..end {
                // SAFETY: each row belongs to one piece.
                let d = unsafe { d_qkv.part(row * stride, kept) };
                let (raw_queries, raw_keys) = raw[row * kept..(row + 1) * kept].split_at(heads.queries());
                d_x.fill(0.0);
                let (d_raw_queries, d_raw_keys) = d_x.split_at_mut(heads.queries());
                let (d_queries, d_keys) = d.split_at(heads.queries());
                let isa = self.isa;
                rows::rms_norm_backward(isa, raw_queries, query_weight, epsilon, d_queries, d_raw_queries, d_query, s);
                rows::rms_norm_backward(isa, raw_keys, key_weight, epsilon, d_keys, d_raw_keys, d_key, s);
                d.copy_from_slice(d_x);
            }
        });
        let HeadNormGradients { memory, query, key } = d_weights;
        for partial in self.partial.chunks_exact(2 * width) {
            rows::add(self.isa, &partial[..width], &mut memory[query..query + width]);
            rows::add(self.isa, &partial[width..], &mut memory[key..key + width]);
        }
        Ok(())
    }

    fn rope(&mut self, shape: Rope, table: Read, qkv: Write) -> OpsResult {
        let Rope { rows, length, first_position, heads, is_backward } = shape;
        let (stride, turned) = (heads.row(), heads.rotated() * heads.head_dim);
        let table = table.take((first_position + length.min(rows)) * heads.head_dim);
        let qkv = Disjoint::new(qkv.take(rows * stride));
        let sign = if is_backward { -1.0 } else { 1.0 };
        self.pool.pieces(rows, ROW_CHUNK, |start, end, _| {
            for row in start..end {
                let position = (first_position + row % length) * heads.head_dim;
                // SAFETY: each row belongs to one piece.
                let x = unsafe { qkv.part(row * stride, turned) };
                rows::rope(self.isa, x, &table[position..position + heads.head_dim], sign);
            }
        });
        Ok(())
    }

    fn attention_forward(&mut self, shape: Attention, qkv: Read, out: Write, log_sum_exp: Write) -> OpsResult {
        let queries = shape.sequences * (shape.length - shape.first_query);
        attention::forward(
            self.isa,
            &self.pool,
            shape,
            qkv.take(shape.sequences * shape.length * shape.heads.row()),
            out.take(queries * shape.heads.queries()),
            log_sum_exp.take(queries * shape.heads.heads),
        );
        Ok(())
    }

    fn attention_backward(
        &mut self,
        shape: Attention,
        forward: Attended<[f32]>,
        d_out: Read,
        d_qkv: Write,
    ) -> OpsResult {
        let (rows, heads) = (shape.sequences * shape.length, shape.heads);
        let forward = attention::Forward {
            qkv: forward.qkv.take(rows * heads.row()),
            out: forward.out.take(rows * heads.queries()),
            log_sum_exp: forward.log_sum_exp.take(rows * heads.heads),
        };
        let (d_out, d_qkv) = (d_out.take(rows * heads.queries()), d_qkv.take(rows * heads.row()));
        attention::backward(self.isa, &self.pool, shape, forward, d_out, d_qkv);
        Ok(())
    }

    fn swiglu_forward(&mut self, rows: usize, width: usize, gate_up: Read, out: Write) -> OpsResult {
        let (gate_up, out) = (gate_up.take(rows * 2 * width), Disjoint::new(out.take(rows * width)));
        self.pool.pieces(rows, ROW_CHUNK, |start, end, _| {
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.part(start * width, (end - start) * width) };
            rows::swiglu_forward(self.isa, &gate_up[start * 2 * width..end * 2 * width], out, width);
        });
        Ok(())
    }

    fn swiglu_backward(&mut self, rows: usize, width: usize, d_out: Read, gate_up: Write, out: Write) -> OpsResult {
        let (d_out, gate_up) = (d_out.take(rows * width), Disjoint::new(gate_up.take(rows * 2 * width)));
        let out = Disjoint::new(out.take(rows * width));
        self.pool.pieces(rows, ROW_CHUNK, |start, end, _| {
            let count = end - start;
            // SAFETY: pieces do not overlap.
            let (gate_up, out) =
                unsafe { (gate_up.part(start * 2 * width, count * 2 * width), out.part(start * width, count * width)) };
            rows::swiglu_backward(self.isa, gate_up, &d_out[start * width..end * width], out, width);
        });
        Ok(())
    }

    fn cross_entropy(
        &mut self,
        vocab: usize,
        targets: &[u32],
        gradient_scale: f32,
        logits: Write,
        losses: &mut [f32],
    ) -> OpsResult {
        let logits = logits.take(targets.len() * vocab);
        loss::cross_entropy(self.isa, &self.pool, targets, gradient_scale, logits, losses);
        Ok(())
    }

    fn head_losses(
        &mut self,
        shape: Head,
        normed: Read,
        weight: Read,
        targets: &[u32],
        losses: &mut [f32],
    ) -> OpsResult {
        let (normed, weight) = (normed.take(targets.len() * shape.hidden), weight.take(shape.vocab * shape.hidden));
        self.losses_of_head(shape, normed, weight, targets, losses);
        Ok(())
    }

    fn add_sparse(&mut self, delta: SparseDelta, to: Write, before: Option<Write>) -> OpsResult {
        let to = &mut to.memory[to.start..];
        let changes = delta.indices.iter().zip(delta.values);
        match before {
            Some(before) => {
                for ((&index, value), before) in changes.zip(before.take(delta.indices.len())) {
                    let place = &mut to[index as usize];
                    *before = *place;
                    *place += value;
                }
            }
            None => changes.for_each(|(&index, value)| to[index as usize] += value),
        }
        Ok(())
    }

    fn restore_sparse(&mut self, indices: &[u32], before: Read, to: Write) -> OpsResult {
        let to = &mut to.memory[to.start..];
        for (&index, &value) in indices.iter().zip(before.take(indices.len())).rev() {
            to[index as usize] = value;
        }
        Ok(())
    }

    fn sum_of_squares(&mut self, x: Read, len: usize) -> OpsResult<f64> {
        let x = x.take(len);
        self.partial.clear();
        self.partial.resize(len.div_ceil(VALUE_CHUNK), 0.0);
        let partial = Disjoint::new(&mut self.partial);
        self.pool.pieces(len, VALUE_CHUNK, |start, end, _| {
            // SAFETY: each piece has its own partial sum.
            let sum = unsafe { partial.part(start / VALUE_CHUNK, 1) };
            sum[0] = rows::dot_product(self.isa, &x[start..end], &x[start..end]);
        });
        Ok(self.partial.iter().map(|&sum| f64::from(sum)).sum())
    }

    fn adamw(&mut self, rule: AdamW, buffers: AdamWBuffers<[f32]>, len: usize) -> OpsResult {
        let AdamWBuffers { gradient, parameters, first_moment, second_moment } = buffers;
        let gradient = gradient.take(len);
        let [w, m, v] = [parameters, first_moment, second_moment].map(|view| Disjoint::new(view.take(len)));
        self.pool.pieces(len, OPTIMISER_CHUNK, |start, end, _| {
            let count = end - start;
            // SAFETY: pieces do not overlap.
            let (w, m, v) = unsafe { (w.part(start, count), m.part(start, count), v.part(start, count)) };
            rows::adamw(self.isa, rule, &gradient[start..end], w, m, v);
        });
        Ok(())
    }
}
