//! Backward operations against finite differences of the forward ones.

use super::{Operand, random};
use crate::ops::{Attended, Attention, Heads, Norm, NormInput, Ops, OpsResult};

/// Of `sum(weights * forward(x))`: the slope along a direction by differences, and by the gradient of `x`.
struct Slope {
    name: &'static str,
    /// By differences.
    found: f64,
    /// By the gradient.
    expected: f64,
    /// L2 norm of the gradient.
    norm: f64,
}

/// Checks the gradients of norm, SwiGLU, attention and cross-entropy.
pub(super) fn check<O: Ops>(ops: &mut O) {
    let slopes = [norm(ops), swiglu(ops), attention(ops), cross_entropy(ops)];
    for slope in slopes {
        let Slope { name, found, expected, norm } = slope.unwrap_or_else(|error| panic!("a gradient: {error}"));
        let is_near = (found - expected).abs() < 2e-3 * norm + 1e-3;
        assert!(is_near && norm > 0.0, "{name}: the slope is {found}, its gradient says {expected}");
    }
}

/// The slope at `x`, whose gradient is given, of `value`, which measures at a point.
fn slope(
    name: &'static str,
    x: &[f32],
    gradient: &[f32],
    mut value: impl FnMut(&[f32]) -> OpsResult<f64>,
) -> OpsResult<Slope> {
    let direction = random(x.len(), 90);
    let mut by = |step: f32| {
        let moved = |step: f32| x.iter().zip(&direction).map(|(x, d)| x + step * d).collect::<Vec<f32>>();
        Ok::<f64, crate::ops::OpsError>((value(&moved(step))? - value(&moved(-step))?) / (2.0 * f64::from(step)))
    };
    let step = 1e-2;
    // Richardson's combination removes the error of third order.
    let found = (4.0 * by(step)? - by(2.0 * step)?) / 3.0;
    Ok(Slope { name, found, expected: dot(gradient, &direction), norm: dot(gradient, gradient).sqrt() })
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

fn norm<O: Ops>(ops: &mut O) -> OpsResult<Slope> {
    let shape = Norm { rows: 3, width: 9, epsilon: 1e-5 };
    let (x, d_out) = (random(27, 1), random(27, 2));
    let weight = Operand::new(ops, &random(9, 3))?;
    let at = Operand::new(ops, &x)?;
    let (mut d_x, mut d_weight) = (Operand::new(ops, &[0.0; 27])?, Operand::new(ops, &[0.0; 9])?);
    let d = Operand::new(ops, &d_out)?;
    let input = NormInput { x: at.read(), weight: weight.read() };
    ops.rms_norm_backward(shape, input, d.read(), d_x.write(), d_weight.write())?;
    let gradient = d_x.values(ops)?;
    slope("rms_norm", &x, &gradient, |x| {
        let at = Operand::new(ops, x)?;
        let mut out = Operand::new(ops, &[0.0; 27])?;
        ops.rms_norm_forward(shape, at.read(), weight.read(), out.write())?;
        Ok(dot(&out.values(ops)?, &d_out))
    })
}

fn swiglu<O: Ops>(ops: &mut O) -> OpsResult<Slope> {
    let (rows, width) = (3, 7);
    let (x, d_out) = (random(2 * rows * width, 1), random(rows * width, 2));
    let (mut gate_up, mut again) = (Operand::new(ops, &x)?, Operand::new(ops, &d_out)?);
    let d = Operand::new(ops, &d_out)?;
    ops.swiglu_backward(rows, width, d.read(), gate_up.write(), again.write())?;
    let gradient = gate_up.values(ops)?;
    slope("swiglu", &x, &gradient, |x| {
        let at = Operand::new(ops, x)?;
        let mut out = Operand::new(ops, &d_out)?;
        ops.swiglu_forward(rows, width, at.read(), out.write())?;
        Ok(dot(&out.values(ops)?, &d_out))
    })
}

fn attention<O: Ops>(ops: &mut O) -> OpsResult<Slope> {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 6 };
    let length = 11;
    let shape = Attention { heads, sequences: 1, length, first_query: 0, document_starts: &[] };
    let (x, d_out) = (random(length * heads.row(), 1), random(length * heads.queries(), 2));
    let forward = |ops: &mut O, x: &[f32]| {
        let at = Operand::new(ops, x)?;
        let mut out = Operand::new(ops, &d_out)?;
        let mut log_sum_exp = Operand::new(ops, &vec![0.0; length * heads.heads])?;
        ops.attention_forward(shape, at.read(), out.write(), log_sum_exp.write())?;
        Ok::<_, crate::ops::OpsError>((at, out, log_sum_exp))
    };
    let (qkv, out, log_sum_exp) = forward(ops, &x)?;
    let (d, mut d_qkv) = (Operand::new(ops, &d_out)?, Operand::new(ops, &x)?);
    let attended = Attended { qkv: qkv.read(), out: out.read(), log_sum_exp: log_sum_exp.read() };
    ops.attention_backward(shape, attended, d.read(), d_qkv.write())?;
    let gradient = d_qkv.values(ops)?;
    slope("attention", &x, &gradient, |x| {
        let (_, out, _) = forward(ops, x)?;
        Ok(dot(&out.values(ops)?, &d_out))
    })
}

fn cross_entropy<O: Ops>(ops: &mut O) -> OpsResult<Slope> {
    let (vocab, targets) = (13, [4, 0, 12]);
    let x = random(targets.len() * vocab, 1);
    let run = |ops: &mut O, x: &[f32]| {
        let mut logits = Operand::new(ops, x)?;
        let mut losses = [0.0; 3];
        ops.cross_entropy(vocab, &targets, 1.0, logits.write(), &mut losses)?;
        Ok::<_, crate::ops::OpsError>((losses, logits.values(ops)?))
    };
    let (_, gradient) = run(ops, &x)?;
    slope("cross_entropy", &x, &gradient, |x| Ok(run(ops, x)?.0.iter().map(|loss| f64::from(*loss)).sum()))
}
