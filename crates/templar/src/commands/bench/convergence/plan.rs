//! Which runs are compared.

use super::workers::{Ground, Joining, Windows};
use templar_base::MergeMethod;
use templar_gradient::MergeRule;
use templar_gradient::exchange::{Diloco, Exchange, QuantisedTopK, SparseSign};

/// Decay of the error feedback of all sparse rules (β).
pub const DECAY: f32 = 0.95;

/// One row of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub rule: Rule,
    /// Steps of a window (H).
    pub inner_steps: usize,
    pub overlap: Overlap,
    pub is_state_reset: bool,
    pub selection: Selection,
}

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// When what was merged arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// At once: workers wait.
    None,
    /// After a fifth of the next window.
    Fifth,
    /// At the next window's end.
    Whole,
}

/// Whose messages are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    All,
    /// Three quarters, drawn anew in each window; the others get back what they sent.
    SomeReturned,
    /// Three quarters; what the others sent is lost.
    SomeLost,
}

impl Method {
    const fn new(rule: Rule, inner_steps: usize) -> Self {
        Self { rule, inner_steps, overlap: Overlap::None, is_state_reset: false, selection: Selection::All }
    }

    /// The comparison; `lengths` are the window lengths, the middle one is the one at which the variants are tried.
    pub fn all(lengths: [usize; 3]) -> Vec<Self> {
        let usual = Self::new(Rule::Ours(64), lengths[1]);
        let mut methods = vec![Self::new(Rule::EveryStep, 1)];
        for length in lengths {
            let rules = [Rule::Diloco, Rule::Published, Rule::Ours(64), Rule::Ours(104)];
            methods.extend(rules.map(|rule| Self::new(rule, length)));
        }
        methods.extend([
            Self::new(Rule::OursMeanOfAll(64), lengths[1]),
            Self { overlap: Overlap::Fifth, ..usual },
            Self { overlap: Overlap::Whole, ..usual },
            Self { is_state_reset: true, ..usual },
            Self { selection: Selection::SomeReturned, ..usual },
            Self { selection: Selection::SomeLost, ..usual },
        ]);
        methods
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
        name
    }

    /// What to run.
    pub fn joining(&self, ground: &Ground) -> anyhow::Result<Joining> {
        let sparse = |kept: u16, method| -> anyhow::Result<Box<dyn Exchange>> {
            let rule = MergeRule { method, ..MergeRule::default() };
            Ok(Box::new(SparseSign { layout: ground.layout(kept)?, rule, decay: DECAY }))
        };
        let exchange: Box<dyn Exchange> = match self.rule {
            Rule::EveryStep => return Ok(Joining::EveryStep),
            Rule::Diloco => Box::new(Diloco { rate: 0.7, momentum: 0.9 }),
            Rule::Published => Box::new(QuantisedTopK { layout: ground.layout(64)?, bits: 2, decay: DECAY }),
            Rule::Ours(kept) => sparse(kept, MergeMethod::MeanOfSenders)?,
            Rule::OursMeanOfAll(kept) => sparse(kept, MergeMethod::MeanOfAll)?,
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
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name_of_its_own() {
        let methods = Method::all([10, 30, 100]);
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
