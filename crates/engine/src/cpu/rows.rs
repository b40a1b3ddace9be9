//! Kernels over rows and over single values; each is compiled for every instruction set.

use super::elementary::{exp, exp_of};
use super::reduction::{LANES, dot};
use super::vector::{Vector, kernel};
use crate::ops::AdamW;

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
    fn dot_product<V, N>(x: &[f32], y: &[f32]) -> f32 {
        // SAFETY: the kernel's promise.
        unsafe { dot::<V, N>(x, y) }
    }
}

/// `1 / sqrt(mean(x²) + epsilon)`.
///
/// # Safety
/// As [`dot`].
#[inline(always)]
unsafe fn inverse_root_mean_square<V: Vector, const N: usize>(x: &[f32], epsilon: f32) -> f32 {
    // SAFETY: the caller's promise.
    let squares = unsafe { dot::<V, N>(x, x) };
    1.0 / (squares / x.len() as f32 + epsilon).sqrt()
}

kernel! {
    /// `out = x r weight`, `r = 1 / sqrt(mean(x²) + epsilon)`, for rows of the weight's length.
    fn rms_norm_forward<V, N>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            // SAFETY: the kernel's promise.
            let r = unsafe { inverse_root_mean_square::<V, N>(x, epsilon) };
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * r * weight;
            }
        }
    }
}

kernel! {
    /// With `s = d_out weight`: `d_x += r s - x r³ mean(s x)`, `d_weight += d_out x r`. `s` is working memory of a row.
    fn rms_norm_backward<V, N>(
        x: &[f32], weight: &[f32], epsilon: f32, d_out: &[f32], d_x: &mut [f32], d_weight: &mut [f32], s: &mut [f32],
    ) {
        let width = weight.len();
        let (s, d_weight) = (&mut s[..width], &mut d_weight[..width]);
        for ((x, d_out), d_x) in
            x.chunks_exact(width).zip(d_out.chunks_exact(width)).zip(d_x.chunks_exact_mut(width))
        {
            // SAFETY: the kernel's promise.
            let r = unsafe { inverse_root_mean_square::<V, N>(x, epsilon) };
            for i in 0..width {
                s[i] = d_out[i] * weight[i];
                d_weight[i] = (d_out[i] * r).mul_add(x[i], d_weight[i]);
            }
            // SAFETY: as above.
            let along = unsafe { dot::<V, N>(s, x) } * r * r * r / width as f32;
            for i in 0..width {
                d_x[i] += s[i] * r - x[i] * along;
            }
        }
    }
}

/// Pairs, turned: `(a cosine - b sine, b cosine + a sine)`.
///
/// # Safety
/// The instruction set of `V` must be there.
#[inline(always)]
unsafe fn rotated<V: Vector>(a: V, b: V, cosine: V, sine: V) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe { (a.mul(cosine).sub(b.mul(sine)), b.mul(cosine).add(a.mul(sine))) }
}

