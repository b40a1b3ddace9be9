//! Whole networks of real nodes in one process: a ledger in memory, buckets in memory, a tiny model, and the test as
//! the clock. What must hold whatever happens: nobody diverges, who harms or does nothing is neither merged nor paid,
//! and who comes back reaches the same bits as everybody else.

mod network;
mod scenarios;
