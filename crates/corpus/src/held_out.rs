//! Which part of the text is kept back for evaluation.

use crate::permutation::Permutation;
use std::collections::BTreeSet;

/// Less than this is too little to evaluate on; a small text gives up to a tenth of itself instead.
const SMALLEST_BYTES: u64 = 64 << 10;

/// How many of `total` bytes are kept back.
pub(crate) fn held_out_bytes(total: u64, percent: u32) -> u64 {
    let share = (u128::from(total) * u128::from(percent) / 100) as u64;
    if percent == 0 { 0 } else { share.max(SMALLEST_BYTES.min(total / 10)) }
}

/// The part of the text that is kept back: whole documents by a seeded choice, and the tail of one more, so that the
/// part has the wanted size even where a text is one long document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldOut {
    whole: BTreeSet<usize>,
    /// A document, and how many bytes of its end are kept back.
    tail: Option<(usize, u64)>,
}

impl HeldOut {
    /// Chooses about `percent` of the bytes of documents of these lengths.
    pub(crate) fn choose(document_bytes: &[u64], percent: u32, seed: u64) -> Self {
        let total: u64 = document_bytes.iter().sum();
        let wanted = held_out_bytes(total, percent);
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let order = Permutation::new(document_bytes.len() as u64, key, "held-out documents", 0);
        let mut held_out = Self { whole: BTreeSet::new(), tail: None };
        let mut left = wanted;
        for turn in 0..order.size() {
            if left == 0 {
                break;
            }
            let document = order.at(turn) as usize;
            let bytes = document_bytes[document];
            if bytes > left {
                held_out.tail = Some((document, left));
                break;
            }
            held_out.whole.insert(document);
            left -= bytes;
        }
        held_out
    }

    /// Where the held-out part of a document starts: at 0, at its end, or between two words near the wanted place.
    pub(crate) fn start_in(&self, document: usize, text: &str) -> usize {
        if self.whole.contains(&document) {
            return 0;
        }
        match self.tail {
            Some((number, bytes)) if number == document => {
                let wanted = text.floor_char_boundary(text.len().saturating_sub(bytes as usize));
                text[..wanted].rfind(char::is_whitespace).unwrap_or(wanted)
            }
            _ => text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_wanted_share_is_kept_back(lengths in proptest::collection::vec(1u64..200_000, 1..80), seed: u64) {
            let held_out = HeldOut::choose(&lengths, 2, seed);
            let total: u64 = lengths.iter().sum();
            let whole: u64 = held_out.whole.iter().map(|document| lengths[*document]).sum();
            let kept = whole + held_out.tail.map_or(0, |(_, bytes)| bytes);
            prop_assert_eq!(kept, (total / 50).max(SMALLEST_BYTES.min(total / 10)));
            prop_assert!(held_out.tail.is_none_or(|(document, _)| !held_out.whole.contains(&document)));
            prop_assert_eq!(held_out, HeldOut::choose(&lengths, 2, seed));
        }
    }

    #[test]
    fn a_single_document_gives_its_tail() {
        let text = "word ".repeat(1000);
        let held_out = HeldOut::choose(&[text.len() as u64], 2, 0);
        let start = held_out.start_in(0, &text);
        assert!((text.len() - start).abs_diff(500) <= 5, "{start}");
        assert_eq!(held_out.start_in(1, &text), text.len());
    }

    #[test]
    fn another_seed_chooses_other_documents() {
        let lengths = vec![10_000; 1000];
        assert_ne!(HeldOut::choose(&lengths, 2, 0), HeldOut::choose(&lengths, 2, 1));
        assert_eq!(HeldOut::choose(&lengths, 0, 1), HeldOut { whole: BTreeSet::new(), tail: None });
    }
}
