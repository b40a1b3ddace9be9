//! A checkpoint on disk: a folder as Hugging Face's tools know it, replaced as a whole or not at all.

use crate::failure::{Advise, Usage};
use anyhow::Context;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_corpus::Tokenizer;
use templar_engine::checkpoint::{SpecialTokens, config_from_json, read_safetensors};
use templar_engine::{CpuEngine, Engine, OptimiserConfig};

/// The sizes of the model.
pub const CONFIG_FILE: &str = "config.json";
/// The parameters.
pub const PARAMETERS_FILE: &str = "model.safetensors";
/// The tokens that begin and end a text.
pub const GENERATION_FILE: &str = "generation_config.json";
/// The tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A config.json has a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

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
    /// Reads and checks a folder.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        recover(folder)?;
        Self::read(folder)
            .with_context(|| format!("cannot use the checkpoint {}", folder.display()))
            .advise("give a folder that `templar model train --out FOLDER` made, or a Llama model of Hugging Face")
    }

    fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let length = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        if length > MAX_CONFIG_BYTES {
            anyhow::bail!("{} has {length} bytes: it is no config.json", path.display());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (config, special) = config_from_json(&text).with_context(|| format!("in {}", path.display()))?;
        let files = parameter_files(folder)?;
        let bytes = files
            .iter()
            .map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let views: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let parameters = read_safetensors(&config, &views)
            .with_context(|| format!("cannot read the parameters in {}", folder.display()))?;
        let tokenizer = Tokenizer::open(&folder.join(TOKENIZER_FILE))?;
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

    /// An engine with the parameters in it.
    pub fn engine(&self, threads: usize) -> anyhow::Result<CpuEngine> {
        let mut engine = CpuEngine::new(self.config.clone(), OptimiserConfig::default(), threads)?;
        engine.parameters_mut().copy_from_slice(&self.parameters);
        Ok(engine)
    }
}

/// `model.safetensors`, or all its shards in order of their names.
fn parameter_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let whole = folder.join(PARAMETERS_FILE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut shards = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("model-") && name.ends_with(".safetensors") {
            shards.push(path);
        }
    }
    if shards.is_empty() {
        anyhow::bail!("{} is missing", whole.display());
    }
    shards.sort();
    Ok(shards)
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
    write_all(folder, files).with_context(|| format!("cannot write the checkpoint {}", folder.display()))
}

fn write_all(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let (new, old) = (beside(folder, ".new"), beside(folder, ".old"));
    remove(&new)?;
    fs::create_dir_all(&new)?;
    for (name, bytes) in files {
        let mut file = File::create(new.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    File::open(&new)?.sync_all()?;
    if !folder.exists() {
        fs::rename(&new, folder)?;
    } else if exchange(&new, folder) {
        remove(&new)?;
    } else {
        // Between these two the folder is missing; `recover` puts the old one back.
        remove(&old)?;
        fs::rename(folder, &old)?;
        fs::rename(&new, folder)?;
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
