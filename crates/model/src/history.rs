//! What happened in a training, step by step: `steps.jsonl` and `steps.csv` in a folder beside the checkpoint, and the
//! checkpoints that are kept there.
//!
//! The folder of a checkpoint is replaced as a whole at each save, hence `first.history` beside `first`. A training
//! that resumes from a checkpoint drops what was logged after it: the log is that of a training that never stopped.

use crate::{FileError, folder};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Every step as a line of JSON.
pub const STEPS_FILE: &str = "steps.jsonl";
/// The same as a table.
const TABLE_FILE: &str = "steps.csv";
/// The names of checkpoints that are kept begin so; the step follows.
const CHECKPOINT_PREFIX: &str = "checkpoint-";

/// A step and what was measured after it; step 0 is the state before the first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Step {
    /// Steps done.
    pub step: u64,
    /// Tokens learnt from.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Mean loss of the step's batch, before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    /// Norm of the gradient before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f32>,
    /// Learning rate of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f32>,
    /// Loss on the held-out text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_loss: Option<f32>,
    /// What the model writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
}

impl Step {
    fn row(&self) -> String {
        let cell = |value: Option<f32>| value.map_or(String::new(), |value| value.to_string());
        let Self { step, tokens, seconds, .. } = self;
        let mut row = format!("{step},{tokens},{seconds:.3}");
        for value in [self.loss, self.gradient_norm, self.learning_rate, self.held_out_loss] {
            // Into a text: it cannot fail.
            let _ = write!(row, ",{}", cell(value));
        }
        row + "\n"
    }
}

const TABLE_HEAD: &str = "step,tokens,seconds,loss,gradient_norm,learning_rate,held_out_loss\n";

/// The folder of a training's history: `first.history` beside `first`.
pub fn folder_of(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{name}.history"))
}

/// The steps that a history holds, up to the first line that is broken.
pub fn read_steps(history: &Path) -> Result<Vec<Step>, FileError> {
    let path = history.join(STEPS_FILE);
    let file = File::open(&path).map_err(FileError::at("read", &path))?;
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    Ok(lines.map_while(|line| serde_json::from_str(&line).ok()).collect())
}

/// Which checkpoints stay beside the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The last N.
    pub last: u64,
    /// All whose step is a multiple of this.
    pub every: Option<u64>,
}

impl Keep {
    fn is_wanted(self, step: u64) -> bool {
        self.last > 0 || self.is_forever(step)
    }

    fn is_forever(self, step: u64) -> bool {
        self.every.is_some_and(|every| step.is_multiple_of(every))
    }
}

/// A history that is written to.
pub struct History {
    folder: PathBuf,
    steps: File,
    table: File,
    keep: Keep,
}

impl History {
    /// Opens the history of a training that has done `step` steps; drops what was logged after them, and what was there
    /// before a training that begins (`step` is none).
    pub fn open(out: &Path, step: Option<u64>, keep: Keep) -> Result<Self, FileError> {
        let folder = folder_of(out);
        fs::create_dir_all(&folder).map_err(FileError::at("make the folder", &folder))?;
        let mut steps = match step {
            Some(_) if folder.join(STEPS_FILE).exists() => read_steps(&folder)?,
            _ => Vec::new(),
        };
        steps.retain(|logged| step.is_some_and(|step| logged.step <= step));
        let lines = steps.iter().map(line).collect::<String>();
        let table = steps.iter().map(Step::row).collect::<String>();
        let open = |name: &str, text: &str| -> Result<File, FileError> {
            let path = folder.join(name);
            folder::write_file(&path, text.as_bytes())?;
            File::options().append(true).open(&path).map_err(FileError::at("write", &path))
        };
        let (steps, table) = (open(STEPS_FILE, &lines)?, open(TABLE_FILE, &format!("{TABLE_HEAD}{table}"))?);
        let mut history = Self { folder, steps, table, keep };
        history.forget_checkpoints_after(step)?;
        Ok(history)
    }

    /// Logs a step.
    pub fn write(&mut self, step: &Step) -> Result<(), FileError> {
        let failed = FileError::at("write the history in", &self.folder);
        self.steps.write_all(line(step).as_bytes()).map_err(failed)?;
        self.table.write_all(step.row().as_bytes()).map_err(failed)
    }

    /// Where the checkpoint of a step goes beside the newest one, if it is to be kept.
    pub fn place_of(&self, step: u64) -> Option<PathBuf> {
        self.keep.is_wanted(step).then(|| self.folder.join(format!("{CHECKPOINT_PREFIX}{step:08}")))
    }

    /// Removes the checkpoints that are not to be kept any longer.
    pub fn prune(&self) -> Result<(), FileError> {
        let mut kept = self.checkpoints()?;
        kept.sort_unstable();
        let spared = kept.len().saturating_sub(self.keep.last as usize);
        self.remove(kept[..spared].iter().copied().filter(|&step| !self.keep.is_forever(step)))
    }

    fn forget_checkpoints_after(&mut self, step: Option<u64>) -> Result<(), FileError> {
        let steps = self.checkpoints()?;
        self.remove(steps.into_iter().filter(|&kept| step.is_none_or(|step| kept > step)))
    }

    fn checkpoints(&self) -> Result<Vec<u64>, FileError> {
        let failed = FileError::at("read", &self.folder);
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(CHECKPOINT_PREFIX));
            steps.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        Ok(steps)
    }

    fn remove(&self, steps: impl Iterator<Item = u64>) -> Result<(), FileError> {
        for step in steps {
            let path = self.folder.join(format!("{CHECKPOINT_PREFIX}{step:08}"));
            fs::remove_dir_all(&path).map_err(FileError::at("remove", &path))?;
        }
        Ok(())
    }
}

fn line(step: &Step) -> String {
    serde_json::to_string(step).expect("numbers and a text under fixed names are always JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Step {
        Step { step, tokens: 10 * step, loss: Some(1.5), learning_rate: Some(0.1), ..Step::default() }
    }

    #[test]
    fn what_came_after_the_checkpoint_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("first");
        let mut history = History::open(&out, None, Keep::default()).unwrap();
        (0..5).for_each(|number| history.write(&step(number)).unwrap());
        // A kill in the middle of a line.
        history.steps.write_all(br#"{"step": 5, "tok"#).unwrap();
        drop(history);
        let mut history = History::open(&out, Some(3), Keep::default()).unwrap();
        history.write(&step(4)).unwrap();
        let read = read_steps(&folder_of(&out)).unwrap();
        assert_eq!(read, (0..5).map(step).collect::<Vec<_>>());
        let table = fs::read_to_string(folder_of(&out).join(TABLE_FILE)).unwrap();
        assert_eq!(table.lines().count(), 6);
        assert_eq!(table.lines().last(), Some("4,40,0.000,1.5,,0.1,"));
        History::open(&out, None, Keep::default()).unwrap();
        assert!(read_steps(&folder_of(&out)).unwrap().is_empty());
    }

    #[test]
    fn the_last_ones_and_round_numbers_stay() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("first");
        let history = History::open(&out, None, Keep { last: 2, every: Some(30) }).unwrap();
        for step in (10..=80).step_by(10) {
            fs::create_dir(history.place_of(step).unwrap()).unwrap();
            history.prune().unwrap();
        }
        let steps = |history: &History| {
            let mut steps = history.checkpoints().unwrap();
            steps.sort_unstable();
            steps
        };
        assert_eq!(steps(&history), [30, 60, 70, 80]);
        let history = History::open(&out, Some(70), Keep::default()).unwrap();
        assert_eq!(steps(&history), [30, 60, 70]);
        assert_eq!(history.place_of(90), None);
    }
}
