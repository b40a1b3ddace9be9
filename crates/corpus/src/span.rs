//! Which part of the text a window is about: the epoch's order is cut into spans, and each span has its windows.

use templar_base::Window;

/// How an epoch's order is cut. The spans of an epoch share all sequences out evenly: two of them differ by one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans {
    sequences: u64,
    count: u64,
    windows: u64,
}

/// The span of a window: `size` positions of the epoch's order from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub epoch: u64,
    pub start: u64,
    pub size: u64,
}

impl Spans {
    /// Cuts `sequences` into spans of at least `least` each, or into one; each is `windows` windows long. Zeros count as
    /// ones.
    pub fn new(sequences: u64, least: u64, windows: u64) -> Self {
        Self { sequences, count: (sequences / least.max(1)).max(1), windows: windows.max(1) }
    }

    /// Spans of an epoch; at least 1.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sequences of the smallest span.
    pub fn smallest(&self) -> u64 {
        self.sequences / self.count
    }

    /// The span of a window. A text of one span has one epoch, so that its evaluation text is the same in the whole run:
    /// another epoch's order would train on it at once.
    pub fn of(&self, window: Window) -> Span {
        let number = window.period(self.windows);
        let (epoch, number) = match self.count {
            1 => (0, 0),
            count => (number / count, number % count),
        };
        let (start, end) = (self.boundary(number), self.boundary(number + 1));
        Span { epoch, start, size: end - start }
    }

    fn boundary(&self, number: u64) -> u64 {
        // Under `sequences`, since `number` is at most `count`.
        (u128::from(self.sequences) * u128::from(number) / u128::from(self.count)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_share_an_epoch_out_evenly(sequences in 1u64..1 << 50, least in 1u64..1 << 50, windows in 1u64..100) {
            let least = least.max(sequences / 50);
            let spans = Spans::new(sequences, least, windows);
            prop_assert!(spans.count() == 1 || spans.smallest() >= least);
            let mut end = 0;
            for number in 0..spans.count() {
                let first = Window(number * windows);
                let span = spans.of(first);
                prop_assert_eq!((span.epoch, span.start), (0, end));
                prop_assert!(span.size == spans.smallest() || span.size == spans.smallest() + 1);
                prop_assert_eq!(spans.of(Window(first.0 + windows - 1)), span);
                end += span.size;
            }
            prop_assert_eq!(end, sequences);
            let next = spans.of(Window(spans.count() * windows));
            prop_assert_eq!((next.epoch, next.start), (u64::from(spans.count() > 1), 0));
        }
    }
}
