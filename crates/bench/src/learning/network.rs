//! Miners and a judge in one process.

use super::{Learned, Learning, LearningError};
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{Beacon, BlockNumber, ContentHash, Genesis, PublicKey, Uid, Window};
use templar_corpus::Corpus;
use templar_engine::{Batch, Buffer, Engine, EngineSource};
use templar_gauntlet::{Entry, Ratings, Standing, Submission, Verdict, WindowInput, judge, merge_rule};
use templar_gradient::{Aggregate, MergeRule, OuterState, OuterStep, Payload};
use templar_node::{Data, EvaluationModel, evaluation_parts, open_engine};
use templar_record::Rules;
use templar_trainer::{
    AssignedText, MemoryAnchor, Outcome, SharedState, Trainer, TrainerError, Volatile, WindowData, WorkerRules,
    mean_loss,
};

/// What was agreed on for a window.
struct Decided {
    window: Window,
    verdict: Verdict,
    aggregate: Option<Aggregate>,
}

/// A network in one process.
pub struct Network {
    run: Rules,
    data: Data,
    held_out: Vec<Batch>,
    shared: SharedState,
    trainers: Vec<Trainer>,
    /// Computes for the judge, and for whoever trains alone.
    engine: Box<dyn Engine>,
    ratings: Ratings,
    registered: BTreeMap<Uid, PublicKey>,
    last: Option<Decided>,
    tokens: u64,
    steps: u32,
    after_seal: u32,
    delay: u32,
}

impl Network {
    /// A network at the first parameters of its genesis.
    pub fn new(genesis: Genesis, corpus: Arc<Corpus>, wanted: &Learning) -> Result<Self, LearningError> {
        let run = Rules::new(genesis)?;
        let data = Data::new(&run, corpus)?;
        let shared = SharedState::new(Window::ZERO, OuterState::new(run.first_parameters(None)?));
        let mut engine = open_engine(&run, &EngineSource::default(), 1)?;
        engine.write(Buffer::Parameters, 0, &shared.outer.params)?;
        let uids: Vec<Uid> = (0..wanted.miners).map(Uid).collect();
        let trainer = |uid: &Uid| -> Result<Trainer, LearningError> {
            let (outer, numerics) = (run.genesis.outer.clone(), run.genesis.numerics.clone());
            let rules = WorkerRules { run: run.id, uid: *uid, layout: run.layout.clone(), outer, numerics };
            Ok(Trainer::new(
                rules,
                open_engine(&run, &EngineSource::default(), 1)?,
                shared.clone(),
                Box::<MemoryAnchor>::default(),
            )?)
        };
        let trainers = if wanted.alone { Vec::new() } else { uids.iter().map(trainer).collect::<Result<_, _>>()? };
        Ok(Self {
            held_out: data.held_out()?,
            registered: uids.iter().map(|uid| (*uid, hotkey(*uid))).collect(),
            ratings: Ratings::default(),
            last: None,
            tokens: 0,
            steps: u32::from(wanted.steps),
            after_seal: u32::from(wanted.after_seal),
            delay: u32::from(wanted.delay),
            run,
            data,
            shared,
            trainers,
            engine,
        })
    }

    fn beacon(&self, window: Window) -> Beacon {
        Beacon::new(*ContentHash::of(format!("beacon {window} of {}", self.run.id).as_bytes()).as_bytes())
    }

    fn text(&self, window: Window, uid: Uid) -> WindowData {
        let assignment = self.data.assignments.assignment(window, &hotkey(uid), &self.beacon(window));
        let text = Arc::new(AssignedText { assignment, rule: self.data.batch_rule });
        let learning_rate = self.run.genesis.inner.schedule.learning_rate(window);
        WindowData { window, text, inner_steps: self.steps, learning_rate }
    }

    /// One window of all miners, its judgement, and the step that it comes to.
    pub fn window(&mut self) -> Result<Learned, LearningError> {
        let window = self.shared.next;
        let mut payloads = Vec::new();
        for number in 0..self.trainers.len() {
            let text = self.text(window, Uid(number as u16));
            payloads.push(self.train(number, text)?);
        }
        let decided = self.judge(window, &payloads)?;
        let step = OuterStep::of(&self.run.genesis.outer, window);
        let outcome = Outcome { aggregate: decided.aggregate.as_ref(), step: &step };
        self.shared.advance::<TrainerError>(outcome, |_| Ok(()), |_, _, _| {})?;
        self.engine.write(Buffer::Parameters, 0, &self.shared.outer.params)?;
        let loss = mean_loss(self.engine.as_mut(), &self.held_out)?;
        self.tokens += decided.verdict.tokens();
        let learned = self.learned(&decided.verdict, loss);
        self.ratings = decided.verdict.ratings.clone();
        self.last = Some(decided);
        Ok(learned)
    }

