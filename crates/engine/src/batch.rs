//! Token sequences to learn from or to be judged on.

use crate::EngineError;

/// As a target: not counted. As an input: a position without content.
pub const IGNORED_TOKEN: u32 = u32::MAX;

/// Some sequences of tokens, all of one length.
///
/// Token `t + 1` of a sequence is the target of position `t`. A target of [`IGNORED_TOKEN`] (padding) does not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// `[sequences, length + 1]`, a sequence after the other.
    pub tokens: Vec<u32>,
    /// Number of sequences.
    pub sequences: usize,
    /// Number of positions of each sequence that predict.
    pub length: usize,
    /// The token that ends a document: if given, what follows it in a sequence does not see what stands before.
    /// The token itself is a target like any other.
    pub end_of_text: Option<u32>,
}

impl Batch {
    /// A batch of whole sequences without document boundaries; `tokens` is `[sequences, length + 1]`.
    pub fn new(tokens: Vec<u32>, sequences: usize, length: usize) -> Self {
        Self { tokens, sequences, length, end_of_text: None }
    }

    /// Checks that the numbers fit each other and that each token is one of the vocabulary. Gives the number of targets
    /// that count.
    pub fn check(&self, vocab_size: usize) -> Result<usize, EngineError> {
        let Self { ref tokens, sequences, length, .. } = *self;
        let needed = length.checked_add(1).and_then(|row| row.checked_mul(sequences));
        if needed != Some(tokens.len()) || length > u32::MAX as usize {
            return Err(EngineError::BatchShape { sequences, length, actual: tokens.len() });
        }
        if sequences == 0 || length == 0 {
            return Err(EngineError::Empty("the batch"));
        }
        check_tokens(tokens, vocab_size, true)?;
        let targets = tokens.chunks_exact(length + 1).flat_map(|row| &row[1..]);
        Ok(targets.filter(|&&target| target != IGNORED_TOKEN).count())
    }
}

/// A checked batch, split into what the model reads and what it shall say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    pub sequences: usize,
    pub length: usize,
    /// `[sequences, length]`.
    pub inputs: Vec<u32>,
    /// `[sequences, length]`.
    pub targets: Vec<u32>,
    /// For each position the first position of its sequence that it sees, `[sequences, length]`; empty without
    /// document boundaries.
    pub document_starts: Vec<u32>,
}

impl Positions {
    pub(crate) fn new(batch: &Batch, vocab_size: usize) -> Result<Self, EngineError> {
        batch.check(vocab_size)?;
        let Batch { ref tokens, sequences, length, end_of_text } = *batch;
        let mut positions = Self { sequences, length, ..Self::default() };
        for row in tokens.chunks_exact(length + 1) {
            positions.inputs.extend_from_slice(&row[..length]);
            positions.targets.extend_from_slice(&row[1..]);
            let Some(end) = end_of_text else { continue };
            let mut start = 0;
            for place in 0..length {
                if place > 0 && row[place - 1] == end {
                    start = place as u32;
                }
                positions.document_starts.push(start);
            }
        }
        Ok(positions)
    }

    /// The positions of a prompt, which has no targets.
    pub(crate) fn of_prompt(tokens: &[u32]) -> Self {
        Self { sequences: 1, length: tokens.len(), inputs: tokens.to_vec(), ..Self::default() }
    }

    /// These positions in parts of so many sequences; the last may have fewer.
    pub(crate) fn parts(&self, sequences: usize) -> impl Iterator<Item = Self> {
        let part = move |first: usize| {
            let count = sequences.min(self.sequences - first);
            let of = |values: &[u32]| match values {
                [] => Vec::new(),
                values => values[first * self.length..(first + count) * self.length].to_vec(),
            };
            Self {
                sequences: count,
                length: self.length,
                inputs: of(&self.inputs),
                targets: of(&self.targets),
                document_starts: of(&self.document_starts),
            }
        };
        (0..self.sequences).step_by(sequences).map(part)
    }

    pub(crate) fn rows(&self) -> usize {
        self.sequences * self.length
    }

    /// Number of targets that count.
    pub(crate) fn counted_targets(&self) -> usize {
        self.targets.iter().filter(|&&target| target != IGNORED_TOKEN).count()
    }
}

/// Refuses tokens outside the vocabulary; lets [`IGNORED_TOKEN`] pass if `ignored` is set.
pub(crate) fn check_tokens(tokens: &[u32], vocab_size: usize, ignored: bool) -> Result<(), EngineError> {
    let bad = |&token: &u32| token as usize >= vocab_size && !(ignored && token == IGNORED_TOKEN);
    match tokens.iter().position(bad) {
        Some(place) => Err(EngineError::Token { token: tokens[place], place, vocab_size }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_inputs_shifted_and_documents_start_after_their_end() {
        let mut batch = Batch::new(vec![1, 9, 2, 3, 9, 4, 5, IGNORED_TOKEN], 2, 3);
        batch.end_of_text = Some(9);
        let positions = Positions::new(&batch, 10).unwrap();
        assert_eq!(positions.inputs, [1, 9, 2, 9, 4, 5]);
        assert_eq!(positions.targets, [9, 2, 3, 4, 5, IGNORED_TOKEN]);
        assert_eq!(positions.document_starts, [0, 0, 2, 0, 1, 1]);
        assert_eq!(positions.counted_targets(), 5);
        assert_eq!(batch.check(10), Ok(5));
    }

    #[test]
    fn shapes_and_tokens_that_do_not_fit_are_refused() {
        let refused = |tokens: Vec<u32>, sequences, length| {
            Positions::new(&Batch::new(tokens, sequences, length), 4).unwrap_err()
        };
        assert_eq!(refused(vec![0; 5], 1, 3), EngineError::BatchShape { sequences: 1, length: 3, actual: 5 });
        assert_eq!(refused(vec![0, 4], 1, 1), EngineError::Token { token: 4, place: 1, vocab_size: 4 });
        assert_eq!(refused(vec![], 0, 3), EngineError::Empty("the batch"));
        assert!(matches!(refused(vec![], usize::MAX, usize::MAX), EngineError::BatchShape { .. }));
    }
}
