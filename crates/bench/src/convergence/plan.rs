//! Which runs are compared.

use super::SimulationError;
use super::workers::{Ground, Groups, Joining, Windows};
use serde::{Deserialize, Serialize};
use templar_base::{FeedbackValues, MergeMethod};
use templar_gradient::MergeRule;
use templar_gradient::exchange::{Diloco, Exchange, PayloadExchange, QuantisedTopK};

/// Decay of the published rule's error feedback (β) in hundredths.
const PUBLISHED_DECAY_PERCENT: u8 = 95;

/// Ours, where it is not tried with another.
const DECAY_PERCENT: u8 = 80;

/// Outer rate and momentum of dense DiLoCo as published, in hundredths.
const DILOCO_RATE_PERCENT: u16 = 70;
const DILOCO_MOMENTUM_PERCENT: u8 = 90;

/// One row of the comparison; ordered as rows stand in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Method {
    /// Whether this is a usual rule with one thing changed.
    pub is_variant: bool,
    /// Steps of a window (H).
    pub inner_steps: usize,
    /// What is exchanged.
    pub rule: Rule,
    /// When what was merged arrives.
    pub overlap: Overlap,
    /// Whether the inner optimiser forgets at each window's start.
    pub is_state_reset: bool,
    /// Whose messages are merged.
    pub selection: Selection,
    /// Decay of the error feedback (β) in hundredths.
    pub decay_percent: u8,
    /// Whether workers form groups.
    #[serde(default)]
    pub grouping: Grouping,
    /// Rate of the outer step in hundredths, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_percent: Option<u16>,
    /// Momentum of the outer step in hundredths, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_percent: Option<u8>,
}

/// What rules are tried with in place of what they usually have; nothing where a list is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sweep<'a> {
    /// Decays of the error feedback, in hundredths: for the rules that have one.
    pub decay_percents: &'a [u8],
    /// Rates of the outer step, in hundredths: for all but [`Choice::Adamw`].
    pub rate_percents: &'a [u16],
    /// Momenta of the outer step, in hundredths: for [`Choice::Diloco`].
    pub momentum_percents: &'a [u8],
}

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// AdamW on the mean gradient of all workers in every step.
    EveryStep,
    /// Dense DiLoCo with Nesterov momentum.
    Diloco,
    /// The published 2-bit rule, 64 of 4096, mean over all.
    Published,
    /// This system's, with so many kept values of 4096.
    Ours(u16),
    /// The same under the mean over all.
    OursMeanOfAll(u16),
    /// The same with the error feedback held in bfloat16.
    OursInBf16(u16),
}

/// Whether workers form groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All workers are merged in every window.
    #[default]
    One,
    /// Four groups with parameters of their own, which are merged after every fourth window. What each sends then is as
    /// large as the payloads of one worker since.
    Four,
    /// The same with four times as much to send.
    FourWide,
}

/// When what was merged arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// At once: workers wait.
    None,
    /// After a fifth of the next window.
    Fifth,
    /// At the next window's end.
    Whole,
}

/// Whose messages are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    All,
    /// Three quarters, drawn anew in each window; the others get back what they sent.
    SomeReturned,
    /// Three quarters; what the others sent is lost.
    SomeLost,
}

/// A rule or variant as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// AdamW on all gradients in every step.
    Adamw,
    /// Dense DiLoCo.
    Diloco,
    /// The published 2-bit rule.
    Published,
    /// This system's rule with 64 kept values of 4096.
    Ours64,
    /// The same with 104.
    Ours104,
    /// The mean over all workers.
    MeanOfAll,
    /// What was merged arrives after a fifth of the next window.
    OverlapFifth,
    /// It arrives at the next window's end.
    OverlapWhole,
    /// The inner optimiser forgets at each window's start.
    StateReset,
    /// Three quarters of the workers are merged, the others get back what they sent.
    SomeReturned,
    /// Three quarters are merged, what the others sent is lost.
    SomeLost,
    /// The error feedback is held in bfloat16.
    FeedbackBf16,
    /// Four groups are merged by themselves, and with each other after every fourth window.
    FourGroups,
    /// The same with larger messages between groups.
    FourGroupsWide,
}

