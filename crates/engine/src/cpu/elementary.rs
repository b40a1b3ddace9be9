//! Elementary functions of our own: the same bits on every machine.
//!
//! `exp` is the one that runs over whole matrices, in f32 alone; the others are computed in f64 and rounded once. Errors
//! are in units in the last place (ulp) of the f32 result, the largest over every f32 of the domain; the test measures
//! them on a part of all values, the example `elementary_sweep` on all.
//!
//! ```
//! use templar_engine::elementary::{exp, ln, pow, tanh};
//!
//! assert_eq!(exp(0.0), 1.0);
//! assert_eq!(pow(2.0, 10.0), 1024.0);
//! assert!((ln(tanh(0.5)) + 0.771_936_8).abs() < 1e-6);
//! ```

use super::vector::Vector;

/// `e^x`: relative error under 2e-7, at most 1.02 ulp, for x in -87 ..= 88; outside x is clamped to that, so that the
/// result is always positive and finite. Not a number stays what it is.
///
/// `x = t ln 2 + r` with integer t and |r| <= ln 2 / 2; ln 2 in two parts so that r is nearly exact; `e^r` by a
/// polynomial of degree 7 (Cephes' coefficients), `2^t` by its bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // SAFETY: a plain value needs no instruction set.
    unsafe { exp_of(x) }
}

/// [`exp`] of each lane.
///
/// # Safety
/// The instruction set of `V` must be there.
#[inline(always)]
pub(super) unsafe fn exp_of<V: Vector>(x: V) -> V {
    /// Adding and taking off 1.5 * 2^23 rounds to the nearest integer without a rounding instruction.
    const ROUND: f32 = 12_582_912.0;
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::splat(-87.0).max(x);
        let x = V::splat(88.0).min(x);
        let shifted = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
        let t = shifted.sub(V::splat(ROUND));
        let r = t.mul_add(V::splat(-0.693_359_4), x);
        let r = t.mul_add(V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p.mul_add(r, V::splat(coefficient));
        }
        let y = p.mul_add(r.mul(r), r).add(V::splat(1.0));
        // The lowest bits of `shifted` are t.
        y.mul(shifted.power_of_two())
    }
}

/// The natural logarithm, within 0.501 ulp; minus infinity at 0, not a number below.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // Without branches, so that compilers take many at once.
    let value = ln_of_positive(f64::from(x)) as f32;
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x == 0.0 { f32::NEG_INFINITY } else { value }
}

/// The logarithm of a positive, normal, finite f64, to 1e-13 of its size or of 1.
///
/// `x = m 2^e`, m in [sqrt 1/2, sqrt 2); `ln m = 2 atanh(z)`, `z = (m - 1) / (m + 1)`, |z| < 0.172, by its series.
#[inline(always)]
fn ln_of_positive(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let z = (m - 1.0) / (m + 1.0);
    let square = z * z;
    let mut series = 0.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * square + 1.0 / odd;
    }
    2.0 * z * series + exponent as f64 * std::f64::consts::LN_2
}

/// `e^x` in f64, relative error under 1e-15, for |x| <= 200.
///
/// `x = t ln 2 + r`, |r| <= ln 2 / 2, and Taylor's polynomial of degree 13: the next term is under 1e-17.
fn exp_of_f64(x: f64) -> f64 {
    /// ln 2 in two parts, the first with 32 bits, so that t times it is exact.
    const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
    let t = (x * std::f64::consts::LOG2_E).round_ties_even();
    let r = (x - t * LN_2[0]) - t * LN_2[1];
    let mut sum = 0.0;
    for n in (1..=13).rev() {
        sum = (sum + 1.0) * r / f64::from(n);
    }
    (sum + 1.0) * f64::from_bits(((t as i64 + 1023) as u64) << 52)
}

/// `x^y`, within 0.501 ulp, with the special cases of IEEE 754: 1 for y = 0 or x = 1 whatever the other is, not a number
/// for a negative x and a y that is no integer.
pub fn pow(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    // Every f32 from 2^24 on is an even integer, infinity counting as one.
    let is_integer = y.abs() >= 16_777_216.0 || y == y.trunc();
    let is_odd = is_integer && y.abs() < 16_777_216.0 && y as i32 % 2 != 0;
    let size = match x.abs() {
        1.0 => 1.0,
        0.0 => {
            if y < 0.0 {
                f32::INFINITY
            } else {
                0.0
            }
        }
        f32::INFINITY => {
            if y < 0.0 {
                0.0
            } else {
                f32::INFINITY
            }
        }
        base => exp_of_f64((f64::from(y) * ln_of_positive(f64::from(base))).clamp(-200.0, 200.0)) as f32,
    };
    match (x.is_sign_negative(), is_integer) {
        (true, true) if is_odd => -size,
        (true, false) if x != 0.0 && x.is_finite() => f32::NAN,
        _ => size,
    }
}

