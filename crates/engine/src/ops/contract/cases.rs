//! Each operation on odd sizes; a case returns everything that the operations wrote, with what is around it.

use super::{Operand, random};
use crate::ops::{
    AdamW, AdamWBuffers, Attended, Attention, Gemm, Head, HeadNorm, HeadNormGradients, HeadNormWeights, Heads, Norm,
    NormInput, Ops, OpsResult, Rope, Transposition,
};
use crate::{IGNORED_TOKEN, SparseDelta};

type Case<O> = (&'static str, fn(&mut O) -> OpsResult<Vec<f32>>);

/// Every operation.
pub(super) fn all<O: Ops>() -> Vec<Case<O>> {
    vec![
        ("copy, zero and axpy", values::<O>),
        ("gemm", products::<O>),
        ("pack, gemm_packed and swiglu_packed", packed::<O>),
        ("embedding", embedding::<O>),
        ("rms_norm", norms::<O>),
        ("head_norm", head_norms::<O>),
        ("rope", rotations::<O>),
        ("attention", attention::<O>),
        ("swiglu", swiglu::<O>),
        ("cross_entropy and head_losses", losses::<O>),
        ("add_sparse and restore_sparse", sparse::<O>),
        ("sum_of_squares", squares::<O>),
        ("adamw", adamw::<O>),
    ]
}

const HEADS: Heads = Heads { heads: 4, kv_heads: 2, head_dim: 6 };

fn values<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for len in [1, 33, 70_001] {
        let x = Operand::new(ops, &random(len, 1))?;
        let mut y = Operand::new(ops, &random(len, 2))?;
        ops.axpy(0.3, x.read(), y.write(), len)?;
        all.extend(y.whole(ops)?);
        ops.copy(x.read(), y.write(), len)?;
        all.extend(y.whole(ops)?);
        ops.zero(y.write(), len)?;
        all.extend(y.whole(ops)?);
    }
    Ok(all)
}

fn products<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for (m, n, k) in [(1, 1, 1), (1, 33, 257), (13, 31, 17), (15, 70, 300), (113, 5, 40)] {
        let (a, b) = (Operand::new(ops, &random(m * k, 1))?, Operand::new(ops, &random(k * n, 2))?);
        for transposition in [Transposition::Neither, Transposition::Right, Transposition::Left] {
            for accumulate in [false, true] {
                let mut c = Operand::new(ops, &random(m * n, 3))?;
                ops.gemm(Gemm { m, n, k, transposition, accumulate }, a.read(), b.read(), c.write())?;
                all.extend(c.whole(ops)?);
            }
        }
    }
    Ok(all)
}

fn packed<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    let mut packed = O::Packed::default();
    for (m, n, k) in [(1, 2, 1), (15, 70, 300), (67, 38, 33)] {
        let (a, weight) = (Operand::new(ops, &random(m * k, 1))?, Operand::new(ops, &random(n * k, 2))?);
        ops.pack(n, k, weight.read(), &mut packed)?;
        for accumulate in [false, true] {
            let mut c = Operand::new(ops, &random(m * n, 3))?;
            ops.gemm_packed(m, a.read(), &packed, c.write(), accumulate)?;
            all.extend(c.whole(ops)?);
        }
        let mut out = Operand::new(ops, &random(m * n / 2, 4))?;
        ops.swiglu_packed(m, a.read(), &packed, out.write())?;
        all.extend(out.whole(ops)?);
    }
    Ok(all)
}

fn embedding<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for width in [1, 70] {
        let tokens: Vec<u32> = [3, 0, 3, IGNORED_TOKEN, 4].into_iter().cycle().take(71).collect();
        let table = Operand::new(ops, &random(5 * width, 1))?;
        let mut out = Operand::new(ops, &random(tokens.len() * width, 2))?;
        ops.embedding_forward(&tokens, width, table.read(), out.write())?;
        all.extend(out.whole(ops)?);
        let mut d_table = Operand::new(ops, &random(5 * width, 3))?;
        ops.embedding_backward(&tokens, width, out.read(), d_table.write())?;
        all.extend(d_table.whole(ops)?);
    }
    Ok(all)
}

