//! Who is paid what.

use super::problem::{Checks, Problem};
use serde::{Deserialize, Serialize};

/// Who is paid what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Economics {
    /// Windows over which a newcomer's weight rises to its full size.
    pub ramp_windows: u64,
    /// Windows between two settings of a validator's weights.
    pub weights_every_windows: u64,
}

impl Default for Economics {
    fn default() -> Self {
        Self { ramp_windows: 4, weights_every_windows: 1 }
    }
}

impl Economics {
    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("economics");
        checks.at_least("weights_every_windows", self.weights_every_windows, 1);
        checks.into_problems()
    }
}
