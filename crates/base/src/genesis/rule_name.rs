//! Names of the rules by which pseudo-gradients are merged and applied.

use super::{MergeMethod, OuterRule};
use std::fmt;
use std::mem::discriminant;

/// DeMo's step has one size for all parameters. After six windows of a hundred steps on the default text 0.01 is at
/// 5.78 nats, half of it at 6.54.
const DEMO_ALPHA: f32 = 1e-2;

/// A rule that has a name: how pseudo-gradients are merged, and how they move the model. A document may also hold a
/// combination of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RuleName {
    /// Signs of the largest values, the mean over those who sent them: this system's rule.
    #[default]
    MeanOfSenders,
    /// The same payloads, the mean over all.
    MeanOfAll,
    /// The same payloads, each drawn to within a radius of the centre.
    CentredClipping,
    /// The same payloads, without the largest and the smallest of each value.
    TrimmedMean,
    /// The mean of those of the same payloads that are closest together.
    Krum,
    /// The same payloads, the sign of most senders.
    SignVote,
    /// Dense DiLoCo: every value, Nesterov's momentum.
    Diloco,
    /// DeMo's rule: the largest frequencies, a step by the sign.
    Demo,
}

impl RuleName {
    /// All names, this system's rule first.
    pub const ALL: [Self; 8] = [
        Self::MeanOfSenders,
        Self::MeanOfAll,
        Self::CentredClipping,
        Self::TrimmedMean,
        Self::Krum,
        Self::SignVote,
        Self::Diloco,
        Self::Demo,
    ];

    /// The name as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanOfSenders => "mean-of-senders",
            Self::MeanOfAll => "mean-of-all",
            Self::CentredClipping => "centred-clipping",
            Self::TrimmedMean => "trimmed-mean",
            Self::Krum => "krum",
            Self::SignVote => "sign-vote",
            Self::Diloco => "diloco",
            Self::Demo => "demo",
        }
    }

    /// The rule of this name, if there is one.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.name() == text)
    }

    /// What the rule does, in one line.
    pub const fn what(self) -> &'static str {
        match self {
            Self::MeanOfSenders => "Signs of the largest values, mean over their senders: this system's rule",
            Self::MeanOfAll => "The same payloads, mean over all miners",
            Self::CentredClipping => "The same payloads, each clipped to a radius around the centre",
            Self::TrimmedMean => "The same payloads, without the largest and smallest of each value",
            Self::Krum => "The mean of those of the same payloads that are closest to each other",
            Self::SignVote => "The same payloads, the sign of most senders",
            Self::Diloco => "Dense DiLoCo: every value, Nesterov momentum",
            Self::Demo => "DeMo's rule: the largest frequencies, a step by the sign",
        }
    }

    /// The name that a document's rule has, whatever its numbers; none for a combination of its own.
    pub fn of(outer: &OuterRule) -> Option<Self> {
        let kind = |outer: &OuterRule| {
            (outer.domain, discriminant(&outer.values), discriminant(&outer.step), discriminant(&outer.merge))
        };
        Self::ALL.into_iter().find(|name| kind(&name.outer(outer.clone(), 1)) == kind(outer))
    }

    /// The rule of this name in a network of this many miners; it takes over from `usual` what it has in common with it.
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

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepRule;

    #[test]
    fn every_name_makes_a_rule_of_its_own_that_is_known_again() {
        for name in RuleName::ALL {
            assert_eq!(RuleName::named(&name.to_string()), Some(name));
            for miners in [1, 4, 300] {
                let outer = name.outer(OuterRule::default(), miners);
                assert_eq!(outer.problems(), []);
                assert_eq!(RuleName::of(&outer), Some(name));
            }
        }
        assert_eq!(RuleName::of(&OuterRule { step: StepRule::Sign, ..OuterRule::default() }), None);
        assert_eq!(RuleName::named("Krum"), None);
    }
}