fn norms<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for (rows, width) in [(1, 1), (3, 33), (67, 40), (130, 7)] {
        let shape = Norm { rows, width, epsilon: 1e-5 };
        let (x, weight) = (Operand::new(ops, &random(rows * width, 1))?, Operand::new(ops, &random(width, 2))?);
        let mut out = Operand::new(ops, &random(rows * width, 3))?;
        ops.rms_norm_forward(shape, x.read(), weight.read(), out.write())?;
        let (mut d_x, mut d_weight) =
            (Operand::new(ops, &random(rows * width, 4))?, Operand::new(ops, &random(width, 5))?);
        let input = NormInput { x: x.read(), weight: weight.read() };
        ops.rms_norm_backward(shape, input, out.read(), d_x.write(), d_weight.write())?;
        all.extend([out.whole(ops)?, d_x.whole(ops)?, d_weight.whole(ops)?].concat());
    }
    Ok(all)
}

fn head_norms<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for rows in [1, 67] {
        let shape = HeadNorm { rows, heads: HEADS, epsilon: 1e-5 };
        let kept = rows * HEADS.rotated() * HEADS.head_dim;
        let weights = [Operand::new(ops, &random(HEADS.head_dim, 1))?, Operand::new(ops, &random(HEADS.head_dim, 2))?];
        let both = || HeadNormWeights { query: weights[0].read(), key: weights[1].read() };
        let mut qkv = Operand::new(ops, &random(rows * HEADS.row(), 3))?;
        let mut raw = Operand::new(ops, &random(kept, 4))?;
        ops.head_norm_forward(shape, both(), qkv.write(), raw.write())?;
        all.extend([qkv.whole(ops)?, raw.whole(ops)?].concat());
        let mut gradients = Operand::new(ops, &random(4 * HEADS.head_dim, 5))?;
        let to = HeadNormGradients {
            memory: gradients.memory_mut(),
            query: super::MARGIN,
            key: super::MARGIN + 2 * HEADS.head_dim,
        };
        ops.head_norm_backward(shape, both(), raw.read(), qkv.write(), to)?;
        all.extend([qkv.whole(ops)?, gradients.whole(ops)?].concat());
    }
    Ok(all)
}

fn rotations<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    let table = Operand::new(ops, &random(80 * HEADS.head_dim, 1))?;
    for (rows, length, first_position) in [(1, 1, 9), (70, 35, 0), (5, 5, 70)] {
        let mut qkv = Operand::new(ops, &random(rows * HEADS.row(), 2))?;
        for is_backward in [false, true] {
            let shape = Rope { rows, length, first_position, heads: HEADS, is_backward };
            ops.rope(shape, table.read(), qkv.write())?;
            all.extend(qkv.whole(ops)?);
        }
    }
    Ok(all)
}

fn attention<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for (sequences, length, first_query, document) in
        [(1, 1, 0, None), (3, 7, 0, None), (2, 90, 0, Some(50)), (1, 300, 299, None), (2, 60, 31, None)]
    {
        let starts: Vec<u32> = document.map_or(Vec::new(), |document| {
            let of_sequence = |place| if place < document { 0 } else { document };
            (0..sequences).flat_map(|_| (0..length as u32).map(of_sequence)).collect()
        });
        let shape = Attention { heads: HEADS, sequences, length, first_query, document_starts: &starts };
        let (rows, queries) = (sequences * length, sequences * (length - first_query));
        let qkv = Operand::new(ops, &random(rows * HEADS.row(), 1))?;
        let mut out = Operand::new(ops, &random(queries * HEADS.queries(), 2))?;
        let mut log_sum_exp = Operand::new(ops, &random(queries * HEADS.heads, 3))?;
        ops.attention_forward(shape, qkv.read(), out.write(), log_sum_exp.write())?;
        all.extend([out.whole(ops)?, log_sum_exp.whole(ops)?].concat());
        if first_query > 0 {
            continue;
        }
        let d_out = Operand::new(ops, &random(rows * HEADS.queries(), 4))?;
        let mut d_qkv = Operand::new(ops, &random(rows * HEADS.row(), 5))?;
        let forward = Attended { qkv: qkv.read(), out: out.read(), log_sum_exp: log_sum_exp.read() };
        ops.attention_backward(shape, forward, d_out.read(), d_qkv.write())?;
        all.extend(d_qkv.whole(ops)?);
    }
    Ok(all)
}

