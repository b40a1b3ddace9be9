//! Free-riders without a gradient: they send what costs nothing.

use super::attacker::{Attacker, Scene, normal, scaled, values_of};
use super::crew::Crew;
use crate::model::ModelError;
use templar_base::Uid;
use templar_gradient::Payload;

/// Sends nothing but zeros.
pub(super) struct Zeros;

impl Attacker for Zeros {
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let zeros = vec![0f32; scene.shared.outer.params.len()];
        crew.keys.iter().map(|uid| scene.payload(*uid, &zeros)).collect()
    }
}

/// Sends noise of the size that honest values have.
pub(super) struct Noise;

impl Attacker for Noise {
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let size = scene.usual_size();
        let noise = |uid: &Uid| {
            let mut stream = scene.stream(*uid, "noise");
            let values: Vec<f32> = (0..scene.shared.outer.params.len()).map(|_| size * normal(&mut stream)).collect();
            scene.payload(*uid, &values)
        };
        crew.keys.iter().map(noise).collect()
    }
}

/// Trains in the first of `period` windows and sends the same once more in the others; for ever where `period` is 0.
pub(super) struct Stale {
    pub period: u64,
    pub kept: Vec<Payload>,
}

impl Attacker for Stale {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        if self.kept.is_empty() || (self.period > 0 && scene.window.get().is_multiple_of(self.period)) {
            self.kept = crew.work_all(scene)?;
            return Ok(self.kept.clone());
        }
        crew.keys.iter().zip(&self.kept).map(|(uid, payload)| scene.relabelled(*uid, payload)).collect()
    }
}

/// Sends what an honest miner sent in the window before.
pub(super) struct OthersLast;

impl Attacker for OthersLast {
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let others = scene.honest.iter().filter_map(|uid| scene.last.get(uid));
        crew.keys.iter().zip(others).map(|(uid, payload)| scene.relabelled(*uid, payload)).collect()
    }
}

/// Sends the largest values of what was merged last, with one cheap gradient on top or without; each key with some noise,
/// so that they are no copies of each other.
pub(super) struct LastMerged {
    pub with_gradient: bool,
}

/// Noise of a key, as a part of its values' own size: enough to change a good part of what is kept.
const DISGUISE: f32 = 0.5;

impl Attacker for LastMerged {
    fn students(&self, _: usize) -> usize {
        usize::from(self.with_gradient)
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let fresh = match crew.students.first_mut() {
            Some(student) => {
                let text = std::sync::Arc::new(scene.ground.share(scene.window, student.uid));
                let one = student.train(scene.ground, scene.window, scene.shared.state, text, 1)?;
                scaled(&values_of(&one), scene.ground.steps() as f32)
            }
            None => vec![0f32; scene.shared.outer.params.len()],
        };
        let Some(merged) = scene.merged() else { return Ok(Vec::new()) };
        let payload = |uid: &Uid| {
            let mut stream = scene.stream(*uid, "disguise");
            let with = |(value, fresh): (&f32, &f32)| (value + fresh) * (1.0 + DISGUISE * normal(&mut stream));
            scene.payload(*uid, &merged.iter().zip(&fresh).map(with).collect::<Vec<f32>>())
        };
        crew.keys.iter().map(payload).collect()
    }
}
