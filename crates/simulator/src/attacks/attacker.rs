//! An attacker: who controls some keys and makes a payload for each of them in each window.

use super::crew::Crew;
use super::ground::Ground;
use crate::model::ModelError;
pub(super) use crate::original::values_of;
use std::collections::BTreeMap;
use templar_base::random::Stream;
use templar_base::{Uid, Window};
use templar_gradient::{Aggregate, Merged, Payload};
use templar_trainer::SharedState;

/// What an attacker sees when it makes its payloads: everything that is public by then. The payloads of honest miners in
/// the present window are not: they are sealed until after the deadline.
pub(super) struct Scene<'a> {
    pub ground: &'a Ground,
    pub window: Window,
    pub shared: &'a SharedState,
    /// The payloads of the window before, opened by now.
    pub last: &'a BTreeMap<Uid, Payload>,
    /// What was merged last.
    pub aggregate: Option<&'a Aggregate>,
    /// The keys of honest miners.
    pub honest: &'a [Uid],
}

/// One plan for some keys, which know of each other.
pub(super) trait Attacker {
    /// How many of `keys` keys train a model.
    fn students(&self, _keys: usize) -> usize {
        0
    }

    /// The payloads of a window; keys without one send nothing.
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError>;
}

impl Scene<'_> {
    /// A payload of `uid` with these values, which states all steps and the assigned data.
    pub fn payload(&self, uid: Uid, values: &[f32]) -> Result<Payload, ModelError> {
        self.ground.payload(values, self.ground.metadata(self.window, uid, self.shared.state))
    }

    /// The content of a payload as that of `uid`'s in this window.
    pub fn relabelled(&self, uid: Uid, payload: &Payload) -> Result<Payload, ModelError> {
        let metadata = self.ground.metadata(self.window, uid, self.shared.state);
        payload.clone().with_metadata(metadata).map_err(super::ground::failed)
    }

    /// Numbers of the attacker, apart for each key and window.
    pub fn stream(&self, uid: Uid, purpose: &str) -> Stream {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.ground.seed.to_le_bytes());
        key[8..10].copy_from_slice(&uid.0.to_le_bytes());
        Stream::new(key, purpose, self.window.get())
    }

    /// The values of what was merged last; none before anything was.
    pub fn merged(&self) -> Option<Vec<f32>> {
        let aggregate = self.aggregate?;
        let mut values = vec![0f32; self.shared.outer.params.len()];
        aggregate.for_each(|index, value| values[index] = value);
        Some(values)
    }

    /// The size of a value that honest miners sent last; before that, what an inner optimiser moves a value by.
    pub fn usual_size(&self) -> f32 {
        let honest = || self.honest.iter().filter_map(|uid| self.last.get(uid));
        let (mut sum, mut count) = (0f64, 0u64);
        honest().for_each(|payload| {
            payload.for_each_value(|_, value| {
                sum += f64::from(value.abs());
                count += 1;
            });
        });
        match count {
            0 => self.ground.run.genesis.inner.schedule.learning_rate(self.window) * self.ground.steps() as f32 * 0.5,
            count => (sum / count as f64) as f32,
        }
    }
}

/// Roughly normal with variance one: the sum of twelve uniform numbers less six.
pub(super) fn normal(stream: &mut Stream) -> f32 {
    (0..12).map(|_| stream.unit_f32()).sum::<f32>() - 6.0
}

pub(super) fn scaled(values: &[f32], by: f32) -> Vec<f32> {
    values.iter().map(|value| by * value).collect()
}

/// The mean of several payloads, value by value.
pub(super) fn mean_of(payloads: &[&Payload]) -> Vec<f32> {
    let Some(first) = payloads.first() else { return Vec::new() };
    let mut sum = vec![0f32; first.layout().parameters()];
    payloads.iter().for_each(|payload| payload.for_each_value(|index, value| sum[index] += value));
    scaled(&sum, 1.0 / payloads.len() as f32)
}