fn swiglu<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for (rows, width) in [(1, 1), (67, 33)] {
        let mut gate_up = Operand::new(ops, &random(rows * 2 * width, 1))?;
        let mut out = Operand::new(ops, &random(rows * width, 2))?;
        ops.swiglu_forward(rows, width, gate_up.read(), out.write())?;
        let d_out = Operand::new(ops, &random(rows * width, 3))?;
        let mut again = Operand::new(ops, &random(rows * width, 4))?;
        ops.swiglu_backward(rows, width, d_out.read(), gate_up.write(), again.write())?;
        all.extend([out.whole(ops)?, gate_up.whole(ops)?, again.whole(ops)?].concat());
    }
    Ok(all)
}

fn losses<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for (rows, vocab, hidden) in [(1, 1, 3), (19, 1100, 33)] {
        let targets: Vec<u32> =
            (0..rows as u32).map(|row| if row == 2 { IGNORED_TOKEN } else { row * 57 % vocab as u32 }).collect();
        let (normed, weight) =
            (Operand::new(ops, &random(rows * hidden, 1))?, Operand::new(ops, &random(vocab * hidden, 2))?);
        let mut logits = Operand::new(ops, &random(rows * vocab, 3))?;
        let shape = Gemm { m: rows, n: vocab, k: hidden, transposition: Transposition::Right, accumulate: false };
        ops.gemm(shape, normed.read(), weight.read(), logits.write())?;
        let (mut losses, mut again) = (vec![9.0; rows], vec![9.0; rows]);
        ops.cross_entropy(vocab, &targets, 0.1, logits.write(), &mut losses)?;
        ops.head_losses(Head { hidden, vocab }, normed.read(), weight.read(), &targets, &mut again)?;
        all.extend([losses, again, logits.whole(ops)?].concat());
    }
    Ok(all)
}

fn sparse<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let indices = [5, 0, 5, 32, 7];
    let changes = random(indices.len(), 1);
    let delta = SparseDelta { indices: &indices, values: &changes };
    let mut to = Operand::new(ops, &random(33, 2))?;
    let mut before = Operand::new(ops, &random(indices.len(), 3))?;
    ops.add_sparse(delta, to.write(), Some(before.write()))?;
    let mut all = [to.whole(ops)?, before.whole(ops)?].concat();
    ops.restore_sparse(&indices, before.read(), to.write())?;
    all.extend(to.whole(ops)?);
    ops.add_sparse(delta, to.write(), None)?;
    all.extend(to.whole(ops)?);
    Ok(all)
}

fn squares<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
    let mut all = Vec::new();
    for len in [1, 33, 140_001] {
        let x = Operand::new(ops, &random(len, 1))?;
        // As a mean, so that a share of the largest value means the same for every length.
        all.push((ops.sum_of_squares(x.read(), len)? / len as f64) as f32);
    }
    Ok(all)
}

fn adamw<O: Ops>(ops: &mut O) -> OpsResult<Vec<f32>> {
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
    let mut all = Vec::new();
    for len in [1, 33, 20_001] {
        let (gradient, mut parameters) = (Operand::new(ops, &random(len, 1))?, Operand::new(ops, &random(len, 2))?);
        let squares: Vec<f32> = random(len, 4).into_iter().map(f32::abs).collect();
        let (mut first, mut second) = (Operand::new(ops, &random(len, 3))?, Operand::new(ops, &squares)?);
        let buffers = AdamWBuffers {
            gradient: gradient.read(),
            parameters: parameters.write(),
            first_moment: first.write(),
            second_moment: second.write(),
        };
        ops.adamw(rule, buffers, len)?;
        all.extend([parameters.whole(ops)?, first.whole(ops)?, second.whole(ops)?].concat());
    }
    Ok(all)
}
