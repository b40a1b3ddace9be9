//! What the market reports of a block, and what an order would bring now.

use super::record::Trade;
use crate::rules::pool::Charge;
use crate::state::{MAX_ISSUANCE_RAO, State};
use templar_base::{Alpha, BlockNumber};
use templar_chain::market::{EpochRecord, MarketSummary, Order, Quote, worth};
use templar_chain::{BlockHeader, Event, PoolError};

/// What `order` would bring after the block `block`.
pub(crate) fn quote(state: &State, block: BlockNumber, order: Order) -> Result<Quote, PoolError> {
    let mut pool = state.subnet().pool.clone();
    let price_before = pool.price().rao_per_alpha();
    let (tao, alpha, fee) = match order {
        Order::Buy(tao) => {
            let swap = pool.buy(tao, None, Charge::Fee)?;
            (swap.paid, swap.received, swap.fee.as_rao())
        }
        Order::Sell(alpha) => {
            let swap = pool.sell(alpha, None, Charge::Fee)?;
            (swap.received, swap.paid, swap.fee.as_rao())
        }
    };
    Ok(Quote { block, tao, alpha, fee, price_before, price_after: pool.price().rao_per_alpha() })
}

/// After a block's calls: takes its trades and its epoch into the record.
pub(crate) fn end_block(state: &mut State, time_ms: u64, events: &[Event]) {
    for event in events {
        match event {
            Event::Bought { tao, price_before, price_after, .. }
            | Event::Sold { tao, price_before, price_after, .. } => {
                let trade = Trade { before: *price_before, after: *price_after, volume: *tao };
                state.market.note_trade(time_ms, trade);
            }
            Event::EpochEnded { owner, miners, validators, .. } => {
                let (owner, miners, validators) = (*owner, *miners, *validators);
                state.market.note_epoch(EpochRecord { block: state.block, owner, miners, validators });
            }
            _ => {}
        }
    }
}

/// The market after a block; its cost does not grow with the number of holders.
pub(crate) fn summary(state: &State, head: &BlockHeader) -> MarketSummary {
    let token = state.token_supply();
    let (volume_day, price_day_ago) = state.market.last_day(head.time_ms);
    let total = token.pool_alpha.saturating_add(token.circulating);
    let totals = state.totals();
    MarketSummary {
        block: head.number,
        price: token.price,
        pool_tao: token.pool_tao,
        pool_alpha: token.pool_alpha,
        circulating: token.circulating,
        capitalisation: worth(total, token.price),
        fully_diluted: worth(Alpha::from_rao(MAX_ISSUANCE_RAO), token.price),
        holders: state.holders(),
        volume_day,
        price_day_ago,
        tao_issued: totals.issued,
        tao_burned: totals.burned,
    }
}
