//! Which questions are asked.

use crate::examples::{ExamplesError, put_before};
use crate::lines::{Lines, LinesError, read_lines};
use crate::package::{Package, PackageError, Style, TaskName};
use crate::question::Task;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The questions to ask.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Tasks of the package.
    pub tasks: Vec<TaskName>,
    /// Files of questions, as JSON lines.
    pub files: Vec<PathBuf>,
    /// A file of examples to put before the questions of the files.
    pub examples: Option<PathBuf>,
    /// How many of them; of a task of the package, how many its variant has.
    pub shots: usize,
    /// How the package's questions are put.
    pub style: Style,
    /// The first questions of each task, instead of all.
    pub limit: Option<usize>,
}

/// Questions that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// Nothing was asked for.
    #[error("there are no questions to ask")]
    Nothing,
    /// A task was asked for twice.
    #[error("{name} ({variant}) is named twice")]
    Twice {
        /// The task.
        name: String,
        /// Its variant.
        variant: String,
    },
    /// Examples are asked for, and no file has them.
    #[error("{shots} examples are to be before each question of a file, and there is no file of examples")]
    NoExamples {
        /// How many.
        shots: usize,
    },
    /// There is a file of examples that is not used.
    #[error("there is a file of examples, and {reason}")]
    UnusedExamples {
        /// Why it is not used.
        reason: &'static str,
    },
    /// A task of the package cannot be had.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A file cannot be used.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// The examples do not fit.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
}

impl Selection {
    /// Reads all questions; `report` hears what is fetched.
    pub fn load(&self, report: &mut dyn FnMut(&str)) -> Result<Vec<Task>, SelectionError> {
        let mut tasks = self.read_files()?;
        if !self.tasks.is_empty() {
            let package = Package::get(report)?;
            for name in &self.tasks {
                tasks.push(package.task(name, self.style, self.shots)?);
            }
        }
        if tasks.is_empty() {
            return Err(SelectionError::Nothing);
        }
        for (place, task) in tasks.iter().enumerate() {
            if tasks[..place].iter().any(|before| before.name == task.name && before.variant == task.variant) {
                return Err(SelectionError::Twice { name: task.name.clone(), variant: task.variant.clone() });
            }
        }
        if let Some(limit) = self.limit {
            tasks.iter_mut().for_each(|task| task.limit(limit));
        }
        Ok(tasks)
    }

    fn read_files(&self) -> Result<Vec<Task>, SelectionError> {
        let examples = match (&self.examples, self.shots, self.files.is_empty()) {
            (Some(_), _, true) => {
                return Err(SelectionError::UnusedExamples {
                    reason: "the package's tasks have examples of their own",
                });
            }
            (Some(_), 0, _) => return Err(SelectionError::UnusedExamples { reason: "none of them is asked for" }),
            (None, shots @ 1.., false) => return Err(SelectionError::NoExamples { shots }),
            (Some(file), ..) => Some(read_file(file)?),
            (None, ..) => None,
        };
        let mut tasks = self.files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
        if let Some(examples) = examples {
            tasks.iter_mut().try_for_each(|task| put_before(task, &examples, self.shots))?;
        }
        Ok(tasks)
    }
}

fn read_file(path: &Path) -> Result<Task, LinesError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| LinesError::Read { file: name.clone(), source })?;
    let Lines { questions, left_out } = read_lines(&name, file)?;
    let (source, variant, available) = (name.clone(), "0shot".to_owned(), questions.len());
    Ok(Task { name, variant, source, questions, available, left_out })
}
