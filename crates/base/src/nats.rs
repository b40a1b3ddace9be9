//! An amount of loss.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// An amount of loss in units of 2^-40 nats: sums of these are exact, whoever adds them in whatever order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct Nats(pub i64);

impl Nats {
    const UNITS: f64 = (1u64 << 40) as f64;

    /// The nearest amount; what is no number counts as nothing, what is too large is cut.
    pub fn from_f64(nats: f64) -> Self {
        // A float-to-integer cast saturates, and gives 0 for NaN.
        Self((nats * Self::UNITS).round() as i64)
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Whether it is under zero.
    pub fn is_loss(&self) -> bool {
        self.0 < 0
    }

    /// In nats.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::UNITS
    }
}
