//! Market data of the subnet's token: candles, volume and epochs, made from the ledger's own events.
//!
//! All of it is part of the state, so that every follower has the same and can prove it; all of it is bounded: of each
//! interval the newest [`Interval::kept`] candles stay, and the newest [`KEPT_EPOCHS`] epochs. An interval without a
//! trade has no candle; its price is the close of the one before.

mod record;

pub(crate) use record::MarketState;

use crate::BlockInput;
use crate::pool::{Charge, Pool};
use crate::state::State;
use templar_base::{Alpha, BlockNumber, Rao};
use templar_chain::market::{EpochRecord, MarketSummary, Order, Quote, worth};
use templar_chain::{BlockHeader, Event, PoolError};

/// Epochs whose sums are kept.
pub const KEPT_EPOCHS: usize = 1_000;

/// A trade with the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// Price before, in rao for a token.
    pub before: Rao,
    /// Price after.
    pub after: Rao,
    /// TAO that changed hands.
    pub volume: Rao,
}

/// What `order` would bring after the block `block`.
pub(crate) fn quote(state: &State, block: BlockNumber, order: Order) -> Result<Quote, PoolError> {
    let mut pool = state.subnet().pool.clone();
    let price_before = pool.price().rao_per_alpha();
    let (tao, alpha, fee) = match order {
        Order::Buy(tao) => {
            let swap = pool.buy(tao, None, Charge::Fee)?;
            (swap.paid, swap.received, swap.fee.0)
        }
        Order::Sell(alpha) => {
            let swap = pool.sell(alpha, None, Charge::Fee)?;
            (swap.received, swap.paid, swap.fee.0)
        }
    };
    Ok(Quote { block, tao, alpha, fee, price_before, price_after: pool.price().rao_per_alpha() })
}

/// After a block's calls: takes its trades and its epoch into the record.
pub(crate) fn end_block(state: &mut State, block: &BlockInput, events: &[Event]) {
    for event in events {
        match event {
            Event::Bought { tao, price_before, price_after, .. }
            | Event::Sold { tao, price_before, price_after, .. } => {
                let trade = Trade { before: *price_before, after: *price_after, volume: *tao };
                state.market.note_trade(block.time_ms, trade);
            }
            Event::EpochEnded { owner, miners, validators, .. } => {
                let (owner, miners, validators) = (*owner, *miners, *validators);
                state.market.note_epoch(EpochRecord { block: block.number, owner, miners, validators });
            }
            _ => {}
        }
    }
}

/// The market after a block; its cost does not grow with the number of holders.
pub(crate) fn summary(state: &State, head: &BlockHeader) -> MarketSummary {
    let token = state.token_supply();
    let (volume_day, price_day_ago) = state.market.last_day(head.time_ms);
    let total = Alpha(token.pool_alpha.0.saturating_add(token.circulating.0));
    let totals = state.totals();
    MarketSummary {
        block: head.number,
        price: token.price,
        pool_tao: token.pool_tao,
        pool_alpha: token.pool_alpha,
        circulating: token.circulating,
        capitalisation: worth(total, token.price),
        fully_diluted: worth(Alpha(crate::MAX_ISSUANCE_RAO), token.price),
        holders: state.holders(),
        volume_day,
        price_day_ago,
        tao_issued: totals.issued,
        tao_burned: totals.burned,
    }
}
