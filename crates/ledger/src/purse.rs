//! Money that belongs to no key: what a module holds for others.
//!
//! A module never keeps an amount of its own: it moves what it holds into its purse and out of it again, so that the
//! law of conservation covers it without knowing the module.

use crate::state::State;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, Rao};
use templar_chain::Refusal;

/// Whose purse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Purse {
    /// The subnet's treasury, spent by vote.
    Treasury,
    /// Prepaid balances for the use of the trained model.
    Access,
}

/// What a purse holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Holding {
    /// In TAO.
    pub tao: Rao,
    /// In the subnet's token.
    pub alpha: Alpha,
}

impl State {
    /// What `purse` holds.
    pub fn purse(&self, purse: Purse) -> Holding {
        self.purses.get(&purse).copied().unwrap_or_default()
    }

    /// Puts into a purse what the caller has taken from elsewhere. No sum overflows: all amounts together are bounded
    /// by the supply.
    pub(crate) fn fill_purse(&mut self, purse: Purse, amount: Holding) {
        let held = self.purse(purse);
        let tao = Rao(held.tao.0.saturating_add(amount.tao.0));
        let alpha = Alpha(held.alpha.0.saturating_add(amount.alpha.0));
        self.set_purse(purse, Holding { tao, alpha });
    }

    /// Takes out of a purse; the caller must put it elsewhere. Nothing is taken where one of the two is not there.
    pub(crate) fn draw_purse(&mut self, purse: Purse, amount: Holding) -> Result<(), Refusal> {
        let held = self.purse(purse);
        let tao = held
            .tao
            .checked_sub(amount.tao)
            .map_err(|_| Refusal::InsufficientBalance { needed: amount.tao, available: held.tao })?;
        let alpha = held
            .alpha
            .checked_sub(amount.alpha)
            .map_err(|_| Refusal::InsufficientAlpha { needed: amount.alpha, available: held.alpha })?;
        self.set_purse(purse, Holding { tao, alpha });
        Ok(())
    }

    fn set_purse(&mut self, purse: Purse, holding: Holding) {
        if holding == Holding::default() {
            self.purses.remove(&purse);
        } else {
            self.purses.insert(purse, holding);
        }
    }
}
