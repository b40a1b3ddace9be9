//! Simulated workers in one process: each trains on text of its own, windows pass, messages are merged.

use super::SimulationError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use templar_base::random::Stream;
use templar_base::{ModelConfig, Window};
use templar_corpus::{Corpus, TextOrder};
use templar_engine::{Batch, Buffer, Engine, OpenRequest, ParamLayout, Segments, initial_parameters};
use templar_gradient::exchange::{Exchange, Message};
use templar_gradient::{GradientLayout, LayoutError, OuterState};
use templar_model::{batches_of_corpus, mean_loss};
use templar_trainer::{BatchRule, Learner, MemoryAnchor, SharedState};

/// What all runs of a comparison share.
#[derive(Clone)]
pub struct Ground {
    pub corpus: Arc<Corpus>,
    pub model: ModelConfig,
    pub workers: usize,
    /// Steps of each worker in the whole run.
    pub steps: usize,
    pub sequence_length: usize,
    /// Sequences of a worker's step.
    pub sequences: usize,
    pub learning_rate: f32,
    pub held_out_sequences: usize,
    pub seed: u64,
}

/// How the workers of a window come together.
pub enum Joining {
    /// One model, a gradient over all workers' batches in every step.
    EveryStep,
    /// Own steps, then an exchange.
    Windows(Windows),
}

/// The windows of an exchange.
pub struct Windows {
    pub exchange: Box<dyn Exchange>,
    /// Steps of a window (H).
    pub steps: usize,
    /// Steps from a window's end until what was merged arrives (τ).
    pub delay: usize,
    /// Whether the inner optimiser forgets at each window's start.
    pub is_state_reset: bool,
    /// Workers whose message is merged; all of them where it is their number.
    pub selected: usize,
    /// Whether the others get back what they sent.
    pub is_returned: bool,
}

/// A measured point of a run.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Steps of each worker.
    pub steps: usize,
    /// Tokens of all workers.
    pub tokens: u64,
    /// What one worker has sent, in bytes.
    pub sent_bytes: u64,
    /// What one worker has received, in bytes.
    pub received_bytes: u64,
    /// Mean held-out loss at the shared parameters, in nats.
    pub loss: f32,
}

/// Adds up what a run moves.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    sent: u64,
    received: u64,
}

impl Ground {
    /// The layout of the model's pseudo-gradients with this many kept values of each chunk.
    pub fn layout(&self, kept_per_chunk: u16) -> Result<GradientLayout, LayoutError> {
        let layout = ParamLayout::new(&self.model);
        let tensors = layout.tensors().iter();
        let rows: Vec<usize> = tensors.clone().filter_map(|tensor| tensor.shape.last().copied()).collect();
        let sizes = tensors.map(|tensor| (tensor.name.clone(), tensor.range.len(), kept_per_chunk));
        GradientLayout::new(sizes)?.with_row_lengths(&rows)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        ParamLayout::new(&self.model).total()
    }

    /// Tokens of all workers in one step.
    pub fn step_tokens(&self) -> u64 {
        (self.workers * self.sequences * self.sequence_length) as u64
    }

    /// Warm-up over a twentieth of the steps, then flat, and over the last third down to a tenth.
    fn rate(&self, step: usize) -> f32 {
        let (warm_up, decay) = ((self.steps / 20).max(1), self.steps - self.steps / 3);
        let share = if step < warm_up {
            (step + 1) as f32 / warm_up as f32
        } else if step > decay {
            1.0 - 0.9 * (step - decay) as f32 / (self.steps - decay) as f32
        } else {
            1.0
        };
        self.learning_rate * share
    }

    fn key(&self) -> [u8; 32] {
        *blake3::Hasher::new_derive_key("templar convergence bench v1")
            .update(&self.seed.to_le_bytes())
            .finalize()
            .as_bytes()
    }
}

/// A run in progress.
pub struct Simulation<'a> {
    ground: &'a Ground,
    engine: Box<dyn Engine>,
    text: TextOrder,
    held_out: Vec<Batch>,
    shared: Vec<f32>,
    traffic: Traffic,
}

