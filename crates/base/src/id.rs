//! Numbers that name things: windows, blocks, subnets, slots.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number 0.
            pub const ZERO: Self = Self(0);

            /// The id with this number.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number itself: for formats and for arithmetic in other types.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number_id! {
    /// One round of a run, counted from 0 at the run's start block.
    Window(u64)
}
number_id! {
    /// A block of the ledger, counted from 0 at the ledger's genesis.
    BlockNumber(u64)
}
number_id! {
    /// A key's slot in the subnet.
    Uid(u16)
}
number_id! {
    /// A subnet of the ledger; templar's is 3.
    Netuid(u16)
}

/// Arithmetic of numbers that count up: windows and blocks. Nothing wraps.
macro_rules! counter {
    ($name:ident, $plural:ident, $since:ident, $thing:literal) => {
        impl $name {
            #[doc = concat!("The ", $thing, " after this one.")]
            pub const fn next(self) -> Self {
                self.plus(1)
            }

            #[doc = concat!("The ", $thing, " before this one; none before ", $thing, " 0.")]
            pub fn previous(self) -> Option<Self> {
                self.0.checked_sub(1).map(Self)
            }

            #[doc = concat!("The ", $thing, " that comes this many later, at most the last one that has a number.")]
            pub const fn plus(self, $plural: u64) -> Self {
                Self(self.0.saturating_add($plural))
            }

            #[doc = concat!("The ", $thing, " that came this many earlier, at least ", $thing, " 0.")]
            pub const fn minus(self, $plural: u64) -> Self {
                Self(self.0.saturating_sub($plural))
            }

            #[doc = concat!("Number of ", stringify!($plural), " from `earlier` to this one; 0 where `earlier` is later.")]
            pub const fn $since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }

            #[doc = concat!("The ", stringify!($plural), " from this one up to, and without, `end`; none where `end` is not later.")]
            pub fn until(self, end: Self) -> impl DoubleEndedIterator<Item = Self> + Clone {
                (self.0..end.0).map(Self)
            }

            #[doc = concat!("Whether the number is a multiple of `length`, which is so every `length` ", stringify!($plural), "; for 0 only ", $thing, " 0 is.")]
            pub const fn is_multiple_of(self, length: u64) -> bool {
                self.0.is_multiple_of(length)
            }

            #[doc = concat!("Number of the period of `length` ", stringify!($plural), " that this ", $thing, " is in, counted from 0; a length of 0 counts as 1.")]
            pub const fn period(self, length: u64) -> u64 {
                self.0 / if length == 0 { 1 } else { length }
            }

            #[doc = concat!("Position of this ", $thing, " in its period of `length` ", stringify!($plural), ", from 0; a length of 0 counts as 1.")]
            pub const fn position(self, length: u64) -> u64 {
                self.0 % if length == 0 { 1 } else { length }
            }

            #[doc = concat!("First ", $thing, " of this one's period of `length` ", stringify!($plural), ".")]
            pub const fn period_start(self, length: u64) -> Self {
                Self(self.0 - self.position(length))
            }

            #[doc = concat!("First ", $thing, " of the period after this one's: the next multiple of `length` after this number.")]
            pub const fn next_period(self, length: u64) -> Self {
                self.period_start(length).plus(if length == 0 { 1 } else { length })
            }
        }
    };
}

counter!(Window, windows, windows_since, "window");
counter!(BlockNumber, blocks, blocks_since, "block");

impl Uid {
    /// The slot's place in a list of all slots.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stop_at_their_ends() {
        assert_eq!(Window::ZERO.previous(), None);
        assert_eq!(BlockNumber::new(3).minus(5), BlockNumber::ZERO);
        assert_eq!(BlockNumber::new(u64::MAX).next().get(), u64::MAX);
        assert_eq!(BlockNumber::new(3).blocks_since(BlockNumber::new(5)), 0);
        assert_eq!(Window::new(5).windows_since(Window::new(3)), 2);
        assert_eq!(Window::new(1).until(Window::new(3)).collect::<Vec<_>>(), [Window::new(1), Window::new(2)]);
        assert_eq!(Window::new(3).until(Window::new(1)).count(), 0);
    }

    #[test]
    fn periods_tile_the_numbers() {
        for number in 0..40 {
            let block = BlockNumber::new(number);
            assert_eq!(block.period_start(7).plus(block.position(7)), block);
            assert_eq!(block.next_period(7).get(), (block.period(7) + 1) * 7);
            assert_eq!(block.is_multiple_of(7), block.position(7) == 0);
        }
        assert_eq!((BlockNumber::new(4).period(0), BlockNumber::new(4).next_period(0)), (4, BlockNumber::new(5)));
    }
}
