//! The tasks that a run's genesis names: their files, and their questions as tokens of the run's model.

use crate::encode::{EncodeError, Request, encode};
use crate::lines::{Lines, LinesError, read_lines};
use crate::question::Task;
use crate::scoring::Passes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use templar_base::{ContentHash, EvaluationRule, EvaluationTask, MAX_QUESTIONS_BYTES, ModelConfig, WindowBudget};
use templar_corpus::Tokenizer;
use templar_disk::{DiskError, Folder};
use templar_engine::checkpoint::SpecialTokens;
use templar_model::{Checkpoint, Companions};

/// Bytes of a task's answers with their contexts: a context may stand before as many answers as a question can have, and
/// all of it is in a validator's memory as tokens.
const MAX_REQUEST_BYTES: u64 = 64 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file of questions that a run cannot use; the file is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunTaskError {
    /// The file cannot be read.
    #[error("cannot read the questions {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has another size than the genesis says, or more bytes than a run may have.
    #[error("{} has {actual} bytes or more, over the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that were read.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not the one that the genesis names.
    #[error("{} has the hash {actual}, and the genesis names {wanted}", path.display())]
    OtherHash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        actual: ContentHash,
        /// The genesis' hash.
        wanted: ContentHash,
    },
    /// The file is compressed.
    #[error("{} is compressed, and a run's questions are plain JSON lines", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
    },
    /// The answers with their contexts are too large.
    #[error("the answers of {} have {actual} bytes with their contexts, over the limit of {limit}", path.display())]
    TooMuchText {
        /// The file.
        path: PathBuf,
        /// Their bytes.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// A line cannot be used.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// The questions cannot be put to the run's model.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl RunTaskError {
    /// What to do next.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path; the questions of a run lie in the folder of its corpus, where `templar run join` puts them"
            }
            Self::Read { .. } | Self::Disk(_) => "check the path and its permissions",
            Self::TooLarge { .. } | Self::TooMuchText { .. } => "take fewer questions, or cut the file in two",
            Self::OtherHash { .. } => "fetch the run's own file again, such as with `templar run join`",
            Self::Compressed { .. } => "unpack it with gunzip",
            Self::Lines(_) => "correct the file; docs/evaluation.md has its form",
            Self::Encode(_) => "leave the question out, or take a model that sees more",
        }
    }
}

/// A file of questions for a new run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionFile {
    /// What the genesis says of it. The name is the file's, without its ending.
    pub task: EvaluationTask,
    bytes: Vec<u8>,
}

impl QuestionFile {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, RunTaskError> {
        let bytes = read_bytes(path, MAX_QUESTIONS_BYTES)?;
        questions(path, &bytes)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { task: EvaluationTask { name, questions: ContentHash::of(&bytes), bytes: bytes.len() as u64 }, bytes })
    }

    /// Puts the file into the folder of a corpus.
    fn put_into(&self, corpus: &Path) -> Result<(), RunTaskError> {
        Ok(Folder::new(corpus).write(self.task.file_name(), &[&self.bytes])?)
    }
}

/// What a new run is to ask its model; nothing where there is no file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEvaluation {
    /// The tasks.
    pub files: Vec<QuestionFile>,
    /// Windows between two evaluations; as often as there is a checkpoint where it is not given.
    pub every_windows: Option<u64>,
}

impl NewEvaluation {
    /// Reads and checks the files.
    pub fn read(files: &[PathBuf], every_windows: Option<u64>) -> Result<Self, RunTaskError> {
        let files = files.iter().map(|path| QuestionFile::read(path)).collect::<Result<_, _>>()?;
        Ok(Self { files, every_windows })
    }

    /// The section of the genesis, beside its deadlines.
    pub fn rule(&self, budget: &WindowBudget) -> Option<EvaluationRule> {
        let every_windows = self.every_windows.unwrap_or(budget.checkpoint_windows);
        let tasks: Vec<EvaluationTask> = self.files.iter().map(|file| file.task.clone()).collect();
        (!tasks.is_empty()).then_some(EvaluationRule { every_windows, tasks })
    }

    /// Puts the files into the folder of a corpus, where nodes read them.
    pub fn put_into(&self, corpus: &Path) -> Result<(), RunTaskError> {
        self.files.iter().try_for_each(|file| file.put_into(corpus))
    }
}

