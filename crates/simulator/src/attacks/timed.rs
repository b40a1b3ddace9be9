//! Honest first, then something else: a good reputation is what the attacker spends.

use super::attacker::{Attacker, Scene};
use super::crew::Crew;
use crate::model::ModelError;
use templar_base::Window;
use templar_gradient::Payload;

/// Honest work until a window, then another attack.
pub(super) struct After {
    pub turn: Window,
    pub then: Box<dyn Attacker>,
}

impl Attacker for After {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        if scene.window < self.turn { crew.work_all(scene) } else { self.then.payloads(scene, crew) }
    }
}
