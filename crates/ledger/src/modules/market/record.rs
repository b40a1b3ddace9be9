//! Candles and epochs as a part of the ledger's state.

use crate::state::MarketState;
use templar_base::Rao;
use templar_chain::market::{Candle, EpochRecord, Interval};

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

impl MarketState {
    /// Takes a trade into the candles of the block's time.
    pub fn note_trade(&mut self, time_ms: u64, trade: Trade) {
        for interval in Interval::ALL {
            let start_ms = time_ms - time_ms % interval.milliseconds();
            let place = (interval, start_ms);
            let candle = match self.candles.get(&place) {
                Some(candle) => continued(candle, trade),
                None => begun(start_ms, trade),
            };
            self.candles.insert(place, candle);
            self.trim(interval);
        }
    }

    /// Drops the oldest candle beyond what is kept. At most one comes in at a time.
    fn trim(&mut self, interval: Interval) {
        // All intervals together are a few thousand entries; the count is cheap enough for a trade.
        let mut of_interval = self.candles.range((interval, 0)..=(interval, u64::MAX));
        let Some((oldest, _)) = of_interval.next() else { return };
        let oldest = *oldest;
        if of_interval.count() >= interval.kept() {
            self.candles.remove(&oldest);
        }
    }

    /// Keeps an epoch's sums.
    pub fn note_epoch(&mut self, epoch: EpochRecord) {
        self.epochs.insert(epoch.block, epoch);
        let oldest = self.epochs.iter().next().map(|(block, _)| *block);
        if let Some(oldest) = oldest.filter(|_| self.epochs.len() > KEPT_EPOCHS) {
            self.epochs.remove(&oldest);
        }
    }

    /// The newest candles, the oldest first, `limit` at most.
    pub fn candles(&self, interval: Interval, limit: usize) -> Vec<Candle> {
        let all: Vec<Candle> =
            self.candles.range((interval, 0)..=(interval, u64::MAX)).map(|(_, candle)| *candle).collect();
        all[all.len().saturating_sub(limit)..].to_vec()
    }

    /// The newest epochs, the oldest first, `limit` at most.
    pub fn epochs(&self, limit: usize) -> Vec<EpochRecord> {
        let skipped = self.epochs.len().saturating_sub(limit);
        self.epochs.iter().skip(skipped).map(|(_, epoch)| *epoch).collect()
    }

    /// Volume of the 24 hours before `now_ms`, and the price at their start.
    pub fn last_day(&self, now_ms: u64) -> (Rao, Option<Rao>) {
        let from = now_ms.saturating_sub(Interval::Day.milliseconds());
        let hours = self.candles.range((Interval::Hour, from)..=(Interval::Hour, u64::MAX));
        let mut volume = Rao::ZERO;
        let mut open = None;
        for (_, candle) in hours {
            volume = volume.saturating_add(candle.volume);
            open.get_or_insert(candle.open);
        }
        (volume, open)
    }
}

fn begun(start_ms: u64, trade: Trade) -> Candle {
    Candle {
        start_ms,
        open: trade.before,
        high: trade.before.max(trade.after),
        low: trade.before.min(trade.after),
        close: trade.after,
        volume: trade.volume,
        trades: 1,
    }
}

fn continued(candle: &Candle, trade: Trade) -> Candle {
    Candle {
        high: candle.high.max(trade.before).max(trade.after),
        low: candle.low.min(trade.before).min(trade.after),
        close: trade.after,
        volume: candle.volume.saturating_add(trade.volume),
        trades: candle.trades.saturating_add(1),
        ..*candle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::BlockNumber;

    fn trade(before: u64, after: u64, volume: u64) -> Trade {
        Trade { before: Rao::from_rao(before), after: Rao::from_rao(after), volume: Rao::from_rao(volume) }
    }

    #[test]
    fn a_candle_holds_the_trades_of_its_interval() {
        let mut market = MarketState::default();
        market.note_trade(61_000, trade(10, 12, 5));
        market.note_trade(119_999, trade(12, 9, 6));
        market.note_trade(120_000, trade(9, 11, 7));
        let minutes = market.candles(Interval::Minute, 10);
        let first = Candle {
            start_ms: 60_000,
            open: Rao::from_rao(10),
            high: Rao::from_rao(12),
            low: Rao::from_rao(9),
            close: Rao::from_rao(9),
            volume: Rao::from_rao(11),
            trades: 2,
        };
        assert_eq!((minutes.len(), minutes[0], minutes[1].open), (2, first, Rao::from_rao(9)));
        let hours = market.candles(Interval::Hour, 10);
        assert_eq!((hours.len(), hours[0].volume, hours[0].trades), (1, Rao::from_rao(18), 3));
        assert_eq!(market.last_day(120_000), (Rao::from_rao(18), Some(Rao::from_rao(10))));
        assert_eq!(market.last_day(200_000_000), (Rao::from_rao(0), None));
    }

    #[test]
    fn old_candles_and_epochs_go() {
        let mut market = MarketState::default();
        for minute in 0..Interval::Minute.kept() as u64 + 3 {
            market.note_trade(minute * 60_000, trade(1, 1, 1));
        }
        let kept = market.candles(Interval::Minute, usize::MAX);
        assert_eq!((kept.len(), kept[0].start_ms), (Interval::Minute.kept(), 180_000));
        assert_eq!(market.candles(Interval::Minute, 2).len(), 2);
        for block in 0..KEPT_EPOCHS as u64 + 5 {
            let zero = templar_base::Alpha::ZERO;
            let epoch = EpochRecord { block: BlockNumber(block), owner: zero, miners: zero, validators: zero };
            market.note_epoch(epoch);
        }
        assert_eq!(market.epochs(usize::MAX).len(), KEPT_EPOCHS);
        assert_eq!(market.epochs(1)[0].block, BlockNumber(KEPT_EPOCHS as u64 + 4));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Each longer interval is made of the same trades as the minutes within it.
        #[test]
        fn minutes_add_up_to_hours(trades in proptest::collection::vec((0u64..7_200_000, 1u64..1000, 1u64..1000), 1..40)) {
            let mut trades = trades;
            trades.sort();
            let mut market = MarketState::default();
            let mut price = 500;
            for (time_ms, after, volume) in trades {
                market.note_trade(time_ms, trade(price, after, volume));
                price = after;
            }
            for hour in market.candles(Interval::Hour, usize::MAX) {
                let within: Vec<Candle> = market.candles(Interval::Minute, usize::MAX).into_iter()
                    .filter(|minute| minute.start_ms / 3_600_000 == hour.start_ms / 3_600_000).collect();
                prop_assert_eq!(hour.open, within[0].open);
                prop_assert_eq!(hour.close, within[within.len() - 1].close);
                prop_assert_eq!(hour.high, within.iter().map(|minute| minute.high).max().unwrap());
                prop_assert_eq!(hour.low, within.iter().map(|minute| minute.low).min().unwrap());
                prop_assert_eq!(hour.volume.as_rao(), within.iter().map(|minute| minute.volume.as_rao()).sum::<u64>());
                prop_assert_eq!(hour.trades, within.iter().map(|minute| minute.trades).sum::<u32>());
            }
        }
    }
}
