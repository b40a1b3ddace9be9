//! The part of the outer step that judges agree on.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The part of the outer step that is taken in a window. Late in a training a whole step overshoots: then the half or
/// the quarter of it brings more, and judges agree on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum StepShare {
    /// A quarter.
    Quarter,
    /// A half.
    Half,
    /// All of it.
    #[default]
    Whole,
}

impl StepShare {
    /// All of them, the smallest first.
    pub const ALL: [Self; 3] = [Self::Quarter, Self::Half, Self::Whole];

    /// What alpha is multiplied by; a power of two, so that the product is exact.
    pub fn factor(self) -> f32 {
        match self {
            Self::Quarter => 0.25,
            Self::Half => 0.5,
            Self::Whole => 1.0,
        }
    }

    /// Half of it; the smallest stays.
    pub fn halved(self) -> Self {
        match self {
            Self::Quarter | Self::Half => Self::Quarter,
            Self::Whole => Self::Half,
        }
    }

    /// Whether it is all of the step.
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// Its place in [`Self::ALL`]: how it is written in an aggregate.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What [`Self::code`] wrote.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl std::fmt::Display for StepShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quarter => "a quarter",
            Self::Half => "a half",
            Self::Whole => "the whole",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_halves_end_at_the_quarter() {
        for share in StepShare::ALL {
            assert_eq!(StepShare::from_code(share.code()), Some(share));
            assert_eq!(share.halved().factor(), (share.factor() / 2.0).max(0.25));
        }
        assert_eq!(StepShare::from_code(3), None);
    }
}
