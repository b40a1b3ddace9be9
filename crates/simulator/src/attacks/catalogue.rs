//! The attacks by name: how many keys each takes, when it comes, and what counts as its success.

use super::attacker::Attacker;
use super::copies::{Average, Copies, Split};
use super::ground::ArenaSizes;
use super::harm::{LittleIsEnough, LoneSender, Multiple, Overshoot, SmallHarm};
use super::idle::{LastMerged, Noise, OthersLast, Stale, Zeros};
use super::lazy::{FewerSteps, WrongData};
use super::timed::After;
use serde::Serialize;
use templar_base::Window;

/// What an attacker is after, and so what it must not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Pay without the work: at most 2 % of an honest share.
    FreeRide,
    /// Pay several times for one work: all keys together at most an honest share for each that works.
    Multiply,
    /// More pay for the same work: at most a tenth more than an honest share.
    Exaggerate,
    /// A worse model.
    Harm,
}

/// How many keys an attack has, for the honest ones that there are.
#[derive(Debug, Clone, Copy)]
enum Keys {
    /// One for three honest ones: a quarter of all.
    Quarter,
    /// Two for three honest ones: two fifths of all.
    TwoFifths,
    /// One more than there are honest ones.
    Majority,
}

/// One attack of the suite.
pub struct Attack {
    /// Its name, for `--attack` and the table.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it is after.
    pub aim: Aim,
    keys: Keys,
    /// Of its keys, this number, the first, work honestly for the others and do not count.
    pub(super) accomplices: usize,
    /// The eighth of the run in which its keys come.
    joins: u64,
    /// The eighth of the run in which it turns from honest work to the attack; pay counts from there on.
    turns: u64,
    pub(super) make: fn(Window) -> Box<dyn Attacker>,
}

impl Attack {
    /// Number of its keys.
    pub fn keys(&self, sizes: &ArenaSizes) -> u16 {
        match self.keys {
            Keys::Quarter => sizes.honest.div_ceil(3).max(2),
            Keys::TwoFifths => (2 * sizes.honest).div_ceil(3),
            Keys::Majority => sizes.honest + 1,
        }
    }

    /// The window in which its keys come.
    pub fn joins(&self, sizes: &ArenaSizes) -> Window {
        Window::new(self.joins * sizes.windows / 8)
    }

    /// The window in which it begins.
    pub fn turns(&self, sizes: &ArenaSizes) -> Window {
        Window::new(self.joins.max(self.turns) * sizes.windows / 8)
    }

    const fn new(name: &'static str, aim: Aim, about: &'static str, make: fn(Window) -> Box<dyn Attacker>) -> Self {
        let keys = if matches!(aim, Aim::Harm) { Keys::TwoFifths } else { Keys::Quarter };
        Self { name, about, aim, keys, accomplices: 0, joins: 0, turns: 0, make }
    }

    const fn with_keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    const fn with_accomplices(self, accomplices: usize) -> Self {
        Self { accomplices, ..self }
    }

    const fn joining(self, joins: u64) -> Self {
        Self { joins, ..self }
    }

    const fn turning(self, turns: u64) -> Self {
        Self { turns, ..self }
    }
}

/// All attacks, in the order of the table: free-riders, copies, exaggeration, harm.
pub fn attacks() -> &'static [Attack] {
    ATTACKS
}

