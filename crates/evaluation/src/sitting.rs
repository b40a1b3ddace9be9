//! A run's tasks put to the model at one state, a slice at a time, while nothing else is to be done with the engine.

use crate::metrics::Metrics;
use crate::run_tasks::RunTasks;
use crate::scoring::{Passes, Score, ScoreError, Scoring};
use std::sync::Arc;
use std::time::{Duration, Instant};
use templar_engine::Engine;

/// A slice is to take this long: other work for the engine waits for its end.
const SLICE: Duration = Duration::from_millis(250);
/// Tokens of the first slice, and of the largest.
const FIRST_SLICE_TOKENS: usize = 128;
const MAX_SLICE_TOKENS: usize = 1 << 13;
/// Tokens that pass through the model together, at most: what a pass holds beside keys and values grows with them.
const MAX_PASS_TOKENS: usize = 1 << 10;

/// The figures of one of a run's tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFigures {
    /// Its name in the genesis.
    pub name: String,
    /// Questions that were asked: all.
    pub questions: usize,
    /// The figures.
    pub metrics: Metrics,
}

/// An evaluation under way. The figures do not depend on how it is cut into slices.
pub struct Sitting {
    tasks: Arc<RunTasks>,
    /// The task at hand.
    at: Option<(Scoring, Vec<Option<Score>>)>,
    figures: Vec<TaskFigures>,
    slice_tokens: usize,
    scored: usize,
}

impl Sitting {
    /// Begins with the first task.
    pub fn begin(tasks: Arc<RunTasks>) -> Self {
        Self { tasks, at: None, figures: Vec::new(), slice_tokens: FIRST_SLICE_TOKENS, scored: 0 }
    }

    /// Answers that are scored, and all answers.
    pub fn progress(&self) -> (usize, usize) {
        (self.scored, self.tasks.requests())
    }

    /// Scores some answers with the parameters in the engine, which are the same at each call; the figures once all tasks
    /// are done.
    pub fn advance(&mut self, engine: &mut dyn Engine) -> Result<Option<Vec<TaskFigures>>, ScoreError> {
        let tasks = Arc::clone(&self.tasks);
        let Some((task, requests)) = tasks.tasks.get(self.figures.len()) else {
            return Ok(Some(std::mem::take(&mut self.figures)));
        };
        let (scoring, scores) = self.at.get_or_insert_with(|| {
            let scores = vec![None; requests.len()];
            (Scoring::new(requests, &scores), scores)
        });
        if !scoring.is_done() {
            let (begun, before) = (Instant::now(), scoring.at());
            // The clock decides how much is done at once, which no bit of a score depends on.
            let batch_tokens = self.slice_tokens.min(tasks.batch_tokens);
            let passes = Passes { batch_tokens, pass_tokens: batch_tokens.min(MAX_PASS_TOKENS) };
            scoring.advance(engine, requests, scores, (passes, task.is_single()))?;
            self.scored += scoring.at() - before;
            self.slice_tokens = match begun.elapsed() {
                took if took < SLICE / 2 => (self.slice_tokens * 2).min(MAX_SLICE_TOKENS),
                took if took > SLICE * 2 => (self.slice_tokens / 2).max(1),
                _ => self.slice_tokens,
            };
        }
        if scoring.is_done() {
            let whole: Vec<Score> = scores.iter().flatten().copied().collect();
            let (name, questions) = (task.name.clone(), task.questions.len());
            self.figures.push(TaskFigures { name, questions, metrics: Metrics::new(task, &whole) });
            self.at = None;
        }
        let is_over = self.figures.len() == tasks.tasks.len();
        Ok(is_over.then(|| std::mem::take(&mut self.figures)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::{Choice, Question, Task};
    use crate::scoring::score;
    use crate::scoring::tests::{engine, requests};
    use templar_engine::{Buffer, ModelConfig, initial_parameters, preset};

    fn task(name: &str, choices: &[usize]) -> Task {
        let choice = || Choice { context: "c".into(), continuation: " abc".into() };
        let question = |count: &usize| Question { choices: vec![choice(); *count], gold: count - 1, line: 1 };
        let questions: Vec<Question> = choices.iter().map(question).collect();
        let (variant, source) = ("0shot".to_owned(), String::new());
        Task { name: name.to_owned(), variant, source, available: questions.len(), questions, left_out: 0 }
    }

    #[test]
    fn slices_with_other_work_in_between_give_the_figures_of_the_whole() {
        // As many answers as the requests of the other test: questions with choices, and one answer each.
        let all = requests();
        let count = all.len();
        let tasks =
            vec![(task("choices", &[count - 3, 3]), all.clone()), (task("single", &vec![1; count]), all.clone())];
        let whole = |task: &Task| {
            let passes = Passes { batch_tokens: 1 << 16, pass_tokens: 1024 };
            let mut scores = vec![None; count];
            score(engine(2).as_mut(), &all, &mut scores, (passes, task.is_single()), |_, _| Ok::<_, ScoreError>(true))
                .unwrap();
            Metrics::new(task, &scores.into_iter().map(Option::unwrap).collect::<Vec<_>>())
        };
        let expected: Vec<Metrics> = tasks.iter().map(|(task, _)| whole(task)).collect();
        let config = ModelConfig { initializer_range: 0.2, ..preset("nano", 300).unwrap() };
        let (own, other) = ([7; 32], [8; 32]);
        let mut sitting = Sitting::begin(Arc::new(RunTasks { tasks, batch_tokens: 100 }));
        let (mut engine, mut slices) = (engine(1), 0);
        let figures = loop {
            if let Some(figures) = sitting.advance(engine.as_mut()).unwrap() {
                break figures;
            }
            slices += 1;
            // A judgement between two slices.
            engine.write(Buffer::Parameters, 0, &initial_parameters(&config, other)).unwrap();
            engine.write(Buffer::Parameters, 0, &initial_parameters(&config, own)).unwrap();
        };
        assert!(slices > 4, "{slices} slices");
        assert_eq!(sitting.progress(), (2 * count, 2 * count));
        assert_eq!(figures.iter().map(|own| own.metrics).collect::<Vec<_>>(), expected);
        assert_eq!(figures.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(), ["choices", "single"]);
        assert_eq!((figures[0].questions, figures[1].questions), (2, count));
    }
}
