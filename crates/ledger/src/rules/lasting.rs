//! Stake that lasted: what a holder of the subnet's token had at the least, over some epochs.
//!
//! Stake has no lock, so that one block's capital costs two fees of the pool. What stake decides or pays for later
//! (votes on proposals, tiers of access) therefore goes by the least that was held over a while: such stake must stay.
//!
//! For each holder the state keeps the least that it held in the running epoch and in up to seven before it. A holder's
//! own calls are all that lowers its holding, so the least is noted after each of them; an epoch's end begins a new one.

use crate::state::State;
use templar_base::{Alpha, PublicKey};

/// Epochs that are kept, the running one included.
pub const LASTING_EPOCHS: usize = 8;

/// After a call of `holder`: what it holds now may be the least.
pub(crate) fn note_low(state: &mut State, holder: &PublicKey) {
    let held = state.held(holder).as_rao();
    if held == 0 {
        state.lows.remove(holder);
        return;
    }
    // Who held nothing before has held nothing for a part of this epoch.
    let mut lows = state.lows.get(holder).cloned().unwrap_or_else(|| vec![0]);
    if let Some(low) = lows.first_mut().filter(|low| **low > held) {
        *low = held;
    }
    state.lows.insert(*holder, lows);
}

/// At an epoch's end: everybody's holding is the least of the epoch that begins.
pub(crate) fn end_epoch(state: &mut State) {
    let holders: Vec<PublicKey> = state.positions_of.keys().copied().collect();
    for holder in holders {
        // Pay is no call of the holder: who earned its first stake held nothing before.
        let mut lows = state.lows.get(&holder).cloned().unwrap_or_else(|| vec![0]);
        lows.insert(0, state.held(&holder).as_rao());
        lows.truncate(LASTING_EPOCHS);
        state.lows.insert(holder, lows);
    }
}

impl State {
    /// The least that `holder` had of the token over the newest `epochs` epochs, the running one included; what it has
    /// now where that is 0.
    pub(crate) fn lasting(&self, holder: &PublicKey, epochs: u8) -> Alpha {
        let held = self.held(holder);
        if epochs == 0 {
            return held;
        }
        let lows = self.lows.get(holder).map(Vec::as_slice).unwrap_or_default();
        let least = lows.iter().take(epochs.into()).min().copied().unwrap_or(0);
        held.min(Alpha::from_rao(least))
    }

    /// What `payer` has behind `hotkey` for its tier of access: what it has there, and had in all through the running
    /// epoch. Stake that changes hands within an epoch covers nothing a second time.
    pub(crate) fn covering_stake(&self, hotkey: &PublicKey, payer: &PublicKey) -> Alpha {
        self.stake(hotkey, payer).min(self.lasting(payer, 1))
    }
}
