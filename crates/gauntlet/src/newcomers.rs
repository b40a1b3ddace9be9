//! Newcomers enter one at a time, by lot, each tested on top of what is merged already.

use crate::contribution::MeasureError;
use crate::trials::{Trial, Trials};
use crate::{Contribution, Nats};
use templar_base::random::Stream;
use templar_base::{Beacon, StepShare, Uid, Window};
use templar_gradient::Payload;

/// What the test of a newcomer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// It may be merged.
    Joins,
    /// With it the step surely makes the model worse, or surely brings too little.
    StaysOut,
    /// So surely that it is sanctioned.
    Harms,
}

impl Entrance {
    /// What a step with the newcomer says beside the best one so far, of which at least `share` must be left. Not more:
    /// a merge is a mean, and whoever brings less than the others lowers it.
    fn of(with: &Trial, before: &Trial, best: &Contribution, share: f64) -> Self {
        let gain = with.gain_on(before);
        let least = |best: &Nats| share * best.to_f64().max(0.0);
        let left = gain.parts.iter().zip(&best.parts).map(|(own, best)| Nats::from_f64(own.to_f64() - least(best)));
        let left = Contribution::of(left.collect());
        if !with.loss().is_finite() || left.is_harmful() {
            return Self::Harms;
        }
        if left.at_most().is_loss() { Self::StaysOut } else { Self::Joins }
    }
}

/// The order in which newcomers are tested: a lot of the window's beacon, so that no uid has the first place.
pub(crate) fn by_lot(mut newcomers: Vec<Uid>, window: Window, beacon: Beacon) -> Vec<Uid> {
    let mut stream = Stream::new(*beacon.as_bytes(), "gauntlet entrance", window.get());
    newcomers.sort();
    for place in (1..newcomers.len()).rev() {
        newcomers.swap(place, stream.below(place as u64 + 1) as usize);
    }
    newcomers
}

/// Tests each newcomer, in the order given, on top of the payloads of `merged` and of those that joined before it; `least` is
/// the part that must be left of what the best step so far brings.
pub(crate) fn enter(
    trials: &mut Trials<'_>,
    merged: &[&Payload],
    newcomers: &[(Uid, &Payload)],
    part: StepShare,
    least: f64,
) -> Result<Vec<Entrance>, MeasureError> {
    let before = trials.before();
    let mut inside = merged.to_vec();
    let mut best = trials.after(&inside, part)?.gain_on(&before);
    let mut entered = Vec::with_capacity(newcomers.len());
    for (_, payload) in newcomers {
        inside.push(payload);
        let with = trials.after(&inside, part)?;
        let entrance = Entrance::of(&with, &before, &best, least);
        match entrance {
            Entrance::Joins => {
                let gain = with.gain_on(&before);
                best = if gain.mean > best.mean { gain } else { best };
            }
            Entrance::StaysOut | Entrance::Harms => drop(inside.pop()),
        }
        entered.push(entrance);
    }
    Ok(entered)
}
