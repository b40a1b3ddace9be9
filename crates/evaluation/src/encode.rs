//! From texts to tokens: what the model reads, and what it is asked to say.

use crate::question::{Choice, Question, Task};
use templar_corpus::TokenizerError;
use templar_model::Checkpoint;

/// A choice as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The tokens that the model reads: context and continuation but the last token.
    pub inputs: Vec<u32>,
    /// The tokens of the continuation, which the last `targets.len()` of the inputs predict.
    pub targets: Vec<u32>,
    /// Whether the beginning of the context was left out, because the model has fewer positions.
    pub is_truncated: bool,
}

impl Request {
    /// Tokens that are read and predict nothing that counts.
    pub(crate) fn head(&self) -> usize {
        self.inputs.len() - self.targets.len()
    }
}

/// A question that cannot be put to this model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The tokenizer fails.
    #[error("the question of line {line} of {source_name} has no tokens")]
    Tokenizer {
        /// The line.
        line: u64,
        /// The file.
        source_name: String,
        /// What is wrong.
        source: TokenizerError,
    },
    /// The tokenizer joins an answer to its context so that nothing of it is left.
    #[error(
        "answer {choice} of the question of line {line} of {source_name} has no token of its own behind its context"
    )]
    NoAnswer {
        /// The line.
        line: u64,
        /// The file.
        source_name: String,
        /// The number of the answer, from 1.
        choice: usize,
    },
    /// An answer alone is longer than what the model sees.
    #[error(
        "answer {choice} of the question of line {line} of {source_name} has {tokens} tokens, and the model sees {limit}"
    )]
    TooLong {
        /// The line.
        line: u64,
        /// The file.
        source_name: String,
        /// The number of the answer, from 1.
        choice: usize,
        /// Its tokens.
        tokens: usize,
        /// The model's positions.
        limit: usize,
    },
}

/// The requests of a task: a choice after the other, a question after the other.
pub fn encode(checkpoint: &Checkpoint, task: &Task, threads: usize) -> Result<Vec<Request>, EncodeError> {
    let share = task.questions.len().div_ceil(threads.max(1)).max(1);
    let encode_part = |questions: &[Question]| {
        let requests = questions.iter().map(|question| encode_question(checkpoint, task, question));
        requests.collect::<Result<Vec<_>, _>>()
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            task.questions.chunks(share).map(|questions| scope.spawn(move || encode_part(questions))).collect();
        // A thread that panicked has reported it; the panic goes on here.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut requests = Vec::with_capacity(task.requests());
    for part in parts {
        requests.extend(part?.into_iter().flatten());
    }
    Ok(requests)
}

fn encode_question(checkpoint: &Checkpoint, task: &Task, question: &Question) -> Result<Vec<Request>, EncodeError> {
    let limit = checkpoint.config.max_position_embeddings;
    let (line, source_name) = (question.line, || task.source_of());
    let encode_choice = |(number, choice): (usize, &Choice)| {
        let tokens = checkpoint.continuation(&choice.context, &choice.continuation);
        let (context, targets) =
            tokens.map_err(|source| EncodeError::Tokenizer { line, source_name: source_name(), source })?;
        let choice = number + 1;
        if targets.is_empty() {
            return Err(EncodeError::NoAnswer { line, source_name: source_name(), choice });
        }
        if targets.len() > limit {
            return Err(EncodeError::TooLong {
                line,
                source_name: source_name(),
                choice,
                tokens: targets.len(),
                limit,
            });
        }
        Ok(request(context, targets, limit))
    };
    question.choices.iter().enumerate().map(encode_choice).collect()
}

/// As lm-evaluation-harness has it: of context and continuation the last `limit + 1` tokens, of which the last is read
/// no more.
fn request(context: Vec<u32>, targets: Vec<u32>, limit: usize) -> Request {
    let mut inputs = context;
    inputs.extend(&targets[..targets.len() - 1]);
    let left_out = inputs.len().saturating_sub(limit);
    inputs.drain(..left_out);
    Request { inputs, targets, is_truncated: left_out > 0 }
}

impl Task {
    fn source_of(&self) -> String {
        match self.source == self.name {
            true => self.source.clone(),
            false => format!("{} ({}, {})", self.source, self.name, self.variant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_model_cannot_see_is_cut_from_the_left() {
        let whole = request(vec![1, 2, 3], vec![4, 5], 4);
        assert_eq!(
            (&whole.inputs[..], &whole.targets[..], whole.is_truncated),
            (&[1, 2, 3, 4][..], &[4, 5][..], false)
        );
        assert_eq!(whole.head(), 2);
        let cut = request(vec![1, 2, 3], vec![4, 5], 3);
        assert_eq!((&cut.inputs[..], cut.is_truncated, cut.head()), (&[2, 3, 4][..], true, 1));
        let least = request(vec![1, 2, 3], vec![4, 5], 2);
        assert_eq!((&least.inputs[..], least.head()), (&[3, 4][..], 0));
    }
}
