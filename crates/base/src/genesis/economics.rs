//! Who is paid what.

use super::problem::{Checks, Problem};
use serde::{Deserialize, Serialize};

/// Who is paid what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Economics {
    /// Recent windows whose contributions are averaged into the weights.
    pub averaged_windows: u64,
    /// Part of the weights that goes to admitted miners that were not selected.
    pub unselected_share: f64,
    /// Windows over which a newcomer's weight rises to its full size.
    pub ramp_windows: u64,
    /// Windows between two settings of a validator's weights.
    pub weights_every_windows: u64,
}

impl Default for Economics {
    fn default() -> Self {
        Self { averaged_windows: 8, unselected_share: 0.15, ramp_windows: 4, weights_every_windows: 1 }
    }
}

impl Economics {
    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("economics");
        checks.at_least("averaged_windows", self.averaged_windows, 1);
        checks.range("unselected_share", self.unselected_share, 0.0..=1.0);
        checks.at_least("weights_every_windows", self.weights_every_windows, 1);
        checks.into_problems()
    }
}
