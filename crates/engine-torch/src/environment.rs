//! A Python environment with PyTorch, made of the interpreter of the system and packages of the Python registry.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The version of PyTorch that this engine was tried with.
pub const TORCH_VERSION: &str = "2.15";
/// The same as a requirement of `pip`.
const REQUIREMENT: &str = "torch>=2.15,<2.16";
/// The oldest Python that this PyTorch has a package for.
const LEAST_PYTHON: (u32, u32) = (3, 11);
/// Interpreters that are tried, the system's own first.
const PYTHONS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// Loads PyTorch where its CUDA libraries are missing; see its own words.
const WITHOUT_CUDA: &str = include_str!("without_cuda.py");
/// What PyTorch needs on a CPU. Its own list would bring some gigabytes of GPU libraries.
const NEEDED: [&str; 7] = ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools>=77"];

/// Which packages an environment gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wheels {
    /// PyTorch as the registry has it: on Linux with CUDA.
    Whole,
    /// The same without its GPU libraries, for machines without a GPU. Needs a C compiler and binutils.
    WithoutGpu,
}

impl Wheels {
    /// What it takes, in words.
    pub fn size(self) -> &'static str {
        match self {
            Self::Whole => "2.8 GB to download on Linux, about 6 GB on disk",
            Self::WithoutGpu => "540 MB to download, 1.2 GB on disk",
        }
    }
}

/// An environment that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// No interpreter is new enough.
    #[error("no Python of {}.{} or newer was found ({found}); install one, such as Debian's python3 and python3-venv",
        LEAST_PYTHON.0, LEAST_PYTHON.1)]
    NoPython {
        /// What was found.
        found: String,
    },
    /// A program cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed; {remedy}. It wrote:\n{said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The end of what it wrote.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Everything is installed, and PyTorch does not load.
    #[error("PyTorch is installed in {} and does not load; remove the folder and retry", folder.display())]
    NotLoading {
        /// The environment.
        folder: PathBuf,
    },
}

/// A virtual environment in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// The environment in this folder, whether or not it was made.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its interpreter.
    pub fn interpreter(&self) -> PathBuf {
        self.folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    /// Makes the environment and installs PyTorch in it, in the tried version; says what is in progress.
    pub fn make(&self, wheels: Wheels, say: &mut dyn FnMut(&str)) -> Result<(), EnvironmentError> {
        let python = find_python()?;
        say("making a Python environment");
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(&self.folder);
        run(venv, "python3 -m venv", "install Python's venv module (Debian: python3-venv)")?;
        say(&format!("installing PyTorch ({})", wheels.size()));
        match wheels {
            Wheels::Whole => self.install(&[REQUIREMENT])?,
            Wheels::WithoutGpu => {
                self.install(&["--no-deps", REQUIREMENT])?;
                self.install(&NEEDED)?;
                let mut patch = Command::new(self.interpreter());
                patch.args(["-c", WITHOUT_CUDA]);
                run(patch, "preparing PyTorch for a machine without a GPU", "install a C compiler and binutils")?;
            }
        }
        say("checking that PyTorch loads");
        if self.is_ready() { Ok(()) } else { Err(EnvironmentError::NotLoading { folder: self.folder.clone() }) }
    }

    /// Installs packages of the Python registry.
    pub fn install(&self, packages: &[&str]) -> Result<(), EnvironmentError> {
        let mut pip = Command::new(self.interpreter());
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        run(pip, "pip install", "check that the Python registry can be reached and that the disk has room, and retry")
    }

    /// Whether its interpreter loads PyTorch.
    pub fn is_ready(&self) -> bool {
        loads_torch(&self.interpreter())
    }
}

/// Whether this interpreter loads PyTorch.
pub fn loads_torch(python: &Path) -> bool {
    let tried = Command::new(python).args(["-c", "import torch"]).stdin(Stdio::null()).output();
    tried.is_ok_and(|output| output.status.success())
}

/// The first interpreter that is new enough.
fn find_python() -> Result<&'static str, EnvironmentError> {
    let mut found = Vec::new();
    for python in PYTHONS {
        let asked = Command::new(python).arg("--version").stdin(Stdio::null()).output();
        let Ok(output) = asked else { continue };
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if version_of(&version).is_some_and(|version| version >= LEAST_PYTHON) {
            return Ok(python);
        }
        found.push(format!("{python} is {version}"));
    }
    let found = if found.is_empty() { "there is no python3".to_owned() } else { found.join(", ") };
    Err(EnvironmentError::NoPython { found })
}

/// Of a text such as `Python 3.12.1`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn run(mut command: Command, program: &'static str, remedy: &'static str) -> Result<(), EnvironmentError> {
    let output: Output =
        command.stdin(Stdio::null()).output().map_err(|source| EnvironmentError::Start { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(6).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    Err(EnvironmentError::Failed { program, said, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_python_are_read_and_compared() {
        assert_eq!(version_of("Python 3.12.1"), Some((3, 12)));
        assert!(version_of("Python 3.9.18").unwrap() < LEAST_PYTHON);
        assert!(version_of("Python 3.11.0rc1").unwrap() >= LEAST_PYTHON);
        for text in ["", "Python", "Python 3", "zsh: not found"] {
            assert_eq!(version_of(text), None, "{text}");
        }
    }

    #[test]
    fn an_environment_that_was_not_made_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Environment::new(folder.path()).is_ready());
    }
}