/// The hyperbolic tangent, within 0.501 ulp: `(e^2x - 1) / (e^2x + 1)`.
pub fn tanh(x: f32) -> f32 {
    let size = f64::from(x.abs());
    let value = if size < 1.0 / 4096.0 {
        // The next term of the series is under 2^-50 of it.
        size - size * size * size / 3.0
    } else if size < 10.0 {
        let power = exp_of_f64(2.0 * size);
        (power - 1.0) / (power + 1.0)
    } else if x.is_nan() {
        return x;
    } else {
        1.0
    };
    (value as f32).copysign(x)
}

/// The sine of x radians, within 0.501 ulp for every finite x; not a number for infinity.
pub fn sin(x: f32) -> f32 {
    let (quadrant, r) = quadrant_and_rest(x.abs());
    let value = match quadrant % 4 {
        0 => sine(r),
        1 => cosine(r),
        2 => -sine(r),
        _ => -cosine(r),
    };
    // An odd function; and minus zero stays what it is.
    if x.is_sign_negative() { -value as f32 } else { value as f32 }
}

/// The cosine of x radians, within 0.501 ulp for every finite x; not a number for infinity.
pub fn cos(x: f32) -> f32 {
    let (quadrant, r) = quadrant_and_rest(x.abs());
    let value = match quadrant % 4 {
        0 => cosine(r),
        1 => -sine(r),
        2 => -cosine(r),
        _ => sine(r),
    };
    value as f32
}

/// `x = quadrant pi / 2 + rest`, |rest| <= pi / 4, for an x that is not negative.
fn quadrant_and_rest(x: f32) -> (u32, f64) {
    /// pi / 2 in two parts, the first with 33 bits, so that a quadrant of 13 bits times it is exact.
    const HALF_PI: [f64; 2] = [1.570_796_326_734_125_6, 6.077_100_506_506_192e-11];
    if !x.is_finite() {
        return (0, f64::NAN);
    }
    if x < 8192.0 {
        let x = f64::from(x);
        let quadrant = (x * std::f64::consts::FRAC_2_PI).round_ties_even();
        return (quadrant as u32, (x - quadrant * HALF_PI[0]) - quadrant * HALF_PI[1]);
    }
    reduce_large(x)
}

/// [`quadrant_and_rest`] by whole numbers (Payne and Hanek): x is an integer of 24 bits times a power of two, and only
/// those digits of 2 / pi matter that are neither multiples of four quadrants nor too small.
fn reduce_large(x: f32) -> (u32, f64) {
    /// The binary digits of 2 / pi behind its point, after 32 zeros.
    const TWO_OVER_PI: [u32; 9] =
        [0, 0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab, 0xdebb_c561];
    let bits = x.to_bits();
    let mantissa = u128::from(bits & 0x007f_ffff | 0x0080_0000);
    // x = mantissa 2^exponent; x >= 2^13, so that the exponent is -10 at least.
    let exponent = (bits >> 23) as i32 - 150;
    // The digit of weight 2^(1 - exponent) is the first whose product is under four quadrants. 96 digits from it on.
    let first = (exponent + 30) as usize;
    let words = TWO_OVER_PI[first / 32..first / 32 + 4].iter().fold(0u128, |sum, &word| sum << 32 | u128::from(word));
    let digits = words >> (32 - first % 32) & ((1 << 96) - 1);
    // Quadrants with 94 binary places, but for multiples of four.
    let product = (mantissa * digits) & ((1 << 96) - 1);
    let quadrant = (product + (1 << 93)) >> 94;
    let rest = product as i128 - (quadrant << 94) as i128;
    let unit = 1.0 / (1u128 << 94) as f64;
    ((quadrant % 4) as u32, rest as f64 * unit * std::f64::consts::FRAC_PI_2)
}

/// The sine of |r| <= pi / 4 by Taylor's polynomial; the next term is under 3e-14 of it.
fn sine(r: f64) -> f64 {
    let square = r * r;
    let mut sum = 0.0;
    for n in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        sum = -(sum + 1.0) * square / (n * (n - 1.0));
    }
    r + r * sum
}

