//! What windows came to, for people and programs.

use crate::machine::{Role, selected};
use crate::node::Tally;
use crate::{MinerWindow, Node, World};
use serde::Serialize;
use std::collections::BTreeMap;
use templar_base::{Uid, Window};
use templar_round::Outcome;

/// Why nothing was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NullReason {
    /// No payload was committed in time.
    NothingSealed,
    /// Too little stake voted in time.
    NoQuorum,
    /// Enough stake voted, and no payload has most of it.
    NobodyAgreedOn,
}

impl NullReason {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NothingSealed => "no payload was committed in time",
            Self::NoQuorum => "too little stake voted in time",
            Self::NobodyAgreedOn => "the votes agree on no payload",
        }
    }
}

/// The traffic of the nodes of a role in a window, in bytes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// From buckets, on average.
    pub down: u64,
    /// From buckets, the node that has the most.
    pub most_down: u64,
    /// Into its bucket, on average.
    pub up: u64,
    /// Into its bucket, the node that has the most.
    pub most_up: u64,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename = "window")]
pub struct WindowReport {
    /// Its number.
    pub window: u64,
    /// Payloads that were committed in time.
    pub sealed: usize,
    /// Payloads that were merged; 0 in a null window.
    pub merged: usize,
    /// Why nothing was merged.
    pub null: Option<NullReason>,
    /// Share of the stake that voted in time.
    pub turnout: f64,
    /// Held-out loss of the parameters after it; none of a model that has no loss.
    pub loss: Option<f64>,
    /// Nodes that hold the parameters after it when the next window is over.
    pub in_step: usize,
    /// Nodes that are up then.
    pub nodes: usize,
    /// Share of the window in which miners trained.
    pub utilisation: f64,
    /// Bytes of a miner.
    pub miner: Traffic,
    /// Bytes of a validator.
    pub validator: Traffic,
    /// Seconds of a validator's judging and merging, the one that has the most.
    pub judging_seconds: f64,
    /// Messages on the ledger.
    pub messages: u64,
    /// Their bytes, without signatures and keys.
    pub message_bytes: u64,
    /// Those who sent a payload, by uid; none where the model is sizes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub miners: Vec<MinerWindow>,
}

/// What was counted while a window lasted.
#[derive(Debug, Clone, Copy)]
struct Counted {
    utilisation: f64,
    miner: Traffic,
    validator: Traffic,
    judged: u64,
    messages: u64,
    message_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Reports {
    before: Vec<Tally>,
    counted: BTreeMap<Window, Counted>,
    windows: Vec<WindowReport>,
}

impl Reports {
    pub fn new(nodes: &[Node]) -> Self {
        Self { before: nodes.iter().map(|node| node.tally).collect(), counted: BTreeMap::new(), windows: Vec::new() }
    }

    pub fn windows(&self) -> &[WindowReport] {
        &self.windows
    }

    /// Counts what the nodes did in the window that has just ended.
    pub fn window_ended(&mut self, window: Window, nodes: &[Node], length: u64) {
        let before = std::mem::replace(&mut self.before, nodes.iter().map(|node| node.tally).collect());
        let done: Vec<(Role, Tally, bool)> = nodes
            .iter()
            .zip(&before)
            .map(|(node, before)| (node.role(), difference(node.tally, *before), node.machine.is_some()))
            .collect();
        let of = |wanted: fn(Role) -> bool| done.iter().filter(move |(role, _, is_up)| wanted(*role) && *is_up);
        let is_miner = |role| role == Role::Miner;
        let is_validator = |role| matches!(role, Role::Validator { .. });
        let trained: u64 = of(is_miner).map(|(_, tally, _)| tally.trained).sum();
        let time = of(is_miner).count() as u64 * length;
        let counted = Counted {
            utilisation: trained as f64 / time.max(1) as f64,
            miner: traffic(of(is_miner).map(|(_, tally, _)| *tally)),
            validator: traffic(of(is_validator).map(|(_, tally, _)| *tally)),
            judged: of(is_validator).map(|(_, tally, _)| tally.judged).max().unwrap_or(0),
            messages: done.iter().map(|(_, tally, _)| tally.messages).sum(),
            message_bytes: done.iter().map(|(_, tally, _)| tally.message_bytes).sum(),
        };
        self.counted.insert(window, counted);
    }

