//! The outer rules that `templar up` offers by name; whatever else there is stands in a genesis that somebody writes.

use clap::ValueEnum;
use std::fmt;
use std::mem::discriminant;
use templar_base::{MergeMethod, OuterRule};

/// DeMo's step has one size for all parameters. After six windows of a hundred steps on the default text 0.01 stands at
/// 5.78 nats, half of it at 6.54.
const DEMO_ALPHA: f32 = 1e-2;

/// How pseudo-gradients are merged, and how they move the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RuleName {
    /// Signs of the largest values, the mean over those who sent them: this system's rule
    #[default]
    MeanOfSenders,
    /// The same payloads, the mean over all
    MeanOfAll,
    /// The same payloads, each drawn to within a radius of the centre
    CentredClipping,
    /// The same payloads, without the largest and the smallest of each value
    TrimmedMean,
    /// The mean of those of the same payloads that lie closest together
    Krum,
    /// The same payloads, the sign of most senders
    SignVote,
    /// Dense DiLoCo: every value, Nesterov's momentum
    Diloco,
    /// DeMo's rule: the largest frequencies, a step by the sign
    Demo,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No name is hidden, so each has a value.
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl RuleName {
    /// The name that a genesis' rule has, whatever its numbers; none for a combination of its own.
    pub fn of(outer: &OuterRule) -> Option<Self> {
        let kind = |outer: &OuterRule| {
            (outer.domain, discriminant(&outer.values), discriminant(&outer.step), discriminant(&outer.merge))
        };
        Self::value_variants().iter().copied().find(|name| kind(&name.outer(outer.clone(), 1)) == kind(outer))
    }

    /// The rule of this name in a network of so many miners; what it has in common with the usual one is taken from
    /// there.
    pub fn outer(self, usual: OuterRule, miners: usize) -> OuterRule {
        let merge = match self {
            Self::MeanOfSenders => MergeMethod::MeanOfSenders,
            Self::MeanOfAll => MergeMethod::MeanOfAll,
            Self::CentredClipping => MergeMethod::CentredClipping { radius_percent: 100, iterations: 1 },
            Self::TrimmedMean => MergeMethod::TrimmedMean { trimmed: 1 },
            Self::Krum => MergeMethod::Krum { faulty: 1, chosen: miners.saturating_sub(1).clamp(1, 15) as u16 },
            Self::SignVote => MergeMethod::SignVote,
            Self::Diloco => return usual.into_diloco(),
            Self::Demo => return usual.into_demo(DEMO_ALPHA),
        };
        let (domain, values, step) = Default::default();
        OuterRule { merge, domain, values, step, ..usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::usual_outer;

    #[test]
    fn every_name_makes_a_rule_of_its_own_that_is_known_again() {
        for name in RuleName::value_variants() {
            for miners in [1, 4, 300] {
                let outer = name.outer(usual_outer(), miners);
                assert_eq!(RuleName::of(&outer), Some(*name));
            }
        }
        let step = templar_base::StepRule::Sign;
        assert_eq!(RuleName::of(&OuterRule { step, ..usual_outer() }), None);
    }
}
