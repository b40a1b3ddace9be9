//! A small real model: trained by `templar_trainer`, judged by `templar_gauntlet`, merged from the bytes of its payloads.
//!
//! What every node would compute alike is computed once: a judgement is remembered by its input, an outer step by its
//! start and aggregate. Miners have an engine each. What a miner had not sent is lost when it crashes.

use super::language::{Language, Share, VOCABULARY};
use super::{Judgement, Judging, MinerWindow, Model, ModelError, SealOrder, Step};
use crate::Moment;
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{
    AgreedFindings, Beacon, ContentHash, CorpusHashes, FirstParameters, Genesis, ModelConfig, PublicKey, StateHash,
    StepShare, TensorClass, Uid, Window,
};
use templar_corpus::AssignmentError;
use templar_engine::{Batch, Buffer, CpuBackend, DeviceName, Engine, OpenRequest, OptimiserConfig, initial_parameters};
use templar_gauntlet::{
    Entry, PROBE_SEQUENCES, Ratings, Settlement, Submission, Verdict, WindowInput, judge, merge_rule, own_text_batches,
    weights,
};
use templar_gradient::{Accumulation, Aggregate, MergeRule, OuterState, OuterStep, Payload, state_hash};
use templar_record::Rules;
use templar_round::{SealCommitment, SealedRecord};
use templar_trainer::{
    MemoryAnchor, Outcome, Sender, SharedState, Text, Trainer, TrainerError, Volatile, WindowData, WorkerRules,
    mean_loss,
};

/// Kept values of each 4096: much, since so small a model has few.
const KEPT: u16 = 1_024;
const SEQUENCE_LENGTH: usize = 24;
const SEQUENCES: usize = 8;
/// Bytes that sealing adds.
const SEAL_BYTES: u32 = 52;
const PEAK_RATE: f32 = 5e-3;

/// The sizes of a small model.
pub(crate) fn small_config(hidden: usize, layers: usize) -> ModelConfig {
    ModelConfig {
        hidden_size: hidden,
        intermediate_size: 2 * hidden,
        num_hidden_layers: layers,
        num_attention_heads: hidden / 8,
        num_key_value_heads: hidden / 8,
        head_dim: 8,
        ..ModelConfig::tiny(VOCABULARY)
    }
}

/// Completes the rules of a run of a small model.
pub(crate) fn small_genesis(hidden: usize, layers: usize, steps: usize, seed: u64) -> Genesis {
    let mut genesis = Genesis::small(small_config(hidden, layers), CorpusHashes::default());
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    genesis.first_parameters = FirstParameters::Seed(ContentHash::new(key));
    genesis.first_state = state_hash(&initial_parameters(&genesis.model, key));
    let data = &mut genesis.data;
    (data.sequence_length, data.sequences_per_batch, data.batches_per_window) = (SEQUENCE_LENGTH, SEQUENCES, steps);
    genesis.outer.tensor_classes = vec![TensorClass { suffix: String::new(), kept_per_chunk: KEPT }];
    genesis.inner.schedule.peak = PEAK_RATE;
    (genesis.judging.evaluation_sequences, genesis.judging.evaluation_parts) = (64, 8);
    genesis
}

/// A node that trains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    /// Its place among the nodes, which is its uid.
    pub node: usize,
    /// Tokens a second.
    pub speed: u64,
    /// Whether it sends the opposite of what it learnt.
    pub flips: bool,
}

struct AtWork {
    trainer: Trainer,
    worker: Worker,
    /// When it began on the data at hand, and the steps that it has done since.
    since: Moment,
    done: u64,
}

/// What the judges agreed on, and what they base the next judgement on.
#[derive(Default)]
struct Judged {
    agreed: BTreeMap<Window, AgreedFindings>,
    /// After each settled window.
    ratings: BTreeMap<Window, Ratings>,
    /// By the hash of their input.
    known: BTreeMap<ContentHash, Judgement>,
}

