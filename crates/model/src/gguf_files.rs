//! A model in a GGUF file, or in several that are its parts.

use crate::not_model::instead_of_gguf;
use crate::source::{OpenError, read};
use std::path::{Path, PathBuf};
use templar_engine::checkpoint::Gguf;

/// More parts than any model has.
const MOST_PARTS: u64 = 99_999;

/// The bytes of all files of a model.
pub(crate) struct GgufFiles {
    /// In the order of the parts.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl GgufFiles {
    /// Reads a file, and the others beside it where it is one part of several.
    pub(crate) fn read(path: &Path) -> Result<Self, OpenError> {
        let bytes = read(path)?;
        if let Some(what) = instead_of_gguf(path, &bytes) {
            return Err(OpenError::NotModel { path: path.to_owned(), what });
        }
        let broken = |source| OpenError::Gguf { path: path.to_owned(), source };
        let Some((number, count)) = Gguf::parse(&bytes).map_err(broken)?.part() else {
            return Ok(Self { files: vec![(path.to_owned(), bytes)] });
        };
        let mut files = Vec::new();
        let mut own = Some(bytes);
        for part in 0..count.min(MOST_PARTS) {
            if part == number
                && let Some(bytes) = own.take()
            {
                files.push((path.to_owned(), bytes));
                continue;
            }
            let other = part_path(path, number, part, count);
            if !other.is_file() {
                return Err(OpenError::PartMissing { path: path.to_owned(), count, missing: other });
            }
            let bytes = read(&other)?;
            files.push((other, bytes));
        }
        Ok(Self { files })
    }

    /// One file, whether it is a part or not.
    pub(crate) fn alone(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { files: vec![(path.to_owned(), read(path)?)] })
    }

    /// The names of the files with what each holds.
    pub(crate) fn parsed(&self) -> Result<Vec<(String, Gguf<'_>)>, OpenError> {
        let mut parsed = Vec::new();
        for (path, bytes) in &self.files {
            let file = Gguf::parse(bytes).map_err(|source| OpenError::Gguf { path: path.clone(), source })?;
            parsed.push((name_of(path), file));
        }
        Ok(parsed)
    }

    /// What all files hold together.
    pub(crate) fn whole(&self) -> Result<Gguf<'_>, OpenError> {
        let mut files: Vec<Gguf<'_>> = self.parsed()?.into_iter().map(|(_, file)| file).collect();
        if files.len() == 1
            && let Some(file) = files.pop_if(|file| file.part().is_none())
        {
            return Ok(file);
        }
        let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
        Gguf::join(files).map_err(|source| OpenError::Gguf { path, source })
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The path of part `part`, by the path of part `number`: `NAME-00001-of-00002.gguf`, as llama.cpp names them.
fn part_path(path: &Path, number: u64, part: u64, count: u64) -> PathBuf {
    let ending = |part: u64| format!("-{:05}-of-{count:05}.gguf", part + 1);
    let name = name_of(path);
    let start = name.strip_suffix(&ending(number)).or(name.strip_suffix(".gguf")).unwrap_or(&name);
    path.with_file_name(format!("{start}{}", ending(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_model_are_beside_each_other() {
        let other = |name: &str| part_path(Path::new(name), 0, 1, 3);
        assert_eq!(other("m/x-00001-of-00003.gguf"), Path::new("m/x-00002-of-00003.gguf"));
        assert_eq!(other("renamed.gguf"), Path::new("renamed-00002-of-00003.gguf"));
    }
}
