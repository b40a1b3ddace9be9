//! `templar ledger check`.

use crate::config::Config;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use templar_ledger::vectors::{CheckReport, check};
use templar_screen::reference;

/// Room for thousands of the largest epochs.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Recompute reference figures with this ledger's rules and print every difference.
///
/// Files of four kinds are known and told apart by what is in them: epochs of a chain's runtime, epochs of a model,
/// published runs of Yuma 3, and single figures (prices of slots, emission, swaps, moving price, lock cost). The exit
/// code is 1 where a figure is further off than its kind allows, or a file cannot be read.
///
/// Example: templar ledger check yuma_model.json pool_and_burn.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// Files of reference figures
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// A file and what came of it.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a Path,
    within_tolerance: bool,
    #[serde(flatten)]
    report: Option<CheckReport>,
    error: Option<String>,
}

impl Check {
    /// Checks each file.
    pub fn run(self, _config: Config) -> anyhow::Result<()> {
        let checked: Vec<Checked<'_>> = self.files.iter().map(|file| check_file(file)).collect();
        self.output.facts(&checked, |paint| {
            checked
                .iter()
                .map(|checked| reference::ledger(paint, checked.file, checked.outcome()))
                .collect::<Vec<_>>()
                .join("\n\n")
        })?;
        let failed = checked.iter().filter(|checked| !checked.within_tolerance).count();
        anyhow::ensure!(failed == 0, "{failed} of {} files are not what these rules give", checked.len());
        Ok(())
    }
}

impl Checked<'_> {
    fn outcome(&self) -> Result<&CheckReport, &str> {
        self.report.as_ref().ok_or(self.error.as_deref().unwrap_or("not readable"))
    }
}

fn check_file(file: &Path) -> Checked<'_> {
    match read(file).and_then(|text| Ok(check(&text)?)) {
        Ok(report) => {
            Checked { file, within_tolerance: report.is_within_tolerance(), report: Some(report), error: None }
        }
        Err(error) => Checked { file, within_tolerance: false, report: None, error: Some(format!("{error:#}")) },
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    anyhow::ensure!(length <= MAX_FILE_BYTES, "{} has {length} bytes, at most {MAX_FILE_BYTES}", file.display());
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
