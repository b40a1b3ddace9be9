//! A checkpoint on disk: a folder as Hugging Face's tools know it, replaced as a whole or not at all.

use crate::failure::{Advise, Usage};
use crate::model_source::{Model, engine_of};
use anyhow::Context;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_corpus::Tokenizer;
use templar_engine::CpuEngine;
use templar_engine::checkpoint::SpecialTokens;

/// The sizes of the model.
pub const CONFIG_FILE: &str = "config.json";
/// The parameters.
pub const PARAMETERS_FILE: &str = "model.safetensors";
/// The tokens that begin and end a text.
pub const GENERATION_FILE: &str = "generation_config.json";
/// The tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A model that was read from a folder.
pub struct Checkpoint {
    /// Its sizes.
    pub config: ModelConfig,
    /// The tokens that begin and end a text.
    pub special: SpecialTokens,
    /// In canonical order.
    pub parameters: Vec<f32>,
    /// What makes its tokens.
    pub tokenizer: Tokenizer,
}

impl Checkpoint {
    /// Reads and checks a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::read(path)
            .with_context(|| format!("cannot use the checkpoint {}", path.display()))
            .advise("give a folder that `templar model train --out FOLDER` made, or a Llama model of Hugging Face")
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let Model { config, special, parameters, tokenizer, .. } = Model::open(path)?;
        let tokenizer = tokenizer.map_err(anyhow::Error::msg).context("the model has no usable tokenizer")?;
        let tokenizer = Tokenizer::from_json(&tokenizer)?;
        if tokenizer.vocab_size() as usize > config.vocab_size {
            anyhow::bail!(
                "the tokenizer has {} tokens and the model knows {}: it is another model's {TOKENIZER_FILE}",
                tokenizer.vocab_size(),
                config.vocab_size
            );
        }
        Ok(Self { config, special, parameters, tokenizer })
    }

    /// The tokens that end a text: the model's, else the tokenizer's.
    pub fn end_of_text(&self) -> u32 {
        self.special.end.first().copied().unwrap_or(self.tokenizer.end_of_text())
    }

    /// All tokens that end a text.
    pub fn stop_tokens(&self) -> Vec<u32> {
        if self.special.end.is_empty() { vec![self.tokenizer.end_of_text()] } else { self.special.end.clone() }
    }

    /// An engine with the parameters in it.
    pub fn engine(&self, threads: usize) -> anyhow::Result<CpuEngine> {
        engine_of(&self.config, &self.parameters, threads)
    }
}

/// A name beside the folder, such as `.first.new` beside `first`.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}{suffix}"))
}

/// Makes this process the only one that writes the folder, for as long as the file is held.
pub fn lock(folder: &Path) -> anyhow::Result<File> {
    if folder.file_name().is_none() {
        return Err(Usage(format!("{} has no name of its own: name a folder to make", folder.display())).into());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    }
    let path = beside(folder, ".lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write beside {}", folder.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(anyhow::anyhow!("{} is in use: another process trains there", folder.display()))
                .advise("stop that process, or choose another --out")
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Replaces the folder by one with these files. A kill at any instant leaves the old one or the new one.
pub fn replace(folder: &Path, files: &[(&str, &[u8])]) -> anyhow::Result<()> {
    make(folder, |new| files.iter().try_for_each(|(name, bytes)| write_file(&new.join(name), bytes)))
}

/// As [`replace`], with files that `write` puts into the folder that it is given (by [`write_file`]).
pub fn make(folder: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let context = || format!("cannot write the checkpoint {}", folder.display());
    let new = beside(folder, ".new");
    remove(&new).and_then(|()| fs::create_dir_all(&new)).with_context(context)?;
    write(&new).with_context(context)?;
    put_in_place(&new, folder).with_context(context)
}

/// Writes a file so that it outlasts a power failure.
pub fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn put_in_place(new: &Path, folder: &Path) -> io::Result<()> {
    let old = beside(folder, ".old");
    File::open(new)?.sync_all()?;
    if !folder.exists() {
        fs::rename(new, folder)?;
    } else if exchange(new, folder) {
        remove(new)?;
    } else {
        // Between these two the folder is missing; `recover` puts the old one back.
        remove(&old)?;
        fs::rename(folder, &old)?;
        fs::rename(new, folder)?;
        remove(&old)?;
    }
    if let Some(parent) = folder.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Swaps two folders in one step, where the system can.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

/// Puts the old folder back if a kill came between the two renames of [`replace`].
pub fn recover(folder: &Path) -> anyhow::Result<()> {
    let old = beside(folder, ".old");
    if !folder.exists() && old.is_dir() {
        fs::rename(&old, folder).with_context(|| format!("cannot put {} back", old.display()))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole_and_leaves_nothing_beside() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        for text in ["one", "two"] {
            replace(&folder, &[("a", text.as_bytes())]).unwrap();
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), text);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_kill_between_two_renames_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        replace(&folder, &[("a", b"one")]).unwrap();
        fs::rename(&folder, beside(&folder, ".old")).unwrap();
        recover(&folder).unwrap();
        assert!(folder.join("a").is_file());
    }

    #[test]
    fn a_folder_has_one_writer() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        let held = lock(&folder).unwrap();
        assert!(lock(&folder).unwrap_err().to_string().contains("is in use"));
        drop(held);
        lock(&folder).unwrap();
    }
}
