//! What the token's holders may change while a run goes on, and the rules of a window that follow from it.
//!
//! A change is decided in a block, and holds from the first window that starts after that block. The rules of a window
//! are therefore known to everybody at its start, and stay the same whenever they are asked for.

use crate::{BlockNumber, Genesis, Window};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One in the unit of factors and steps.
pub const MILLIONTHS: u32 = 1_000_000;

/// A rule of a run that its token's holders may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum RunSetting {
    /// What the genesis' learning rate of every inner step is multiplied by, in millionths.
    LearningRateFactor(u32),
    /// The outer step's alpha, in millionths; the genesis' decay of alpha no longer applies.
    OuterAlpha(u32),
    /// The most inner steps of a miner in a window; never more than the genesis has batches for.
    InnerSteps(u32),
    /// The most miners whose payloads are merged.
    Selected(u16),
}

impl RunSetting {
    /// The setting's name in commands and documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LearningRateFactor(_) => "learning-rate-factor",
            Self::OuterAlpha(_) => "outer-alpha",
            Self::InnerSteps(_) => "inner-steps",
            Self::Selected(_) => "selected",
        }
    }

    /// The value as a whole number: millionths for factors and steps.
    pub fn value(&self) -> u64 {
        match self {
            Self::LearningRateFactor(value) | Self::OuterAlpha(value) | Self::InnerSteps(value) => u64::from(*value),
            Self::Selected(value) => u64::from(*value),
        }
    }
}

impl fmt::Display for RunSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LearningRateFactor(value) | Self::OuterAlpha(value) => {
                write!(f, "{} = {}.{:06}", self.name(), value / MILLIONTHS, value % MILLIONTHS)
            }
            _ => write!(f, "{} = {}", self.name(), self.value()),
        }
    }
}

/// A setting that was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SettingChange {
    /// The block that decided; windows that start later go by it.
    pub decided_at: BlockNumber,
    /// What holds from then on.
    pub setting: RunSetting,
}

/// The rules of one window: those of the genesis, with everything that was decided before the window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRules {
    /// The genesis with learning rate, outer alpha and selection as they hold in the window. Its hash names nothing: the
    /// run keeps the name that its own genesis gave it.
    pub genesis: Genesis,
    /// The most inner steps on the window's own batches.
    pub inner_steps: usize,
}

impl Genesis {
    /// The rules of `window`, given all `changes` that were decided before it, in the order of their decision.
    ///
    /// A change that does not fit the genesis (the ledger knows bounds, but not every run) leaves the rules as they are;
    /// changes decided later than the window's start do not count.
    pub fn rules_in(&self, window: Window, changes: &[SettingChange]) -> WindowRules {
        let start = self.clock.start_of(window);
        let mut rules = WindowRules { genesis: self.clone(), inner_steps: self.data.batches_per_window };
        for change in changes.iter().filter(|change| change.decided_at < start) {
            let mut changed = rules.clone();
            changed.adopt(change.setting, self);
            if changed.inner_steps >= 1 && changed.genesis.check().is_ok() {
                rules = changed;
            }
        }
        rules
    }
}

impl WindowRules {
    fn adopt(&mut self, setting: RunSetting, original: &Genesis) {
        let share = |millionths: u32| (f64::from(millionths) / f64::from(MILLIONTHS)) as f32;
        match setting {
            RunSetting::LearningRateFactor(factor) => {
                self.genesis.inner.schedule.peak = original.inner.schedule.peak * share(factor);
            }
            RunSetting::OuterAlpha(alpha) => {
                (self.genesis.outer.alpha, self.genesis.outer.final_alpha) = (share(alpha), share(alpha));
            }
            RunSetting::InnerSteps(steps) => {
                self.inner_steps = original.data.batches_per_window.min(steps as usize);
            }
            RunSetting::Selected(selected) => {
                let selected = usize::from(selected).min(original.judging.pool);
                self.genesis.judging.selected = selected;
                // Newcomers have places among the selected, never more than there are.
                self.genesis.judging.newcomer_places = original.judging.newcomer_places.min(selected);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_for_people() {
        assert_eq!(RunSetting::LearningRateFactor(1_500_000).to_string(), "learning-rate-factor = 1.500000");
        assert_eq!(RunSetting::Selected(9).to_string(), "selected = 9");
    }
}