/// A small model that is really trained.
pub struct RealModel {
    run: Rules,
    language: Arc<Language>,
    held_out: Vec<Batch>,
    states: BTreeMap<StateHash, SharedState>,
    steps: BTreeMap<(Window, StateHash, Option<ContentHash>, u32), StateHash>,
    losses: BTreeMap<StateHash, f64>,
    workers: BTreeMap<usize, Worker>,
    at_work: BTreeMap<usize, AtWork>,
    payloads: BTreeMap<ContentHash, Payload>,
    aggregates: BTreeMap<ContentHash, Aggregate>,
    judged: Judged,
    registered: BTreeMap<Uid, PublicKey>,
    /// Computes for judges and reports.
    engine: Box<dyn Engine>,
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError(error.to_string())
}

/// An engine of one thread, with the optimiser of the run.
pub(crate) fn open_engine(run: &Rules) -> Result<Box<dyn Engine>, ModelError> {
    let inner = &run.genesis.inner;
    let optimiser = OptimiserConfig {
        beta1: inner.beta1,
        beta2: inner.beta2,
        epsilon: inner.epsilon,
        weight_decay: inner.weight_decay,
        clip_norm: inner.clip_norm,
        hidden_matrices: inner.hidden_matrices,
    };
    let request = OpenRequest::new(run.genesis.model.clone()).with_optimiser(optimiser).with_threads(1);
    templar_engine::open(&DeviceName::cpu(), &[&CpuBackend], request).map_err(failed)
}

impl RealModel {
    /// The model of these rules, whose first parameters come from a seed.
    pub(crate) fn new(
        genesis: Genesis,
        seed: u64,
        workers: &[Worker],
        registered: BTreeMap<Uid, PublicKey>,
    ) -> Result<Self, ModelError> {
        let run = Rules::new(genesis).map_err(failed)?;
        let first = SharedState::new(Window::ZERO, OuterState::new(run.first_parameters(None).map_err(failed)?));
        let language = Arc::new(Language::new(seed, run.genesis.data.sequence_length, SEQUENCES));
        let held_out = vec![language.batch("held out", 0, 64)];
        Ok(Self {
            engine: open_engine(&run)?,
            states: BTreeMap::from([(first.state, first)]),
            steps: BTreeMap::new(),
            losses: BTreeMap::new(),
            workers: workers.iter().map(|worker| (worker.node, *worker)).collect(),
            at_work: BTreeMap::new(),
            payloads: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            judged: Judged::default(),
            registered,
            language,
            held_out,
            run,
        })
    }

    fn shared(&self, next: Window, state: StateHash) -> Result<SharedState, ModelError> {
        let known = self.states.get(&state).ok_or_else(|| failed("parameters that nobody has"))?;
        Ok(SharedState { next, ..known.clone() })
    }

    fn beacon(&self, window: Window) -> Beacon {
        Beacon::new(*ContentHash::of(&(self.run.id, window).encode()).as_bytes())
    }

    fn aggregate(&self, hash: Option<ContentHash>) -> Result<Option<&Aggregate>, ModelError> {
        let Some(hash) = hash else { return Ok(None) };
        self.aggregates.get(&hash).map(Some).ok_or_else(|| failed("an aggregate that nobody made"))
    }

    fn outer_step(&self, step: &Step) -> OuterStep {
        OuterStep { alpha: f32::from_bits(step.alpha), ..OuterStep::of(&self.run.genesis.outer, step.window) }
    }

    /// The parameters after a step, computed once.
    fn after(&mut self, step: &Step) -> Result<StateHash, ModelError> {
        let key = (step.window, step.before, step.aggregate, step.alpha);
        if let Some(known) = self.steps.get(&key) {
            return Ok(*known);
        }
        let mut shared = self.shared(step.window, step.before)?;
        let outer = self.outer_step(step);
        let outcome = Outcome { aggregate: self.aggregate(step.aggregate)?, step: &outer };
        shared.advance::<TrainerError>(outcome, |_| Ok(()), |_, _, _| {}).map_err(failed)?;
        self.steps.insert(key, shared.state);
        let state = shared.state;
        self.states.entry(state).or_insert(shared);
        Ok(state)
    }

    /// Does the steps that a miner has had the time for.
    fn catch_up(&mut self, node: usize, now: Moment) -> Result<(), ModelError> {
        let Some(own) = self.at_work.get_mut(&node) else { return Ok(()) };
        let tokens = (SEQUENCES * SEQUENCE_LENGTH) as u64;
        let due = own.worker.speed.saturating_mul(now.since(own.since)) / (1_000 * tokens);
        while own.done < due {
            if own.trainer.step().map_err(failed)?.is_none() {
                break;
            }
            own.done += 1;
        }
        Ok(())
    }

