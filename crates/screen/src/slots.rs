//! The slots of a subnet.

use crate::table::{Paint, table};
use serde_json::json;
use templar_base::BlockNumber;
use templar_chain::{Metagraph, Neuron};

/// Shares are in parts of this.
const FULL_SHARE: f64 = 65_535.0;

/// The slots, for programs.
pub fn facts(metagraph: &Metagraph) -> serde_json::Value {
    json!({
        "netuid": metagraph.netuid,
        "block": metagraph.block,
        "tempo_blocks": metagraph.tempo,
        "emission_rule": metagraph.emission_rule,
        "slots": metagraph.neurons.iter().map(facts_of).collect::<Vec<_>>(),
    })
}

/// The slots, for people.
pub fn text(paint: Paint, metagraph: &Metagraph) -> String {
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

fn share(part: u16) -> f64 {
    f64::from(part) / FULL_SHARE
}
