//! The outer rules that a local network offers by name; any other is written into a genesis document.

use std::fmt;
use std::mem::discriminant;
use templar_base::{MergeMethod, OuterRule};

/// DeMo's step has one size for all parameters. After six windows of a hundred steps on the default text 0.01 reaches
/// 5.78 nats, half of it at 6.54.
const DEMO_ALPHA: f32 = 1e-2;

/// How pseudo-gradients are merged, and how they move the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuleName {
    /// Signs of the largest values, mean over their senders.
    #[default]
    MeanOfSenders,
    /// The same payloads, mean over all miners.
    MeanOfAll,
    /// The same payloads, each clipped to a radius around the centre.
    CentredClipping,
    /// The same payloads, without the largest and the smallest of each value.
    TrimmedMean,
    /// The mean of those of the same payloads that are closest to each other.
    Krum,
    /// The same payloads, the sign of most senders.
    SignVote,
    /// Dense DiLoCo.
    Diloco,
    /// DeMo's rule.
    Demo,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RuleName {
    /// All of them.
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

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// What it does, in one line.
    pub fn what(self) -> &'static str {
        self.described().1
    }

    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::MeanOfSenders => {
                ("mean-of-senders", "Signs of the largest values, mean over their senders: this system's rule")
            }
            Self::MeanOfAll => ("mean-of-all", "The same payloads, mean over all miners"),
            Self::CentredClipping => {
                ("centred-clipping", "The same payloads, each clipped to a radius around the centre")
            }
            Self::TrimmedMean => ("trimmed-mean", "The same payloads, without the largest and smallest of each value"),
            Self::Krum => ("krum", "The mean of those of the same payloads that are closest to each other"),
            Self::SignVote => ("sign-vote", "The same payloads, the sign of most senders"),
            Self::Diloco => ("diloco", "Dense DiLoCo: every value, Nesterov momentum"),
            Self::Demo => ("demo", "DeMo's rule: the largest frequencies, a step by the sign"),
        }
    }

    /// The rule of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The name of a genesis' rule, whatever its numbers; none for any other combination.
    pub fn of(outer: &OuterRule) -> Option<Self> {
        let kind = |outer: &OuterRule| {
            (outer.domain, discriminant(&outer.values), discriminant(&outer.step), discriminant(&outer.merge))
        };
        Self::ALL.into_iter().find(|name| kind(&name.outer(outer.clone(), 1)) == kind(outer))
    }

    /// The rule of this name in a network of `miners`; what it shares with the usual one is taken from there.
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
    use crate::plan::usual_outer;

    #[test]
    fn every_name_makes_a_rule_of_its_own_that_is_known_again() {
        for name in RuleName::ALL {
            assert_eq!(RuleName::named(name.name()), Some(name));
            for miners in [1, 4, 300] {
                let outer = name.outer(usual_outer(), miners);
                assert_eq!(RuleName::of(&outer), Some(name));
            }
        }
        let step = templar_base::StepRule::Sign;
        assert_eq!(RuleName::of(&OuterRule { step, ..usual_outer() }), None);
    }
}