/// The cosine of |r| <= pi / 4 by Taylor's polynomial; the next term is under 1e-15.
fn cosine(r: f64) -> f64 {
    let square = r * r;
    let mut sum = 0.0;
    for n in [14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        sum = -(sum + 1.0) * square / (n * (n - 1.0));
    }
    1.0 + sum
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);

    /// Each function of one argument, the true one, and the bound on its error in ulp.
    const FUNCTIONS: [Function; 5] = [
        ("exp", exp, libm::exp, 1.02),
        ("ln", ln, libm::log, 0.501),
        ("sin", sin, libm::sin, 0.501),
        ("cos", cos, libm::cos, 0.501),
        ("tanh", tanh, libm::tanh, 0.501),
    ];

    /// The distance of `value` from `truth` in units in the last place of the f32 nearest to `truth`.
    fn error_in_ulp(value: f32, truth: f64) -> f64 {
        let nearest = (truth as f32).abs().max(f32::MIN_POSITIVE);
        let ulp = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(value) - truth).abs() / ulp
    }

    #[test]
    fn every_function_keeps_its_bound_on_values_of_all_sizes() {
        for (name, function, truth, bound) in FUNCTIONS {
            let mut worst = (0.0, 0.0);
            for index in 0..u32::MAX / 16_381 {
                let x = f32::from_bits(index * 16_381);
                let expected = truth(f64::from(x));
                let is_clamped = name == "exp" && !(-87.0..=88.0).contains(&x);
                if is_clamped || !expected.is_finite() {
                    continue;
                }
                let error = error_in_ulp(function(x), expected);
                if error > worst.0 {
                    worst = (error, x);
                }
            }
            assert!(worst.0 <= bound, "{name}({}) is {} ulp off", worst.1, worst.0);
        }
    }

    #[test]
    fn powers_keep_their_bound() {
        let values = [1e-40f32, 3e-12, 0.3, 0.999_999_9, 1.000_000_1, 1.7, 10_000.0, 3e20];
        let exponents = [-4096.5f32, -3.0, -0.5, -1e-3, 1e-7, 0.125, 0.25, 1.0, 2.0, 17.5, 1e6];
        for x in values {
            for y in exponents {
                let truth = libm::pow(f64::from(x), f64::from(y));
                if truth > f64::from(f32::MAX) || truth < f64::from(f32::MIN_POSITIVE) {
                    assert_eq!(pow(x, y), truth as f32, "{x}^{y}");
                } else {
                    assert!(error_in_ulp(pow(x, y), truth) <= 0.501, "{x}^{y}");
                }
            }
        }
    }

    #[test]
    fn special_values_are_those_of_ieee_754() {
        let (infinity, nan) = (f32::INFINITY, f32::NAN);
        for x in [-infinity, -3.0, -2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, infinity, nan] {
            for y in [-infinity, -3.0, -2.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 1e30, infinity, nan] {
                let (ours, theirs) = (pow(x, y), libm::powf(x, y));
                let is_same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
                assert!(is_same, "{x}^{y} is {theirs}, not {ours}");
            }
        }
        assert_eq!((ln(0.0), ln(infinity)), (-infinity, infinity));
        assert!(ln(-1.0).is_nan() && ln(nan).is_nan() && exp(nan).is_nan() && tanh(nan).is_nan());
        assert!(sin(infinity).is_nan() && cos(-infinity).is_nan() && sin(nan).is_nan());
        assert_eq!((exp(0.0), cos(0.0), tanh(infinity), tanh(-infinity)), (1.0, 1.0, 1.0, -1.0));
        assert!(sin(-0.0).is_sign_negative() && tanh(-0.0).is_sign_negative());
        assert!(exp(-1e9) > 0.0 && exp(1e9).is_finite());
    }

    #[test]
    fn large_angles_are_reduced_as_small_ones_are() {
        for x in [8192.0f32, 1e5, 12_345_678.0, 1e10, 3e20, 1e38, f32::MAX] {
            assert_eq!(sin(x), libm::sin(f64::from(x)) as f32, "{x}");
            assert_eq!(cos(x), libm::cos(f64::from(x)) as f32, "{x}");
            assert_eq!(sin(-x), -sin(x), "{x}");
        }
        // Either way of reduction gives the same where both can.
        for step in 0..1000 {
            let x = 8192.0 - step as f32 * 0.37;
            let small = quadrant_and_rest(x);
            let x = f64::from(x);
            let large = reduce_large(x as f32);
            assert_eq!(small.0 % 4, large.0, "{x}");
            assert!((small.1 - large.1).abs() < 1e-15, "{x}");
        }
    }
}
