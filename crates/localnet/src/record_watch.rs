//! A run that is followed by its public record alone: no journal is read, and nothing of a node but what it published.

use crate::{NodeView, View, ViewSource, WindowEvent};
use std::collections::BTreeMap;
use std::time::Duration;
use templar_base::{Alpha, BlockNumber, PublicKey, StateHash, Uid, Window};
use templar_node::{MinerLine, NodeStatus};
use templar_record::{PublicRecord, RecordError, Rules, WindowRecord, finished_at, read_window};
use templar_round::Role;

/// Windows that are kept for the curve.
const KEPT: usize = 512;
/// Finished windows that are read before the first look, so that there is a curve.
const HISTORY: u64 = 16;
/// Windows that are read at one look: others come at the next.
const AT_ONCE: usize = 4;
/// One look at the record.
const DEADLINE: Duration = Duration::from_secs(30);

/// A slot that mined or voted.
#[derive(Debug, Clone)]
struct Slot {
    uid: Uid,
    hotkey: PublicKey,
    stake: Alpha,
}

/// Follows the windows of a run as they are finished on its ledger.
pub struct RecordWatch {
    run: Rules,
    record: PublicRecord,
    finished: BTreeMap<Window, WindowRecord>,
    /// The first window that is not history, and the one that is to be reported next; none before the first look.
    first: Option<Window>,
    next: Option<Window>,
    head: BlockNumber,
    slots: Vec<Slot>,
    last: Option<WindowEvent>,
    null_windows: u64,
    tokens: u64,
}

/// A finished window in a line. The held-out loss is not in the public record.
fn event_of(record: &WindowRecord) -> WindowEvent {
    let (nodes_in_sync, nodes) = record.in_sync();
    WindowEvent {
        event: "window".to_owned(),
        window: record.window,
        heldout_loss: None,
        tokens: record.tokens.unwrap_or(0),
        selected: record.selected.clone(),
        state_hash: record.agreed.as_ref().map(|agreed| agreed.state),
        nodes_in_sync,
        nodes,
        null_reason: record.null_reason.clone(),
    }
}

impl RecordWatch {
    /// Follows a run; nothing is read yet.
    pub fn new(run: Rules, record: PublicRecord) -> Self {
        Self {
            run,
            record,
            finished: BTreeMap::new(),
            first: None,
            next: None,
            head: BlockNumber(0),
            slots: Vec::new(),
            last: None,
            null_windows: 0,
            tokens: 0,
        }
    }

    /// Reads on, and returns the windows that are finished now and were not at the look before. The first look reads some
    /// that are history.
    pub async fn news(&mut self) -> Result<Vec<WindowEvent>, RecordError> {
        let late = RecordError::Deadline { seconds: DEADLINE.as_secs() };
        tokio::time::timeout(DEADLINE, self.look()).await.unwrap_or(Err(late))
    }

    async fn look(&mut self) -> Result<Vec<WindowEvent>, RecordError> {
        let head = self.record.chain.head().await?.number;
        if head == self.head && self.next.is_some() {
            return Ok(Vec::new());
        }
        let metagraph = self.record.chain.metagraph(self.record.netuid, None).await?;
        let slot = |own: &templar_chain::Neuron| Slot { uid: own.uid, hotkey: own.hotkey, stake: own.stake };
        self.slots = metagraph.neurons.iter().map(slot).collect();
        let phases = self.run.phases.clone();
        let open = phases.window_of(head).unwrap_or(Window::ZERO);
        // The first that is not finished: the window at hand or one of the two before.
        let finished = open.minus(2).until(open).find(|window| finished_at(&phases, *window) > head).unwrap_or(open);
        if self.next.is_none() {
            for window in finished.minus(HISTORY).until(finished) {
                // History is a service: what is gone is not missed.
                if let Ok(record) = read_window((&self.run, &self.record), window, head).await {
                    self.finished.insert(window, record);
                }
            }
            (self.first, self.next) = (Some(finished), Some(finished));
        }
        let mut news = Vec::new();
        let next = self.next.unwrap_or(finished);
        for window in next.until(finished).take(AT_ONCE) {
            let record = read_window((&self.run, &self.record), window, head).await?;
            let event = event_of(&record);
            self.finished.insert(window, record);
            self.next = Some(window.next());
            self.null_windows += u64::from(event.selected.is_empty());
            self.tokens += event.tokens;
            self.last = Some(event.clone());
            news.push(event);
        }
        while self.finished.len() > KEPT {
            self.finished.pop_first();
        }
        // Only what was looked at whole is not looked at again.
        if self.next == Some(finished) {
            self.head = head;
        }
        Ok(news)
    }

