//! A network of this machine without the page: its windows as lines, its state as a table.

use crate::table::{Paint, count, table};
use crate::text::duration;
use serde_json::{Value, json};
use std::path::Path;
use templar_base::BlockNumber;
use templar_localnet::{NOTHING_GAINED, NodeView, Summary, View, WindowEvent};

/// How to use what a network of this machine has trained, while it runs and when it is stopped.
pub const NEXT: &str = "use the model: templar model chat, or templar checkpoint fetch --out trained";

fn loss(value: Option<f64>) -> String {
    value.map_or("?".to_owned(), |loss| format!("{loss:.4}"))
}

/// A window, in a line.
pub fn window(paint: Paint, event: &WindowEvent, view: &View) -> String {
    let selected = match event.selected.is_empty() {
        true => {
            let reason = event.null_reason.as_ref().map_or(String::new(), |reason| format!(", {reason}"));
            paint.yellow(&format!("null window: nothing applied{reason}"))
        }
        false => {
            let uids: Vec<String> = event.selected.iter().map(ToString::to_string).collect();
            format!("merged uids {}", uids.join(" "))
        }
    };
    let sync = format!("{}/{} nodes in sync", event.nodes_in_sync, event.nodes);
    format!(
        "{:>7}  window {:<4} held-out loss {} at window {:<4}  {:>9} tokens  {selected}  {sync}  state {}",
        duration(view.seconds),
        event.window,
        paint.bold(&loss(event.heldout_loss)),
        // As on the screen and in the journals: a loss is that of the parameters at a window's start.
        event.window.next(),
        count(event.tokens),
        event.state_hash.map_or(String::new(), |state| state.short()),
    )
}

/// What null windows mean, where there were any.
fn nulls(summary: &Summary) -> String {
    if summary.null_windows == 0 {
        return String::new();
    }
    let reasons: Vec<String> =
        summary.null_reasons.iter().map(|(reason, count)| format!("{count} times {reason}")).collect();
    let is_at_its_end = summary.null_reasons.first().is_some_and(|(reason, _)| reason == NOTHING_GAINED);
    let end = if is_at_its_end { ". The model has learned about what this text and these windows give" } else { "" };
    format!(
        "\nnull windows: {}. A null window leaves the model as it is: what the miners learned waits for the next one, \
         and pay follows the contributions of the last windows{end}.",
        reasons.join(", ")
    )
}

/// The end of a network, in a line, and in another one what null windows mean.
pub fn summary(paint: Paint, summary: &Summary) -> String {
    let nulls = nulls(summary);
    let utilisation = summary.utilisation.map_or("?".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "\n{} {} windows ({} null) in {}, {} tokens merged, held-out loss {} -> {}, miners' utilisation {}{nulls}",
        paint.bold("summary"),
        summary.windows,
        summary.null_windows,
        duration(summary.seconds),
        count(summary.tokens),
        loss(summary.first_heldout_loss),
        loss(summary.last_heldout_loss),
        utilisation,
    )
}

/// The state of a network in a folder, for programs; `head` is the ledger's newest block, if it answers.
pub fn facts(root: &Path, view: &View, head: Option<BlockNumber>) -> Value {
    let node = |node: &NodeView| {
        json!({
            "name": node.name,
            "alive": node.is_alive,
            "status": node.status,
            "verdict": node.verdict,
            "stake_rao": node.stake,
        })
    };
    json!({
        "folder": root,
        "ledger_block": head,
        "window": view.window,
        "heldout_loss": view.curve.last().map(|(_, loss)| loss),
        "heldout_losses": view.curve,
        "utilisation": view.utilisation,
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// The state of a network in a folder, for people; `head` is the ledger's newest block, if it answers.
pub fn text(root: &Path, view: &View, head: Option<BlockNumber>, paint: Paint) -> String {
    let ledger = match head {
        Some(head) => format!("block {head}"),
        None => paint.red("the ledger does not answer; `templar up` starts it"),
    };
    let window = view.window.map_or("before its first window".to_owned(), |window| format!("window {window}"));
    let losses = match (view.curve.first(), view.curve.last()) {
        (Some((_, first)), Some((_, last))) => format!("{first:.4} at first, {last:.4} now"),
        _ => "not measured yet".to_owned(),
    };
    let mut text =
        format!("{} {}\n{ledger}, {window}\nheld-out loss: {losses}\n", paint.bold("network"), root.display());
    if let Some(utilisation) = view.utilisation {
        text += &format!("miners' utilisation: {:.1} %\n", utilisation * 100.0);
    }
    let titles = ["uid", "node", "does", "window", "loss", "contribution", "verdict", "stake"];
    let rows: Vec<Vec<String>> = view.nodes.iter().map(row).collect();
    format!("{text}\n{}", table(paint, Some(&titles), &rows))
}

fn row(node: &NodeView) -> Vec<String> {
    let of = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = node.status.as_ref();
    let does = if node.is_alive { of(status.map(|status| status.activity.clone())) } else { "down".to_owned() };
    let contribution = node.verdict.as_ref().and_then(|verdict| verdict.contribution);
    vec![
        of(status.map(|status| status.uid.to_string())),
        node.name.clone(),
        does,
        of(status.map(|status| status.next.to_string())),
        of(status.and_then(|status| status.loss).map(|loss| format!("{loss:.3}"))),
        of(contribution.map(|nats| format!("{:.1} mnat", nats * 1000.0))),
        of(node.verdict.as_ref().map(|verdict| verdict.standing.clone())),
        of(node.stake.map(|stake| format!("{stake} alpha"))),
    ]
}
