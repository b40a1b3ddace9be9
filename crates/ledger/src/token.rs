//! The subnet's token as modules beside the chain's rules use it: the one place where they touch stakes.
//!
//! A holder's tokens are its stake. A module takes them from a position into a purse, and gives them back from there.

use crate::emission;
use crate::pool::Pool;
use crate::purse::{Holding, Purse};
use crate::state::State;
use templar_base::{Alpha, PublicKey, Rao};
use templar_chain::Refusal;

/// How much of the token there is, and what it is worth.
pub(crate) struct TokenSupply {
    /// TAO for one token, in rao.
    pub price: Rao,
    /// TAO in the pool.
    pub pool_tao: Rao,
    /// Tokens in the pool.
    pub pool_alpha: Alpha,
    /// Tokens outside of the pool.
    pub circulating: Alpha,
}

fn holding(alpha: Alpha) -> Holding {
    Holding { tao: Rao::ZERO, alpha }
}

impl State {
    /// Price and amounts of the token.
    pub(crate) fn token_supply(&self) -> TokenSupply {
        let subnet = self.subnet();
        let (pool_tao, pool_alpha) = subnet.pool.holdings();
        let outside = subnet.alpha_issued.0.saturating_sub(subnet.alpha_burned.0).saturating_sub(pool_alpha.0);
        TokenSupply { price: subnet.pool.price().rao_per_alpha(), pool_tao, pool_alpha, circulating: Alpha(outside) }
    }

    /// Every position: who holds it, and how much; a holder as often as it has positions.
    pub(crate) fn token_positions(&self) -> impl Iterator<Item = (PublicKey, Alpha)> {
        self.positions().map(|(_, coldkey, amount)| (coldkey, amount))
    }

    /// What `coldkey` holds behind `hotkey`.
    pub(crate) fn token_position(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Alpha {
        self.stake(hotkey, coldkey)
    }

    /// Takes tokens of a position into a purse.
    pub(crate) fn token_into_purse(
        &mut self,
        (hotkey, coldkey): (&PublicKey, &PublicKey),
        purse: Purse,
        amount: Alpha,
    ) -> Result<(), Refusal> {
        let (netuid, available) = (self.profile.netuid, self.token_position(hotkey, coldkey));
        if !self.take_stake(netuid, hotkey, coldkey, amount.0) {
            return Err(Refusal::InsufficientAlpha { needed: amount, available });
        }
        self.fill_purse(purse, holding(amount));
        Ok(())
    }

    /// Gives tokens of a purse to a position.
    pub(crate) fn token_out_of_purse(
        &mut self,
        (hotkey, coldkey): (&PublicKey, &PublicKey),
        purse: Purse,
        amount: Alpha,
    ) -> Result<(), Refusal> {
        self.draw_purse(purse, holding(amount))?;
        self.add_stake(self.profile.netuid, hotkey, coldkey, amount.0);
        Ok(())
    }

    /// Moves tokens from purse to purse.
    pub(crate) fn token_between_purses(&mut self, from: Purse, to: Purse, amount: Alpha) -> Result<(), Refusal> {
        self.draw_purse(from, holding(amount))?;
        self.fill_purse(to, holding(amount));
        Ok(())
    }

    /// Burns tokens of a purse.
    pub(crate) fn burn_token(&mut self, purse: Purse, amount: Alpha) -> Result<(), Refusal> {
        self.draw_purse(purse, holding(amount))?;
        self.burn_alpha(amount);
        Ok(())
    }

    /// What a purse holds of the token.
    pub fn token_in_purse(&self, purse: Purse) -> Alpha {
        self.purse(purse).alpha
    }

    /// Pays tokens of a purse to miners and validators, half each, by their parts of the last epoch's pay; where one of
    /// the two has none, all goes to the other. What validators get grows the stake of all their stakers. Returns what
    /// nobody could be paid.
    pub(crate) fn token_to_nodes(&mut self, purse: Purse, amount: Alpha) -> Alpha {
        let slots: Vec<(PublicKey, u16, u16)> =
            self.slots.iter().map(|(_, slot)| (slot.hotkey, slot.incentive, slot.dividends)).collect();
        let miners: Vec<u128> = slots.iter().map(|(_, incentive, _)| u128::from(*incentive)).collect();
        let validators: Vec<u128> = slots.iter().map(|(_, _, dividends)| u128::from(*dividends)).collect();
        let is_earning = |shares: &[u128]| shares.iter().any(|share| *share > 0);
        let for_miners = match (is_earning(&miners), is_earning(&validators)) {
            (true, true) => amount.0 / 2,
            (true, false) => amount.0,
            (false, true) => 0,
            (false, false) => return amount,
        };
        let incentives = emission::split(for_miners, &miners);
        let dividends = emission::split(amount.0 - for_miners, &validators);
        let mut left = amount.0;
        for (place, (hotkey, ..)) in slots.iter().enumerate() {
            let Some(owner) = self.owner_of(hotkey) else { continue };
            let (incentive, dividend) = (Alpha(incentives[place]), Alpha(dividends[place]));
            if self.token_out_of_purse((hotkey, &owner), purse, incentive).is_ok() {
                left -= incentive.0;
            }
            if self.draw_purse(purse, holding(dividend)).is_ok() {
                self.grow_stake(self.profile.netuid, hotkey, &owner, dividend.0);
                left -= dividend.0;
            }
        }
        Alpha(left)
    }
}
