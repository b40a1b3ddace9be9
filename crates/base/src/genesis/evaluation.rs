//! Standard tasks that validators put to the model every few windows, when they have nothing else to do. What comes out
//! decides nothing: it tells people what the model has learned.

use super::WindowBudget;
use super::problem::{Checks, Problem};
use crate::{ContentHash, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Tasks of a run. A validator's results of all of them fit into a small document.
pub const MAX_EVALUATION_TASKS: usize = 16;
/// Bytes of a task's questions. They are in the memory of every validator, and whoever joins fetches them: ten thousand
/// questions of a usual length.
pub const MAX_QUESTIONS_BYTES: u64 = 16 << 20;
/// Bytes of a task's name, which is part of signed results.
pub const MAX_TASK_NAME_BYTES: usize = 64;

/// What validators ask the model, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRule {
    /// The model at the start of every N-th window is asked. There is a checkpoint of each of these, so that anybody can
    /// ask again.
    pub every_windows: u64,
    /// What it is asked.
    pub tasks: Vec<EvaluationTask>,
}

/// A task: a file of questions, as JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationTask {
    /// A name for people.
    pub name: String,
    /// Hash of the file.
    pub questions: ContentHash,
    /// Its size.
    pub bytes: u64,
}

/// Whether a task may have this name: it stands in tables, command lines and file names.
fn is_name(name: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
    (1..=MAX_TASK_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter)
}

impl EvaluationTask {
    /// The name of the file beside the run's other public data: in the folder of the corpus.
    pub fn file_name(&self) -> String {
        format!("questions-{}.jsonl", self.questions)
    }
}

impl EvaluationRule {
    /// Whether the model at the start of a window is asked. The first parameters are not: they are no checkpoint.
    pub fn is_due(&self, window: Window) -> bool {
        window > Window::ZERO && window.is_multiple_of(self.every_windows.max(1))
    }

    /// What cannot be used, beside deadlines of `budget`.
    pub fn problems(&self, budget: &WindowBudget) -> Vec<Problem> {
        let mut checks = Checks::of("evaluation");
        let (every, checkpoint) = (self.every_windows, budget.checkpoint_windows.max(1));
        checks.require(
            "every_windows",
            every,
            every > 0 && every.is_multiple_of(checkpoint),
            format!("a multiple of budget.checkpoint_windows ({checkpoint}), so that anybody can fetch what was asked"),
        );
        let count = self.tasks.len();
        let is_bounded = (1..=MAX_EVALUATION_TASKS).contains(&count);
        checks.require("tasks", format!("{count} tasks"), is_bounded, format!("1 to {MAX_EVALUATION_TASKS} tasks"));
        let mut names = BTreeSet::new();
        for (number, task) in self.tasks.iter().enumerate().take(MAX_EVALUATION_TASKS) {
            let field = |of: &str| format!("tasks.{number}.{of}");
            let name = format!("{:?}", task.name.chars().take(MAX_TASK_NAME_BYTES).collect::<String>());
            let wanted = format!("1 to {MAX_TASK_NAME_BYTES} letters, digits, `_`, `-` and `.`");
            checks.require(&field("name"), &name, is_name(&task.name), wanted);
            checks.require(&field("name"), &name, names.insert(&task.name), "another name than the tasks before it");
            checks.range(&field("bytes"), task.bytes, 1..=MAX_QUESTIONS_BYTES);
        }
        checks.into_problems()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusHashes, Genesis, ModelConfig};

    fn task(name: &str) -> EvaluationTask {
        EvaluationTask { name: name.to_owned(), questions: ContentHash::new([1; 32]), bytes: 100 }
    }

    fn genesis(every_windows: u64, tasks: Vec<EvaluationTask>) -> Genesis {
        let small = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
        Genesis { evaluation: Some(EvaluationRule { every_windows, tasks }), ..small }
    }

    #[test]
    fn a_run_without_tasks_has_the_document_of_before() {
        let with = genesis(3, vec![task("arc_easy"), task("piqa-5.shot")]);
        assert_eq!(with.problems(), []);
        assert_eq!(Genesis::from_json(with.to_json().as_bytes()).unwrap(), with);
        let without = Genesis { evaluation: None, ..with.clone() };
        assert!(!without.to_json().contains("evaluation\":"), "{}", without.to_json());
        assert_ne!(with.run_id(), without.run_id());
        let due = |number| with.evaluation.as_ref().unwrap().is_due(Window(number));
        assert_eq!((0..8).filter(|number| due(*number)).collect::<Vec<_>>(), [3, 6]);
    }

    #[test]
    fn values_are_bounded_each_by_its_field() {
        let problem = |every, tasks| {
            let problems = genesis(every, tasks).problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].to_string()
        };
        // Checkpoints are every three windows.
        for every in [0, 4] {
            let text = problem(every, vec![task("a")]);
            assert!(text.contains("`evaluation.every_windows`") && text.contains("checkpoint_windows (3)"), "{text}");
        }
        assert!(problem(3, Vec::new()).contains("`evaluation.tasks` is 0 tasks"));
        let many = (0..=MAX_EVALUATION_TASKS).map(|number| task(&number.to_string())).collect();
        assert!(problem(6, many).contains("17 tasks"));
        assert!(problem(3, vec![task("a"), task("a")]).contains("`evaluation.tasks.1.name`"));
        for name in ["", "a b", "a/b", "é", "\u{1b}", &"n".repeat(MAX_TASK_NAME_BYTES + 1)] {
            let text = problem(3, vec![task(name)]);
            assert!(text.contains("`evaluation.tasks.0.name`") && !text.contains('\u{1b}'), "{text}");
        }
        for bytes in [0, MAX_QUESTIONS_BYTES + 1] {
            let text = problem(3, vec![EvaluationTask { bytes, ..task("a") }]);
            assert!(text.contains("`evaluation.tasks.0.bytes`"), "{text}");
        }
    }
}
