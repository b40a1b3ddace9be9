//! The subnet's token as modules beside the chain's rules use it: the one place where they touch stakes.
//!
//! A holder's tokens are its stake. A module takes them from a position into a escrow, and gives them back from there.

use crate::rules::emission;
use crate::state::{Escrow, Holding, State};
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
        let circulating = subnet.alpha_issued.saturating_sub(subnet.alpha_burned).saturating_sub(pool_alpha);
        TokenSupply { price: subnet.pool.price().rao_per_alpha(), pool_tao, pool_alpha, circulating }
    }

    /// What `coldkey` holds behind `hotkey`.
    pub(crate) fn token_position(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Alpha {
        self.stake(hotkey, coldkey)
    }

    /// Takes tokens of a position into a escrow.
    pub(crate) fn token_into_escrow(
        &mut self,
        (hotkey, coldkey): (&PublicKey, &PublicKey),
        escrow: Escrow,
        amount: Alpha,
    ) -> Result<(), Refusal> {
        let (netuid, available) = (self.profile.netuid, self.token_position(hotkey, coldkey));
        if !self.take_stake(netuid, hotkey, coldkey, amount.as_rao()) {
            return Err(Refusal::InsufficientAlpha { needed: amount, available });
        }
        self.fill_escrow(escrow, holding(amount));
        Ok(())
    }

    /// Gives tokens of a escrow to a position.
    pub(crate) fn token_out_of_escrow(
        &mut self,
        (hotkey, coldkey): (&PublicKey, &PublicKey),
        escrow: Escrow,
        amount: Alpha,
    ) -> Result<(), Refusal> {
        self.draw_escrow(escrow, holding(amount))?;
        self.add_stake(self.profile.netuid, hotkey, coldkey, amount.as_rao());
        Ok(())
    }

    /// Moves tokens from escrow to escrow.
    pub(crate) fn token_between_escrows(&mut self, from: Escrow, to: Escrow, amount: Alpha) -> Result<(), Refusal> {
        self.draw_escrow(from, holding(amount))?;
        self.fill_escrow(to, holding(amount));
        Ok(())
    }

    /// Burns tokens of a escrow.
    pub(crate) fn burn_token(&mut self, escrow: Escrow, amount: Alpha) -> Result<(), Refusal> {
        self.draw_escrow(escrow, holding(amount))?;
        self.burn_alpha(amount);
        Ok(())
    }

    /// What a escrow holds of the token.
    pub fn token_in_escrow(&self, escrow: Escrow) -> Alpha {
        self.escrow(escrow).alpha
    }

    /// Pays tokens of a escrow to miners and validators, half each, by their parts of the last epoch's pay; where one of
    /// the two has none, all goes to the other. What validators get grows the stake of all their stakers. Returns what
    /// nobody could be paid.
    pub(crate) fn token_to_nodes(&mut self, escrow: Escrow, amount: Alpha) -> Alpha {
        let slots: Vec<(PublicKey, u16, u16)> =
            self.slots.iter().map(|(_, slot)| (slot.hotkey, slot.incentive, slot.dividends)).collect();
        let miners: Vec<u128> = slots.iter().map(|(_, incentive, _)| u128::from(*incentive)).collect();
        let validators: Vec<u128> = slots.iter().map(|(_, _, dividends)| u128::from(*dividends)).collect();
        let is_earning = |shares: &[u128]| shares.iter().any(|share| *share > 0);
        let for_miners = match (is_earning(&miners), is_earning(&validators)) {
            (true, true) => amount.fraction(1, 2),
            (true, false) => amount,
            (false, true) => Alpha::ZERO,
            (false, false) => return amount,
        };
        let incentives = emission::split(for_miners.as_rao(), &miners);
        let dividends = emission::split(amount.minus_within(for_miners).as_rao(), &validators);
        let mut left = amount;
        for (place, (hotkey, ..)) in slots.iter().enumerate() {
            let Some(owner) = self.owner_of(hotkey) else { continue };
            let (incentive, dividend) = (Alpha::from_rao(incentives[place]), Alpha::from_rao(dividends[place]));
            if self.token_out_of_escrow((hotkey, &owner), escrow, incentive).is_ok() {
                left = left.minus_within(incentive);
            }
            if self.draw_escrow(escrow, holding(dividend)).is_ok() {
                self.grow_stake(self.profile.netuid, hotkey, &owner, dividend.as_rao());
                left = left.minus_within(dividend);
            }
        }
        left
    }
}
