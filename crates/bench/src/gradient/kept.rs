//! Values that a training left, in a folder: a file for each window, and what they come from.
//!
//! `training.json` is written last: a folder without it has no values. `window-<n>.f32` holds the values of one worker
//! after the other, little-endian.

use crate::convergence::kept::Setting;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the values follow from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub setting: Setting,
    pub windows: usize,
    pub inner_steps: usize,
    pub kept_per_chunk: u16,
}

/// The folder of one training's values.
pub struct KeptValues {
    folder: PathBuf,
    training: Training,
    is_whole: bool,
}

impl KeptValues {
    /// Opens or makes the folder; fails where it holds the values of another training.
    pub fn open(folder: &Path, training: Training) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("training.json");
        let is_whole = match std::fs::read(&path) {
            Ok(text) => {
                let found: Training = serde_json::from_slice(&text)
                    .with_context(|| format!("{} is not what this command wrote", path.display()))?;
                anyhow::ensure!(
                    found == training,
                    "{} holds the values of another training; name another folder",
                    folder.display()
                );
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { folder: folder.to_owned(), training, is_whole })
    }

    /// Whether the values of all windows are there.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Keeps what the workers had at the end of a window.
    pub fn write(&self, window: usize, accumulated: &[Vec<f32>]) -> anyhow::Result<()> {
        let bytes: Vec<u8> = accumulated.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let path = self.path(window);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What the workers had at the end of a window.
    pub fn read(&self, window: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        let path = self.path(window);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let Setting { workers, parameters, .. } = self.training.setting;
        anyhow::ensure!(bytes.len() == 4 * workers * parameters, "{} is cut short; remove the folder", path.display());
        let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(value).collect();
        Ok(values.chunks_exact(parameters).map(<[f32]>::to_vec).collect())
    }

    /// Says that the values of all windows are there.
    pub fn finish(&self) -> anyhow::Result<()> {
        let path = self.folder.join("training.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&self.training)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, window: usize) -> PathBuf {
        self.folder.join(format!("window-{}.f32", window + 1))
    }
}
