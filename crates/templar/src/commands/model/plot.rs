//! `templar model plot`.

use super::plot_svg::{Chart, Series, draw};
use crate::failure::{Advise, Usage};
use crate::output::{Output, count};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use templar_model::{STEPS_FILE, Step, folder_of, read_steps};

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
    /// File to write; the first folder's name with `.svg` where it is not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What runs from left to right
    #[arg(long, value_name = "WHAT", default_value = "tokens")]
    along: Along,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Along {
    /// Tokens learnt from
    Tokens,
    /// Steps done
    Steps,
    /// Seconds of training
    Seconds,
}

impl Along {
    fn of(self, step: &Step) -> f64 {
        match self {
            Self::Tokens => step.tokens as f64,
            Self::Steps => step.step as f64,
            Self::Seconds => step.seconds,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Steps => "steps",
            Self::Seconds => "seconds",
        }
    }
}

/// Steps over which the running mean forgets, as a share of all.
const SMOOTHING: f64 = 0.02;

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
                return Err(anyhow::anyhow!("{} holds no step", path.display())).advise("train some steps first");
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            runs.push((name, steps));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None => self.folders[0].with_extension("svg"),
        };
        if out.is_dir() {
            return Err(Usage(format!("{} is a folder", out.display()))).advise("name a file with --out");
        }
        let svg = draw(&self.charts(&runs), self.along.name());
        fs::write(&out, svg).with_context(|| format!("cannot write {}", out.display()))?;
        let steps: usize = runs.iter().map(|(_, steps)| steps.len()).sum();
        let facts = json!({"file": out, "runs": runs.len(), "steps": steps});
        Output::new(self.json).facts(&facts, |paint| {
            let file = paint.bold(&out.display().to_string());
            format!("{file}: {} steps of {} training(s)", count(steps as u64), runs.len())
        })
    }

    fn charts(&self, runs: &[(String, Vec<Step>)]) -> [Chart; 3] {
        let lines = |value: &dyn Fn(&Step) -> Option<f32>, name: &dyn Fn(&str) -> String| -> Vec<Series> {
            let runs = runs.iter().enumerate();
            let series = runs.map(|(run, (title, steps))| Series::line(run, name(title), self.points(steps, value)));
            series.collect()
        };
        let unnamed = |_: &str| String::new();
        let raw = lines(&|step| step.loss, &unnamed).into_iter().map(Series::thin);
        let smooth = lines(&|step| step.loss, &str::to_owned).into_iter().map(|mut series| {
            series.points = running_mean(&series.points);
            series
        });
        let held_out = lines(&|step| step.held_out_loss, &unnamed).into_iter().map(Series::dots);
        [
            Chart {
                title: "loss (nats per token): each step, running mean, held-out text (dots)",
                series: raw.chain(smooth).chain(held_out).collect(),
            },
            Chart { title: "gradient norm", series: lines(&|step| step.gradient_norm, &unnamed) },
            Chart { title: "learning rate", series: lines(&|step| step.learning_rate, &unnamed) },
        ]
    }

    fn points(&self, steps: &[Step], value: &dyn Fn(&Step) -> Option<f32>) -> Vec<(f64, f64)> {
        let points = steps.iter().filter_map(|step| Some((self.along.of(step), f64::from(value(step)?))));
        points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }
}

fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let new = (1.0 / (points.len() as f64 * SMOOTHING)).clamp(0.01, 1.0);
    let mut mean = points.first().map_or(0.0, |first| first.1);
    let smooth = points.iter().map(|&(x, y)| {
        mean += new * (y - mean);
        (x, mean)
    });
    smooth.collect()
}
