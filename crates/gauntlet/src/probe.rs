//! The probe on a miner's own text: a payload that came of its assignment helps more there than elsewhere. Of one training behind
//! many keys, each part is as good on any key's text.

use crate::Model;
use crate::contribution::MeasureError;
use templar_base::random::Stream;
use templar_base::{Beacon, MAX_PROBES, MergeMethod, OwnText, Probe, Uid, Window};
use templar_gradient::{Merge, MergeRule, OuterState, OuterStep, Payload, Shares};

/// Of this number of candidates one is probed, within [`LEAST`] and [`MAX_PROBES`].
const OF_CANDIDATES: usize = 8;
const LEAST: usize = 2;

/// Parts of a miner's own text that a probe measures on, at most.
const PARTS: u32 = 8;
/// Sequences of such a part, at most.
pub const PROBE_SEQUENCES: usize = 4;

/// The batches of a window's own text that a probe takes its parts from, where a miner did this number of steps on it: the first
/// [`PROBE_SEQUENCES`] of each make a part.
pub fn own_text_batches(steps: u32) -> impl Iterator<Item = u32> {
    let parts = PARTS.min(steps);
    // Under `steps`, which is a u32.
    (0..parts).map(move |part| (u64::from(part) * u64::from(steps) / u64::from(parts.max(1))) as u32)
}

/// Whose payloads are probed in a window: a lot of its beacon among the candidates, which must be ascending; ascending.
pub(crate) fn drawn(candidates: &[Uid], window: Window, beacon: Beacon) -> Vec<Uid> {
    let wanted = candidates.len().div_ceil(OF_CANDIDATES).clamp(LEAST, MAX_PROBES).min(candidates.len());
    let mut left = candidates.to_vec();
    let mut lots = Stream::new(*beacon.as_bytes(), "gauntlet probe", window.get());
    let mut drawn: Vec<Uid> = (0..wanted).map(|_| left.swap_remove(lots.below(left.len() as u64) as usize)).collect();
    drawn.sort();
    drawn
}

/// A payload whose dots with gradients are taken.
struct Probed<'a> {
    uid: Uid,
    payload: &'a Payload,
    /// As if it alone were merged.
    merge: Merge<'a>,
    factor: f64,
}

impl Probed<'_> {
    /// What its step would bring by the last gradient.
    fn dot(&self, model: &mut dyn Model, step: OuterStep) -> Result<f64, MeasureError> {
        let layout = self.payload.layout();
        let dots = Shares::new(&self.merge, &[self.payload])?.dot(|segment, gradient| -> Result<(), MeasureError> {
            model.read_gradient(layout.segment_range(segment).start, gradient)?;
            Ok(step.to_domain_segment(layout, segment, gradient)?)
        })?;
        Ok(self.factor * dots.first().copied().unwrap_or_default())
    }
}

/// Probes these payloads at the window's start: what each brings on its miner's own text, beside what it brings on the text of
/// judgement, which nobody is assigned. Who has fewer than two parts of own text is left out.
pub(crate) fn probe(
    model: &mut dyn Model,
    start: &OuterState,
    payloads: &[(Uid, &Payload)],
    rule: MergeRule,
    step: OuterStep,
) -> Result<Vec<Probe>, MeasureError> {
    // Of a single payload every method gives the same, or nothing.
    let rule = MergeRule { method: MergeMethod::MeanOfSenders, ..rule };
    let mut probed = Vec::with_capacity(payloads.len());
    for &(uid, payload) in payloads {
        if model.begin_own_text(uid, own_steps(payload))? >= 2 {
            let merge = Merge::new(payload.layout(), &[(payload, 1)], rule)?;
            let factor = step.share_factor(&merge);
            probed.push(Probed { uid, payload, merge, factor });
        }
    }
    if probed.is_empty() {
        return Ok(Vec::new());
    }
    model.set_point(0, &start.params)?;
    let mut on_others = vec![Vec::with_capacity(model.parts()); probed.len()];
    for part in 0..model.parts() {
        model.gradient(part)?;
        for (own, dots) in probed.iter().zip(&mut on_others) {
            dots.push(own.dot(model, step)?);
        }
    }
    let mut probes = Vec::with_capacity(probed.len());
    for (own, on_others) in probed.iter().zip(on_others) {
        let parts = model.begin_own_text(own.uid, own_steps(own.payload))?;
        let mut on_own = Vec::with_capacity(parts);
        for part in 0..parts {
            model.own_gradient(part)?;
            on_own.push(own.dot(model, step)?);
        }
        let own_text = OwnText::new(likelihood(&Spread::of(&on_own), &Spread::of(&on_others)));
        probes.push(Probe { uid: own.uid, own_text });
    }
    Ok(probes)
}

