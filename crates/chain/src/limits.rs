//! The most that one answer holds.

/// Entries of one answer at most: proposals, candles, accounts, epochs, events.
pub const MAX_ENTRIES: u32 = 256;

/// Blocks whose events one answer covers at most.
pub const MAX_EVENT_BLOCKS: u64 = 256;
