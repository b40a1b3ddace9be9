//! `templar status`.

use super::up::folder_advice;
use crate::config::{Config, DataFlag};
use crate::failure::Advise;
use crate::interrupt;
use crate::output::{Output, Paint, table};
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;
use templar_base::BlockNumber;
use templar_chain::{RpcChain, RpcOptions};
use templar_localnet::{NETUID, NodeView, Stakes, View, Watch, read_settings};

/// Show the local network of this machine: what each node does or waits for, windows, losses, contributions, stakes.
///
/// Reads the nodes' status files and the ledger; needs no key and changes nothing.
///
/// Example: templar status
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Status {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
}

impl Status {
    /// Prints the state of the network.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let root = config.data_folder().join("up");
        let settings = read_settings(&root).map_err(folder_advice)?;
        let settings = settings.ok_or_else(|| anyhow::anyhow!("there is no local network in {}", root.display()));
        let settings = settings.advise("start one with `templar up`, or name its folder with --data")?;
        let watch = Watch::in_folder(&root);
        let mut view = watch.view(&[]);
        let mut stakes = Stakes::default();
        let url = settings.ledger_url();
        // A ledger that is away is a fact to show, not a failure of this command.
        interrupt::runtime(1)?.block_on(async {
            if let Ok(chain) = RpcChain::connect(&url, RpcOptions::default()).await {
                stakes.refresh(&chain, NETUID).await;
            }
        });
        stakes.add_to(&mut view);
        let head = stakes.head();
        if let Ok(genesis) = crate::role::read_genesis(&root.join("genesis.json")) {
            view.window = genesis.clock.window_of(head.unwrap_or(view.block));
        }
        self.output.facts(&to_json(&root, &view, head), |paint| to_text(&root, &view, head, paint))
    }
}

fn to_json(root: &Path, view: &View, head: Option<BlockNumber>) -> Value {
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

fn to_text(root: &Path, view: &View, head: Option<BlockNumber>, paint: Paint) -> String {
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