impl Choice {
    /// All of them with their names, in the order of the command's help.
    pub const ALL: [(&str, Self); 14] = [
        ("adamw", Self::Adamw),
        ("diloco", Self::Diloco),
        ("published", Self::Published),
        ("ours-64", Self::Ours64),
        ("ours-104", Self::Ours104),
        ("mean-of-all", Self::MeanOfAll),
        ("overlap-fifth", Self::OverlapFifth),
        ("overlap-whole", Self::OverlapWhole),
        ("state-reset", Self::StateReset),
        ("some-returned", Self::SomeReturned),
        ("some-lost", Self::SomeLost),
        ("feedback-bf16", Self::FeedbackBf16),
        ("four-groups", Self::FourGroups),
        ("four-groups-wide", Self::FourGroupsWide),
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, choice)| choice)
    }

    /// With windows of this length.
    fn method(self, inner_steps: usize) -> Method {
        let usual = Method::new(Rule::Ours(64), inner_steps);
        let variant = Method { is_variant: true, ..usual };
        match self {
            Self::Adamw => Method::new(Rule::EveryStep, 1),
            Self::Diloco => Method::new(Rule::Diloco, inner_steps),
            Self::Published => Method::new(Rule::Published, inner_steps),
            Self::Ours64 => usual,
            Self::Ours104 => Method::new(Rule::Ours(104), inner_steps),
            Self::MeanOfAll => Method { rule: Rule::OursMeanOfAll(64), ..variant },
            Self::OverlapFifth => Method { overlap: Overlap::Fifth, ..variant },
            Self::OverlapWhole => Method { overlap: Overlap::Whole, ..variant },
            Self::StateReset => Method { is_state_reset: true, ..variant },
            Self::SomeReturned => Method { selection: Selection::SomeReturned, ..variant },
            Self::SomeLost => Method { selection: Selection::SomeLost, ..variant },
            Self::FeedbackBf16 => Method { rule: Rule::OursInBf16(64), ..variant },
            Self::FourGroups => Method { grouping: Grouping::Four, ..variant },
            Self::FourGroupsWide => Method { grouping: Grouping::FourWide, ..variant },
        }
    }
}

impl Method {
    const fn new(rule: Rule, inner_steps: usize) -> Self {
        let (overlap, selection) = (Overlap::None, Selection::All);
        let decay_percent = match rule {
            Rule::Ours(_) | Rule::OursMeanOfAll(_) | Rule::OursInBf16(_) => DECAY_PERCENT,
            _ => PUBLISHED_DECAY_PERCENT,
        };
        Self {
            is_variant: false,
            inner_steps,
            rule,
            overlap,
            is_state_reset: false,
            selection,
            decay_percent,
            grouping: Grouping::One,
            rate_percent: None,
            momentum_percent: None,
        }
    }

    /// The comparison of these choices: rules with windows of every length, variants with the middle one; each with all
    /// that it is to be tried with.
    pub fn all(choices: &[Choice], lengths: &[usize], sweep: Sweep<'_>) -> Vec<Self> {
        let middle = lengths.get(lengths.len() / 2).copied();
        let mut methods: Vec<Self> = choices
            .iter()
            .flat_map(|choice| lengths.iter().map(|length| choice.method(*length)))
            .filter(|method| !method.is_variant || Some(method.inner_steps) == middle)
            .flat_map(|method| method.swept(sweep))
            .collect();
        methods.sort();
        methods.dedup();
        methods
    }

    /// Whether its error feedback decays as it usually does.
    pub fn has_usual_decay(&self) -> bool {
        self.decay_percent == Self::new(self.rule, self.inner_steps).decay_percent
    }

    /// With each combination that concerns its rule.
    fn swept(self, sweep: Sweep<'_>) -> Vec<Self> {
        let has_feedback = !matches!(self.rule, Rule::EveryStep | Rule::Diloco);
        let decays = if has_feedback { sweep.decay_percents } else { &[] };
        let rates = if self.rule == Rule::EveryStep { &[] } else { sweep.rate_percents };
        let momenta = if self.rule == Rule::Diloco { sweep.momentum_percents } else { &[] };
        let mut all = Vec::new();
        for decay in optional(decays) {
            for rate_percent in optional(rates) {
                for momentum_percent in optional(momenta) {
                    let decay_percent = decay.unwrap_or(self.decay_percent);
                    all.push(Self { decay_percent, rate_percent, momentum_percent, ..self }.without_the_usual());
                }
            }
        }
        all
    }

    /// A rate and a momentum that are the usual ones are not told apart from none.
    fn without_the_usual(self) -> Self {
        let rate = if self.rule == Rule::Diloco { DILOCO_RATE_PERCENT } else { 100 };
        Self {
            rate_percent: self.rate_percent.filter(|percent| *percent != rate),
            momentum_percent: self.momentum_percent.filter(|percent| *percent != DILOCO_MOMENTUM_PERCENT),
            ..self
        }
    }

    /// Whether its outer step is the usual one.
    pub fn has_usual_step(&self) -> bool {
        self.rate_percent.is_none() && self.momentum_percent.is_none()
    }

    /// Steps until what was merged arrives (τ).
    pub fn delay(&self) -> usize {
        match self.overlap {
            Overlap::None => 0,
            Overlap::Fifth => self.inner_steps.div_ceil(5),
            Overlap::Whole => self.inner_steps,
        }
    }

