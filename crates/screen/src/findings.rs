//! What was found about the things that a node needs.

use crate::table::{Paint, table};
use templar_node::doctor::{Finding, Health};

/// Findings with the fix of each fault.
pub fn text(paint: Paint, findings: &[Finding]) -> String {
    // The colour comes last, since its codes have no width.
    let mut rows = Vec::new();
    for finding in findings {
        let health = match finding.health {
            Health::Ok => "ok",
            Health::Warn => "warn",
            Health::Fail => "fail",
        };
        rows.push(vec![health.to_owned(), finding.check.to_owned(), finding.what.clone()]);
        if let Some(fix) = &finding.fix {
            rows.push(vec![String::new(), String::new(), format!("fix: {fix}")]);
        }
    }
    let coloured = |line: &str| match line.split_once(' ') {
        Some(("ok", rest)) => format!("{} {rest}", paint.green("ok")),
        Some(("warn", rest)) => format!("{} {rest}", paint.yellow("warn")),
        Some(("fail", rest)) => format!("{} {rest}", paint.red("fail")),
        _ => line.to_owned(),
    };
    table(paint, None, &rows).lines().map(coloured).collect::<Vec<_>>().join("\n")
}
