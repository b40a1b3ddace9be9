//! What `templar up` prints where there is no screen: plain lines for people, JSON lines for programs.

use super::watch::{View, WindowEvent};
use crate::output::{Output, count, duration};
use serde::Serialize;

/// What a run of the command came to.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Always `summary`.
    pub event: &'static str,
    /// Held-out loss before the first window of this command.
    pub first_heldout_loss: Option<f64>,
    /// Held-out loss after the last one.
    pub last_heldout_loss: Option<f64>,
    /// Windows that ended.
    pub windows: u64,
    /// Those without an outer step.
    pub null_windows: u64,
    /// Tokens of the merged payloads.
    pub tokens: u64,
    /// Wall time.
    pub seconds: f64,
    /// Part of the time that the miners spent in inner steps.
    pub utilisation: Option<f64>,
    /// Windows after which not all nodes that told their state had the same one.
    pub windows_out_of_sync: u64,
}

fn loss(value: Option<f64>) -> String {
    value.map_or("?".to_owned(), |loss| format!("{loss:.4}"))
}

/// Tells of a window.
pub fn tell_window(output: Output, event: &WindowEvent, view: &View) -> anyhow::Result<()> {
    output.event(event, |paint| {
        let selected = match event.selected.is_empty() {
            true => paint.yellow("null window: nothing applied"),
            false => {
                let uids: Vec<String> = event.selected.iter().map(ToString::to_string).collect();
                format!("merged uids {}", uids.join(" "))
            }
        };
        let sync = format!("{}/{} nodes in sync", event.nodes_in_sync, event.nodes);
        format!(
            "{:>7}  window {:<4} held-out loss {}  {:>9} tokens  {selected}  {sync}  state {}",
            duration(view.seconds),
            event.window,
            paint.bold(&loss(event.heldout_loss)),
            count(event.tokens),
            event.state_hash.map_or(String::new(), |state| state.short()),
        )
    })
}

/// Tells of the end.
pub fn tell_summary(output: Output, summary: &Summary) -> anyhow::Result<()> {
    output.event(summary, |paint| {
        let utilisation = summary.utilisation.map_or("?".to_owned(), |share| format!("{:.1} %", share * 100.0));
        format!(
            "\n{} {} windows ({} null) in {}, {} tokens merged, held-out loss {} -> {}, miners' utilisation {}",
            paint.bold("summary"),
            summary.windows,
            summary.null_windows,
            duration(summary.seconds),
            count(summary.tokens),
            loss(summary.first_heldout_loss),
            loss(summary.last_heldout_loss),
            utilisation,
        )
    })
}
