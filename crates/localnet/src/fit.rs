//! How a text is shared out in a local network: the usual shape, or a smaller one where the text is small.

use templar_base::ModelConfig;

/// Tokens of a sequence, the preferred first.
const SEQUENCE_LENGTHS: [usize; 3] = [128, 64, 32];
/// Sequences of an inner step, the preferred first.
pub(crate) const SEQUENCES_PER_BATCH: [usize; 4] = [8, 4, 2, 1];
/// Sequences that a window's contributions are measured on, the preferred first: multiples of its 8 parts.
pub(crate) const EVALUATION_SEQUENCES: [usize; 4] = [64, 32, 16, 8];
const HELD_OUT_SEQUENCES: usize = 64;
/// The part of the text that windows are judged on and no miner trains on, in percent.
pub(crate) const EVALUATION_PERCENT: u32 = 2;
/// The part of the text that the first miners may use in one window: over more of it they would meet often.
const WINDOW_SHARE: (u64, u64) = (3, 4);
/// A window of fewer inner steps is taken only where the text gives no more.
pub(crate) const LEAST_BATCHES: usize = 4;
/// Bytes of English text per token at small vocabularies.
const BYTES_PER_TOKEN: u64 = 4;

/// How a text is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    pub sequence_length: usize,
    pub sequences_per_batch: usize,
    /// Inner steps of a miner in a window, at most.
    pub batches: usize,
    pub evaluation: usize,
    pub held_out: usize,
}

/// A text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub train: u64,
    pub held_out: u64,
}

/// What a machine has time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most {
    /// Sequences of an inner step.
    pub batch: usize,
    /// Sequences that contributions are measured on.
    pub evaluation: usize,
}

impl Most {
    pub const USUAL: Self = Self { batch: SEQUENCES_PER_BATCH[0], evaluation: EVALUATION_SEQUENCES[0] };
}

impl Fit {
    /// The shape that is preferred: what the speed of a machine is measured with.
    pub const USUAL: Self = Self {
        sequence_length: SEQUENCE_LENGTHS[0],
        sequences_per_batch: SEQUENCES_PER_BATCH[0],
        batches: LEAST_BATCHES,
        evaluation: EVALUATION_SEQUENCES[0],
        held_out: HELD_OUT_SEQUENCES,
    };

    /// Shares a text out so that this many miners seldom meet, with as many batches as wanted or as the text gives; none
    /// where it is too small for any shape.
    pub fn of(tokens: Tokens, miners: u16, wanted: usize, model: &ModelConfig, most: Most) -> Option<Self> {
        let shapes = |least: usize| {
            let lengths = SEQUENCE_LENGTHS.into_iter().filter(|length| *length <= model.max_position_embeddings);
            lengths
                .flat_map(|length| SEQUENCES_PER_BATCH.map(|batch| (length, batch)))
                .flat_map(|(length, batch)| EVALUATION_SEQUENCES.map(|evaluation| (length, batch, evaluation)))
                .filter(|(_, batch, evaluation)| *batch <= most.batch && *evaluation <= most.evaluation)
                .find_map(|shape| Self::shaped(tokens, miners, wanted, shape).filter(|fit| fit.batches >= least))
        };
        shapes(LEAST_BATCHES.min(wanted)).or_else(|| shapes(1))
    }

    fn shaped(
        tokens: Tokens,
        miners: u16,
        wanted: usize,
        (length, batch, evaluation): (usize, usize, usize),
    ) -> Option<Self> {
        let sequences = tokens.train.saturating_sub(1) / length as u64;
        let judged = (sequences * u64::from(EVALUATION_PERCENT) / 100).max(evaluation as u64);
        let most = (sequences * WINDOW_SHARE.0 / WINDOW_SHARE.1).min(sequences.saturating_sub(judged));
        let batches = usize::try_from(most / (u64::from(miners) * batch as u64)).unwrap_or(usize::MAX).min(wanted);
        let held_out = (tokens.held_out.saturating_sub(1) / length as u64).min(HELD_OUT_SEQUENCES as u64) as usize;
        let fit = Self { sequence_length: length, sequences_per_batch: batch, batches, evaluation, held_out };
        (batches > 0 && held_out > 0).then_some(fit)
    }

