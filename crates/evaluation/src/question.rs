//! Questions: choices of which the model shall find one the most likely.

use std::sync::Arc;

/// An answer, and what is before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The text that the model reads; the choices of a question share it, or differ in it.
    pub context: Arc<str>,
    /// The text whose likelihood counts, with its leading space.
    pub continuation: Arc<str>,
}

impl Choice {
    /// The bytes by which `acc_norm` divides: those of the continuation without one leading space, which is the
    /// delimiter between context and answer.
    pub fn answer_bytes(&self) -> usize {
        self.continuation.strip_prefix(' ').unwrap_or(&self.continuation).len()
    }
}

/// A question with its choices, the right one among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// One choice, whose likelihood is measured, or several to choose among.
    pub choices: Vec<Choice>,
    /// The number of the right one, from 0.
    pub gold: usize,
    /// The line of its file on which it begins, from 1.
    pub line: u64,
}

/// The questions of a file, or of a task of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Such as `hellaswag`, or the file's name.
    pub name: String,
    /// Such as `rc_0shot`; of a file the number of examples before each question, such as `5shot`.
    pub variant: String,
    /// Where the questions were read from.
    pub source: String,
    /// In the order of the file.
    pub questions: Vec<Question>,
    /// Questions of the file, also where a limit left some out.
    pub available: usize,
    /// Requests of the file that are not part of the task: those without the question, which only a metric that is not
    /// computed here needs.
    pub left_out: usize,
}

impl Task {
    /// Keeps the first questions only.
    pub fn limit(&mut self, questions: usize) {
        self.questions.truncate(questions);
    }

    /// Whether every question has one choice, so that there is nothing to choose.
    pub fn is_single(&self) -> bool {
        self.questions.iter().all(|question| question.choices.len() == 1)
    }

    /// Requests: an answer each.
    pub fn requests(&self) -> usize {
        self.questions.iter().map(|question| question.choices.len()).sum()
    }
}
