//! Who holds the slots, and what the windows that were read say of them.

use crate::state::SlotView;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{PublicKey, Window};
use templar_chain::{Metagraph, Neuron};
use templar_record::WindowRecord;

/// Shares are in parts of this.
const FULL_SHARE: f64 = 65_535.0;

/// What the windows say of one key.
#[derive(Debug, Default)]
struct Tally {
    sealed: u64,
    selected: u64,
    bytes: u64,
    has_voted: bool,
    seen: Option<Window>,
    /// The newest window with a word on it.
    newest: Option<Arc<WindowRecord>>,
}

/// All slots of the metagraph, by uid. A slot that changed hands starts from nothing: only what its present key did counts.
pub(crate) fn slots(metagraph: &Metagraph, windows: &[Arc<WindowRecord>]) -> Vec<SlotView> {
    let mut tallies: BTreeMap<PublicKey, Tally> = BTreeMap::new();
    for view in windows {
        for miner in &view.miners {
            let Some(hotkey) = miner.hotkey else { continue };
            let tally = tallies.entry(hotkey).or_default();
            if let Some(sealed) = &miner.sealed {
                tally.sealed += 1;
                tally.bytes = tally.bytes.saturating_add(u64::from(sealed.bytes));
                tally.seen = tally.seen.max(Some(view.window));
            }
            tally.selected += u64::from(view.selected.contains(&miner.uid));
            if miner.standing.is_some() || miner.mark.is_some() {
                tally.newest = Some(Arc::clone(view));
            }
        }
        for elector in view.electors.iter().filter(|elector| elector.voted_at.is_some()) {
            let tally = tallies.entry(elector.hotkey).or_default();
            tally.has_voted = true;
            tally.seen = tally.seen.max(Some(view.window));
        }
    }
    let none = Tally::default();
    let slot = |neuron: &Neuron| slot(neuron, tallies.get(&neuron.hotkey).unwrap_or(&none));
    metagraph.neurons.iter().map(slot).collect()
}

fn slot(neuron: &Neuron, tally: &Tally) -> SlotView {
    let newest = tally.newest.as_ref().and_then(|view| view.miner(neuron.uid));
    SlotView {
        uid: neuron.uid,
        hotkey: neuron.hotkey,
        coldkey: neuron.coldkey,
        is_miner: tally.sealed > 0,
        is_validator: tally.has_voted,
        standing: newest.and_then(|own| own.standing.clone()),
        mark: newest.and_then(|own| own.mark),
        contribution: newest.and_then(|own| own.contribution),
        rating: newest.and_then(|own| own.rating_after.or(own.rating_before)),
        sealed_windows: tally.sealed,
        selected_windows: tally.selected,
        selected_share: (tally.sealed > 0).then(|| tally.selected as f64 / tally.sealed as f64),
        sealed_bytes: tally.bytes,
        last_seen: tally.seen,
        incentive: f64::from(neuron.incentive) / FULL_SHARE,
        dividends: f64::from(neuron.dividends) / FULL_SHARE,
        emission_rao: neuron.emission,
        stake_rao: neuron.stake,
        registered_at: neuron.registered_at,
    }
}
