//! What the runs come to: a table, a CSV file of every point.

use super::kept::{Run, Setting};
use super::plan::{Method, Overlap, Rule};
use super::workers::Point;
use crate::Section;
use indicatif::DecimalBytes;
use serde::Serialize;
use std::fmt::Write;

/// Links of a worker that simulated time is told for, in megabits a second, each way.
pub const LINKS: [u32; 2] = [100, 500];

/// How long things take in the simulated world.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// A worker's step in seconds.
    step_seconds: f64,
}

impl World {
    /// Six operations for each parameter and token at this many teraflops.
    pub fn of(setting: &Setting, teraflops: f64) -> Self {
        let tokens = (setting.sequences * setting.sequence_length) as f64;
        Self { step_seconds: 6.0 * setting.parameters as f64 * tokens / (teraflops * 1e12) }
    }

    /// Simulated seconds until a point: steps, and of each exchange what the overlap does not hide.
    pub fn seconds(&self, method: &Method, point: &Point, megabits: u32) -> f64 {
        let exchanges = (point.steps / method.inner_steps).max(1) as f64;
        let bits = 8.0 * (point.sent_bytes + point.received_bytes) as f64 / exchanges;
        let hidden = method.delay() as f64 * self.step_seconds;
        let waits = (bits / (f64::from(megabits) * 1e6) - hidden).max(0.0);
        point.steps as f64 * self.step_seconds + if point.steps == 0 { 0.0 } else { exchanges * waits }
    }
}

/// One row of the table: a method over all seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The model's name.
    pub model: String,
    /// Steps of each worker.
    pub steps: usize,
    /// The method's name.
    pub method: String,
    /// Steps of a window (H).
    pub inner_steps: usize,
    /// Steps until what was merged arrives (τ).
    pub delay: usize,
    /// Runs that differ in their seed.
    pub seeds: usize,
    /// Mean held-out loss at the end, in nats.
    pub loss: f64,
    /// Standard deviation over the seeds; none with one seed.
    pub deviation: Option<f64>,
    /// Tokens of all workers.
    pub tokens: u64,
    /// What a worker sends of each parameter in a window (or a step), in bits.
    pub sent_bits_per_parameter: f64,
    /// What a worker has sent and received in the whole run.
    pub bytes: u64,
    /// Simulated seconds of the whole run on each of the links.
    pub seconds: Vec<f64>,
}

/// The rows of all runs, which are in order.
pub fn rows(runs: &[Run], teraflops: f64) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for group in runs.chunk_by(|a, b| a.setting == b.setting && a.method == b.method) {
        let ends: Vec<Point> = group.iter().filter_map(|run| run.points.last().copied()).collect();
        let Some(end) = ends.first() else { continue };
        let setting = &group[0].setting;
        let world = World::of(setting, teraflops);
        let method = group[0].method;
        let count = ends.len() as f64;
        let loss = ends.iter().map(|point| f64::from(point.loss)).sum::<f64>() / count;
        let squares: f64 = ends.iter().map(|point| (f64::from(point.loss) - loss).powi(2)).sum();
        let exchanges = (end.steps / method.inner_steps).max(1) as f64;
        rows.push(Row {
            model: setting.model.clone(),
            steps: setting.steps,
            method: method.name(),
            inner_steps: method.inner_steps,
            delay: method.delay(),
            seeds: ends.len(),
            loss,
            deviation: (ends.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            tokens: end.tokens,
            sent_bits_per_parameter: 8.0 * end.sent_bytes as f64 / exchanges / setting.parameters as f64,
            bytes: end.sent_bytes + end.received_bytes,
            seconds: LINKS.iter().map(|link| world.seconds(&method, end, *link)).collect(),
        });
    }
    rows
}

/// The table for people.
pub fn section(rows: &[Row]) -> Section {
    let links = LINKS.map(|link| format!("s at {link} Mb/s"));
    let head = ["model", "steps", "method", "H", "loss", "±", "bits/param", "moved", &links[0], &links[1]];
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut cells = vec![
                row.model.clone(),
                row.steps.to_string(),
                row.method.clone(),
                row.inner_steps.to_string(),
                format!("{:.4}", row.loss),
                row.deviation.map_or("-".to_owned(), |deviation| format!("{deviation:.4}")),
                format!("{:.3}", row.sent_bits_per_parameter),
                DecimalBytes(row.bytes).to_string(),
            ];
            cells.extend(row.seconds.iter().map(|seconds| format!("{seconds:.3}")));
            cells
        })
        .collect();
    Section { head: head.map(str::to_owned).to_vec(), rows: cells, ..Section::default() }
}

/// Every point as comma-separated values with a head.
pub fn csv(runs: &[Run], teraflops: f64) -> String {
    let mut text = "model,method,inner_steps,delay,seed,steps,tokens,sent_bytes,received_bytes,loss".to_owned();
    for link in LINKS {
        // Writing to a string cannot fail.
        let _ = write!(text, ",seconds_at_{link}_mbit");
    }
    text.push('\n');
    for run in runs {
        let world = World::of(&run.setting, teraflops);
        for point in &run.points {
            let Method { inner_steps, .. } = run.method;
            let (name, delay) = (run.method.name(), run.method.delay());
            let Point { steps, tokens, sent_bytes, received_bytes, loss } = point;
            let _ = write!(
                text,
                "{},\"{name}\",{inner_steps},{delay},{},{steps},{tokens},{sent_bytes},{received_bytes},{loss}",
                run.setting.model, run.seed
            );
            for link in LINKS {
                let _ = write!(text, ",{:.3}", world.seconds(&run.method, point, link));
            }
            text.push('\n');
        }
    }
    text
}

/// Whether a run belongs into the plots, which would be crowded with all of them: one window length, the usual decay,
/// no variants but the overlaps.
pub fn is_plotted(method: &Method, inner_steps: usize) -> bool {
    let is_usual =
        method.has_usual_decay() && method.has_usual_step() && (!method.is_variant || method.overlap != Overlap::None);
    method.rule == Rule::EveryStep || (method.inner_steps == inner_steps && is_usual)
}
