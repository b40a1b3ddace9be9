//! Answers that were rendered, for as long as their snapshot is the newest.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use templar_base::ContentHash;

/// Bytes of all kept answers at most; more of them are rendered again.
const MOST_BYTES: usize = 32 << 20;

/// An answer without its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    /// Names the bytes, so that a reader that has them need not fetch them again.
    pub(super) tag: String,
}

impl Answer {
    pub(super) fn new(kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = format!("\"{}\"", ContentHash::of(&body).short());
        Self { kind, body, tag }
    }
}

/// The kept answers of one snapshot.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    bytes: usize,
    answers: BTreeMap<String, Answer>,
}

impl Answers {
    /// The answer under this name, if it was made of this snapshot.
    pub(super) fn find(&self, generation: u64, key: &str) -> Option<Answer> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(key).filter(|_| kept.generation == generation).cloned()
    }

    /// Keeps an answer. Those of older snapshots go.
    pub(super) fn keep(&self, generation: u64, key: String, answer: Answer) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generation < kept.generation {
            return;
        }
        if generation > kept.generation || kept.bytes + answer.body.len() > MOST_BYTES {
            *kept = Kept { generation, ..Kept::default() };
        }
        kept.bytes += answer.body.len();
        kept.answers.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts_as_long_as_its_snapshot_and_within_a_bound() {
        let answers = Answers::default();
        let answer = |size: usize| Answer::new("text/plain", vec![7; size]);
        answers.keep(3, "a".to_owned(), answer(10));
        assert_eq!(answers.find(3, "a"), Some(answer(10)));
        assert_eq!((answers.find(4, "a"), answers.find(3, "b")), (None, None));
        answers.keep(4, "b".to_owned(), answer(1));
        answers.keep(3, "late".to_owned(), answer(1));
        assert_eq!((answers.find(3, "a"), answers.find(4, "late")), (None, None));
        answers.keep(4, "large".to_owned(), answer(MOST_BYTES));
        assert_eq!(answers.find(4, "b"), None, "it made room");
    }
}
