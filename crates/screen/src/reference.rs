//! Figures of this system beside those of another implementation.

use crate::table::{Paint, table};
use serde_json::{Value, json};
use std::path::Path;
use templar_engine::{Comparison, Difference, MatrixOptimiser};
use templar_ledger::vectors;

/// A model's figures beside the expected ones, for programs.
pub fn facts(folder: &Path, comparison: &Comparison) -> Value {
    json!({
        "folder": folder,
        "ok": comparison.is_within(),
        "logits": comparison.logits,
        "loss": comparison.loss,
        "gradients": comparison.worst_gradient().map(|worst| json!({
            "largest_error": worst.difference.largest_error,
            "tolerance": worst.difference.tolerance,
            "ok": worst.difference.is_within,
            "tensor": worst.name,
            "tensors": comparison.gradients,
        })),
        "greedy": comparison.greedy,
        "training": comparison.training,
    })
}

/// What came of a file of reference figures for the ledger: the report, or why it cannot be read.
pub fn ledger(paint: Paint, file: &Path, outcome: Result<&vectors::CheckReport, &str>) -> String {
    let title = paint.bold(&file.display().to_string());
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return format!("{title}: {}", paint.red(error)),
    };
    let verdict = match (report.differences.is_empty(), report.is_within_tolerance()) {
        (true, _) => paint.green("all equal"),
        (false, true) => paint.yellow("within tolerance"),
        (false, false) => paint.red("OVER TOLERANCE"),
    };
    let mut lines = format!("{title}: {} cases, {} figures, {verdict}", report.cases, report.figures);
    if !report.differences.is_empty() {
        let head = ["case", "figure", "expected", "found", "tolerance", ""];
        let rows: Vec<Vec<String>> = report.differences.iter().map(difference_row).collect();
        lines.push_str(&format!("\n{}", table(paint, Some(&head), &rows)));
    }
    for skipped in &report.skipped {
        lines.push_str(&format!("\n{}", paint.dim(&format!("not compared: {skipped}"))));
    }
    lines
}

fn difference_row(difference: &vectors::Difference) -> Vec<String> {
    let vectors::Difference { case, figure, expected, found, tolerance, is_over } = difference.clone();
    vec![case, figure, expected, found, tolerance, if is_over { "OVER" } else { "" }.to_owned()]
}

/// The largest errors of a model's figures, with their tolerances.
pub fn model(paint: Paint, comparison: &Comparison) -> String {
    let verdict = |is_within| if is_within { paint.green("ok") } else { paint.red("over") };
    let row = |name: &str, difference: Option<Difference>, note: String| match difference {
        None => vec![name.to_owned(), "not given".to_owned()],
        Some(Difference { largest_error, tolerance, is_within }) => {
            let (error, limit) = (format!("{largest_error:.2e}"), format!("{tolerance:.0e}"));
            vec![name.to_owned(), error, limit, verdict(is_within), note]
        }
    };
    let worst = comparison.worst_gradient();
    let gradients = worst.map(|worst| worst.difference);
    let count = comparison.gradients.len();
    let note = worst.map_or(String::new(), |worst| format!("{} (of {count} tensors)", worst.name));
    let mut rows = vec![
        row("logits", comparison.logits, String::new()),
        row("loss", comparison.loss, String::new()),
        row("gradients", gradients, note),
    ];
    rows.push(match comparison.greedy {
        None => vec!["greedy tokens".to_owned(), "not given".to_owned()],
        Some(greedy) => {
            let first = greedy.first_difference.map_or("equal".to_owned(), |place| format!("differ from {place} on"));
            let note = format!("{} tokens", greedy.tokens);
            vec!["greedy tokens".to_owned(), first, "equal".to_owned(), verdict(greedy.is_within), note]
        }
    });
    for run in &comparison.training {
        let note = format!("{} steps, worst way {}", run.steps, run.tensor.as_deref().unwrap_or("none"));
        let name = format!("training, {}", if run.hidden_matrices == MatrixOptimiser::Muon { "Muon" } else { "AdamW" });
        rows.push(row(&name, Some(run.difference), note));
    }
    table(paint, Some(&["figure", "largest error", "tolerance", "verdict", ""]), &rows)
}
