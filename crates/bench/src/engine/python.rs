//! The scratch Python environment with PyTorch that ours is measured against.

use super::SetUpError;
use crate::Progress;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Loads PyTorch where its CUDA libraries are missing; see its own words.
const WITHOUT_CUDA: &str = include_str!("without_cuda.py");

/// What PyTorch needs on a CPU. Its own list would bring some gigabytes of GPU libraries.
const NEEDED: [&str; 7] = ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools>=77"];

/// The interpreter of the environment in this folder.
pub fn interpreter(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Makes the environment in `folder`: PyTorch without its GPU libraries, and `transformers`.
pub fn set_up(folder: &Path, progress: &mut dyn Progress) -> Result<(), SetUpError> {
    let python = interpreter(folder);
    progress.say("making a Python environment");
    let made = Command::new("python3").args(["-m", "venv"]).arg(folder).stdin(Stdio::null()).output();
    let made = made.map_err(SetUpError::NoPython)?;
    succeeded("python3 -m venv", &made, "install Python's venv module (Debian: python3-venv)")?;
    let start = |program| move |source| SetUpError::Start { program, source };
    let install = |arguments: &[&str]| -> Result<(), SetUpError> {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(arguments);
        let output = pip.stdin(Stdio::null()).output().map_err(start("pip"))?;
        succeeded("pip install", &output, "check that the Python registry can be reached, and retry")
    };
    progress.say("installing PyTorch without its GPU libraries (some hundred megabytes)");
    install(&["--no-deps", "torch"])?;
    install(&NEEDED)?;
    progress.say("installing transformers");
    install(&["transformers"])?;
    progress.say("looking whether PyTorch loads");
    let mut patch = Command::new(&python);
    let output = patch.args(["-c", WITHOUT_CUDA]).stdin(Stdio::null()).output().map_err(start("Python"))?;
    succeeded("preparing PyTorch for a machine without a GPU", &output, "remove the folder, and use --setup again")?;
    if is_ready(&python) { Ok(()) } else { Err(SetUpError::NotLoading { folder: folder.to_owned() }) }
}

/// Whether this interpreter loads PyTorch.
pub fn is_ready(python: &Path) -> bool {
    let tried = Command::new(python).args(["-c", "import torch"]).stdin(Stdio::null()).output();
    tried.is_ok_and(|output| output.status.success())
}

fn succeeded(program: &'static str, output: &Output, remedy: &'static str) -> Result<(), SetUpError> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(6).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(SetUpError::Failed { program, said, remedy });
    }
    Ok(())
}
