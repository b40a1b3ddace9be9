//! What the market keeps.

use super::table::{NumberedTables, Table};
use templar_base::BlockNumber;
use templar_chain::market::{Candle, EpochRecord, Interval};

/// Everything that the market keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarketState {
    /// By interval and start.
    pub(crate) candles: Table<(Interval, u64), Candle>,
    pub(crate) epochs: Table<BlockNumber, EpochRecord>,
}

impl MarketState {
    /// Its tables, under their numbers in the store.
    pub fn tables(&mut self) -> NumberedTables<'_> {
        vec![(64, &mut self.candles), (65, &mut self.epochs)]
    }
}
