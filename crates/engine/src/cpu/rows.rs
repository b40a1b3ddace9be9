//! Kernels over rows and over single values; each is compiled for every instruction set.

use super::elementary::{exp, ln};
use super::reduction::{LANES, dot, larger, max, max_of_lanes, sum_lanes};
use super::vector::kernel;
use crate::ops::AdamW;
use std::ops::Range;

kernel! {
    /// `y += alpha x`.
    fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = alpha.mul_add(*x, *y);
        }
    }
}

kernel! {
    /// `y += x`.
    fn add(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

kernel! {
    /// `sum(x y)` in fixed lanes.
    fn dot_product(x: &[f32], y: &[f32]) -> f32 {
        dot(x, y)
    }
}

/// `1 / sqrt(mean(x²) + epsilon)`.
#[inline(always)]
fn inverse_root_mean_square(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

kernel! {
    /// `out = x r weight`, `r = 1 / sqrt(mean(x²) + epsilon)`, for rows of the weight's length.
    fn rms_norm_forward(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let r = inverse_root_mean_square(x, epsilon);
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * r * weight;
            }
        }
    }
}

kernel! {
    /// With `s = d_out weight`: `d_x += r s - x r³ mean(s x)`, `d_weight += d_out x r`. `s` is working memory of a row.
    fn rms_norm_backward(
        x: &[f32], weight: &[f32], epsilon: f32, d_out: &[f32], d_x: &mut [f32], d_weight: &mut [f32], s: &mut [f32],
    ) {
        let width = weight.len();
        let (s, d_weight) = (&mut s[..width], &mut d_weight[..width]);
        for ((x, d_out), d_x) in
            x.chunks_exact(width).zip(d_out.chunks_exact(width)).zip(d_x.chunks_exact_mut(width))
        {
            let r = inverse_root_mean_square(x, epsilon);
            for i in 0..width {
                s[i] = d_out[i] * weight[i];
                d_weight[i] = (d_out[i] * r).mul_add(x[i], d_weight[i]);
            }
            let along = dot(s, x) * r * r * r / width as f32;
            for i in 0..width {
                d_x[i] += s[i] * r - x[i] * along;
            }
        }
    }
}

/// A pair, turned.
#[inline(always)]
fn rotated(a: f32, b: f32, cosine: f32, sine: f32) -> (f32, f32) {
    (a * cosine - b * sine, b * cosine + a * sine)
}

kernel! {
    /// Rotates the pairs (i, i + width/2) of each vector in `x` (Hugging Face's half-split convention).
    ///
    /// `table` holds width/2 cosines and as many sines; `sign` is 1 forward and -1 backward.
    fn rope(x: &mut [f32], table: &[f32], sign: f32) {
        let half = table.len() / 2;
        let (cosines, sines) = table.split_at(half);
        let (cosine_blocks, cosine_rest) = cosines.as_chunks::<LANES>();
        let (sine_blocks, sine_rest) = sines.as_chunks::<LANES>();
        for vector in x.chunks_exact_mut(2 * half) {
            let (first, second) = vector.split_at_mut(half);
            let (first, first_rest) = first.as_chunks_mut::<LANES>();
            let (second, second_rest) = second.as_chunks_mut::<LANES>();
            for (((a, b), cosines), sines) in first.iter_mut().zip(second).zip(cosine_blocks).zip(sine_blocks) {
                for i in 0..LANES {
                    (a[i], b[i]) = rotated(a[i], b[i], cosines[i], sines[i] * sign);
                }
            }
            for (((a, b), cosine), sine) in first_rest.iter_mut().zip(second_rest).zip(cosine_rest).zip(sine_rest) {
                (*a, *b) = rotated(*a, *b, *cosine, sine * sign);
            }
        }
    }
}

kernel! {
    /// `out = gate sigmoid(gate) up`; a row of `gate_up` holds `width` gates, then as many ups.
    fn swiglu_forward(gate_up: &[f32], out: &mut [f32], width: usize) {
        for (gate_up, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = gate_up.split_at(width);
            for i in 0..width {
                out[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
            }
        }
    }
}

kernel! {
    /// With `s = sigmoid(gate)`: `d_gate = d up s (1 + gate (1 - s))`, `d_up = d gate s`, written over gate and up.
    fn swiglu_backward(gate_up: &mut [f32], d_out: &[f32], width: usize) {
        for (gate_up, d) in gate_up.chunks_exact_mut(2 * width).zip(d_out.chunks_exact(width)) {
            let (gate, up) = gate_up.split_at_mut(width);
            for i in 0..width {
                let s = 1.0 / (1.0 + exp(-gate[i]));
                let d_gate = d[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                up[i] = d[i] * gate[i] * s;
                gate[i] = d_gate;
            }
        }
    }
}

/// Some exponentials: `highest = scale max x` and `sum = sum(exp(scale x - highest))`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Exponentials {
    pub highest: f32,
    pub sum: f32,
}

impl Exponentials {
    /// Those of a row from those of its parts, in order.
    pub(crate) fn joined(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let highest = parts.clone().fold(f32::NEG_INFINITY, |a, b| if b.highest > a { b.highest } else { a });
        let whole = Self { highest, sum: 0.0 };
        Self { sum: parts.fold(0.0, |sum, part| part.sum.mul_add(part.factor_in(whole), sum)), ..whole }
    }

    /// What this part's exponentials are multiplied by in the whole row.
    pub(crate) fn factor_in(self, whole: Self) -> f32 {
        exp(self.highest - whole.highest)
    }

    /// `log(sum(exp(scale x)))`.
    pub(crate) fn logarithm(self) -> f32 {
        self.highest + ln(self.sum)
    }
}

kernel! {
    /// `x = exp(x - highest)` in place, `highest = max x`.
    fn exponentials(x: &mut [f32]) -> Exponentials {
        let highest = max(x);
        let mut lanes = [0.0f32; LANES];
        let (blocks, rest) = x.as_chunks_mut::<LANES>();
        for block in blocks {
            for i in 0..LANES {
                let e = exp(block[i] - highest);
                block[i] = e;
                lanes[i] += e;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *x = exp(*x - highest);
            *lane += *x;
        }
        Exponentials { highest, sum: sum_lanes(lanes) }
    }
}

/// All bits of a value, or none.
type Mask = [u32; LANES];

/// Every lane.
const ALL: Mask = [u32::MAX; LANES];

/// `value` where the mask is set, else `other`.
#[inline(always)]
fn masked(value: f32, mask: u32, other: f32) -> f32 {
    f32::from_bits(value.to_bits() & mask | other.to_bits() & !mask)
}

/// The blocks of a row that a span touches, each with its mask: the first, those between, and the last.
#[inline(always)]
fn for_blocks(blocks: &mut [[f32; LANES]], span: &Range<usize>, mut each: impl FnMut(&mut [f32; LANES], &Mask)) {
    /// Sixteen lanes out, sixteen in, sixteen out.
    const STEPS: [u32; 3 * LANES] = {
        let mut steps = [0; 3 * LANES];
        let mut lane = LANES;
        while lane < 2 * LANES {
            steps[lane] = u32::MAX;
            lane += 1;
        }
        steps
    };
    let sixteen = |place: usize| STEPS[place..].first_chunk::<LANES>().unwrap_or(&ALL);
    let is_behind_start = sixteen(LANES - span.start % LANES);
    let is_before_end = sixteen(2 * LANES - 1 - (span.end - 1) % LANES);
    match &mut blocks[span.start / LANES..span.end.div_ceil(LANES)] {
        [] => {}
        [only] => each(only, &std::array::from_fn(|lane| is_behind_start[lane] & is_before_end[lane])),
        [first, between @ .., last] => {
            each(first, is_behind_start);
            for block in between {
                each(block, &ALL);
            }
            each(last, is_before_end);
        }
    }
}

kernel! {
    /// `x = exp(scale x - highest)` in place in a span of each row of `x: [spans, width]`, `highest = scale max x`; 0
    /// outside the span. The width is whole lanes; a value's lane is its place in the row.
    ///
    /// All largest values come first, so that a row need not wait for the one before.
    fn masked_exponentials(x: &mut [f32], spans: &[Range<usize>], scale: f32, known: &mut [Exponentials]) {
        let (blocks, _) = x.as_chunks_mut::<LANES>();
        let width = blocks.len() / spans.len().max(1);
        for ((blocks, span), known) in blocks.chunks_exact_mut(width).zip(spans).zip(&mut *known) {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for_blocks(blocks, span, |block, mask| {
                for i in 0..LANES {
                    lanes[i] = larger(lanes[i], masked(block[i], mask[i], f32::NEG_INFINITY));
                }
            });
            known.highest = max_of_lanes(lanes) * scale;
        }
        for ((blocks, span), known) in blocks.chunks_exact_mut(width).zip(spans).zip(known) {
            blocks[..span.start / LANES].as_flattened_mut().fill(0.0);
            blocks[span.end.div_ceil(LANES)..].as_flattened_mut().fill(0.0);
            let mut lanes = [0.0f32; LANES];
            let highest = known.highest;
            for_blocks(blocks, span, |block, mask| {
                for i in 0..LANES {
                    let e = masked(exp(block[i].mul_add(scale, -highest)), mask[i], 0.0);
                    block[i] = e;
                    lanes[i] += e;
                }
            });
            known.sum = sum_lanes(lanes);
        }
    }
}

kernel! {
    /// What [`exponentials`] returns, without writing them.
    fn sum_of_exponentials(x: &[f32]) -> Exponentials {
        let highest = max(x);
        let mut lanes = [0.0f32; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for i in 0..LANES {
                lanes[i] += exp(block[i] - highest);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += exp(x - highest);
        }
        Exponentials { highest, sum: sum_lanes(lanes) }
    }
}

kernel! {
    /// `logarithms = log(sum(exp))` of some rows, and `inverses = 1 / sum`.
    fn logarithms(rows: &[Exponentials], logarithms: &mut [f32], inverses: &mut [f32]) {
        for ((row, logarithm), inverse) in rows.iter().zip(logarithms).zip(inverses) {
            *logarithm = row.logarithm();
            *inverse = 1.0 / row.sum;
        }
    }
}

kernel! {
    /// `to[row] = factors[row] from[row]`, `from: [rows, width]`.
    fn scaled_rows(factors: &[f32], from: &[f32], to: &mut [&mut [f32]]) {
        let width = from.len() / factors.len().max(1);
        for ((factor, from), to) in factors.iter().zip(from.chunks_exact(width)).zip(to) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = factor * from;
            }
        }
    }
}

kernel! {
    /// `x *= factor`.
    fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

/// A block of [`attention_row_backward`].
#[inline(always)]
fn attention_block_backward(
    scores: &mut [f32; LANES],
    d_p: &mut [f32; LANES],
    scale: f32,
    log_sum_exp: f32,
    delta: f32,
) {
    for (score, d) in scores.iter_mut().zip(d_p) {
        let p = exp(score.mul_add(scale, -log_sum_exp));
        *score = p;
        *d = p * (*d - delta) * scale;
    }
}

kernel! {
    /// From raw scores and `d_p`, in place: `p = exp(scale score - log_sum_exp)` and
    /// `d_score = p (d_p - delta) scale`, where `delta = sum(p d_p)`.
    fn attention_row_backward(scores: &mut [f32], d_p: &mut [f32], scale: f32, log_sum_exp: f32, delta: f32) {
        let (blocks, rest) = scores.as_chunks_mut::<LANES>();
        let (d_blocks, d_rest) = d_p.as_chunks_mut::<LANES>();
        for (scores, d) in blocks.iter_mut().zip(d_blocks) {
            attention_block_backward(scores, d, scale, log_sum_exp, delta);
        }
        // As a whole block, so that the exponentials are taken together.
        let (mut last, mut d_last) = ([0.0f32; LANES], [0.0f32; LANES]);
        last[..rest.len()].copy_from_slice(rest);
        d_last[..d_rest.len()].copy_from_slice(d_rest);
        attention_block_backward(&mut last, &mut d_last, scale, log_sum_exp, delta);
        rest.copy_from_slice(&last[..rest.len()]);
        d_rest.copy_from_slice(&d_last[..d_rest.len()]);
    }
}

kernel! {
    /// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`, `w = w (1 - lr decay) - lr m' / (sqrt(v') + epsilon)`.
    fn adamw(rule: AdamW, gradient: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let n = gradient.len();
        let (w, m, v) = (&mut w[..n], &mut m[..n], &mut v[..n]);
        let keep = 1.0 - rule.learning_rate * rule.weight_decay;
        let (rest1, rest2) = (1.0 - rule.beta1, 1.0 - rule.beta2);
        for i in 0..n {
            let g = gradient[i] * rule.gradient_scale;
            m[i] = rule.beta1 * m[i] + rest1 * g;
            v[i] = rule.beta2 * v[i] + rest2 * g * g;
            let step = rule.learning_rate * (m[i] * rule.correction1);
            w[i] = w[i] * keep - step / ((v[i] * rule.correction2).sqrt() + rule.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use templar_base::random::Stream;

    fn random(len: usize, index: u64) -> Vec<f32> {
        let mut stream = Stream::new([4; 32], "rows test", index);
        (0..len).map(|_| 4.0 * stream.unit_f32() - 2.0).collect()
    }

    /// Runs `kernel` on every instruction set, on odd sizes; what it writes and returns must be the scalar path's bits.
    fn same_everywhere(kernel: impl Fn(Isa, usize) -> Vec<f32>) {
        for size in [1, 2, 7, 16, 33, 100] {
            let bits = |isa| kernel(isa, size).into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let oracle = bits(Isa::Scalar);
            for isa in Isa::available() {
                assert_eq!(bits(isa), oracle, "{isa}, size {size}");
            }
        }
    }

    #[test]
    fn norms_are_the_same_bits_everywhere() {
        same_everywhere(|isa, n| {
            let (x, weight, d_out) = (random(3 * n, 1), random(n, 2), random(3 * n, 3));
            let mut out = vec![0.0; 3 * n];
            rms_norm_forward(isa, &x, &weight, 1e-5, &mut out);
            let (mut d_x, mut d_weight) = (random(3 * n, 4), random(n, 5));
            rms_norm_backward(isa, &x, &weight, 1e-5, &d_out, &mut d_x, &mut d_weight, &mut vec![0.0; n]);
            [out, d_x, d_weight].concat()
        });
    }

    #[test]
    fn swiglu_rope_and_sums_are_the_same_bits_everywhere() {
        same_everywhere(|isa, n| {
            let mut gate_up = random(6 * n, 1);
            let mut out = vec![0.0; 3 * n];
            swiglu_forward(isa, &gate_up, &mut out, n);
            swiglu_backward(isa, &mut gate_up, &random(3 * n, 2), n);
            let mut rotated = random(6 * n, 3);
            rope(isa, &mut rotated, &random(2 * n, 4), -1.0);
            let (mut y, mut z) = (random(n, 5), random(n, 6));
            axpy(isa, 0.3, &out, &mut y);
            add(isa, &out, &mut z);
            scale(isa, &mut z, 0.7);
            let sum = dot_product(isa, &y, &z);
            [gate_up, out, rotated, y, z, vec![sum]].concat()
        });
    }

    #[test]
    fn exponentials_and_the_gradient_of_attention_are_the_same_bits_everywhere() {
        same_everywhere(|isa, n| {
            let x = random(n, 1);
            let plain = sum_of_exponentials(isa, &x);
            let mut y = x.clone();
            assert_eq!(exponentials(isa, &mut y), plain);
            // A span that starts with a row's lanes has the bits of the whole, whatever else is in the row.
            let width = (n + 5).next_multiple_of(LANES);
            let mut masked = vec![f32::NAN; 2 * width];
            masked[..n].copy_from_slice(&x);
            masked[width + 3..width + 3 + n].copy_from_slice(&x);
            let mut rows = [Exponentials { highest: 0.0, sum: 0.0 }; 2];
            masked_exponentials(isa, &mut masked, &[0..n, 3..3 + n], 1.0, &mut rows);
            assert_eq!((rows[0], &masked[..n]), (plain, &y[..]));
            assert_eq!((rows[1].highest, &masked[width + 3..width + 3 + n]), (plain.highest, &y[..]));
            assert!((rows[1].sum - plain.sum).abs() < 1e-5 * plain.sum);
            assert_eq!(masked.iter().filter(|&&e| e == 0.0).count(), 2 * (width - n));
            let (mut sums, mut inverses) = ([0.0; 2], [0.0; 2]);
            logarithms(isa, &rows, &mut sums, &mut inverses);
            assert_eq!(sums, rows.map(Exponentials::logarithm));
            let joined = Exponentials::joined(rows.into_iter());
            let mut out = vec![0.0; 2 * width];
            scaled_rows(isa, &inverses, &masked, &mut out.chunks_exact_mut(width).collect::<Vec<_>>());
            let (mut scores, mut d) = (random(n, 2), random(n, 3));
            attention_row_backward(isa, &mut scores, &mut d, 0.3, sums[1], 0.1);
            [y, out, scores, d, sums.to_vec(), inverses.to_vec(), vec![joined.highest, joined.sum]].concat()
        });
    }

    #[test]
    fn adamw_is_the_same_bits_everywhere() {
        let rule = AdamW {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            correction1: 10.0,
            correction2: 20.0,
            gradient_scale: 0.5,
        };
        same_everywhere(|isa, n| {
            let (mut w, mut m, mut v) = (random(n, 1), random(n, 2), vec![0.01; n]);
            adamw(isa, rule, &random(n, 3), &mut w, &mut m, &mut v);
            [w, m, v].concat()
        });
    }
}
