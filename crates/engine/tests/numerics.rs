//! The bits of the elementary functions, the same on every machine and as ever.

use templar_engine::elementary::{cos, exp, ln, pow, sin, tanh};

/// The digest of every function on values of all sizes. It changes only together with the kernel version of the
/// numerics.
const GOLDEN: &str = "276221667f860a21e8121894fa5e17715ff0edf78122071998f2e230e33c2055";

#[test]
fn elementary_functions_give_the_golden_bits() {
    let mut hasher = blake3::Hasher::new();
    let mut note = |value: f32| {
        // There are many ways to write "not a number", and machines differ in which they choose.
        let bits = if value.is_nan() { u32::MAX } else { value.to_bits() };
        hasher.update(&bits.to_le_bytes());
    };
    for bits in (0..=u32::MAX).step_by(65_521) {
        let x = f32::from_bits(bits);
        let y = f32::from_bits(bits.rotate_left(7) & 0xbfff_ffff);
        [exp(x), ln(x), sin(x), cos(x), tanh(x), pow(x, y), pow(x.abs(), 1.0 / 3.0)].into_iter().for_each(&mut note);
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), GOLDEN);
}
