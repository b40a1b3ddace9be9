//! Examples that are put before each question.

use crate::question::{Question, Task};
use std::sync::Arc;

/// Between two examples, and between the last one and the question.
const BETWEEN: &str = "\n\n";

/// Examples that cannot be put before the questions; whoever chose them is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExamplesError {
    /// There are fewer than were asked for.
    #[error("{file} has {available} examples, and {wanted} are asked for")]
    TooFew {
        /// The file.
        file: String,
        /// Its examples.
        available: usize,
        /// What was asked for.
        wanted: usize,
    },
    /// A question is among its own examples, so that its answer would be before it.
    #[error("the question of line {question} of {questions} is the example of line {example} of {examples}")]
    Same {
        /// The file of questions.
        questions: String,
        /// The line of the question.
        question: u64,
        /// The file of examples.
        examples: String,
        /// The line of the example.
        example: u64,
    },
}

/// Puts the first `shots` questions of `examples`, each with its right answer, before every question of the task: the
/// same text before all, so that it is computed once.
pub(crate) fn put_before(task: &mut Task, examples: &Task, shots: usize) -> Result<(), ExamplesError> {
    let chosen = examples.questions.get(..shots).ok_or_else(|| ExamplesError::TooFew {
        file: examples.source.clone(),
        available: examples.questions.len(),
        wanted: shots,
    })?;
    for question in &task.questions {
        if let Some(example) = chosen.iter().find(|example| example.choices == question.choices) {
            let (questions, examples) = (task.source.clone(), examples.source.clone());
            let (question, example) = (question.line, example.line);
            return Err(ExamplesError::Same { questions, question, examples, example });
        }
    }
    let before: String = chosen.iter().map(with_answer).collect();
    for question in &mut task.questions {
        let mut last: Option<(Arc<str>, Arc<str>)> = None;
        for choice in &mut question.choices {
            // Choices that shared a context share it still.
            let shared = last.take().filter(|(plain, _)| *plain == choice.context);
            let pair = shared.unwrap_or_else(|| (choice.context.clone(), format!("{before}{}", choice.context).into()));
            choice.context = pair.1.clone();
            last = Some(pair);
        }
    }
    task.variant = format!("{shots}shot");
    Ok(())
}

fn with_answer(example: &Question) -> String {
    let right = &example.choices[example.gold];
    format!("{}{}{BETWEEN}", right.context, right.continuation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::read_lines;

    fn task(source: &str, lines: &[(&str, [&str; 2], usize)]) -> Task {
        let lines: Vec<String> = lines
            .iter()
            .map(|(context, choices, label)| {
                format!("{{\"context\": {context:?}, \"choices\": {choices:?}, \"label\": {label}}}\n")
            })
            .collect();
        let questions = read_lines(source, lines.concat().as_bytes()).unwrap().questions;
        let (name, source) = (source.to_owned(), source.to_owned());
        Task { name, variant: "0shot".to_owned(), source, available: questions.len(), questions, left_out: 0 }
    }

    #[test]
    fn examples_have_their_right_answers() {
        let mut asked = task("q", &[("Q: c\nA:", [" x", " y"], 0)]);
        let examples = task("e", &[("Q: a\nA:", [" 1", " 2"], 1), ("Q: b\nA:", [" 3", " 4"], 0)]);
        put_before(&mut asked, &examples, 2).unwrap();
        let choices = &asked.questions[0].choices;
        assert_eq!(&*choices[0].context, "Q: a\nA: 2\n\nQ: b\nA: 3\n\nQ: c\nA:");
        assert!(Arc::ptr_eq(&choices[0].context, &choices[1].context));
        assert_eq!(asked.variant, "2shot");
    }

    #[test]
    fn a_question_is_not_its_own_example_and_there_are_enough() {
        let mut asked = task("q", &[("Q: c\nA:", [" x", " y"], 0)]);
        let same = asked.clone();
        let error = put_before(&mut asked, &same, 1).unwrap_err().to_string();
        assert_eq!(error, "the question of line 1 of q is the example of line 1 of q");
        assert_eq!(put_before(&mut asked, &same, 2).unwrap_err().to_string(), "q has 1 examples, and 2 are asked for");
    }
}
