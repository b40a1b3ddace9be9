//! What a single node does, as lines: started, sealed, judged, merged, paid.

use crate::table::{Paint, count, size};
use serde::Serialize;
use templar_base::{Alpha, BlockNumber, Uid};
use templar_chain::Neuron;
use templar_node::{JournalEntry, NodeStatus};

/// What a node earns, as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pay {
    /// Always `pay`.
    event: &'static str,
    /// The block that it was read at.
    block: BlockNumber,
    /// The slot.
    uid: Uid,
    /// Pay for the last epoch.
    emission_rao: Alpha,
    /// Stake behind the hotkey.
    stake_rao: Alpha,
}

impl Pay {
    /// Of a slot at a block.
    pub fn of(neuron: &Neuron, block: BlockNumber) -> Self {
        Self { event: "pay", block, uid: neuron.uid, emission_rao: neuron.emission, stake_rao: neuron.stake }
    }

    /// Whether it differs from an earlier reading.
    pub fn is_news(&self, earlier: Option<&Self>) -> bool {
        earlier.is_none_or(|earlier| *earlier != Self { block: earlier.block, ..*self })
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("pay: {} alpha for the last epoch; stake {} alpha", self.emission_rao, self.stake_rao)
    }
}

fn uids(uids: &[Uid]) -> String {
    uids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// One entry of the journal, in a line; empty for a warning, which the log has.
pub fn entry(paint: Paint, entry: &JournalEntry) -> String {
    let (window, what) = match entry {
        JournalEntry::Started { role, uid, next, state } => {
            let role = format!("{role:?}").to_lowercase();
            return format!("{} uid {uid}, at window {next}, state {}", paint.bold(&role), state.short());
        }
        JournalEntry::Warning { .. } => return String::new(),
        JournalEntry::Restored { next } => (*next, "took the checkpoint of its start".to_owned()),
        JournalEntry::Sealed { window, steps, tokens, loss, payload_bytes, .. } => {
            let (steps, tokens) = (count(u64::from(*steps)), count(*tokens));
            (*window, format!("sealed: {steps} steps, {tokens} tokens, loss {loss:.3}, {}", size(*payload_bytes)))
        }
        JournalEntry::Judged { window, miners, selected, milliseconds, .. } => {
            let seconds = *milliseconds as f64 / 1e3;
            let chosen = if selected.is_empty() { "none".to_owned() } else { format!("uids {}", uids(selected)) };
            (*window, format!("judged {} miners in {seconds:.1} s: selects {chosen}", miners.len()))
        }
        JournalEntry::Verdict { window, standing, .. } => (*window, format!("verdict on this miner: {standing}")),
        JournalEntry::Applied { window, selected, .. } if selected.is_empty() => {
            (*window, paint.yellow("null window: nothing applied"))
        }
        JournalEntry::Applied { window, selected, state } => {
            (*window, format!("merged uids {}, state {}", uids(selected), state.short()))
        }
        JournalEntry::HeldOut { window, loss } => {
            (*window, format!("held-out loss {}", paint.bold(&format!("{loss:.4}"))))
        }
        JournalEntry::Skipped { window, reason } => (*window, format!("left out: {reason}")),
        JournalEntry::Diverged { window, own, agreed } => {
            (*window, paint.red(&format!("state {} is not the agreed {}", own.short(), agreed.short())))
        }
        JournalEntry::Checkpoint { window, bytes } => (*window, format!("published the checkpoint, {}", size(*bytes))),
        JournalEntry::Weights { window, weights } => {
            let weights: Vec<String> = weights.iter().map(|(uid, weight)| format!("{uid}: {weight}")).collect();
            (*window, format!("set weights {}", weights.join(", ")))
        }
        JournalEntry::AuditAnswered { window, states } => (*window, format!("answered an audit of {states} states")),
        JournalEntry::Audited { window, uid, finding } if finding.is_fault() => {
            (*window, paint.red(&format!("audit of uid {uid}: {finding}")))
        }
        JournalEntry::Audited { window, uid, finding } => (*window, format!("audit of uid {uid}: {finding}")),
        JournalEntry::EvidenceConfirmed { window, uid, auditor, fault } => {
            (*window, paint.red(&format!("evidence of validator {auditor} against uid {uid} is right: {fault}")))
        }
        JournalEntry::Evaluated { window, tasks, milliseconds } => {
            let tasks: Vec<String> = tasks.iter().map(|task| format!("{} {:.3}", task.name, task.acc)).collect();
            (*window, format!("evaluated in {:.1} s: {}", *milliseconds as f64 / 1e3, tasks.join(", ")))
        }
        JournalEntry::EvaluationDropped { window, scored, answers } => {
            (*window, format!("evaluation dropped, {scored} of {answers} answers scored"))
        }
        JournalEntry::AuditUnanswered { window, uid } => (*window, format!("uid {uid} has not answered an audit")),
    };
    format!("window {window:<4} {what}")
}

/// What a node does now, in a line.
pub fn status(status: &NodeStatus) -> String {
    let loss = status.loss.map_or(String::new(), |loss| format!(", loss {loss:.3}"));
    format!("block {}, window {}: {}{loss}", status.head, status.next, status.activity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::{StateHash, Window};

    #[test]
    fn entries_are_lines_and_warnings_are_left_to_the_log() {
        let line = |happened: JournalEntry| entry(Paint::plain(), &happened);
        let (window, state) = (Window(3), StateHash::default());
        assert_eq!(line(JournalEntry::Warning { message: "no".to_owned() }), "");
        assert_eq!(line(JournalEntry::HeldOut { window, loss: 4.5 }), "window 3    held-out loss 4.5000");
        let null = JournalEntry::Applied { window, selected: Vec::new(), state };
        assert_eq!(line(null), "window 3    null window: nothing applied");
        let merged = JournalEntry::Applied { window, selected: vec![Uid(0), Uid(2)], state };
        assert!(line(merged).starts_with("window 3    merged uids 0 2, state "));
        let standing = "selected".to_owned();
        let verdict =
            JournalEntry::Verdict { window, standing, contribution: None, standard_error: None, rating: None };
        assert_eq!(line(verdict), "window 3    verdict on this miner: selected");
    }
}