/// Reads a file up to a limit.
fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, RunTaskError> {
    let failed = |source| RunTaskError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 {
        actual if actual > limit => Err(RunTaskError::TooLarge { path: path.to_owned(), actual, limit }),
        _ => Ok(bytes),
    }
}

/// The questions of a run's file, within the bounds of a run.
fn questions(path: &Path, bytes: &[u8]) -> Result<Lines, RunTaskError> {
    if bytes.starts_with(&GZIP) {
        return Err(RunTaskError::Compressed { path: path.to_owned() });
    }
    let lines = read_lines(&path.display().to_string(), bytes)?;
    let choices = lines.questions.iter().flat_map(|question| &question.choices);
    let actual = choices.map(|choice| (choice.context.len() + choice.continuation.len()) as u64).sum();
    match actual {
        0..=MAX_REQUEST_BYTES => Ok(lines),
        _ => Err(RunTaskError::TooMuchText { path: path.to_owned(), actual, limit: MAX_REQUEST_BYTES }),
    }
}

/// The tasks of a run, as tokens of its model.
#[derive(Debug)]
pub struct RunTasks {
    pub(crate) tasks: Vec<(Task, Vec<Request>)>,
    /// Tokens whose keys and values are held together, at most.
    pub(crate) batch_tokens: usize,
}

impl RunTasks {
    /// Reads the files that a genesis names out of the folder of the corpus, and puts them into tokens as whoever fetches
    /// a checkpoint of the run does.
    pub fn read(
        rule: &EvaluationRule,
        corpus: &Path,
        (model, tokenizer): (&ModelConfig, &Tokenizer),
        threads: usize,
    ) -> Result<Self, RunTaskError> {
        let special = SpecialTokens { begin: None, end: vec![tokenizer.end_of_text()], padding: None };
        let (config, tokenizer, companions) = (model.clone(), tokenizer.clone(), Companions::default());
        // Texts become tokens without the parameters.
        let model = Checkpoint { config, special, parameters: Vec::new(), tokenizer, companions };
        let read = |named: &EvaluationTask| {
            let path = corpus.join(named.file_name());
            let bytes = read_bytes(&path, named.bytes)?;
            let (actual, wanted) = (ContentHash::of(&bytes), named.questions);
            if actual != wanted {
                return Err(RunTaskError::OtherHash { path, actual, wanted });
            }
            let Lines { questions, left_out } = questions(&path, &bytes)?;
            let (name, variant, source) = (named.name.clone(), "0shot".to_owned(), path.display().to_string());
            let task = Task { name, variant, source, available: questions.len(), questions, left_out };
            let requests = encode(&model, &task, threads)?;
            Ok((task, requests))
        };
        let tasks = rule.tasks.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { tasks, batch_tokens: Passes::new(&model.config, 1).batch_tokens })
    }

    /// Answers of all tasks.
    pub fn requests(&self) -> usize {
        self.tasks.iter().map(|(_, requests)| requests.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "{\"context\": \"The sky is\", \"choices\": [\" blue\", \" cheese\"], \"label\": 0}\n";

    #[test]
    fn a_file_is_named_by_its_hash_beside_the_corpus() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arc_easy.jsonl");
        std::fs::write(&path, LINE).unwrap();
        let file = QuestionFile::read(&path).unwrap();
        assert_eq!((file.task.name.as_str(), file.task.bytes), ("arc_easy", LINE.len() as u64));
        file.put_into(folder.path()).unwrap();
        let put = folder.path().join(format!("questions-{}.jsonl", ContentHash::of(LINE.as_bytes())));
        assert_eq!(std::fs::read_to_string(put).unwrap(), LINE);
    }

    #[test]
    fn a_file_that_no_run_can_use_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.jsonl");
        let context = "c".repeat(1 << 20);
        let wide = serde_json::json!({"context": context, "choices": vec!["a"; 64], "label": 0}).to_string();
        for (bytes, why) in [
            (b"\x1f\x8b\x08".to_vec(), "is compressed"),
            (vec![b' '; MAX_QUESTIONS_BYTES as usize + 1], "over the limit of 16777216"),
            (b"{}\n".to_vec(), "line 1"),
            (format!("{wide}\n{wide}").into_bytes(), "over the limit of 67108864"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = QuestionFile::read(&path).unwrap_err();
            assert!(error.to_string().contains(why) && !error.remedy().is_empty(), "{error}");
        }
        let missing = QuestionFile::read(&folder.path().join("none")).unwrap_err();
        assert!(missing.remedy().contains("templar run join"), "{missing}");
    }
}
