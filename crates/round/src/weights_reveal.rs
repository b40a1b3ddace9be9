//! When hidden weights are revealed.

use templar_base::BlockNumber;

/// The head at which weights may first be revealed that were committed in block `committed`: the one before the first
/// block of the next epoch, as a transaction comes into the block after the head. An epoch has `tempo` blocks.
pub fn first_reveal(committed: BlockNumber, tempo: u32) -> BlockNumber {
    let tempo = u64::from(tempo).max(1);
    head_before(BlockNumber((committed.0 / tempo + 1).saturating_mul(tempo)))
}

/// The head at which a transaction must be sent to come into this block.
pub fn head_before(block: BlockNumber) -> BlockNumber {
    BlockNumber(block.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_revealed_in_the_first_block_of_the_next_epoch() {
        let reveal = |committed| first_reveal(BlockNumber(committed), 100).0;
        assert_eq!([0, 1, 99, 100, 150, 199].map(reveal), [99, 99, 99, 199, 199, 199]);
        assert_eq!(first_reveal(BlockNumber(7), 0), BlockNumber(7), "a ledger without epochs");
    }
}
