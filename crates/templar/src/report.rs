//! What `templar up` prints where there is no screen: plain lines for people, JSON lines for programs.

use crate::output::{Output, count, duration};
use templar_localnet::{Summary, View, WindowEvent};

fn loss(value: Option<f64>) -> String {
    value.map_or("?".to_owned(), |loss| format!("{loss:.4}"))
}

/// Prints a window.
pub fn print_window(output: Output, event: &WindowEvent, view: &View) -> anyhow::Result<()> {
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

/// Prints the end.
pub fn print_summary(output: Output, summary: &Summary) -> anyhow::Result<()> {
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
