//! Scores on disk, so that a benchmark that was stopped or killed resumes, and a finished one is read.
//!
//! A file holds the scores of one model on the requests of one task, and says so: its key is a hash of the model's
//! parameters, its numerics, and all tokens of the requests. Two lines of JSON: the head, and the scores.

use crate::encode::Request;
use crate::question::Task;
use crate::scoring::Score;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use templar_base::ContentHash;
use templar_disk::{DiskError, Folder, WriteOptions, Writers};

/// The form of the file.
const FORMAT: &str = "templar-benchmark-1";
/// A file is read whole; of a million requests it has some 50 MB.
const MAX_BYTES: u64 = 1 << 30;

/// A file of scores that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The disk fails.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file holds other scores than its name says.
    #[error("{} has the scores of another model or of other requests", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    key: ContentHash,
    task: String,
    variant: String,
    requests: usize,
    /// BLAKE3 of the second line.
    scores: ContentHash,
}

/// What scores belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Results {
    folder: PathBuf,
    key: ContentHash,
    task: String,
    variant: String,
    requests: usize,
}

impl Results {
    /// The scores of a model, with its numerics, on the requests of a task.
    pub(crate) fn new(folder: &Path, model: ContentHash, numerics: &str, task: &Task, requests: &[Request]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(FORMAT.as_bytes()).update(model.as_bytes()).update(&(numerics.len() as u64).to_le_bytes());
        hasher.update(numerics.as_bytes());
        // The one kind of score that not every task has.
        hasher.update(&[u8::from(task.is_single())]);
        for request in requests {
            for tokens in [&request.inputs, &request.targets] {
                hasher.update(&(tokens.len() as u64).to_le_bytes());
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                hasher.update(&bytes);
            }
        }
        let key = ContentHash::new(*hasher.finalize().as_bytes());
        let (task, variant) = (task.name.clone(), task.variant.clone());
        Self { folder: folder.to_owned(), key, task, variant, requests: requests.len() }
    }

    /// The file's name: the task in letters that any file system has, and the start of the key.
    fn name(&self) -> String {
        let plain = |text: &str| {
            let fine = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' };
            text.chars().take(80).map(fine).collect::<String>()
        };
        let key: String = self.key.to_string().chars().take(16).collect();
        format!("{}-{}-{key}.json", plain(&self.task), plain(&self.variant))
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(self.name())
    }

    /// The scores so far; none at all where there is no file.
    pub(crate) fn read(&self) -> Result<Vec<Option<Score>>, ResultsError> {
        let damaged = |what: String| ResultsError::Damaged { path: self.path(), what };
        if std::fs::metadata(self.path()).is_ok_and(|facts| facts.len() > MAX_BYTES) {
            return Err(damaged(format!("it has more than {MAX_BYTES} bytes")));
        }
        let Some(bytes) = Folder::new(&self.folder).read(self.name())? else { return Ok(vec![None; self.requests]) };
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has one line".to_owned()))?;
        let (head, scores) = (&bytes[..end], &bytes[end + 1..]);
        let head: Head = serde_json::from_slice(head).map_err(|error| damaged(format!("its first line: {error}")))?;
        if head.format != FORMAT {
            return Err(damaged(format!("its form is {:?}, not {FORMAT:?}", head.format)));
        }
        if hash(scores) != head.scores {
            return Err(damaged("its scores are not those of its first line".to_owned()));
        }
        if head.key != self.key {
            return Err(ResultsError::Foreign { path: self.path() });
        }
        let scores: Vec<Option<Score>> =
            serde_json::from_slice(scores).map_err(|error| damaged(format!("its scores: {error}")))?;
        match scores.len() == self.requests && scores.iter().flatten().all(|score| score.log_likelihood.is_finite()) {
            true => Ok(scores),
            false => Err(damaged(format!("it has not the scores of {} requests", self.requests))),
        }
    }

    /// Writes the scores, whole or not at all, over those before.
    pub(crate) fn write(&self, scores: &[Option<Score>]) -> Result<(), ResultsError> {
        let folder = Folder::new(&self.folder);
        folder.create()?;
        let lines = serde_json::to_vec(scores).and_then(|mut scores| {
            scores.push(b'\n');
            let (task, variant) = (self.task.clone(), self.variant.clone());
            let (format, key, requests) = (FORMAT.to_owned(), self.key, self.requests);
            let head = Head { format, key, task, variant, requests, scores: hash(&scores) };
            Ok((serde_json::to_vec(&head)?, scores))
        });
        let (head, scores) =
            lines.map_err(|error| ResultsError::Damaged { path: self.path(), what: error.to_string() })?;
        // Two processes may compute the same; they write the same scores.
        let options = WriteOptions { writers: Writers::Many, ..WriteOptions::default() };
        Ok(folder.write_with(self.name(), &[&head, b"\n", &scores], options)?)
    }
}

fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash::new(*blake3::hash(bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn results(folder: &Path, token: u32) -> Results {
        let (name, variant, source) = ("a/b".to_owned(), "0shot".to_owned(), "s".to_owned());
        let task = Task { name, variant, source, questions: Vec::new(), available: 0, left_out: 0 };
        let request = Request { inputs: vec![1, token], targets: vec![3], is_truncated: false };
        Results::new(folder, ContentHash::default(), "strict-2", &task, &[request.clone(), request])
    }

    #[test]
    fn scores_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(&folder.path().join("new"), 2);
        assert_eq!(results.read().unwrap(), [None, None]);
        for is_greedy in [None, Some(true)] {
            let scores = [None, Some(Score { log_likelihood: -0.1 - 0.2, is_greedy })];
            results.write(&scores).unwrap();
            assert_eq!(results.read().unwrap(), scores);
        }
        assert!(results.name().starts_with("a_b-0shot-"));
    }

    #[test]
    fn a_damaged_file_and_a_foreign_one_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(folder.path(), 2);
        results.write(&[None, None]).unwrap();
        let good = fs::read(results.path()).unwrap();
        let name = results.path().display().to_string();
        for (bytes, why) in [
            (good[..good.len() / 2].to_vec(), "is damaged"),
            (good.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).collect(), "it has one line"),
            (String::from_utf8(good.clone()).unwrap().replace("[null", "[ null").into(), "its scores are not those"),
            (String::from_utf8(good.clone()).unwrap().replace("benchmark-1", "benchmark-9").into(), "benchmark-9"),
        ] {
            fs::write(results.path(), bytes).unwrap();
            let error = results.read().unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains(why), "{error}");
        }
        let other = super::tests::results(folder.path(), 4);
        assert_ne!(other.path(), results.path());
        other.write(&[None, None]).unwrap();
        fs::copy(other.path(), results.path()).unwrap();
        assert!(matches!(results.read(), Err(ResultsError::Foreign { path }) if path == results.path()));
    }
}