    /// A name for tables.
    pub fn name(&self) -> String {
        let mut name = match self.rule {
            Rule::EveryStep => return "AdamW every step".to_owned(),
            Rule::Diloco => "DiLoCo dense".to_owned(),
            Rule::Published => "published 2-bit k=64".to_owned(),
            Rule::Ours(kept) => format!("ours k={kept}"),
            Rule::OursMeanOfAll(kept) => format!("ours k={kept}, mean over all"),
            Rule::OursInBf16(kept) => format!("ours k={kept}, feedback in bf16"),
        };
        name += match self.overlap {
            Overlap::None => "",
            Overlap::Fifth => ", τ=0.2·H",
            Overlap::Whole => ", τ=H",
        };
        if self.is_state_reset {
            name += ", inner state reset";
        }
        name += match self.selection {
            Selection::All => "",
            Selection::SomeReturned => ", 3/4 merged, rest returned",
            Selection::SomeLost => ", 3/4 merged, rest lost",
        };
        name += match self.grouping {
            Grouping::One => "",
            Grouping::Four => ", 4 groups, merged every 4 windows by k=256",
            Grouping::FourWide => ", 4 groups, merged every 4 windows by k=1024",
        };
        if !self.has_usual_decay() {
            name += &format!(", β={:.2}", f32::from(self.decay_percent) / 100.0);
        }
        if let Some(percent) = self.rate_percent {
            name += &format!(", α={:.2}", f32::from(percent) / 100.0);
        }
        if let Some(percent) = self.momentum_percent {
            name += &format!(", μ={:.2}", f32::from(percent) / 100.0);
        }
        name
    }

    /// What to run.
    pub fn joining(&self, ground: &Ground) -> Result<Joining, SimulationError> {
        let decay = f32::from(self.decay_percent) / 100.0;
        let ours = |kept: u16, method| -> Result<PayloadExchange, SimulationError> {
            let rule = MergeRule { method, ..MergeRule::default() };
            Ok(PayloadExchange::new(ground.layout(kept)?, rule, decay))
        };
        let groups = |kept: u16| -> Result<Groups, SimulationError> {
            let exchange = Box::new(ours(kept, MergeMethod::MeanOfSenders)?);
            Ok(Groups { count: 4.min(ground.workers), every: 4, exchange })
        };
        let exchange: Box<dyn Exchange> = match self.rule {
            Rule::EveryStep => return Ok(Joining::EveryStep),
            Rule::Diloco => Box::new(Diloco {
                rate: f32::from(DILOCO_RATE_PERCENT) / 100.0,
                momentum: f32::from(self.momentum_percent.unwrap_or(DILOCO_MOMENTUM_PERCENT)) / 100.0,
            }),
            Rule::Published => Box::new(QuantisedTopK { layout: ground.layout(64)?, bits: 2, decay }),
            Rule::Ours(kept) => Box::new(ours(kept, MergeMethod::MeanOfSenders)?),
            Rule::OursMeanOfAll(kept) => Box::new(ours(kept, MergeMethod::MeanOfAll)?),
            Rule::OursInBf16(kept) => {
                let exact = ours(kept, MergeMethod::MeanOfSenders)?;
                Box::new(PayloadExchange { held_as: FeedbackValues::Bf16, ..exact })
            }
        };
        Ok(Joining::Windows(Windows {
            exchange,
            steps: self.inner_steps,
            delay: self.delay(),
            is_state_reset: self.is_state_reset,
            selected: match self.selection {
                Selection::All => ground.workers,
                _ => (3 * ground.workers / 4).max(1),
            },
            is_returned: self.selection == Selection::SomeReturned,
            // A rule's own rate is in it already.
            alpha: self.rate_percent.map_or(1.0, |percent| match self.rule {
                Rule::Diloco => f32::from(percent) / f32::from(DILOCO_RATE_PERCENT),
                _ => f32::from(percent) / 100.0,
            }),
            groups: match self.grouping {
                Grouping::One => None,
                Grouping::Four => Some(groups(256)?),
                Grouping::FourWide => Some(groups(1_024)?),
            },
        }))
    }
}

/// Each of a list, or none.
fn optional<T: Copy>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() { vec![None] } else { list.iter().copied().map(Some).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name_of_its_own() {
        let sweep =
            Sweep { decay_percents: &[DECAY_PERCENT, 95], rate_percents: &[50, 70, 100], momentum_percents: &[80, 90] };
        let methods = Method::all(&Choice::ALL.map(|(_, choice)| choice), &[10, 30, 100], sweep);
        assert_eq!(methods.len(), 1 + 3 * (3 * 2 + 3 * 2 * 3) + 2 * 3 * 9);
        let mut names: Vec<String> = methods.iter().map(|m| format!("{} {}", m.name(), m.inner_steps)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), methods.len());
    }

    #[test]
    fn a_fifth_of_a_window_is_at_least_a_step() {
        let method = Method { overlap: Overlap::Fifth, ..Method::new(Rule::Ours(64), 3) };
        assert_eq!(method.delay(), 1);
    }
}