static ATTACKS: &[Attack] = &[
    Attack::new("zeros", Aim::FreeRide, "every value zero", |_| Box::new(Zeros)),
    Attack::new("noise", Aim::FreeRide, "random values of the usual size", |_| Box::new(Noise)),
    Attack::new("stale", Aim::FreeRide, "the work of the first window again and again", |_| {
        Box::new(Stale { period: 0, kept: Vec::new() })
    }),
    Attack::new("half-time", Aim::FreeRide, "works in every second window and sends that again in the next", |_| {
        Box::new(Stale { period: 2, kept: Vec::new() })
    }),
    Attack::new("others-last", Aim::FreeRide, "an honest payload of the window before", |_| Box::new(OthersLast)),
    Attack::new("last-merged", Aim::FreeRide, "the largest of what was merged last, disguised", |_| {
        Box::new(LastMerged { with_gradient: false })
    }),
    Attack::new("last-merged-step", Aim::FreeRide, "the same with the drift of one step on top", |_| {
        Box::new(LastMerged { with_gradient: true })
    }),
    Attack::new("one-step", Aim::FreeRide, "one inner step made as large as all", |_| {
        Box::new(FewerSteps { steps: 1 })
    }),
    Attack::new("quarter-steps", Aim::FreeRide, "4 inner steps made as large as all", |_| {
        Box::new(FewerSteps { steps: 4 })
    }),
    Attack::new("reputation-noise", Aim::FreeRide, "honest for a quarter of the run, then noise", |turn| {
        Box::new(After { turn, then: Box::new(Noise) })
    })
    .turning(2),
    Attack::new(
        "reputation-stale",
        Aim::FreeRide,
        "honest for a quarter of the run, then the last work again",
        |turn| Box::new(After { turn, then: Box::new(Stale { period: 0, kept: Vec::new() }) }),
    )
    .turning(2),
    Attack::new("wrong-data", Aim::FreeRide, "trained on another language", |_| Box::new(WrongData)),
    Attack::new("copy", Aim::Multiply, "copies of an accomplice's payload of the same window", |_| {
        Box::new(Copies { noise: 0.0 })
    })
    .with_accomplices(1),
    Attack::new("perturbed-copy", Aim::Multiply, "the same with noise of half a value's size", |_| {
        Box::new(Copies { noise: 0.5 })
    })
    .with_accomplices(1),
    Attack::new("disguised-copy", Aim::Multiply, "the same with noise as large as the values", |_| {
        Box::new(Copies { noise: 1.0 })
    })
    .with_accomplices(1),
    Attack::new("average", Aim::Multiply, "the mean of its accomplices' payloads", |_| Box::new(Average))
        .with_accomplices(2),
    Attack::new("split", Aim::Multiply, "one training split over all keys", |_| Box::new(Split)),
    Attack::new("twice", Aim::Exaggerate, "honest values times 2", |_| Box::new(Multiple(2.0))),
    Attack::new("sixteen-fold", Aim::Exaggerate, "honest values times 16", |_| Box::new(Multiple(16.0))),
    Attack::new("lone-sender", Aim::Harm, "loud noise in the quietest chunk, nothing else", |_| Box::new(LoneSender)),
    Attack::new("sign-flip", Aim::Harm, "the opposite of honest work", |_| Box::new(Multiple(-1.0))),
    Attack::new("overshoot", Aim::Harm, "good at half of the step, bad at the whole", |_| {
        Box::new(Overshoot::default())
    }),
    Attack::new("small-harm", Aim::Harm, "a little harm in each window", |_| Box::new(SmallHarm)),
    Attack::new("little-is-enough", Aim::Harm, "1.5 deviations off the honest mean", |_| Box::new(LittleIsEnough)),
    Attack::new("reputation-flip", Aim::Harm, "honest for half of the run, then the opposite", |turn| {
        Box::new(After { turn, then: Box::new(Multiple(-1.0)) })
    })
    .with_keys(Keys::Quarter)
    .turning(4),
    Attack::new("colluders-flip", Aim::Harm, "the same, by two fifths of all", |turn| {
        Box::new(After { turn, then: Box::new(Multiple(-1.0)) })
    })
    .turning(4),
    Attack::new("colluders-little", Aim::Harm, "honest for half of the run, then little-is-enough", |turn| {
        Box::new(After { turn, then: Box::new(LittleIsEnough) })
    })
    .turning(4),
    Attack::new("majority-flip", Aim::Harm, "one key more than honest ones comes late with the opposite", |_| {
        Box::new(Multiple(-1.0))
    })
    .with_keys(Keys::Majority)
    .joining(2),
    Attack::new("forgers", Aim::Harm, "one key more than honest ones overshoots from window 0 on", |_| {
        Box::new(Overshoot::default())
    })
    .with_keys(Keys::Majority),
];