/// Steps of a payload on the window's own text.
fn own_steps(payload: &Payload) -> u32 {
    payload.metadata().inner_steps.saturating_sub(payload.metadata().carried_steps)
}

/// Mean of some numbers, and the variance of that mean.
struct Spread {
    mean: f64,
    variance: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, variance: squares / (count - 1.0).max(1.0) / count }
    }
}

/// `ln 2Φ(z)`, with z how far what is brought on the own text is over what is brought elsewhere, in standard errors of the
/// difference; 0 where nothing is known.
fn likelihood(own: &Spread, others: &Spread) -> f64 {
    let error = (own.variance + others.variance).sqrt();
    let distance = (own.mean - others.mean) / error;
    // 2Φ(z) = erfc(−z/√2).
    if distance.is_nan() { 0.0 } else { libm::log(libm::erfc(-distance / std::f64::consts::SQRT_2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_spread_over_the_steps_that_were_done() {
        assert_eq!(own_text_batches(0).count(), 0);
        assert_eq!(own_text_batches(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(own_text_batches(30).collect::<Vec<_>>(), [0, 3, 7, 11, 15, 18, 22, 26]);
        assert_eq!(own_text_batches(u32::MAX).last(), Some(3_758_096_383));
    }

    #[test]
    fn two_to_five_are_drawn_and_in_time_everybody() {
        let uids: Vec<Uid> = (0..64).map(Uid).collect();
        let of = |count: usize, window: u64| drawn(&uids[..count], Window(window), Beacon::new([window as u8; 32]));
        assert_eq!([0, 1, 2, 7, 16, 17, 40, 64].map(|count| of(count, 3).len()), [0, 1, 2, 2, 2, 3, 5, 5]);
        assert!(of(64, 9).is_sorted_by(|a, b| a < b));
        let seen: std::collections::BTreeSet<Uid> = (0..200).flat_map(|window| of(64, window)).collect();
        assert!(seen.len() > 60, "{} of 64 were probed in 200 windows", seen.len());
    }

    #[test]
    fn what_helps_more_at_home_is_likelier_than_not_and_noise_falls_on_average() {
        let spread = |mean: f64| Spread { mean, variance: 0.5 };
        assert!((likelihood(&spread(0.0), &spread(0.0))).abs() < 1e-12);
        assert!((likelihood(&spread(9.0), &spread(0.0)) - 2f64.ln()).abs() < 1e-9);
        assert!(likelihood(&spread(-2.0), &spread(0.0)) < -3.0);
        assert!(likelihood(&spread(f64::NAN), &spread(0.0)) == 0.0);
        // Twelve uniform numbers less six are nearly normal.
        let mut stream = Stream::new([3; 32], "z", 0);
        let mut normal = || (0..12).map(|_| f64::from(stream.unit_f32())).sum::<f64>() - 6.0;
        let mean = |shift: f64, normal: &mut dyn FnMut() -> f64| {
            (0..4_000).map(|_| likelihood(&spread(normal() + shift), &spread(0.0))).sum::<f64>() / 4_000.0
        };
        let (idle, honest) = (mean(0.0, &mut normal), mean(1.0, &mut normal));
        assert!((-0.35..-0.26).contains(&idle), "ln 2 less 1: {idle}");
        assert!(honest > 0.15, "{honest}");
    }
}
