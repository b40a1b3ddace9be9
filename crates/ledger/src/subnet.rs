//! The subnet's own row: its pool, its token, and what waits for the next epoch.

use crate::curve::MovingPrice;
use crate::pool::{Pool, WeightedPool};
use crate::state::State;
use parity_scale_codec::{Decode, Encode};
use templar_base::{Alpha, BlockNumber};

/// What the subnet holds and has issued.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subnet {
    /// The market of the token.
    pub pool: WeightedPool,
    /// The slow mean of the price.
    pub moving_price: MovingPrice,
    /// Tokens that were ever made.
    pub alpha_issued: Alpha,
    /// Tokens that were destroyed.
    pub alpha_burned: Alpha,
    /// The owner's part, waiting for the epoch's end.
    pub pending_owner: Alpha,
    /// Miners' and validators' part, waiting for the epoch's end.
    pub pending_emission: Alpha,
    /// When the last epoch ended; 0 before the first.
    pub last_epoch: BlockNumber,
}

impl State {
    /// The subnet's row.
    pub fn subnet(&self) -> &Subnet {
        // `State::genesis` writes the row and nothing removes it; `State::restore` refuses a state without it.
        self.subnets.get(&()).expect("the subnet's row exists from genesis on")
    }

    /// Writes the subnet's row, and the sums that follow from it.
    pub(crate) fn set_subnet(&mut self, subnet: Subnet) {
        let pooled = subnet.pool.holdings().0;
        if self.totals().pooled != pooled {
            self.set_totals(|totals| totals.pooled = pooled);
        }
        self.subnets.insert((), subnet);
    }

    /// Destroys tokens that the caller has taken from elsewhere.
    pub(crate) fn burn_alpha(&mut self, amount: Alpha) {
        let mut subnet = self.subnet().clone();
        subnet.alpha_burned = Alpha(subnet.alpha_burned.0.saturating_add(amount.0));
        self.set_subnet(subnet);
    }
}