    /// One miner's window: the outcome of the one before arrives in it, and what follows the seal is of the next payload.
    fn train(&mut self, number: usize, data: WindowData) -> Result<Payload, LearningError> {
        let (window, trainer) = (data.window, &mut self.trainers[number]);
        trainer.begin(data)?;
        let steps = |trainer: &mut Trainer, count: u32| -> Result<(), LearningError> {
            for _ in 0..count {
                trainer.step()?;
            }
            Ok(())
        };
        steps(trainer, self.delay)?;
        if let Some(last) = &self.last {
            let step = OuterStep::of(&self.run.genesis.outer, last.window);
            let outcome = Outcome { aggregate: last.aggregate.as_ref(), step: &step };
            trainer.apply(last.window, outcome, &mut Volatile)?;
            if last.verdict.alone().voids_feedback_of(Uid(number as u16)) {
                trainer.forget(last.window);
            }
        }
        steps(trainer, self.steps - self.delay - self.after_seal)?;
        let sealed = trainer.seal(window, self.shared.state, &mut Volatile)?;
        steps(trainer, self.after_seal)?;
        Ok(sealed.payload)
    }

    fn judge(&mut self, window: Window, payloads: &[Payload]) -> Result<Decided, LearningError> {
        let entry = |payload: &Payload| {
            let metadata = payload.metadata();
            let (hash, data_digest) = (ContentHash::of(payload.bytes()), Some(metadata.data_digest));
            let submission = Submission::Payload { payload: Box::new(payload.clone()), hash, data_digest };
            Entry { uid: metadata.uid, hotkey: hotkey(metadata.uid), block: BlockNumber(window.get()), submission }
        };
        let entries: Vec<Entry> = payloads.iter().map(entry).collect();
        let beacon = self.beacon(window);
        let parts = evaluation_parts(&self.run, &self.data, window, &beacon)?;
        let input = WindowInput {
            genesis: &self.run.genesis,
            inner_steps: self.steps,
            run: self.run.id,
            window,
            beacon,
            start: &self.shared.outer,
            start_state: self.shared.state,
            registered: &self.registered,
            entries: &entries,
            earlier: &(),
            ratings: &self.ratings,
        };
        let verdict = judge(&input, &mut EvaluationModel::new(self.engine.as_mut(), &parts))?;
        let is_merged = |payload: &&Payload| verdict.selected.contains(&payload.metadata().uid);
        let merged: Vec<(&Payload, u32)> = payloads.iter().filter(is_merged).map(|payload| (payload, 1)).collect();
        let rule = MergeRule { step: verdict.step(), ..merge_rule(&self.run.genesis) };
        let aggregate = match merged.is_empty() {
            true => None,
            false => Some(Aggregate::merge(&self.run.layout, &merged, rule)?),
        };
        Ok(Decided { window, verdict, aggregate })
    }

    fn learned(&self, verdict: &Verdict, loss: f64) -> Learned {
        let mnats = |nats: f64| 1e3 * nats;
        let (mut expected, mut gained) = (0.0, 0.0);
        if let Some(confirmation) = &verdict.confirmation {
            expected = mnats(confirmation.predicted.to_f64());
            gained = confirmation.loss_after.map_or(0.0, |after| mnats(confirmation.loss_before - after));
        }
        let miner = |miner: &templar_gauntlet::MinerVerdict| {
            let standing = match &miner.standing {
                Standing::Rejected(_) => "rejected",
                Standing::Harmful => "harmful",
                Standing::NotAdmitted => "out",
                Standing::Admitted => "in",
                Standing::Dropped => "dropped",
                Standing::Selected => "merged",
            };
            match &miner.contribution {
                Some(own) => {
                    let (mean, error) = (mnats(own.mean.to_f64()), mnats(own.standard_error.to_f64()));
                    format!("{mean:.1}±{error:.1} {standing}")
                }
                None => standing.to_owned(),
            }
        };
        Learned {
            window: verdict.window.get() + 1,
            tokens: self.tokens,
            loss,
            learning_rate: self.run.genesis.inner.schedule.learning_rate(verdict.window),
            merged: verdict.selected.len(),
            expected_mnats: expected,
            gained_mnats: gained,
            miners: verdict.miners.iter().map(miner).collect(),
        }
    }

    /// The sequences of a window of all miners, a step on a batch of each in turn.
    pub fn train_alone(&mut self) -> Result<Learned, LearningError> {
        let window = self.shared.next;
        let uids: Vec<Uid> = self.registered.keys().copied().collect();
        let texts: Vec<WindowData> = uids.iter().map(|uid| self.text(window, *uid)).collect();
        for step in 0..self.steps {
            for text in &texts {
                let batch = text.text.batch(step)?;
                self.tokens += (batch.sequences * batch.length) as u64;
                self.engine.train_step(&[batch], text.learning_rate)?;
            }
        }
        let loss = mean_loss(self.engine.as_mut(), &self.held_out)?;
        self.shared.next = window.next();
        let learning_rate = self.run.genesis.inner.schedule.learning_rate(window);
        Ok(Learned { window: window.get() + 1, tokens: self.tokens, loss, learning_rate, ..Learned::default() })
    }
}

fn hotkey(uid: Uid) -> PublicKey {
    PublicKey::new([uid.get() as u8 + 1; 32])
}
