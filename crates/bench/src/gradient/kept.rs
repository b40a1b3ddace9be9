//! Values that a training left, in a folder: a file for each window, and what they come from.
//!
//! `training.json` is written last: a folder without it has no values. `window-<n>.f32` holds the values of one worker
//! after the other, little-endian.

use crate::convergence::kept::Setting;
use crate::{FileError, KeptError};
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
    pub fn open(folder: &Path, training: Training) -> Result<Self, KeptError> {
        std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        let path = folder.join("training.json");
        let is_whole = match std::fs::read(&path) {
            Ok(text) => {
                let unreadable = |source| KeptError::Training { path: path.clone(), source };
                let found: Training = serde_json::from_slice(&text).map_err(unreadable)?;
                if found != training {
                    return Err(KeptError::OtherTraining { folder: folder.to_owned() });
                }
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(FileError::at("read", &path)(error).into()),
        };
        Ok(Self { folder: folder.to_owned(), training, is_whole })
    }

    /// Whether the values of all windows are there.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Keeps what the workers had at the end of a window.
    pub fn write(&self, window: usize, accumulated: &[Vec<f32>]) -> Result<(), KeptError> {
        let bytes: Vec<u8> = accumulated.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let path = self.path(window);
        Ok(std::fs::write(&path, bytes).map_err(FileError::at("write", &path))?)
    }

    /// What the workers had at the end of a window.
    pub fn read(&self, window: usize) -> Result<Vec<Vec<f32>>, KeptError> {
        let path = self.path(window);
        let bytes = std::fs::read(&path).map_err(FileError::at("read", &path))?;
        let Setting { workers, parameters, .. } = self.training.setting;
        let (actual, expected) = (bytes.len(), 4 * workers * parameters);
        if actual != expected {
            return Err(KeptError::CutShort { path, actual, expected });
        }
        let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(value).collect();
        Ok(values.chunks_exact(parameters).map(<[f32]>::to_vec).collect())
    }

    /// Says that the values of all windows are there.
    pub fn finish(&self) -> Result<(), KeptError> {
        let path = self.folder.join("training.json");
        let text = serde_json::to_vec_pretty(&self.training).map_err(KeptError::Json)?;
        Ok(std::fs::write(&path, text).map_err(FileError::at("write", &path))?)
    }

    fn path(&self, window: usize) -> PathBuf {
        self.folder.join(format!("window-{}.f32", window + 1))
    }
}
