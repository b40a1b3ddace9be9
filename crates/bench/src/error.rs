//! What several comparisons fail by: files, and what a folder keeps of an earlier one.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// A file or folder that cannot be used; the disk or the path is at fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}; check that it may be used and that the disk has room", path.display())]
pub struct FileError {
    /// What was tried: `read`, `write`, `create the folder`, ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Turns the system's error into one that names the action and the path.
    pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + Copy + 'a {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// What a folder keeps of an earlier comparison cannot be used, or not be added to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The folder or a file in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of the finished runs is not one; the file was changed, or is of another version.
    #[error(
        "{}, line {line}: not a finished run of this version; remove the line, or name another folder", path.display()
    )]
    Run {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file that says what the values come from is of another program or version.
    #[error("{} was not written by this version of the command; name another folder", path.display())]
    Training {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The values come from another training than the one asked for; the caller is at fault.
    #[error("{} holds the values of another training; name another folder", folder.display())]
    OtherTraining {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of values has another length.
    #[error("{} has {actual} bytes of {expected}: it was cut short; remove the folder, and train again", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        actual: usize,
        /// The bytes of the training's values.
        expected: usize,
    },
    /// A run has no JSON; a fault of this program.
    #[error("cannot write what was measured as JSON; this is a fault of the program: report it")]
    Json(#[source] serde_json::Error),
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let own = source.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_engine::{MemoryBound, MemoryRoom, TooLittleMemory};

    #[test]
    fn a_failing_file_is_named_with_the_action_the_remedy_and_the_cause() {
        let error = KeptError::from(FileError::at("read", Path::new("/none"))(io::Error::other("worn out")));
        assert_eq!(
            with_causes(&error),
            "cannot read /none; check that it may be used and that the disk has room: worn out"
        );
        let room = MemoryRoom { bound: MemoryBound::Machine, total: 4, free: 4 };
        let cause = TooLittleMemory { what: "a test".to_owned(), needed: 8, room };
        let text = with_causes(&crate::gradient::GradientBenchError::Memory(cause.clone()));
        assert_eq!(
            text.matches(&cause.to_string()).count(),
            1,
            "what an error repeats of its cause is said once: {text}"
        );
    }
}
