//! The checkpoints that the validators of a run publish.

use crate::table::{Paint, count, size, table};
use serde_json::{Value, json};
use templar_base::{Alpha, Window};
use templar_bucket::BucketError;
use templar_record::{Offer, PublishedCheckpoint, RecordError, Rules};

/// The checkpoints of a run, a line for each offer; `current` is the window now.
pub fn text(paint: Paint, run: &Rules, current: Option<Window>, published: &[PublishedCheckpoint]) -> String {
    let every = run.genesis.budget.checkpoint_windows;
    let now = current.map_or("before its start".to_owned(), |window| format!("at window {window}"));
    let title = format!("run {} is {now}; a checkpoint every {every} windows", run.id);
    if published.is_empty() {
        return format!("{title}\nno checkpoint yet: the first is that of window {every}");
    }
    let head = ["window", "uid", "validator", "stake", "size", "state", ""];
    let rows: Vec<Vec<String>> = published.iter().flat_map(|checkpoint| rows_of(paint, checkpoint)).collect();
    format!("{title}\n{}", table(paint, Some(&head), &rows))
}

/// The offers of a checkpoint, for programs.
pub fn facts(checkpoint: &PublishedCheckpoint) -> Value {
    let offers: Vec<Value> = checkpoint
        .offers
        .iter()
        .map(|offer| {
            let offered = offer.checkpoint.as_ref().ok();
            json!({
                "uid": offer.uid,
                "hotkey": offer.hotkey,
                "stake_rao": offer.stake,
                "state": offered.map(|offered| offered.state),
                "bytes": offered.map(|offered| offered.bytes),
                "standing": standing(checkpoint, offer),
                "error": offer.checkpoint.as_ref().err().map(ToString::to_string),
            })
        })
        .collect();
    json!({"window": checkpoint.window, "agreed_state": checkpoint.agreed, "offers": offers})
}

/// Whether an offer is what was agreed: `agreed`, `other`, `undecided`, `absent` or `unusable`.
fn standing(checkpoint: &PublishedCheckpoint, offer: &Offer) -> &'static str {
    match (&offer.checkpoint, checkpoint.agreed) {
        (Ok(offered), Some(agreed)) if offered.state == agreed => "agreed",
        (Ok(_), Some(_)) => "other",
        (Ok(_), None) => "undecided",
        // Whoever holds a permit counts as a validator; a miner that earned stake holds one and publishes nothing.
        (Err(RecordError::Bucket(BucketError::NotFound { .. })), _) => "absent",
        (Err(_), _) => "unusable",
    }
}

fn rows_of(paint: Paint, checkpoint: &PublishedCheckpoint) -> Vec<Vec<String>> {
    let row = |offer: &Offer| {
        let (bytes, state, remark) = match (&offer.checkpoint, standing(checkpoint, offer)) {
            (Ok(offered), standing) => {
                let remark = match standing {
                    "agreed" => paint.green("what most of the stake applied"),
                    "other" => paint.red("not what most of the stake applied"),
                    _ => paint.yellow("most of the stake has not agreed on a state"),
                };
                (size(offered.bytes), offered.state.to_string()[..16].to_owned(), remark)
            }
            (Err(_), "absent") => ("-".to_owned(), "-".to_owned(), paint.dim("none in its bucket")),
            (Err(error), _) => ("-".to_owned(), "-".to_owned(), paint.dim(&error.to_string())),
        };
        let Offer { uid, hotkey, stake, .. } = offer;
        vec![checkpoint.window.to_string(), uid.to_string(), hotkey.short(), staked(*stake), bytes, state, remark]
    };
    match checkpoint.offers.is_empty() {
        true => vec![vec![checkpoint.window.to_string(), "-".to_owned(), "no validators then".to_owned()]],
        false => checkpoint.offers.iter().map(row).collect(),
    }
}

fn staked(stake: Alpha) -> String {
    format!("{} alpha", count(stake.as_rao() / templar_base::RAO_PER_TAO))
}