    /// Reports a window whose outcome is known.
    pub fn applied(
        &mut self,
        window: Window,
        outcome: &Outcome,
        (sealed, (voted, stake)): (usize, (u64, u64)),
        (loss, mut miners): (Option<f64>, Vec<MinerWindow>),
        (in_step, nodes): (usize, usize),
    ) {
        let Some(counted) = self.counted.remove(&window) else { return };
        let chosen = selected(outcome).unwrap_or_default();
        let merged = chosen.len();
        miners.iter_mut().for_each(|miner| miner.is_merged = chosen.contains(&miner.uid));
        let null = (merged == 0).then_some(match () {
            () if sealed == 0 => NullReason::NothingSealed,
            () if u128::from(voted) * 3 < u128::from(stake) * 2 => NullReason::NoQuorum,
            () => NullReason::NobodyAgreedOn,
        });
        self.windows.push(WindowReport {
            window: window.get(),
            sealed,
            merged,
            null,
            turnout: voted as f64 / stake.max(1) as f64,
            loss,
            in_step,
            nodes,
            utilisation: counted.utilisation,
            miner: counted.miner,
            validator: counted.validator,
            judging_seconds: counted.judged as f64 / 1e3,
            messages: counted.messages,
            message_bytes: counted.message_bytes,
            miners,
        });
    }
}

fn difference(now: Tally, before: Tally) -> Tally {
    Tally {
        down: now.down - before.down,
        up: now.up - before.up,
        trained: now.trained - before.trained,
        messages: now.messages - before.messages,
        message_bytes: now.message_bytes - before.message_bytes,
        judged: now.judged - before.judged,
    }
}

fn traffic(nodes: impl Iterator<Item = Tally> + Clone) -> Traffic {
    let count = nodes.clone().count().max(1) as u64;
    Traffic {
        down: nodes.clone().map(|node| node.down).sum::<u64>() / count,
        most_down: nodes.clone().map(|node| node.down).max().unwrap_or(0),
        up: nodes.clone().map(|node| node.up).sum::<u64>() / count,
        most_up: nodes.map(|node| node.up).max().unwrap_or(0),
    }
}

/// A miner over all windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MinerSummary {
    /// Its slot.
    pub uid: Uid,
    /// Windows for which it sent a payload.
    pub sent: usize,
    /// Windows in which that was merged.
    pub merged: usize,
    /// Tokens that its payloads say it was trained on.
    pub tokens: u64,
    /// Its part of the pay, 0 to 1: the mean over the windows in which anybody was paid.
    pub pay: f64,
}

impl MinerSummary {
    /// All miners of these windows, by uid.
    fn all(windows: &[WindowReport]) -> Vec<Self> {
        let mut all = BTreeMap::new();
        let weights = |window: &WindowReport| window.miners.iter().map(|miner| u64::from(miner.weight)).sum::<u64>();
        let paid = windows.iter().filter(|window| weights(window) > 0).count().max(1) as f64;
        for window in windows {
            let sum = weights(window).max(1) as f64;
            for miner in &window.miners {
                let new = Self { uid: miner.uid, sent: 0, merged: 0, tokens: 0, pay: 0.0 };
                let own = all.entry(miner.uid).or_insert(new);
                own.sent += 1;
                own.merged += usize::from(miner.is_merged);
                own.tokens += miner.tokens;
                own.pay += f64::from(miner.weight) / sum / paid;
            }
        }
        all.into_values().collect()
    }

    fn line(&self) -> String {
        let Self { uid, sent, merged, tokens, pay } = self;
        format!("\nminer {uid}: {merged} of {sent} payloads merged, {tokens} tokens, {:.1} % of the pay", 100.0 * pay)
    }
}