    /// Loss at the start of each window that is kept, on the text that the window was judged on.
    pub fn curve(&self) -> Vec<(Window, f64)> {
        self.finished.iter().filter_map(|(window, record)| Some((*window, record.loss_before?))).collect()
    }

    /// Why windows were null that this follows, the most frequent reason first.
    pub fn null_reasons(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let seen = self.finished.range(self.first.unwrap_or_default()..);
        for reason in seen.filter_map(|(_, record)| record.null_reason.as_deref()) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// What the screen shows.
    pub fn view(&self, remarks: &[String], since: Duration) -> View {
        let mut view = View {
            source: ViewSource::Record,
            seconds: since.as_secs_f64(),
            block: self.head,
            window: None,
            window_share: 0.0,
            curve: self.curve(),
            last: self.last.clone(),
            nodes: self.nodes(),
            null_windows: self.null_windows,
            tokens: self.tokens,
            utilisation: None,
            notes: Vec::new(),
            remarks: remarks.to_vec(),
        };
        view.set_block(&self.run.genesis.clock, self.head);
        let null = self.last.as_ref().and_then(|last| Some((last.window, last.null_reason.as_ref()?)));
        view.notes.extend(null.map(|(window, reason)| format!("window {window} was null: {reason}")));
        view
    }

    /// Who sealed or voted in the newest finished window; miners first.
    fn nodes(&self) -> Vec<NodeView> {
        let Some(newest) = self.finished.values().next_back() else { return Vec::new() };
        let miners = self.slots.iter().filter_map(|slot| self.miner(newest, slot));
        let validators = self.slots.iter().filter_map(|slot| self.validator(newest, slot));
        miners.chain(validators).collect()
    }

    fn status(&self, role: Role, slot: &Slot, activity: &str, state: Option<StateHash>, window: Window) -> NodeStatus {
        NodeStatus {
            role,
            uid: slot.uid,
            head: self.head,
            next: window.next(),
            state: state.unwrap_or_default(),
            activity: activity.to_owned(),
            loss: None,
            tokens: 0,
            training_seconds: 0.0,
            wall_seconds: 0.0,
            time_ms: 0,
        }
    }

    fn miner(&self, newest: &WindowRecord, slot: &Slot) -> Option<NodeView> {
        let own = newest.miner(slot.uid).filter(|own| own.hotkey == Some(slot.hotkey))?;
        let activity = match (&own.sealed, own.is_malformed) {
            (Some(_), _) => "sealed",
            (None, true) => "malformed",
            (None, false) => "silent",
        };
        // What a miner holds is not in the record; it is shown with the agreed state, which it trains from.
        let state = newest.agreed.as_ref().map(|agreed| agreed.state);
        let verdict = own.standing.as_ref().map(|standing| MinerLine {
            uid: slot.uid,
            standing: standing.clone(),
            contribution: own.contribution.map(|own| own.mean),
            standard_error: own.contribution.map(|own| own.error),
            rating: own.rating_after.or(own.rating_before).map(|own| own.mean),
            tokens: own.tokens.unwrap_or(0),
        });
        Some(NodeView {
            name: format!("miner-{}", slot.uid),
            status: Some(self.status(Role::Miner, slot, activity, state, newest.window)),
            is_alive: own.sealed.is_some(),
            verdict,
            stake: Some(slot.stake),
        })
    }

    fn validator(&self, newest: &WindowRecord, slot: &Slot) -> Option<NodeView> {
        let own = newest.electors.iter().find(|own| own.hotkey == slot.hotkey)?;
        // Miners that earned stake are electors, and neither vote nor report.
        let activity = match (own.voted_at, own.state) {
            (Some(_), Some(_)) => "in step",
            (Some(_), None) => "voted",
            (None, Some(_)) => "reported",
            (None, None) => return None,
        };
        Some(NodeView {
            name: format!("validator-{}", slot.uid),
            status: Some(self.status(Role::Validator, slot, activity, own.state, newest.window)),
            is_alive: true,
            verdict: None,
            stake: Some(slot.stake),
        })
    }
}