    fn ratings_before(&self, window: Window) -> Ratings {
        self.judged.ratings.range(..window).next_back().map(|(_, ratings)| ratings.clone()).unwrap_or_default()
    }

    fn entry(&self, record: &SealedRecord) -> Result<Entry, ModelError> {
        let payload = self.payloads.get(&record.commitment.digest).ok_or_else(|| failed("a payload of nobody"))?;
        // Through its bytes, as it arrives.
        let payload = Payload::from_bytes(payload.encode(), &self.run.layout).map_err(failed)?;
        let (hash, digest) = (ContentHash::of(payload.bytes()), payload.metadata().data_digest);
        let submission = Submission::Payload { payload: Box::new(payload), hash, data_digest: Some(digest) };
        Ok(Entry { uid: record.uid, hotkey: record.hotkey, block: record.block, submission })
    }

    fn verdict(&mut self, judging: &Judging<'_>, start: &SharedState) -> Result<Verdict, ModelError> {
        let entries = judging.payloads.iter().map(|record| self.entry(record)).collect::<Result<Vec<_>, _>>()?;
        let mut genesis = (*self.run.genesis).clone();
        genesis.judging.selected = judging.limit;
        let rule = &genesis.judging;
        let each = rule.evaluation_sequences / rule.evaluation_parts.max(1);
        let name = format!("judgement of {}", judging.window);
        let parts: Vec<Batch> =
            (0..rule.evaluation_parts).map(|part| self.language.batch(&name, part as u64, each)).collect();
        let ratings = self.ratings_before(judging.window);
        let beacon = self.beacon(judging.window);
        let input = WindowInput {
            genesis: &genesis,
            inner_steps: genesis.data.batches_per_window as u32,
            run: self.run.id,
            window: judging.window,
            beacon,
            start: &start.outer,
            start_state: start.state,
            registered: &self.registered,
            entries: &entries,
            earlier: &(),
            ratings: &ratings,
        };
        let (language, window, batches) = (&self.language, judging.window, genesis.data.batches_per_window as u32);
        let own = |uid| Share { language: Arc::clone(language), window, uid, batches };
        judge(&input, &mut Evaluation::new(self.engine.as_mut(), &parts, &own)).map_err(failed)
    }

    /// A payload of the opposite of what a miner learnt.
    fn flipped(&mut self, node: usize, payload: &Payload, drift: &[f32]) -> Result<Payload, ModelError> {
        let flipped: Vec<f32> = drift.iter().map(|value| -value).collect();
        let rules = Accumulation::of(&self.run.genesis.outer);
        debug_assert_eq!(payload.metadata().uid.index(), node);
        Sender::once(&self.run.layout, rules, &flipped, payload.metadata().clone()).map_err(failed)
    }
}

impl Model for RealModel {
    fn first_state(&self) -> StateHash {
        self.run.genesis.first_state
    }

    fn start(&mut self, node: usize, next: Window, state: StateHash) -> Result<(), ModelError> {
        let Some(worker) = self.workers.get(&node).copied() else { return Ok(()) };
        let rules = WorkerRules {
            run: self.run.id,
            uid: Uid(node as u16),
            layout: self.run.layout.clone(),
            outer: self.run.genesis.outer.clone(),
            numerics: self.run.genesis.numerics.clone(),
        };
        let (engine, shared) = (open_engine(&self.run)?, self.shared(next, state)?);
        let trainer = Trainer::new(rules, engine, shared, Box::<MemoryAnchor>::default()).map_err(failed)?;
        self.at_work.insert(node, AtWork { trainer, worker, since: Moment(0), done: 0 });
        Ok(())
    }

    fn begin(&mut self, node: usize, window: Window, now: Moment) -> Result<(), ModelError> {
        self.catch_up(node, now)?;
        let batches = self.run.genesis.data.batches_per_window as u32;
        let Some(own) = self.at_work.get_mut(&node) else { return Ok(()) };
        let text = Arc::new(Share { language: Arc::clone(&self.language), window, uid: Uid(node as u16), batches });
        let learning_rate = self.run.genesis.inner.schedule.learning_rate(window);
        own.trainer.begin(WindowData { window, text, inner_steps: batches, learning_rate }).map_err(failed)?;
        (own.since, own.done) = (now, 0);
        Ok(())
    }

