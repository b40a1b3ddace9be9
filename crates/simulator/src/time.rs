//! The virtual clock: what happens when, in the order of time and then of asking.

use serde::Serialize;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;

/// Milliseconds since the simulation's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by this number of milliseconds.
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds since an earlier moment; 0 where it is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1_000, self.0 % 1_000)
    }
}

/// What is still to happen. Of two things at one moment the one that was asked for first comes first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    asked: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Moment,
    order: u64,
    /// Apart, since the heap moves its entries about.
    what: Box<T>,
}

impl<T> Entry<T> {
    fn key(&self) -> (Moment, u64) {
        (self.at, self.order)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), asked: 0 }
    }

    pub fn push(&mut self, at: Moment, what: T) {
        self.heap.push(Reverse(Entry { at, order: self.asked, what: Box::new(what) }));
        self.asked += 1;
    }

    /// The next thing, where it happens before `end`.
    pub fn pop_before(&mut self, end: Moment) -> Option<(Moment, T)> {
        if self.heap.peek()?.0.at >= end {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, *entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_the_order_of_time_and_then_of_asking() {
        let mut queue = Queue::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(Moment(at), what);
        }
        let mut seen = String::new();
        while let Some((_, what)) = queue.pop_before(Moment(9)) {
            seen.push(what);
        }
        assert_eq!(seen, "abcd");
        assert_eq!(queue.pop_before(Moment(10)), Some((Moment(9), 'e')));
    }
}
