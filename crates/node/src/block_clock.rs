//! How fast the ledger's blocks come, as this node sees them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use templar_base::BlockNumber;

/// Blocks over which the time between two is averaged.
const SPAN: usize = 16;

/// The newest blocks, each with the time when it was seen.
#[derive(Debug, Default)]
pub(crate) struct BlockClock {
    seen: Mutex<VecDeque<(BlockNumber, Instant)>>,
}

impl BlockClock {
    /// A block was seen.
    pub(crate) fn saw(&self, block: BlockNumber, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.back().is_some_and(|(newest, _)| *newest >= block) {
            return;
        }
        seen.push_back((block, now));
        if seen.len() > SPAN {
            seen.pop_front();
        }
    }

    /// How long it is until this block; none where fewer than two blocks were seen.
    pub(crate) fn time_until(&self, block: BlockNumber, now: Instant) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (newest, at) = seen.back()?;
        let ahead = u32::try_from(block.0.saturating_sub(newest.0)).unwrap_or(u32::MAX);
        Some(each(&seen)?.saturating_mul(ahead).saturating_sub(now.saturating_duration_since(*at)))
    }

    /// How many whole blocks come in this time; none where that is not known yet.
    pub(crate) fn blocks_in(&self, time: Duration) -> Option<u64> {
        let each = each(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
        u64::try_from(time.as_nanos().checked_div(each.as_nanos())?).ok()
    }
}

/// The time between two blocks; none where fewer than two were seen.
fn each(seen: &VecDeque<(BlockNumber, Instant)>) -> Option<Duration> {
    let ((first, began), (newest, at)) = (seen.front()?, seen.back()?);
    let blocks = u32::try_from(newest.0 - first.0).ok().filter(|blocks| *blocks > 0)?;
    Some(at.saturating_duration_since(*began) / blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_a_block_follows_from_the_last_ones() {
        let (clock, start) = (BlockClock::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let until = |block, seconds| clock.time_until(BlockNumber(block), at(seconds)).map(|time| time.as_secs());
        assert_eq!((until(10, 0), clock.blocks_in(Duration::from_secs(9))), (None, None));
        clock.saw(BlockNumber(10), at(0));
        assert_eq!(until(12, 0), None);
        clock.saw(BlockNumber(12), at(4));
        clock.saw(BlockNumber(11), at(5));
        let blocks_in = |millis| clock.blocks_in(Duration::from_millis(millis));
        assert_eq!([blocks_in(0), blocks_in(1_999), blocks_in(48_000)], [0, 0, 24].map(Some));
        assert_eq!([until(12, 4), until(15, 4), until(15, 5), until(15, 99)], [0, 6, 5, 0].map(Some));
        (13..60).for_each(|block| clock.saw(BlockNumber(block), at(block - 8)));
        assert_eq!(until(61, 51), Some(2), "the last blocks came faster");
        assert!(clock.time_until(BlockNumber(u64::MAX), at(51)) > Some(Duration::from_secs(u64::from(u32::MAX) - 2)));
    }
}
