//! How payloads are audited by replay, and what makes it pay to train honestly.
//!
//! In units of a full window's pay, with p the audit rate, q = 1 − p, n the windows of a newcomer's ramp, and c what a
//! window's honest training costs:
//! ```text
//! at stake       S = (n − 1)/2             pay that the ramp withholds from a key that starts again
//! once           p·(S + 1) > c             what one shortcut saves is less than what it risks
//! for ever       q(1 − qⁿ)/(n·p) < 1 − c   a key that never trains earns less than an honest one keeps
//! ```
//! The price of a registration is at stake as well. It is not in the genesis and is counted as nothing here.

use super::problem::{Checks, Problem};
use serde::{Deserialize, Serialize};

/// Parts of a thousand.
pub const PER_MILLE: u32 = 1000;

/// Longest ramp that is looked for.
const LONGEST_RAMP: u64 = 100_000;

/// How payloads are audited by replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRule {
    /// Payloads of a thousand that are audited; 0 turns audits off. The first windows of a key are audited more often.
    pub rate_per_mille: u32,
    /// What a window's honest training costs, in thousandths of a full window's pay: what a shortcut saves at most.
    pub cost_per_mille: u32,
}

/// How a miner takes part in a window's draw of audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditLots {
    /// By the rate.
    #[default]
    Usual,
    /// By twice the rate: its payloads do not look as if they came of its own text.
    Doubled,
    /// For certain: it owes an answer.
    Certain,
}

impl Default for AuditRule {
    fn default() -> Self {
        Self { rate_per_mille: 0, cost_per_mille: 800 }
    }
}

/// What shortcuts come to under a rate and a ramp, in parts of a full window's pay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShortcutGain {
    /// What one shortcut saves.
    pub saved: f64,
    /// What it is expected to lose.
    pub risked: f64,
    /// What a key earns a window that never trains and is replaced whenever it is found out.
    pub idle: f64,
    /// What an honest key keeps of its pay a window.
    pub honest: f64,
}

impl ShortcutGain {
    /// Whether one shortcut does not pay.
    pub fn deters_one(&self) -> bool {
        self.risked > self.saved
    }

    /// Whether never training does not pay.
    pub fn deters_all(&self) -> bool {
        self.idle < self.honest
    }
}

impl AuditRule {
    /// Whether payloads are audited.
    pub fn is_on(&self) -> bool {
        self.rate_per_mille > 0
    }

    /// Audits in words, with a ramp of `ramp_windows`.
    pub fn describe(&self, ramp_windows: u64) -> String {
        if !self.is_on() {
            return "audits by replay are off: nothing but its value says that a payload was trained".to_owned();
        }
        let percent = f64::from(self.rate_per_mille) * 100.0 / f64::from(PER_MILLE);
        let gain = self.shortcut_gain(ramp_windows);
        format!(
            "audits by replay: {percent} % of the payloads, a ramp of {ramp_windows} windows; one shortcut saves {:.2} of a \
             window's pay and risks {:.2}, never training earns {:.2}",
            gain.saved, gain.risked, gain.idle
        )
    }

    /// The rate as a part of one.
    fn rate(&self) -> f64 {
        f64::from(self.rate_per_mille) / f64::from(PER_MILLE)
    }

    /// What shortcuts come to with a ramp of `ramp_windows`; all zero where audits are off.
    pub fn shortcut_gain(&self, ramp_windows: u64) -> ShortcutGain {
        let saved = f64::from(self.cost_per_mille) / f64::from(PER_MILLE);
        let (p, n) = (self.rate(), ramp_windows.max(1) as f64);
        let q = 1.0 - p;
        let idle = if p > 0.0 { q * (1.0 - q.powf(n)) / (n * p) } else { 1.0 };
        ShortcutGain { saved, risked: p * ((n - 1.0) / 2.0 + 1.0), idle, honest: 1.0 - saved }
    }

