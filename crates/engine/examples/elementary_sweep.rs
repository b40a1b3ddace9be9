//! Measures the elementary functions on every f32 (or every `stride`-th) against f64, and fails where one breaks its
//! bound. All of them take some minutes on one core.
//!
//! `cargo run --release -p templar-engine --example elementary_sweep -- [stride]`

use templar_engine::elementary::{cos, exp, ln, sin, tanh};

type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);

/// Each function, the true one, and the bound on its error in units in the last place.
const FUNCTIONS: [Function; 5] = [
    ("exp", exp, libm::exp, 1.02),
    ("ln", ln, libm::log, 0.501),
    ("sin", sin, libm::sin, 0.501),
    ("cos", cos, libm::cos, 0.501),
    ("tanh", tanh, libm::tanh, 0.501),
];

/// Where `exp` is not clamped.
const EXP_DOMAIN: std::ops::RangeInclusive<f32> = -87.0..=88.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stride: usize = std::env::args().nth(1).map_or(Ok(1), |stride| stride.parse())?;
    println!("{:6} {:>12} {:>14} {:>12} {:>16} {:>8}", "", "values", "largest (ulp)", "at", "not nearest", "bound");
    let mut is_kept = true;
    for (name, function, truth, bound) in FUNCTIONS {
        let (mut values, mut worst, mut place, mut not_nearest) = (0u64, 0.0f64, 0.0f32, 0u64);
        for bits in (0..=u32::MAX).step_by(stride) {
            let x = f32::from_bits(bits);
            let expected = truth(f64::from(x));
            if !expected.is_finite() || name == "exp" && !EXP_DOMAIN.contains(&x) {
                continue;
            }
            let (value, nearest) = (function(x), expected as f32);
            let size = nearest.abs().max(f32::MIN_POSITIVE);
            let ulp = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
            let error = (f64::from(value) - expected).abs() / ulp;
            values += 1;
            not_nearest += u64::from(value != nearest);
            if error > worst {
                (worst, place) = (error, x);
            }
        }
        is_kept &= worst <= bound;
        println!("{name:6} {values:12} {worst:14.6} {place:12e} {not_nearest:16} {bound:8}");
    }
    if is_kept { Ok(()) } else { Err("a function breaks its bound".into()) }
}