kernel! {
    /// Rotates the pairs (i, i + width/2) of each vector in `x` (Hugging Face's half-split convention).
    ///
    /// `table` holds width/2 cosines and as many sines; `sign` is 1 forward and -1 backward.
    fn rope<V, N>(x: &mut [f32], table: &[f32], sign: f32) {
        let half = table.len() / 2;
        let (cosines, sines) = table.split_at(half);
        let whole = half / V::LANES * V::LANES;
        for vector in x.chunks_exact_mut(2 * half) {
            let (first, second) = vector.split_at_mut(half);
            // SAFETY: the kernel's promise; places up to `whole` are whole registers of the halves.
            unsafe {
                for place in (0..whole).step_by(V::LANES) {
                    let (a, b) = (first.as_mut_ptr().add(place), second.as_mut_ptr().add(place));
                    let sine = V::load(sines.as_ptr().add(place)).mul(V::splat(sign));
                    let turned = rotated(V::load(a), V::load(b), V::load(cosines.as_ptr().add(place)), sine);
                    turned.0.store(a);
                    turned.1.store(b);
                }
                for place in whole..half {
                    (first[place], second[place]) =
                        rotated(first[place], second[place], cosines[place], sines[place] * sign);
                }
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
    /// With `s = sigmoid(gate)`: `d_gate = d up s (1 + gate (1 - s))`, `d_up = d gate s`, written over gate and up, and
    /// what [`swiglu_forward`] makes of these in `out`.
    fn swiglu_backward(gate_up: &mut [f32], d_out: &[f32], out: &mut [f32], width: usize) {
        let rows = gate_up.chunks_exact_mut(2 * width).zip(d_out.chunks_exact(width));
        for ((gate_up, d), out) in rows.zip(out.chunks_exact_mut(width)) {
            let (gate, up) = gate_up.split_at_mut(width);
            for i in 0..width {
                let inverse = 1.0 + exp(-gate[i]);
                out[i] = gate[i] / inverse * up[i];
                let s = 1.0 / inverse;
                let d_gate = d[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                up[i] = d[i] * gate[i] * s;
                gate[i] = d_gate;
            }
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

kernel! {
    /// From raw scores and `d_p`, in place: `p = exp(scale score - log_sum_exp)` and
    /// `d_score = p (d_p - delta) scale`, where `delta = sum(p d_p)`.
    fn attention_row_backward<V, N>(scores: &mut [f32], d_p: &mut [f32], scale: f32, log_sum_exp: f32, delta: f32) {
        /// # Safety
        /// The instruction set of `V` must be there; both hold `N` registers.
        #[inline(always)]
        unsafe fn block<V: Vector, const N: usize>(
            scores: &mut [f32; LANES],
            d_p: &mut [f32; LANES],
            [scale, lowered, delta]: [f32; 3],
        ) {
            for register in 0..N {
                // SAFETY: the caller's promise.
                unsafe {
                    let score = scores.as_mut_ptr().add(register * V::LANES);
                    let d = d_p.as_mut_ptr().add(register * V::LANES);
                    let p = exp_of(V::load(score).mul_add(V::splat(scale), V::splat(lowered)));
                    p.store(score);
                    p.mul(V::load(d).sub(V::splat(delta))).mul(V::splat(scale)).store(d);
                }
            }
        }
        let factors = [scale, -log_sum_exp, delta];
        let (blocks, rest) = scores.as_chunks_mut::<LANES>();
        let (d_blocks, d_rest) = d_p.as_chunks_mut::<LANES>();
        // As a whole block, so that the exponentials are taken together.
        let (mut last, mut d_last) = ([0.0f32; LANES], [0.0f32; LANES]);
        last[..rest.len()].copy_from_slice(rest);
        d_last[..d_rest.len()].copy_from_slice(d_rest);
        // SAFETY: the kernel's promise.
        unsafe {
            for (scores, d) in blocks.iter_mut().zip(d_blocks) {
                block::<V, N>(scores, d, factors);
            }
            block::<V, N>(&mut last, &mut d_last, factors);
        }
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
pub(super) mod tests {
    use super::*;
    use crate::Isa;
    use templar_base::random::Stream;

    pub(in crate::cpu) fn random(len: usize, index: u64) -> Vec<f32> {
        let mut stream = Stream::new([4; 32], "rows test", index);
        (0..len).map(|_| 4.0 * stream.unit_f32() - 2.0).collect()
    }

    /// Runs `kernel` on every instruction set, on odd sizes; what it writes and returns must be the scalar path's bits.
    pub(in crate::cpu) fn same_everywhere(kernel: impl Fn(Isa, usize) -> Vec<f32>) {
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
            let mut again = vec![0.0; 3 * n];
            swiglu_backward(isa, &mut gate_up, &random(3 * n, 2), &mut again, n);
            assert_eq!(again, out);
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
    fn rows_of_attention_are_the_same_bits_everywhere() {
        same_everywhere(|isa, n| {
            let mut out = vec![0.0; 2 * n];
            scaled_rows(isa, &[0.3, 0.6], &random(2 * n, 1), &mut out.chunks_exact_mut(n).collect::<Vec<_>>());
            let (mut scores, mut d) = (random(n, 2), random(n, 3));
            attention_row_backward(isa, &mut scores, &mut d, 0.3, 1.1, 0.1);
            [out, scores, d].concat()
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