    /// What is smaller than the machine has time for, in words; none where nothing is.
    pub fn remark(&self, most: Most) -> Option<String> {
        let usual =
            Self { batches: self.batches, sequences_per_batch: most.batch, evaluation: most.evaluation, ..Self::USUAL };
        (*self != usual || self.batches < LEAST_BATCHES).then(|| {
            format!(
                "the text is small: up to {} steps a window of {} sequences of {} tokens, judged on {}",
                self.batches, self.sequences_per_batch, self.sequence_length, self.evaluation
            )
        })
    }
}

/// The part of a text that is kept back, in percent: 2, or more where that would be too little to measure the loss on.
pub(crate) fn held_out_percent(bytes: u64) -> u32 {
    let wanted = (HELD_OUT_SEQUENCES * (SEQUENCE_LENGTHS[0] + 1)) as u64 * BYTES_PER_TOKEN;
    (wanted * 100).div_ceil(bytes.max(1)).clamp(2, 20) as u32
}

/// About how many bytes of text the smallest shape needs.
pub(crate) fn least_bytes(miners: u16) -> u64 {
    let shortest = SEQUENCE_LENGTHS[SEQUENCE_LENGTHS.len() - 1] as u64;
    let sequences = (u64::from(miners) + 8) * WINDOW_SHARE.1 / WINDOW_SHARE.0 + 1;
    // A fifth of it is kept back.
    sequences * shortest * BYTES_PER_TOKEN * 5 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(train: u64, held_out: u64, miners: u16) -> Option<Fit> {
        let model = templar_engine::preset("nano", 512).unwrap();
        Fit::of(Tokens { train, held_out }, miners, 200, &model, Most::USUAL)
    }

    #[test]
    fn a_large_text_is_shared_out_as_usual_and_a_small_one_in_smaller_shapes() {
        let large = fit(2_430_846, 50_000, 8).unwrap();
        assert_eq!(large, Fit { batches: 200, ..Fit::USUAL });
        assert_eq!(large.remark(Most::USUAL), None);
        let book = fit(40_000, 5_000, 8).unwrap();
        assert_eq!((book.sequence_length, book.held_out), (128, 39));
        assert!(book.batches >= LEAST_BATCHES && book.remark(Most::USUAL).is_some(), "{book:?}");
        let notes = fit(5_000, 1_200, 8).unwrap();
        assert!(notes.batches >= 1 && notes.held_out >= 1, "{notes:?}");
        assert_eq!((fit(400, 100, 8), fit(5_000, 20, 8), fit(5_000, 1_200, 256)), (None, None, None));
        // Whatever is shared out leaves enough to evaluate on.
        for train in (0..60_000).step_by(977) {
            let Some(fit) = fit(train, 9_000, 8) else { continue };
            let handed_out = 8 * fit.batches * fit.sequences_per_batch + fit.evaluation;
            assert!(handed_out * fit.sequence_length < train as usize, "{train}: {fit:?}");
        }
    }

    #[test]
    fn a_slow_machine_takes_smaller_shapes_of_a_large_text() {
        let model = templar_engine::preset("nano", 512).unwrap();
        let tokens = Tokens { train: 2_430_846, held_out: 50_000 };
        let most = Most { batch: 2, evaluation: 8 };
        let fit = Fit::of(tokens, 3, 200, &model, most).unwrap();
        assert_eq!(fit, Fit { sequences_per_batch: 2, evaluation: 8, batches: 200, ..Fit::USUAL });
        assert_eq!(fit.remark(most), None);
    }

    #[test]
    fn small_texts_keep_a_larger_part_back() {
        assert_eq!([1 << 30, 4 << 20, 160_000, 20_000, 0].map(held_out_percent), [2, 2, 20, 20, 20]);
        assert!(least_bytes(8) < 5_000);
    }
}