    fn seal(&mut self, node: usize, order: SealOrder, now: Moment) -> Result<Option<SealCommitment>, ModelError> {
        self.catch_up(node, now)?;
        let Some(own) = self.at_work.get_mut(&node) else { return Ok(None) };
        let drift = if own.worker.flips { own.trainer.learner_mut().drift().map_err(failed)? } else { Vec::new() };
        let mut payload = match own.trainer.seal(order.window, order.start, &mut Volatile) {
            Ok(sealed) => sealed.payload,
            // It is not where it should be, or has nothing to send: its machine hears that it failed.
            Err(
                TrainerError::Window { .. }
                | TrainerError::StartState { .. }
                | TrainerError::Undecided { .. }
                | TrainerError::Untrained { .. },
            ) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !drift.is_empty() {
            payload = self.flipped(node, &payload, &drift)?;
        }
        let digest = ContentHash::of(payload.bytes());
        let bytes = payload.bytes().len() as u32 + SEAL_BYTES;
        self.payloads.insert(digest, payload);
        Ok(Some(SealCommitment { digest, bytes }))
    }

    fn unsend(&mut self, node: usize, window: Window) {
        if let Some(own) = self.at_work.get_mut(&node) {
            own.trainer.unsent(window);
        }
    }

    fn judge(&mut self, judging: Judging<'_>) -> Result<Judgement, ModelError> {
        let start = judging.start.ok_or_else(|| failed("a judgement without parameters"))?;
        let digests: Vec<ContentHash> = judging.payloads.iter().map(|record| record.commitment.digest).collect();
        let ratings = self.ratings_before(judging.window).root();
        let key = ContentHash::of(&(judging.window, start, digests, judging.limit as u64, ratings).encode());
        if let Some(known) = self.judged.known.get(&key) {
            return Ok(known.clone());
        }
        let start = self.shared(judging.window, start)?;
        let verdict = self.verdict(&judging, &start)?;
        let hash = ContentHash::of(&serde_json::to_vec(&verdict).map_err(failed)?);
        let judgement = Judgement { findings: verdict.findings, verdict: hash };
        self.judged.known.insert(key, judgement.clone());
        Ok(judgement)
    }

    fn settle(&mut self, window: Window, agreed: &AgreedFindings) {
        if self.judged.agreed.contains_key(&window) {
            return;
        }
        let mut ratings = self.ratings_before(window);
        let (rule, registered) = (&self.run.genesis.judging, &self.registered);
        ratings.fold(agreed, Settlement { rule, window, registered });
        self.judged.ratings.insert(window, ratings);
        self.judged.agreed.insert(window, agreed.clone());
    }

    fn record(&self, window: Window) -> ContentHash {
        self.judged.ratings.get(&window).map_or(ContentHash::default(), Ratings::root)
    }

    fn merge(&mut self, _: Window, payloads: &[SealedRecord], step: StepShare) -> Result<ContentHash, ModelError> {
        let payload = |record: &SealedRecord| self.payloads.get(&record.commitment.digest).map(|payload| (payload, 1));
        let set: Option<Vec<(&Payload, u32)>> = payloads.iter().map(payload).collect();
        let set = set.ok_or_else(|| failed("a payload of nobody"))?;
        let rule = MergeRule { step, ..merge_rule(&self.run.genesis) };
        let aggregate = Aggregate::merge(&self.run.layout, &set, rule).map_err(failed)?;
        let hash = aggregate.hash();
        self.aggregates.insert(hash, aggregate);
        Ok(hash)
    }

    fn apply(&mut self, node: usize, step: Step, now: Moment) -> Result<StateHash, ModelError> {
        let state = self.after(&step)?;
        self.catch_up(node, now)?;
        let outer = self.outer_step(&step);
        let agreed = self.judged.agreed.get(&step.window);
        let forgets = agreed.is_some_and(|agreed| agreed.voids_feedback_of(Uid(node as u16)));
        let aggregate = match step.aggregate {
            Some(hash) => Some(self.aggregates.get(&hash).ok_or_else(|| failed("an aggregate that nobody made"))?),
            None => None,
        };
        let Some(own) = self.at_work.get_mut(&node) else { return Ok(state) };
        let outcome = Outcome { aggregate, step: &outer };
        let applied = own.trainer.apply(step.window, outcome, &mut Volatile).map_err(failed)?;
        if forgets {
            own.trainer.forget(step.window);
        }
        Ok(applied.state)
    }

    fn loss(&mut self, state: StateHash) -> Result<Option<f64>, ModelError> {
        if let Some(known) = self.losses.get(&state) {
            return Ok(Some(*known));
        }
        let Some(shared) = self.states.get(&state) else { return Ok(None) };
        self.engine.write(Buffer::Parameters, 0, &shared.outer.params).map_err(failed)?;
        let loss = mean_loss(self.engine.as_mut(), &self.held_out).map_err(failed)?;
        self.losses.insert(state, loss);
        Ok(Some(loss))
    }

    fn miners(&self, window: Window) -> Vec<MinerWindow> {
        let Some(ratings) = self.judged.ratings.get(&window) else { return Vec::new() };
        let paid: BTreeMap<Uid, u16> = weights(ratings, &self.run.genesis.economics, window).into_iter().collect();
        let sent = self.payloads.values().map(Payload::metadata).filter(|metadata| metadata.window == window);
        let tokens: BTreeMap<Uid, u64> = sent.map(|metadata| (metadata.uid, metadata.tokens_trained)).collect();
        let of = |(uid, tokens): (&Uid, &u64)| MinerWindow {
            uid: *uid,
            tokens: *tokens,
            weight: paid.get(uid).copied().unwrap_or(0),
            is_merged: false,
        };
        tokens.iter().map(of).collect()
    }

    fn aggregate_bytes(&self, hash: ContentHash) -> u64 {
        self.aggregates.get(&hash).map_or(0, |aggregate| aggregate.bytes().len() as u64)
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.run.layout.parameters() as u64 * 4
    }
}

/// The engine as the gauntlet sees it.
pub(crate) struct Evaluation<'a> {
    engine: &'a mut dyn Engine,
    /// Text of the judgement.
    parts: &'a [Batch],
    /// What a miner was assigned.
    assigned: &'a dyn Fn(Uid) -> Share,
    /// Parts of that of the miner that is probed.
    own: Vec<Batch>,
}

