//! Those who want the model worse, or to be paid for more than they bring.

use super::attacker::{Attacker, Scene, normal, scaled, values_of};
use super::crew::Crew;
use super::ground::failed;
use crate::model::ModelError;
use templar_base::Uid;
use templar_engine::{Buffer, Engine};
use templar_gradient::Payload;
use templar_trainer::mean_loss;

/// Trains, and sends this multiple of what honest miners would: -1 is the opposite, 2 and 16 are louder.
pub(super) struct Multiple(pub f32);

impl Attacker for Multiple {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let honest = crew.work_all(scene)?;
        let louder = |(uid, own): (&Uid, &Payload)| scene.payload(*uid, &scaled(&values_of(own), self.0));
        crew.keys.iter().zip(&honest).map(louder).collect()
    }
}

/// Sends only in the chunk in which others send least, and that loudly.
pub(super) struct LoneSender;

impl Attacker for LoneSender {
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let layout = &scene.ground.run.layout;
        let mut sent = vec![0u64; layout.chunk_count()];
        for payload in scene.honest.iter().filter_map(|uid| scene.last.get(uid)) {
            payload.for_each_chunk(|chunk| sent[chunk.chunk] = sent[chunk.chunk].saturating_add(chunk.magnitude()));
        }
        let quietest = (0..sent.len()).min_by_key(|chunk| sent[*chunk]).and_then(|chunk| layout.chunk_range(chunk));
        let Some(place) = quietest.filter(|_| !scene.last.is_empty()) else { return Ok(Vec::new()) };
        let size = 16.0 * scene.usual_size();
        let payload = |uid: &Uid| {
            let mut stream = scene.stream(*uid, "lone sender");
            let mut values = vec![0f32; scene.shared.outer.params.len()];
            values[place.clone()].iter_mut().for_each(|value| *value = size * normal(&mut stream));
            scene.payload(*uid, &values)
        };
        crew.keys.iter().map(payload).collect()
    }
}

/// Trains, and makes its step so much longer that the loss falls until half of the way and is higher than at the start
/// at its end. The length is tried on text of its own.
#[derive(Default)]
pub(super) struct Overshoot {
    engine: Option<Box<dyn Engine>>,
}

impl Overshoot {
    fn length(&mut self, scene: &Scene<'_>, values: &[f32]) -> Result<f32, ModelError> {
        let engine = match &mut self.engine {
            Some(engine) => engine,
            None => self.engine.insert(scene.ground.engine()?),
        };
        let text = [scene.ground.language.batch("overshoot", scene.window.get(), 32)];
        let start = &scene.shared.outer.params;
        let mut loss = |by: f32| -> Result<f64, ModelError> {
            let point: Vec<f32> = start.iter().zip(values).map(|(theta, value)| theta - by * value).collect();
            engine.write(Buffer::Parameters, 0, &point).map_err(failed)?;
            mean_loss(engine.as_mut(), &text).map_err(failed)
        };
        let (before, alpha) = (loss(0.0)?, scene.ground.step(scene.window).alpha);
        for length in [2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0] {
            if loss(length * alpha)? > before {
                return Ok(length);
            }
        }
        Ok(32.0)
    }
}

impl Attacker for Overshoot {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let honest = crew.work_all(scene)?;
        let Some(first) = honest.first() else { return Ok(Vec::new()) };
        let length = self.length(scene, &values_of(first))?;
        let longer = |(uid, own): (&Uid, &Payload)| scene.payload(*uid, &scaled(&values_of(own), length));
        crew.keys.iter().zip(&honest).map(longer).collect()
    }
}

/// Trains, and turns a little more than half of its values round: together they do a tenth of the harm that the honest
/// values would do good, which one window does not show.
pub(super) struct SmallHarm;

const TURNED: f32 = 0.55;

impl Attacker for SmallHarm {
    fn students(&self, keys: usize) -> usize {
        keys
    }

    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let honest = crew.work_all(scene)?;
        let turned = |(uid, own): (&Uid, &Payload)| {
            let mut stream = scene.stream(*uid, "turned");
            let mut values = values_of(own);
            values.iter_mut().for_each(|value| *value *= if stream.unit_f32() < TURNED { -1.0 } else { 1.0 });
            scene.payload(*uid, &values)
        };
        crew.keys.iter().zip(&honest).map(turned).collect()
    }
}

/// "A little is enough" (Baruch, Baruch and Goldberg 2019): what honest miners sent last, less a number of their standard
/// deviations in each value, which lies among honest values and adds up over the colluders. With a little noise by key.
pub(super) struct LittleIsEnough;

const DEVIATIONS: f32 = 1.5;
const DISGUISE: f32 = 0.5;

impl Attacker for LittleIsEnough {
    fn payloads(&mut self, scene: &Scene<'_>, crew: &mut Crew) -> Result<Vec<Payload>, ModelError> {
        let last: Vec<&Payload> = scene.honest.iter().filter_map(|uid| scene.last.get(uid)).collect();
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let mean = super::attacker::mean_of(&last);
        let mut deviation: Vec<f32> = mean.iter().map(|mean| mean * mean * last.len() as f32).collect();
        for payload in &last {
            payload.for_each_value(|index, value| deviation[index] += value * (value - 2.0 * mean[index]));
        }
        deviation.iter_mut().for_each(|sum| *sum = (sum.max(0.0) / last.len() as f32).sqrt());
        let payload = |uid: &Uid| {
            let mut stream = scene.stream(*uid, "a little");
            let value = |(mean, deviation): (&f32, &f32)| {
                let towards = if *mean < 0.0 { 1.0 } else { -1.0 };
                mean + deviation * (towards * DEVIATIONS + DISGUISE * normal(&mut stream))
            };
            scene.payload(*uid, &mean.iter().zip(&deviation).map(value).collect::<Vec<f32>>())
        };
        crew.keys.iter().map(payload).collect()
    }
}
