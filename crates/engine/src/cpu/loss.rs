//! The losses of logits: with their gradient where they lie, or from the product that makes them.
//!
//! The logarithm of the sum of a row's exponentials is taken in blocks of [`LOSS_BLOCK`] logits, each against its own
//! largest; so a block's part of it can be had as soon as the block is there.

use super::Cpu;
use super::exponentials::{self, Exponentials};
use super::gemm::{Operand, for_rows};
use super::pool::{Disjoint, Pool};
use super::rows;
use crate::Isa;
use crate::batch::IGNORED_TOKEN;
use crate::ops::{Head, LOSS_BLOCK};

/// See [`crate::ops::Ops::cross_entropy`].
pub(super) fn cross_entropy(
    isa: Isa,
    pool: &Pool,
    targets: &[u32],
    gradient_scale: f32,
    logits: &mut [f32],
    losses: &mut [f32],
) {
    assert_eq!(losses.len(), targets.len(), "a loss for each target");
    let vocab = logits.len() / targets.len().max(1);
    let (logits, losses) = (Disjoint::new(logits), Disjoint::new(losses));
    // Eight rows: a row of a usual vocabulary is some 10 000 values.
    pool.pieces(targets.len(), 8, |start, end, _| {
        let mut blocks = Vec::with_capacity(vocab.div_ceil(LOSS_BLOCK));
        for (row, &target) in (start..end).zip(&targets[start..end]) {
            // SAFETY: each row belongs to one piece.
            let (x, loss) = unsafe { (logits.part(row * vocab, vocab), &mut losses.part(row, 1)[0]) };
            if target == IGNORED_TOKEN {
                *loss = 0.0;
                x.fill(0.0);
                continue;
            }
            let right = x[target as usize];
            blocks.clear();
            blocks.extend(x.chunks_mut(LOSS_BLOCK).map(|block| exponentials::exponentials(isa, block)));
            let all = Exponentials::joined(blocks.iter().copied());
            *loss = all.logarithm() - right;
            let factor = gradient_scale / all.sum;
            for (block, x) in blocks.iter().zip(x.chunks_mut(LOSS_BLOCK)) {
                rows::scale(isa, x, block.factor_in(all) * factor);
            }
            x[target as usize] -= gradient_scale;
        }
    });
}

impl Cpu {
    /// See [`crate::ops::Ops::head_losses`].
    pub(super) fn losses_of_head(
        &mut self,
        Head { hidden, vocab }: Head,
        normed: &[f32],
        weight: &[f32],
        targets: &[u32],
        losses: &mut [f32],
    ) {
        assert_eq!(losses.len(), targets.len(), "a loss for each target");
        let isa = self.isa;
        // Of each row: the target's logit, and what is known of each block.
        let width = 1 + 2 * vocab.div_ceil(LOSS_BLOCK);
        self.partial.clear();
        self.partial.resize(targets.len() * width, 0.0);
        let known = Disjoint::new(&mut self.partial);
        let normed = Operand::rows(normed, 0, hidden);
        for (index, weight) in weight.chunks(LOSS_BLOCK * hidden).enumerate() {
            let columns = weight.len() / hidden;
            self.packed_head.pack(isa, &self.pool, hidden, columns, Operand::transposed(weight, 0, hidden));
            for_rows(isa, &self.pool, targets.len(), normed, &self.packed_head, |row, logits| {
                // SAFETY: each row is visited once.
                let known = unsafe { known.part(row * width, width) };
                let Exponentials { highest, sum } = exponentials::sum_of_exponentials(isa, logits);
                (known[1 + 2 * index], known[2 + 2 * index]) = (highest, sum);
                let place = (targets[row] as usize).checked_sub(index * LOSS_BLOCK);
                if let Some(right) = place.and_then(|place| logits.get(place)) {
                    known[0] = *right;
                }
            });
        }
        for ((known, &target), loss) in self.partial.chunks_exact(width).zip(targets).zip(losses) {
            let (pairs, _) = known[1..].as_chunks::<2>();
            let whole = Exponentials::joined(pairs.iter().map(|&[highest, sum]| Exponentials { highest, sum }));
            *loss = if target == IGNORED_TOKEN { 0.0 } else { whole.logarithm() - known[0] };
        }
    }
}