/// A whole simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename = "summary")]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Windows whose outcome is known.
    pub windows: usize,
    /// Of those, windows in which nothing was merged.
    pub null: usize,
    /// Mean share of the time in which miners trained.
    pub utilisation: f64,
    /// Held-out loss at the end.
    pub loss: Option<f64>,
    /// Nodes that hold the parameters after the last of them when the next window is over.
    pub in_step: usize,
    /// Nodes that are up then.
    pub nodes: usize,
    /// Windows in which a node did not take part.
    pub skips: usize,
    /// Nodes that found that their parameters differ.
    pub diverged: usize,
    /// Times that parameters were replaced by a checkpoint.
    pub restores: u64,
    /// Events of the simulation.
    pub events: u64,
    /// Hash of everything that machines asked for: equal seeds, equal hashes.
    pub log: String,
    /// The miners, by uid; none where the model is sizes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub miners: Vec<MinerSummary>,
}

impl Summary {
    /// What a world has come to.
    pub fn of(world: &World) -> Self {
        let windows = world.windows();
        let count = windows.len().max(1) as f64;
        Self {
            seed: world.seed,
            windows: windows.len(),
            null: windows.iter().filter(|window| window.null.is_some()).count(),
            utilisation: windows.iter().map(|window| window.utilisation).sum::<f64>() / count,
            loss: windows.last().and_then(|window| window.loss),
            in_step: windows.last().map_or(0, |window| window.in_step),
            nodes: windows.last().map_or(0, |window| window.nodes),
            skips: world.skips.len(),
            diverged: world.diverged.len(),
            restores: world.nodes.iter().map(|node| node.restores).sum(),
            events: world.events,
            log: world.log_digest().to_string(),
            miners: MinerSummary::all(windows),
        }
    }
}

/// The heads of [`WindowReport::line`].
pub const HEADS: &str = "window  merged    loss  in step  utilisation   miner down/up   validator down/up  ledger";

impl WindowReport {
    /// A line for people, the first one under [`HEADS`].
    pub fn text(&self) -> String {
        if self.window == 0 { format!("{HEADS}\n{}", self.line()) } else { self.line() }
    }

    /// A line for people, under [`HEADS`].
    pub fn line(&self) -> String {
        let Self { window, merged, sealed, in_step, nodes, utilisation, miner, validator, .. } = self;
        let loss = self.loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
        let share = |part: usize, all: usize| format!("{part}/{all}");
        let pair = |traffic: &Traffic| format!("{} / {}", bytes(traffic.down), bytes(traffic.up));
        let null = self.null.map(|reason| format!("  null: {}", reason.words())).unwrap_or_default();
        format!(
            "{window:6}  {:>6}  {loss:>6}  {:>7}  {:>10.2}%  {:>14}  {:>18}  {} in {}{null}",
            share(*merged, *sealed),
            share(*in_step, *nodes),
            100.0 * utilisation,
            pair(miner),
            pair(validator),
            bytes(self.message_bytes),
            self.messages,
        )
    }
}

impl Summary {
    /// Lines for people.
    pub fn text(&self) -> String {
        let loss = self.loss.map(|loss| format!(", held-out loss {loss:.4}")).unwrap_or_default();
        format!(
            "{} windows, {} null{loss}; utilisation {:.2} %; {} of {} nodes in step; {} skips, {} diverged, {} restored\n\
             {} events with seed {}, log {}",
            self.windows,
            self.null,
            100.0 * self.utilisation,
            self.in_step,
            self.nodes,
            self.skips,
            self.diverged,
            self.restores,
            self.events,
            self.seed,
            &self.log[..16.min(self.log.len())],
        ) + &self.miners.iter().map(MinerSummary::line).collect::<String>()
    }
}

/// Bytes for people, in three digits.
pub(crate) fn bytes(count: u64) -> String {
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit < 4 {
        value /= 1e3;
        unit += 1;
    }
    let unit = ["B", "kB", "MB", "GB", "TB"][unit];
    match value {
        value if unit == "B" || value >= 99.95 => format!("{value:.0} {unit}"),
        value if value >= 9.995 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}