/// One worker, with what the exchange keeps of it from window to window.
struct Worker {
    learner: Learner,
    memory: Vec<f32>,
}

impl<'a> Simulation<'a> {
    pub fn new(ground: &'a Ground) -> Result<Self, SimulationError> {
        let engine = templar_model::open_engine(OpenRequest::new(ground.model.clone()))?;
        let (length, batch) = (ground.sequence_length as u32, ground.sequences as u32);
        let text = TextOrder::new(Arc::clone(&ground.corpus), ground.key(), length, batch, 0)?;
        let held_out = batches_of_corpus(&ground.corpus, ground.held_out_sequences, ground.sequence_length)?;
        let shared = initial_parameters(&ground.model, ground.key());
        Ok(Self { ground, engine, text, held_out, shared, traffic: Traffic::default() })
    }

    /// The batch of a worker's step.
    fn batch(&self, worker: usize, step: usize) -> Result<Batch, SimulationError> {
        let number = step as u64 * self.ground.workers as u64 + worker as u64;
        Ok(BatchRule::apart(self.ground.sequence_length, &self.ground.corpus).batch(self.text.batch(number)?))
    }

    fn point(&mut self, steps: usize) -> Result<Point, SimulationError> {
        self.engine.write(Buffer::Parameters, 0, &self.shared)?;
        let loss = mean_loss(self.engine.as_mut(), &self.held_out)?;
        let Traffic { sent, received } = self.traffic;
        let tokens = steps as u64 * self.ground.step_tokens();
        Ok(Point { steps, tokens, sent_bytes: sent, received_bytes: received, loss })
    }

