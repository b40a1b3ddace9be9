//! Many payloads out of the work of few. Honest payloads of the same window are sealed, so what can be copied in time is
//! an accomplice's: the first keys work, the others copy.

use super::attacker::{Attacker, Scene, mean_of, normal, values_of};
use super::crew::Crew;
use crate::model::ModelError;
use templar_gradient::Payload;

/// The first key works; the others send the same values with noise of this part of each value's size.
pub(super) struct Copies {
    pub noise: f32,
}

impl Attacker for Copies {
    fn students(&self, _: usize) -> usize {
        1
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let original = crew.work(scene, 0)?;
        let (values, size) = (values_of(&original), scene.usual_size());
        let mut payloads = vec![original];
        for uid in &crew.keys[1..] {
            if self.noise == 0.0 {
                payloads.push(scene.relabelled(*uid, &payloads[0])?);
                continue;
            }
            // On the values that are not sent, too: else the same places are kept.
            let mut stream = scene.stream(*uid, "perturbation");
            let disturbed: Vec<f32> =
                values.iter().map(|value| value + self.noise * size * normal(&mut stream)).collect();
            payloads.push(scene.payload(*uid, &disturbed)?);
        }
        Ok(payloads)
    }
}

/// All keys but the last work; that one sends their mean.
pub(super) struct Average;

impl Attacker for Average {
    fn students(&self, keys: usize) -> usize {
        keys.saturating_sub(1)
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let mut payloads = crew.work_all(scene)?;
        let mean = mean_of(&payloads.iter().collect::<Vec<_>>());
        if let Some(last) = crew.keys.last() {
            payloads.push(scene.payload(*last, &mean)?);
        }
        Ok(payloads)
    }
}

/// One training behind all keys: each sends every n-th of its values.
pub(super) struct Split;

impl Attacker for Split {
    fn students(&self, _: usize) -> usize {
        1
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let values = values_of(&crew.work(scene, 0)?);
        let count = crew.keys.len();
        let part = |(number, uid): (usize, &templar_base::Uid)| {
            let own = |(place, value): (usize, &f32)| if place % count == number { *value } else { 0.0 };
            scene.payload(*uid, &values.iter().enumerate().map(own).collect::<Vec<f32>>())
        };
        crew.keys.iter().enumerate().map(part).collect()
    }
}
