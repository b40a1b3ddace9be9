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
    /// What the exchange's own rate of the outer step is multiplied with.
    pub alpha: f32,
    /// The groups that workers form; none where all are merged in every window.
    pub groups: Option<Groups>,
}

/// Groups of workers: each is merged by itself in every window, and with the others now and then. What a group sends
/// then is the way that its parameters went since, as one worker's drift.
pub struct Groups {
    /// Groups; there are at least as many workers.
    pub count: usize,
    /// Windows from one merge of the groups to the next.
    pub every: usize,
    /// What groups exchange.
    pub exchange: Box<dyn Exchange>,
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

/// Workers that are merged with each other in every window.
struct Group {
    /// The number of the first of them.
    first: usize,
    workers: Vec<Worker>,
    /// Their parameters.
    shared: Vec<f32>,
    momentum: Vec<f32>,
    /// What the exchange between groups keeps of this one.
    memory: Vec<f32>,
}

impl Group {
    /// Their parameters at the start of a window.
    fn shared_at(&self, window: usize) -> SharedState {
        SharedState::new(Window(window as u64), OuterState::new(self.shared.clone()))
    }
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
        let mut groups = self.groups(rule)?;
        for window in 0..count {
            for group in &mut groups {
                let messages = self.train_window(group, rule, window, stop)?;
                self.merge(group, rule, window, &messages)?;
            }
            match &rule.groups {
                None => self.shared.copy_from_slice(&groups[0].shared),
                Some(own) if (window + 1).is_multiple_of(own.every) || window + 1 == count => {
                    self.merge_groups(&mut groups, own)?;
                }
                Some(_) => {}
            }
            if (window + 1).is_multiple_of(every) || window + 1 == count {
                tell(self.point((window + 1) * rule.steps)?);
            }
        }
        Ok(())
    }

    /// The groups of a rule, all of nearly one size; a single one where it has none.
    fn groups(&self, rule: &Windows) -> Result<Vec<Group>, SimulationError> {
        let count = rule.groups.as_ref().map_or(1, |groups| groups.count);
        let zeros = || vec![0f32; self.shared.len()];
        let mut groups = Vec::with_capacity(count);
        for number in 0..count {
            let place = |group: usize| group * self.ground.workers / count;
            let shared = self.shared.clone();
            let mut group =
                Group { first: place(number), workers: Vec::new(), shared, momentum: zeros(), memory: zeros() };
            for _ in group.first..place(number + 1) {
                let engine = templar_model::open_engine(OpenRequest::new(self.ground.model.clone()))?;
                let learner = Learner::new(engine, group.shared_at(0), Box::<MemoryAnchor>::default())?;
                group.workers.push(Worker { learner, memory: zeros() });
            }
            groups.push(group);
        }
        Ok(groups)
    }

    /// The window of a group's workers: what was merged last arrives after `delay` steps, and the drift goes out at the end.
    fn train_window(
        &self,
        group: &mut Group,
        rule: &Windows,
        window: usize,
        stop: &AtomicBool,
    ) -> Result<Vec<Message>, SimulationError> {
        let mut messages = Vec::with_capacity(group.workers.len());
        let shared = group.shared_at(window);
        for (place, worker) in group.workers.iter_mut().enumerate() {
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
                let batch = self.batch(group.first + place, global)?;
                learner.train(&[batch], self.ground.rate(global))?;
            }
            messages.push(rule.exchange.send(&mut worker.memory, &learner.drift()?)?);
            learner.write_anchor()?;
            learner.mark_sent();
        }
        Ok(messages)
    }

    /// Chooses in a group, merges and applies; who was not chosen may get back what it sent.
    fn merge(
        &mut self,
        group: &mut Group,
        rule: &Windows,
        window: usize,
        messages: &[Message],
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
                rule.exchange.take_back(&mut group.workers[*other].memory, &messages[*other])?;
            }
        }
        let chosen: Vec<Message> = chosen.iter().map(|place| messages[*place].clone()).collect();
        let received = rule.exchange.apply(&mut group.shared, &mut group.momentum, &chosen, rule.alpha)?;
        let sent = messages.iter().map(|message| message.bytes as u64).sum::<u64>() / messages.len() as u64;
        // What one worker moves: that of the first group, as all are alike.
        if group.first == 0 {
            self.moved(sent, received as u64);
        }
        Ok(())
    }

    /// Merges the groups, which go on from there. One worker of a group sends for all, and all receive.
    fn merge_groups(&mut self, groups: &mut [Group], rule: &Groups) -> Result<(), SimulationError> {
        let mut messages = Vec::with_capacity(groups.len());
        for group in groups.iter_mut() {
            let drift: Vec<f32> = self.shared.iter().zip(&group.shared).map(|(start, end)| start - end).collect();
            messages.push(rule.exchange.send(&mut group.memory, &drift)?);
        }
        let mut momentum = vec![0f32; self.shared.len()];
        let received = rule.exchange.apply(&mut self.shared, &mut momentum, &messages, 1.0)?;
        for group in groups.iter_mut() {
            group.shared.copy_from_slice(&self.shared);
        }
        self.moved((messages[0].bytes / groups[0].workers.len()) as u64, received as u64);
        Ok(())
    }

    fn moved(&mut self, sent: u64, received: u64) {
        let Traffic { sent: before, received: heard } = self.traffic;
        self.traffic = Traffic { sent: before + sent, received: heard + received };
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
    let mut groups = simulation.groups(rule)?;
    let group = &mut groups[0];
    for window in 0..count {
        let memories: Vec<Vec<f32>> = group.workers.iter().map(|worker| worker.memory.clone()).collect();
        let anchors = group.shared.clone();
        let messages = simulation.train_window(group, rule, window, stop)?;
        let accumulated = |(memory, worker): (Vec<f32>, &mut Worker)| {
            let ends = worker.learner.engine_mut().to_vec(Buffer::Parameters)?;
            let drift = anchors.iter().zip(ends).map(|(start, end)| start - end);
            Ok(memory.iter().zip(drift).map(|(e, delta)| decay * e + delta).collect())
        };
        let accumulated: Result<Vec<Vec<f32>>, SimulationError> =
            memories.into_iter().zip(&mut group.workers).map(accumulated).collect();
        tell(window, accumulated?)?;
        if window + 1 < count {
            simulation.merge(group, rule, window, &messages)?;
        }
    }
    Ok(())
}