    /// Runs to the end or until `stop`, and tells of each point.
    pub fn run(
        mut self,
        joining: &Joining,
        points: usize,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Point),
    ) -> Result<(), SimulationError> {
        tell(self.point(0)?);
        match joining {
            Joining::EveryStep => self.every_step(points, stop, tell),
            Joining::Windows(windows) => self.windows(windows, points, stop, tell),
        }
    }

    fn every_step(
        &mut self,
        points: usize,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Point),
    ) -> Result<(), SimulationError> {
        let every = self.ground.steps.div_ceil(points);
        self.engine.write(Buffer::Parameters, 0, &self.shared)?;
        for step in 0..self.ground.steps {
            if stop.load(Ordering::Relaxed) {
                return Err(SimulationError::Interrupted);
            }
            let batches = (0..self.ground.workers).map(|worker| self.batch(worker, step));
            let batches = batches.collect::<Result<Vec<_>, _>>()?;
            self.engine.train_step(&batches, self.ground.rate(step))?;
            let bytes = 4 * self.shared.len() as u64;
            self.traffic = Traffic { sent: self.traffic.sent + bytes, received: self.traffic.received + bytes };
            if (step + 1).is_multiple_of(every) || step + 1 == self.ground.steps {
                self.engine.read(Buffer::Parameters, 0, &mut self.shared)?;
                tell(self.point(step + 1)?);
            }
        }
        Ok(())
    }

    fn windows(
        &mut self,
        rule: &Windows,
        points: usize,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Point),
    ) -> Result<(), SimulationError> {
        let count = self.ground.steps / rule.steps;
        let every = count.div_ceil(points);
        let mut workers = self.workers()?;
        let mut momentum = vec![0f32; self.shared.len()];
        for window in 0..count {
            let messages = self.train_window(&mut workers, rule, window, stop)?;
            self.merge(&mut workers, rule, window, &messages, &mut momentum)?;
            if (window + 1).is_multiple_of(every) || window + 1 == count {
                tell(self.point((window + 1) * rule.steps)?);
            }
        }
        Ok(())
    }

    fn workers(&self) -> Result<Vec<Worker>, SimulationError> {
        let worker = |_| {
            let (engine, shared) =
                (templar_model::open_engine(OpenRequest::new(self.ground.model.clone()))?, self.shared_at(0));
            let learner = Learner::new(engine, shared, Box::<MemoryAnchor>::default())?;
            Ok(Worker { learner, memory: vec![0f32; self.shared.len()] })
        };
        (0..self.ground.workers).map(worker).collect()
    }

    /// The shared parameters at the start of a window.
    fn shared_at(&self, window: usize) -> SharedState {
        SharedState::new(Window(window as u64), OuterState::new(self.shared.clone()))
    }

    /// The window of every worker: what was merged last arrives after `delay` steps, and the drift goes out at the end.
    fn train_window(
        &mut self,
        workers: &mut [Worker],
        rule: &Windows,
        window: usize,
        stop: &AtomicBool,
    ) -> Result<Vec<Message>, SimulationError> {
        let mut messages = Vec::with_capacity(workers.len());
        let shared = self.shared_at(window);
        for (number, worker) in workers.iter_mut().enumerate() {
            let learner = &mut worker.learner;
            if rule.is_state_reset {
                learner.engine_mut().reset_optimiser()?;
            }
            for step in 0..=rule.steps {
                if step == rule.delay.min(rule.steps) {
                    learner.rebase(shared.clone())?;
                }
                if step == rule.steps {
                    break;
                }
                if stop.load(Ordering::Relaxed) {
                    return Err(SimulationError::Interrupted);
                }
                let global = window * rule.steps + step;
                let batch = self.batch(number, global)?;
                learner.train(&[batch], self.ground.rate(global))?;
            }
            messages.push(rule.exchange.send(&mut worker.memory, &learner.drift()?)?);
            learner.write_anchor()?;
            learner.mark_sent();
        }
        Ok(messages)
    }

    /// Chooses, merges and applies; who was not chosen may get back what it sent.
    fn merge(
        &mut self,
        workers: &mut [Worker],
        rule: &Windows,
        window: usize,
        messages: &[Message],
        momentum: &mut [f32],
    ) -> Result<(), SimulationError> {
        let mut order: Vec<usize> = (0..messages.len()).collect();
        if rule.selected < messages.len() {
            let mut stream = Stream::new(self.ground.key(), "selection", window as u64);
            for place in (1..order.len()).rev() {
                order.swap(place, (stream.unit_f32() * (place + 1) as f32) as usize % (place + 1));
            }
        }
        let (chosen, others) = order.split_at(rule.selected.min(order.len()));
        if rule.is_returned {
            for other in others {
                rule.exchange.take_back(&mut workers[*other].memory, &messages[*other])?;
            }
        }
        let chosen: Vec<Message> = chosen.iter().map(|place| messages[*place].clone()).collect();
        let received = rule.exchange.apply(&mut self.shared, momentum, &chosen, 1.0)?;
        let sent = messages.iter().map(|message| message.bytes as u64).sum::<u64>() / messages.len() as u64;
        self.traffic = Traffic { sent: self.traffic.sent + sent, received: self.traffic.received + received as u64 };
        Ok(())
    }
}

/// Trains `count` windows, and tells of each the accumulated values (`a`) of every worker as they stand before they are
/// compressed.
pub fn accumulators<E: From<SimulationError>>(
    ground: &Ground,
    rule: &Windows,
    decay: f32,
    count: usize,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(usize, Vec<Vec<f32>>) -> Result<(), E>,
) -> Result<(), E> {
    let mut simulation = Simulation::new(ground)?;
    let mut workers = simulation.workers()?;
    let mut momentum = vec![0f32; simulation.shared.len()];
    for window in 0..count {
        let memories: Vec<Vec<f32>> = workers.iter().map(|worker| worker.memory.clone()).collect();
        let anchors = simulation.shared.clone();
        let messages = simulation.train_window(&mut workers, rule, window, stop)?;
        let accumulated = |(memory, worker): (Vec<f32>, &mut Worker)| {
            let ends = worker.learner.engine_mut().to_vec(Buffer::Parameters)?;
            let drift = anchors.iter().zip(ends).map(|(start, end)| start - end);
            Ok(memory.iter().zip(drift).map(|(e, delta)| decay * e + delta).collect())
        };
        let accumulated: Result<Vec<Vec<f32>>, SimulationError> =
            memories.into_iter().zip(&mut workers).map(accumulated).collect();
        tell(window, accumulated?)?;
        if window + 1 < count {
            simulation.merge(&mut workers, rule, window, &messages, &mut momentum)?;
        }
    }
    Ok(())
}
