//! In which parts a batch passes through the model, so that activations need memory for some sequences only and stay
//! near the core.
//!
//! No bit of a result depends on the parts: positions of different sequences meet in the gradients' sums over rows only,
//! and those are made block by block in any case.

use crate::ops::SUM_BLOCK;

/// Values of the logits that exist at once, about; part of the numerics, since the head's gradient is summed in chunks.
const LOGIT_VALUES: usize = 1 << 22;

/// Rows whose logits are made at once.
pub(crate) fn logit_rows(vocab_size: usize) -> usize {
    (LOGIT_VALUES / vocab_size / 64 * 64).clamp(64, 512)
}

/// Rows that a part has at least in training, if the batch does: enough that packing the weights again for each part
/// costs little.
const ROWS: usize = 1024;

/// Rows that pass through a layer together in judging: few, so that they stay in the second-level cache.
const JUDGED_ROWS: usize = 512;

/// Rows of a group in judging, for which a layer is packed once.
const GROUP_ROWS: usize = 4096;

/// Sequences of a group in judging, and of a part of it.
pub(crate) fn judged_sequences(length: usize) -> (usize, usize) {
    let of = |rows: usize| rows.div_ceil(length.max(1));
    (of(GROUP_ROWS), of(JUDGED_ROWS))
}

/// Sequences of a part in training: whole blocks of the sums over rows, and whole chunks of the head.
pub(crate) fn trained_sequences(length: usize, vocab_size: usize) -> usize {
    let chunk = logit_rows(vocab_size);
    let whole = SUM_BLOCK / greatest_common_divisor(SUM_BLOCK, chunk) * chunk;
    ROWS.div_ceil(length.max(1)).next_multiple_of(whole / greatest_common_divisor(whole, length))
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_training_hold_whole_blocks_and_chunks() {
        for (length, vocab_size, expected) in
            [(256, 8192, 4), (2048, 8192, 1), (100, 8192, 128), (512, 32_000, 2), (64, 128_256, 16), (1, 512, 1024)]
        {
            let sequences = trained_sequences(length, vocab_size);
            assert_eq!(sequences, expected, "length {length}, vocabulary {vocab_size}");
            let rows = sequences * length;
            assert!(rows.is_multiple_of(SUM_BLOCK) && rows.is_multiple_of(logit_rows(vocab_size)));
        }
    }
}