    /// The shortest ramp in windows under which no shortcut pays; none where there is none.
    pub fn least_ramp(&self) -> Option<u64> {
        let deters = |ramp: u64| {
            let gain = self.shortcut_gain(ramp);
            gain.deters_one() && gain.deters_all()
        };
        if !self.is_on() || !deters(LONGEST_RAMP) {
            return None;
        }
        // Both sides get better with the ramp, so the first that deters can be searched for by halves.
        let (mut too_short, mut enough) = (0, LONGEST_RAMP);
        while enough - too_short > 1 {
            let middle = too_short + (enough - too_short) / 2;
            if deters(middle) { enough = middle } else { too_short = middle }
        }
        Some(enough)
    }

    /// What cannot be used with a ramp of `ramp_windows`.
    pub fn problems(&self, ramp_windows: u64) -> Vec<Problem> {
        let mut checks = Checks::of("audit");
        checks.range("rate_per_mille", self.rate_per_mille, 0..=PER_MILLE);
        checks.range("cost_per_mille", self.cost_per_mille, 1..=PER_MILLE - 1);
        let problems = checks.into_problems();
        if !problems.is_empty() || !self.is_on() {
            return problems;
        }
        let mut checks = Checks::of("audit");
        let (gain, rate) = (self.shortcut_gain(ramp_windows), self.rate_per_mille);
        let wanted = match self.least_ramp() {
            Some(least) => format!(", or economics.ramp_windows at least {least}"),
            None => String::new(),
        };
        let of_ramp = format!("{rate} with a ramp of {ramp_windows} windows");
        checks.require(
            "rate_per_mille",
            &of_ramp,
            gain.deters_one(),
            format!(
                "so high that one shortcut does not pay: it saves {:.3} of a window's pay and risks {:.3}{wanted}",
                gain.saved, gain.risked
            ),
        );
        checks.require(
            "rate_per_mille",
            &of_ramp,
            gain.deters_all(),
            format!(
                "so high that never training does not pay: it earns {:.3} of a window's pay, honest work {:.3}{wanted}",
                gain.idle, gain.honest
            ),
        );
        checks.into_problems()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rate_per_mille: u32) -> AuditRule {
        AuditRule { rate_per_mille, ..AuditRule::default() }
    }

    #[test]
    fn the_pairs_of_rate_and_ramp_of_the_design_deter() {
        for (rate, ramp) in [(40, 128), (100, 48), (1000, 1)] {
            assert_eq!(rule(rate).problems(ramp), [], "{rate} per mille, {ramp} windows");
        }
        // q(1 − qⁿ)/(n·p) = 0.96·(1 − 0.96^128)/(128·0.04)
        let gain = rule(40).shortcut_gain(128);
        assert!((gain.idle - 0.1865).abs() < 1e-4, "{gain:?}");
        assert!((gain.risked - 0.04 * 64.5).abs() < 1e-12, "{gain:?}");
    }

    #[test]
    fn what_pays_is_rejected_with_the_numbers() {
        let problems = rule(32).problems(24);
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(text[0].contains("saves 0.800 of a window's pay and risks 0.400"), "{text:?}");
        assert!(text[1].contains("earns 0.683 of a window's pay, honest work 0.200"), "{text:?}");
        assert!(text[1].contains("`audit.rate_per_mille` is 32 with a ramp of 24 windows"), "{text:?}");
    }

    #[test]
    fn the_least_ramp_is_the_shortest_that_deters() {
        for rate in [1, 40, 64, 100, 500, 999, 1000] {
            let least = rule(rate).least_ramp().unwrap();
            assert_eq!(rule(rate).problems(least), []);
            assert!(least == 1 || !rule(rate).problems(least - 1).is_empty(), "{rate} per mille, {least} windows");
        }
        assert_eq!(rule(0).least_ramp(), None);
    }

    #[test]
    fn audits_that_are_off_are_not_reckoned_and_values_are_bounded() {
        assert_eq!(rule(0).problems(4), []);
        assert_eq!(rule(1001).problems(4).len(), 1);
        assert_eq!(AuditRule { cost_per_mille: 0, ..rule(100) }.problems(48).len(), 1);
    }
}
