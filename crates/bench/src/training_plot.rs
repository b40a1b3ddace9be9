//! The charts of trainings alone.

use crate::plot::{Chart, Page, Series};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use templar_model::Step;

/// Whether a picture may be written to this path: nothing is there yet, or an SVG that is replaced.
pub fn is_picture_or_free(path: &Path) -> bool {
    let mut start = [0; 4];
    match File::open(path).map(|mut file| file.read(&mut start)) {
        Ok(Ok(read)) => read == 0 || start == *b"<svg" || start == *b"<?xm",
        Ok(Err(_)) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// What the horizontal axis has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Along {
    /// Tokens trained on
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

/// The charts of trainings, by name and steps: loss, gradient norm and learning rate.
pub fn training_page(runs: &[(String, Vec<Step>)], along: Along) -> Page {
    let lines = |value: &dyn Fn(&Step) -> Option<f32>, name: &dyn Fn(&str) -> String| -> Vec<Series> {
        let runs = runs.iter().enumerate();
        let series = runs.map(|(run, (title, steps))| Series::line(run, name(title), points(steps, along, value)));
        series.collect()
    };
    let unnamed = |_: &str| String::new();
    let raw = lines(&|step| step.loss, &unnamed).into_iter().map(Series::thin);
    let smooth = lines(&|step| step.loss, &str::to_owned).into_iter().map(|mut series| {
        series.points = running_mean(&series.points);
        series
    });
    let held_out = lines(&|step| step.held_out_loss, &unnamed).into_iter().map(Series::dots);
    let chart = |title: &str, series| Chart { title: title.to_owned(), series };
    let charts = vec![
        chart(
            "loss (nats per token): each step, running mean, held-out text (dots)",
            raw.chain(smooth).chain(held_out).collect(),
        ),
        chart("gradient norm", lines(&|step| step.gradient_norm, &unnamed)),
        chart("learning rate", lines(&|step| step.learning_rate, &unnamed)),
    ];
    Page { charts, x_name: along.name().to_owned(), is_logarithmic: false, height: 240.0, is_legend_beside: false }
}

fn points(steps: &[Step], along: Along, value: &dyn Fn(&Step) -> Option<f32>) -> Vec<(f64, f64)> {
    let points = steps.iter().filter_map(|step| Some((along.of(step), f64::from(value(step)?))));
    points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
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
