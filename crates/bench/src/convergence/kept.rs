//! Finished runs and the file that keeps them, so that a comparison of hours goes on where it was.
//!
//! `runs.jsonl`: a line of JSON for each run, appended when it is finished. A line without its end, as a killed process
//! leaves it, counts as not written.

use super::plan::Method;
use super::workers::{Ground, Point};
use crate::{FileError, KeptError};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a run's points follow from, beside its method and its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub model: String,
    pub parameters: usize,
    /// Hash of the corpus' manifest.
    pub corpus: String,
    pub workers: usize,
    pub steps: usize,
    pub sequences: usize,
    pub sequence_length: usize,
    pub learning_rate: f32,
    pub held_out_sequences: usize,
}

/// One method on one model with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What its points follow from.
    pub setting: Setting,
    /// The method.
    pub method: Method,
    /// Seed of first parameters and of the order of the text.
    pub seed: u64,
    /// Its points, in order of steps.
    pub points: Vec<Point>,
}

impl Setting {
    /// Of a model with this name.
    pub fn of(model: &str, ground: &Ground) -> Self {
        Self {
            model: model.to_owned(),
            parameters: ground.parameters(),
            corpus: ground.corpus.manifest().hash().to_string(),
            workers: ground.workers,
            steps: ground.steps,
            sequences: ground.sequences,
            sequence_length: ground.sequence_length,
            learning_rate: ground.learning_rate,
            held_out_sequences: ground.held_out_sequences,
        }
    }
}

/// The kept runs of a folder, or of this process only.
pub struct KeptRuns {
    path: Option<PathBuf>,
    runs: Vec<Run>,
}

impl KeptRuns {
    /// What the folder keeps; without a folder nothing outlives the process.
    pub fn open(folder: Option<&Path>) -> Result<Self, KeptError> {
        let Some(folder) = folder else { return Ok(Self { path: None, runs: Vec::new() }) };
        std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        let path = folder.join("runs.jsonl");
        let mut text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(FileError::at("read", &path)(error).into()),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            text.truncate(whole);
            std::fs::write(&path, &text).map_err(FileError::at("write", &path))?;
        }
        Ok(Self { runs: parse(&path, &text)?, path: Some(path) })
    }

    /// What the folder keeps, to be read only: nothing is made or changed there.
    pub fn read(folder: &Path) -> Result<Self, KeptError> {
        let path = folder.join("runs.jsonl");
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        Ok(Self { runs: parse(&path, &text[..whole])?, path: None })
    }

    /// Whether this run is kept.
    pub fn has(&self, setting: &Setting, method: Method, seed: u64) -> bool {
        self.runs.iter().any(|run| run.setting == *setting && run.method == method && run.seed == seed)
    }

    /// Keeps a finished run.
    pub fn keep(&mut self, run: Run) -> Result<(), KeptError> {
        if let Some(path) = &self.path {
            let line = serde_json::to_string(&run).map_err(KeptError::Json)? + "\n";
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(FileError::at("write", path))?;
        }
        self.runs.push(run);
        Ok(())
    }

    /// All runs in the order of tables: by size, steps, method and seed.
    pub fn in_order(mut self) -> Vec<Run> {
        let key =
            |run: &Run| (run.setting.parameters, run.setting.steps, run.setting.corpus.clone(), run.method, run.seed);
        self.runs.sort_by_key(key);
        self.runs
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Run>, KeptError> {
    let parse = |(number, line): (usize, &str)| {
        let broken = |source| KeptError::Run { path: path.to_owned(), line: number + 1, source };
        serde_json::from_str(line).map_err(broken)
    };
    text.lines().enumerate().map(parse).collect()
}
