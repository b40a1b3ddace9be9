//! Keys that train: honest miners, and those of the attackers that need a model of their own.

use super::attacker::Scene;
use super::ground::{Ground, failed};
use crate::model::ModelError;
use std::sync::Arc;
use templar_base::{StateHash, Uid, Window};
use templar_gradient::Payload;
use templar_trainer::{Outcome, SharedState, Text, Trainer, Volatile, WindowData};

/// One key with a trainer.
pub(super) struct Student {
    pub uid: Uid,
    trainer: Trainer,
}

impl Student {
    pub fn new(ground: &Ground, uid: Uid, shared: &SharedState) -> Result<Self, ModelError> {
        Ok(Self { uid, trainer: ground.trainer(uid, shared.clone())? })
    }

    /// Trains these steps on a text, and makes the payload.
    pub fn train(
        &mut self,
        ground: &Ground,
        window: Window,
        start: StateHash,
        text: Arc<dyn Text>,
        steps: u32,
    ) -> Result<Payload, ModelError> {
        let learning_rate = ground.run.genesis.inner.schedule.learning_rate(window);
        self.trainer.begin(WindowData { window, text, inner_steps: steps, learning_rate }).map_err(failed)?;
        while self.trainer.step().map_err(failed)?.is_some() {}
        Ok(self.trainer.seal(window, start, &mut Volatile).map_err(failed)?.payload)
    }

    /// An honest window.
    pub fn work(&mut self, ground: &Ground, window: Window, start: StateHash) -> Result<Payload, ModelError> {
        let text = Arc::new(ground.share(window, self.uid));
        self.train(ground, window, start, text, ground.steps())
    }

    pub fn apply(&mut self, window: Window, outcome: Outcome<'_>, forgets: bool) -> Result<(), ModelError> {
        self.trainer.apply(window, outcome, &mut Volatile).map_err(failed)?;
        if forgets {
            self.trainer.forget(window);
        }
        Ok(())
    }
}

/// The keys of an attacker. The first of them may have trainers.
pub(super) struct Crew {
    pub keys: Vec<Uid>,
    pub students: Vec<Student>,
}

impl Crew {
    /// The honest payload of one key that has a trainer.
    pub fn work(&mut self, scene: &Scene<'_>, number: usize) -> Result<Payload, ModelError> {
        self.students[number].work(scene.ground, scene.window, scene.shared.state)
    }

    /// The honest payloads of all keys that have one.
    pub fn work_all(&mut self, scene: &Scene<'_>) -> Result<Vec<Payload>, ModelError> {
        (0..self.students.len()).map(|number| self.work(scene, number)).collect()
    }
}