impl<'a> Evaluation<'a> {
    pub fn new(engine: &'a mut dyn Engine, parts: &'a [Batch], assigned: &'a dyn Fn(Uid) -> Share) -> Self {
        Self { engine, parts, assigned, own: Vec::new() }
    }
}

impl templar_gauntlet::Model for Evaluation<'_> {
    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), templar_gauntlet::ModelError> {
        self.engine.write(Buffer::Parameters, start, params).map_err(refused)
    }

    fn gradient(&mut self, part: usize) -> Result<f64, templar_gauntlet::ModelError> {
        self.engine.gradient(&self.parts[part]).map(f64::from).map_err(refused)
    }

    fn read_gradient(&mut self, start: usize, out: &mut [f32]) -> Result<(), templar_gauntlet::ModelError> {
        self.engine.read(Buffer::Gradient, start, out).map_err(refused)
    }

    fn losses(&mut self) -> Result<Vec<f64>, templar_gauntlet::ModelError> {
        let loss = |part| mean_loss(self.engine, std::slice::from_ref(part));
        self.parts.iter().map(loss).collect::<Result<_, _>>().map_err(refused)
    }

    fn begin_own_text(&mut self, uid: Uid, steps: u32) -> Result<usize, templar_gauntlet::ModelError> {
        let share = (self.assigned)(uid);
        let part = |number: u32| {
            let mut tokens = share.batch(number)?.tokens;
            tokens.truncate(PROBE_SEQUENCES * (share.language.rule.sequence_length + 1));
            Ok::<_, AssignmentError>(share.language.rule.batch(tokens))
        };
        let parts = own_text_batches(steps.min(share.batches)).map(part);
        self.own = parts.collect::<Result<_, _>>().map_err(refused)?;
        Ok(self.own.len())
    }

    fn own_gradient(&mut self, part: usize) -> Result<f64, templar_gauntlet::ModelError> {
        self.engine.gradient(&self.own[part]).map(f64::from).map_err(refused)
    }
}

fn refused(error: impl std::fmt::Display) -> templar_gauntlet::ModelError {
    templar_gauntlet::ModelError(error.to_string())
}
