//! What goes wrong at random, and when the network is cut.

use crate::Moment;
use serde::{Deserialize, Serialize};

/// What goes wrong, in shares of one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Requests that fail; some have taken effect all the same.
    pub failure: f32,
    /// Blocks that a node does not see.
    pub unseen_block: f32,
    /// Requests that get neither answer nor failure, whether or not they take effect.
    pub silence: f32,
    /// Answers that come a second time.
    pub duplicate: f32,
    /// Nodes that crash in a block.
    pub crash: f32,
    /// Effects at whose write the node crashes, before or after it.
    pub crash_at_write: f32,
    /// Most blocks that a crashed node is away.
    pub downtime_blocks: u64,
    /// Outer steps that go wrong, such as by memory that flipped, of nodes that this may happen to.
    pub corruption: f32,
    /// Most blocks until an effect is carried out, and until its answer comes: what comes late comes out of order.
    pub delay_blocks: f32,
}

impl Faults {
    /// Everything works; each step takes a block at most.
    pub fn none() -> Self {
        Self { delay_blocks: 1.0, ..Self::default() }
    }

    /// Everything works, and only links, latency and computing take time.
    pub fn instant() -> Self {
        Self::default()
    }
}

/// Nodes that are cut off for a while: from the ledger, and from the buckets of all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Who.
    pub nodes: Vec<usize>,
    /// From when on.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
}

impl Partition {
    fn holds(&self, now: Moment) -> bool {
        self.from <= now && now < self.until
    }

    /// When it ends, if it parts these two now.
    pub(crate) fn parts(&self, now: Moment, one: usize, other: usize) -> Option<Moment> {
        (self.holds(now) && self.nodes.contains(&one) != self.nodes.contains(&other)).then_some(self.until)
    }

    /// When it ends, if it cuts the node off from the ledger now.
    pub(crate) fn cuts(&self, now: Moment, node: usize) -> Option<Moment> {
        (self.holds(now) && self.nodes.contains(&node)).then_some(self.until)
    }
}
