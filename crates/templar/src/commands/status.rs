//! `templar status`.

use super::up::folder_advice;
use crate::config::{Config, DataFlag};
use crate::failure::Advise;
use crate::interrupt;
use crate::output::{Output, Paint, table};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use templar_base::{Alpha, BlockNumber, Uid};
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_localnet::{NodeView, View, Watch, read_settings};

const LEDGER_DEADLINE: Duration = Duration::from_secs(3);

/// Show the local network of this machine: who does or waits for what, windows, losses, contributions, stakes.
///
/// Reads what the nodes write of themselves and the ledger; it needs no key and changes nothing.
///
/// Example: templar status
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
}

/// What the ledger says; none of it where it is away.
#[derive(Default)]
struct LedgerFacts {
    head: Option<BlockNumber>,
    stakes: BTreeMap<Uid, Alpha>,
}

impl Status {
    /// Prints where the network stands.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let root = config.data_folder().join("up");
        let settings = read_settings(&root).map_err(folder_advice)?;
        let settings = settings.ok_or_else(|| anyhow::anyhow!("there is no local network in {}", root.display()));
        let settings = settings.advise("start one with `templar up`, or name its folder with --data")?;
        let watch = Watch::new(nodes_in(&root)?);
        let mut view = watch.view(&[]);
        let facts = interrupt::runtime(1)?.block_on(read_ledger(&settings.ledger_url()));
        for node in &mut view.nodes {
            node.stake = node.status.as_ref().and_then(|status| facts.stakes.get(&status.uid).copied());
        }
        if let Ok(genesis) = crate::role::read_genesis(&root.join("genesis.json")) {
            view.window = genesis.clock.window_of(facts.head.unwrap_or(view.block));
        }
        Output::new(self.json).facts(&to_json(&root, &view, &facts), |paint| to_text(&root, &view, &facts, paint))
    }
}

/// All nodes that have a folder, those that joined by hand too.
fn nodes_in(root: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let Ok(entries) = std::fs::read_dir(root.join("nodes")) else { return Ok(Vec::new()) };
    let mut nodes = Vec::new();
    for entry in entries {
        let entry = entry?;
        nodes.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(nodes)
}

async fn read_ledger(url: &str) -> LedgerFacts {
    let read = async {
        let chain = RpcChain::connect(url, RpcOptions::default()).await.ok()?;
        let metagraph = chain.metagraph(templar_base::Netuid(3), None).await.ok()?;
        let stakes = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.stake)).collect();
        Some(LedgerFacts { head: Some(metagraph.block), stakes })
    };
    // A ledger that is away is a fact to show, not a failure of this command.
    tokio::time::timeout(LEDGER_DEADLINE, read).await.ok().flatten().unwrap_or_default()
}

fn to_json(root: &Path, view: &View, facts: &LedgerFacts) -> Value {
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
        "ledger_block": facts.head,
        "window": view.window,
        "heldout_loss": view.curve.last().map(|(_, loss)| loss),
        "heldout_losses": view.curve,
        "utilisation": view.utilisation,
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn to_text(root: &Path, view: &View, facts: &LedgerFacts, paint: Paint) -> String {
    let ledger = match facts.head {
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
    let head = ["uid", "node", "does", "window", "loss", "contribution", "verdict", "stake"];
    let rows: Vec<Vec<String>> = view.nodes.iter().map(row).collect();
    format!("{text}\n{}", table(paint, Some(&head), &rows))
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
