//! Whose stake counts: who has judged of late.

use super::problem::{Checks, Problem};
use serde::{Deserialize, Serialize};

/// The most right votes that a run may ask for: the record holds the window of each.
const MOST_RIGHT_VOTES: u32 = 64;
/// The fewest windows within which they may be asked for: as many as must have been judged before the rule holds.
const LEAST_WITHIN: u64 = 8;
/// The most: more would hardly ever be forgotten.
const MOST_WITHIN: u64 = 65_536;

/// Whose stake counts: that of validators which opened enough right votes of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElectorRule {
    /// Right votes that make an elector.
    pub right_votes: u32,
    /// Windows within which it must have opened them.
    pub within: u64,
}

impl Default for ElectorRule {
    fn default() -> Self {
        Self { right_votes: 3, within: 512 }
    }
}

impl ElectorRule {
    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("electors");
        checks.range("right_votes", self.right_votes, 1..=MOST_RIGHT_VOTES);
        checks.range("within", self.within, LEAST_WITHIN..=MOST_WITHIN);
        checks.require(
            "within",
            self.within,
            self.within >= u64::from(self.right_votes),
            format!("at least right_votes ({}), since a window has one vote", self.right_votes),
        );
        checks.into_problems()
    }

    /// In words.
    pub fn describe(&self) -> String {
        let Self { right_votes, within } = self;
        format!("stake counts of validators with {right_votes} right votes in the last {within} windows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_reach_or_nothing_would_forget_is_rejected() {
        let problems = |right_votes, within| ElectorRule { right_votes, within }.problems().len();
        assert_eq!(ElectorRule::default().problems(), []);
        assert_eq!([problems(1, 8), problems(64, 64), problems(64, 65_536)], [0; 3]);
        assert_eq!([problems(0, 8), problems(65, 512), problems(3, 7), problems(3, 65_537), problems(9, 8)], [1; 5]);
    }
}
