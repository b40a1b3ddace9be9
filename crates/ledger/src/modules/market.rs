//! Market data of the subnet's token: candles, volume and epochs, made from the ledger's own events.
//!
//! All of it is part of the state, so that every follower has the same and can prove it; all of it is bounded: of each
//! interval the newest [`Interval::kept`] candles stay, and the newest [`KEPT_EPOCHS`] epochs. An interval without a
//! trade has no candle; its price is the close of the one before.

mod quote;
mod record;

pub(crate) use quote::{end_block, quote, summary};
pub use record::KEPT_EPOCHS;
