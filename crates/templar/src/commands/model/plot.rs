//! `templar model plot`.

use crate::failure::{Advise, Usage};
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_bench::training_plot::{Along, is_picture_or_free, training_page};
use templar_model::{STEPS_FILE, folder, folder_of, read_steps};
use templar_screen::count;

/// Draw the loss, gradient norm and learning rate of one training or of several, as SVG.
///
/// The thin line is the loss of each batch, the thick one its running mean, the dots the loss on the held-out text.
///
/// Example: templar model plot first second --out losses.svg
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Plot {
    /// Checkpoint folders of `templar model train`
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// File to write; by default the first folder's name with `.svg`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Horizontal axis
    #[arg(long, value_name = "WHAT", default_value = "tokens")]
    along: Along,
    #[command(flatten)]
    output: Output,
}

impl Plot {
    /// Reads the histories and writes the picture.
    pub fn run(self) -> anyhow::Result<()> {
        let mut runs = Vec::new();
        for folder in &self.folders {
            let history = folder_of(folder);
            let steps = read_steps(&history)
                .with_context(|| format!("{} has no history", folder.display()))
                .advise("give a folder that `templar model train --out FOLDER` made")?;
            if steps.is_empty() {
                let path = history.join(STEPS_FILE);
                return Err(anyhow::anyhow!("{} has no steps", path.display())).advise("train some steps first");
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            runs.push((name, steps));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None => self.folders[0].with_extension("svg"),
        };
        if !is_picture_or_free(&out) {
            return Err(Usage(format!("{} exists and is no SVG", out.display()))).advise("name another --out");
        }
        let page = training_page(&runs, self.along);
        folder::write_file(&out, page.svg().as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
        let steps: usize = runs.iter().map(|(_, steps)| steps.len()).sum();
        let facts = json!({"file": out, "runs": runs.len(), "steps": steps});
        self.output.facts(&facts, |paint| {
            let file = paint.bold(&out.display().to_string());
            format!("{file}: {} steps of {} training(s)", count(steps as u64), runs.len())
        })
    }
}
