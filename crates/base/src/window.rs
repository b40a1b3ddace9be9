//! The ledger's blocks are the clock of a run.

use crate::{BlockNumber, Window};
use serde::{Deserialize, Serialize};

/// Window `w` covers the blocks `[start + w·B, start + (w+1)·B)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowClock {
    /// First block of window 0.
    pub start_block: BlockNumber,
    /// Length of a window, in blocks (B); at least 1.
    pub blocks_per_window: u64,
}

impl WindowClock {
    /// The window that `block` lies in; none before the run's start.
    pub fn window_of(&self, block: BlockNumber) -> Option<Window> {
        Some(Window(block.0.checked_sub(self.start_block.0)? / self.blocks_per_window.max(1)))
    }

    /// First block of `window`: its beacon decides the window's data.
    pub fn start_of(&self, window: Window) -> BlockNumber {
        BlockNumber(self.start_block.0.saturating_add(window.0.saturating_mul(self.blocks_per_window)))
    }

    /// First block after `window`; payloads must be committed before it, and its beacon decides the judging.
    pub fn end_of(&self, window: Window) -> BlockNumber {
        self.start_of(window.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_tile_the_blocks_without_gap_or_overlap() {
        let clock = WindowClock { start_block: BlockNumber(7), blocks_per_window: 5 };
        assert_eq!(clock.window_of(BlockNumber(6)), None);
        for block in 7..200 {
            let window = clock.window_of(BlockNumber(block)).unwrap();
            assert!(clock.start_of(window).0 <= block && block < clock.end_of(window).0);
        }
    }
}
