//! `templar token metagraph`.

use super::Query;
use crate::config::Config;
use crate::output::{Paint, table};
use clap::Args;
use serde_json::json;
use templar_base::BlockNumber;
use templar_chain::{Chain, Metagraph, Neuron};

/// Shares are in parts of this.
const FULL_SHARE: f64 = 65_535.0;

/// Show all slots of the subnet: who holds them, with what stake, and what they earned.
///
/// Incentive and dividends are shares of the last epoch's pay of miners and validators; emission is the slot's pay.
///
/// Example: templar token metagraph
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ShowMetagraph {
    #[command(flatten)]
    query: Query,
}

impl ShowMetagraph {
    /// Shows the slots.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let metagraph = self.query.ask(config, async |chain, netuid| chain.metagraph(netuid, None).await)?;
        let slots: Vec<_> = metagraph.neurons.iter().map(facts_of).collect();
        let facts = json!({
            "netuid": metagraph.netuid,
            "block": metagraph.block,
            "tempo_blocks": metagraph.tempo,
            "emission_rule": metagraph.emission_rule,
            "slots": slots,
        });
        self.query.output.facts(&facts, |paint| people(paint, &metagraph))
    }
}

fn share(part: u16) -> f64 {
    f64::from(part) / FULL_SHARE
}

fn facts_of(neuron: &Neuron) -> serde_json::Value {
    json!({
        "uid": neuron.uid,
        "hotkey": neuron.hotkey,
        "coldkey": neuron.coldkey,
        "stake_rao": neuron.stake,
        "permit": neuron.permit,
        "active": neuron.active,
        "consensus": share(neuron.consensus),
        "validator_trust": share(neuron.validator_trust),
        "incentive": share(neuron.incentive),
        "dividends": share(neuron.dividends),
        "emission_rao": neuron.emission,
        "registered_at": neuron.registered_at,
        "last_update": neuron.last_update,
    })
}

fn people(paint: Paint, metagraph: &Metagraph) -> String {
    let title = paint.bold(&format!("subnet {} at block {}", metagraph.netuid, metagraph.block));
    let count = metagraph.neurons.len();
    let rule =
        format!("slots held: {count}; an epoch every {} blocks; pay: {}", metagraph.tempo, metagraph.emission_rule);
    if metagraph.neurons.is_empty() {
        return format!("{title}\n{rule}\nno slot is taken yet: take the first with `templar token register`");
    }
    let head =
        ["uid", "hotkey", "coldkey", "stake", "permit", "trust", "incentive", "dividends", "emission", "last update"];
    let rows: Vec<Vec<String>> = metagraph.neurons.iter().map(row).collect();
    format!("{title}\n{rule}\n{}", table(paint, Some(&head), &rows))
}

fn row(neuron: &Neuron) -> Vec<String> {
    let updated = neuron.last_update;
    vec![
        neuron.uid.to_string(),
        neuron.hotkey.to_string(),
        neuron.coldkey.short(),
        neuron.stake.to_string(),
        if neuron.permit { "yes" } else { "-" }.to_owned(),
        format!("{:.4}", share(neuron.validator_trust)),
        format!("{:.4}", share(neuron.incentive)),
        format!("{:.4}", share(neuron.dividends)),
        neuron.emission.to_string(),
        if updated == BlockNumber(0) { "never".to_owned() } else { updated.to_string() },
    ]
}
