//! Cutting a long text into pieces that a byte-level BPE encodes to the same tokens as the whole.

/// About how long a piece is, in bytes. The library's work on a text grows faster than its length; at this size the
/// cost is flat, and a piece is still some hundred words.
pub(crate) const PIECE_BYTES: usize = 1024;

/// A text without any place to cut is cut at a character here, so that no text makes the library crawl.
const LONGEST_PIECE_BYTES: usize = 64 * PIECE_BYTES;

/// The pieces of a text, in order; together they are the text. A cut lies before a single space between two
/// letters: there the byte-level expression always ends one word and starts the next.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(piece_end(rest));
        rest = after;
        Some(piece)
    })
}

fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE_BYTES {
        return text.len();
    }
    let bytes = text.as_bytes();
    let last = bytes.len().min(LONGEST_PIECE_BYTES);
    for position in PIECE_BYTES..last.saturating_sub(1) {
        let before = bytes[position - 1];
        let after = bytes[position + 1];
        if bytes[position] == b' ' && before.is_ascii_alphabetic() && after.is_ascii_alphabetic() {
            return position;
        }
    }
    if bytes.len() <= LONGEST_PIECE_BYTES { bytes.len() } else { text.floor_char_boundary(LONGEST_PIECE_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn pieces_join_to_the_text(words in proptest::collection::vec("\\PC{0,20}", 0..400)) {
            let text = words.join(" ");
            prop_assert_eq!(pieces(&text).collect::<String>(), text);
        }
    }

    #[test]
    fn a_text_without_spaces_is_cut_all_the_same() {
        let text = "日".repeat(100_000);
        assert!(pieces(&text).all(|piece| piece.len() <= LONGEST_PIECE_BYTES));
        assert_eq!(pieces(&text).collect::<String>(), text);
    }
}
