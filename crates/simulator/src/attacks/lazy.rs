//! Those who train, but not what they state: fewer steps, or on other text.

use super::attacker::{Attacker, Scene, scaled, values_of};
use super::crew::Crew;
use crate::model::{ModelError, Share};
use std::sync::Arc;
use templar_base::ContentHash;
use templar_corpus::AssignmentError;
use templar_engine::Batch;
use templar_gradient::Payload;
use templar_trainer::Text;

/// Does some of the steps, makes its values as large as those of all, and states all.
pub(super) struct FewerSteps {
    pub steps: u32,
}

impl Attacker for FewerSteps {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let steps = self.steps.min(scene.ground.steps());
        let larger = scene.ground.steps() as f32 / steps as f32;
        let payload = |student: &mut super::crew::Student| {
            let text = Arc::new(scene.ground.share(scene.window, student.uid));
            let own = student.train(scene.ground, scene.window, scene.shared.state, text, steps)?;
            scene.payload(student.uid, &scaled(&values_of(&own), larger))
        };
        crew.students.iter_mut().map(payload).collect()
    }
}

/// Trains on text of another language and names the digest of the assigned text.
pub(super) struct WrongData;

struct Forged {
    claimed: Share,
    trained: Share,
}

impl Text for Forged {
    fn batches(&self) -> u32 {
        self.claimed.batches()
    }

    fn batch(&self, number: u32) -> Result<Batch, AssignmentError> {
        self.trained.batch(number)
    }

    fn digest(&self, first: u32, count: u32) -> Result<ContentHash, AssignmentError> {
        self.claimed.digest(first, count)
    }
}

impl Attacker for WrongData {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let payload = |student: &mut super::crew::Student| {
            let claimed = scene.ground.share(scene.window, student.uid);
            let trained =
                Share { language: Arc::clone(&scene.ground.foreign), ..scene.ground.share(scene.window, student.uid) };
            let text = Arc::new(Forged { claimed, trained });
            student.train(scene.ground, scene.window, scene.shared.state, text, scene.ground.steps())
        };
        crew.students.iter_mut().map(payload).collect()
    }
}
