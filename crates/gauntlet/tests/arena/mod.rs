//! A small exact model, miners that train on it, and the attacks that judging must withstand.
#![allow(dead_code, reason = "each test binary uses its part")]

mod rules;

pub use rules::genesis;

use std::collections::BTreeMap;
use templar_base::random::Stream;
use templar_base::{Beacon, BlockNumber, ContentHash, Genesis, OuterRule, PublicKey, RunId, Uid, Window};
use templar_gauntlet::{
    COMPARED_WINDOWS, EarlierPayload, EarlierPayloads, Entry, MinerVerdict, Model, ModelError, Ratings, Rejection,
    Standing, Submission, Verdict, WindowInput, judge, merge_rule, weights,
};
use templar_gradient::{
    Accumulation, Aggregate, GradientLayout, MergeRule, Merged, Metadata, OuterState, OuterStep, Payload,
};
use templar_trainer::{Sender, drift_between};

/// Values of the tensors that honest miners train.
const TRAINED: usize = 4096 + 4096;
/// Values of a tensor on whose far side the loss is a wall; honest miners leave it alone.
const WALLED: usize = 512;
pub const PARAMETERS: usize = TRAINED + WALLED;
const PARTS: usize = 8;
/// Steps that every miner reports, of 4 batches of 32 tokens.
const STEPS: u32 = 4;

/// Roughly normal with variance one: the sum of twelve uniform numbers less six.
fn normal(stream: &mut Stream) -> f32 {
    (0..12).map(|_| stream.unit_f32()).sum::<f32>() - 6.0
}

/// `½ Σ h (θ − o − ν_part)²` over the trained values, with noise ν in each part. In the walled tensor the loss falls
/// gently until 1 and rises steeply behind.
pub struct Bowl {
    curvature: Vec<f32>,
    optimum: Vec<f32>,
    noise: Vec<Vec<f32>>,
    point: Vec<f32>,
    gradient: Vec<f32>,
}

impl Bowl {
    fn new(window: Window, noise: f32) -> Self {
        let mut shape = Stream::new([1; 32], "bowl", 0);
        let curvature = (0..TRAINED).map(|_| 0.2 + 0.8 * shape.unit_f32()).collect();
        let optimum = (0..TRAINED).map(|_| normal(&mut shape)).collect();
        let mut draw = Stream::new([1; 32], "evaluation", window.0);
        let noise = (0..PARTS).map(|_| (0..TRAINED).map(|_| noise * normal(&mut draw)).collect()).collect();
        let (point, gradient) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS]);
        Self { curvature, optimum, noise, point, gradient }
    }

    /// Mean loss of all parts at `params`.
    pub fn loss_at(&self, params: &[f32]) -> f64 {
        (0..PARTS).map(|part| self.part(params, part, None)).sum::<f64>() / PARTS as f64
    }

    fn part(&self, params: &[f32], part: usize, mut gradient: Option<&mut [f32]>) -> f64 {
        let mut loss = 0f64;
        for j in 0..TRAINED {
            let away = params[j] - self.optimum[j] - self.noise[part][j];
            loss += 0.5 * f64::from(self.curvature[j]) * f64::from(away) * f64::from(away);
            if let Some(gradient) = &mut gradient {
                gradient[j] = self.curvature[j] * away;
            }
        }
        for j in TRAINED..PARAMETERS {
            let behind = (params[j] - 1.0).max(0.0);
            loss += f64::from(-0.1 * params[j] + 1000.0 * behind * behind);
            if let Some(gradient) = &mut gradient {
                gradient[j] = -0.1 + 2000.0 * behind;
            }
        }
        loss
    }
}

impl Model for Bowl {
    fn parts(&self) -> usize {
        PARTS
    }

    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), ModelError> {
        self.point[start..start + params.len()].copy_from_slice(params);
        Ok(())
    }

    fn gradient(&mut self, part: usize) -> Result<f64, ModelError> {
        let mut gradient = std::mem::take(&mut self.gradient);
        let loss = self.part(&self.point, part, Some(&mut gradient));
        self.gradient = gradient;
        Ok(loss)
    }

    fn read_gradient(&mut self, start: usize, out: &mut [f32]) -> Result<(), ModelError> {
        out.copy_from_slice(&self.gradient[start..start + out.len()]);
        Ok(())
    }

    fn losses(&mut self) -> Result<Vec<f64>, ModelError> {
        Ok((0..PARTS).map(|part| self.part(&self.point, part, None)).collect())
    }
}

/// A run with its miners.
pub struct Arena {
    pub genesis: Genesis,
    pub layout: GradientLayout,
    pub start: OuterState,
    pub window: Window,
    pub ratings: Ratings,
    pub registered: BTreeMap<Uid, PublicKey>,
    /// What a miner's data adds to the true direction, against it.
    pub noise: f32,
    /// How far the parts of the evaluation text disagree.
    pub text_noise: f32,
    senders: BTreeMap<Uid, Sender>,
    earlier: Earlier,
}

/// The payloads of the windows before, and whether nobody was merged in theirs; and what was merged.
#[derive(Debug, Default)]
struct Earlier(Vec<(Uid, Window, bool, Payload)>, Vec<Aggregate>);

impl EarlierPayloads for Earlier {
    fn for_each(&self, visit: &mut dyn FnMut(EarlierPayload<'_>)) {
        for (uid, window, is_of_null_window, payload) in &self.0 {
            visit(EarlierPayload { uid: *uid, window: *window, is_of_null_window: *is_of_null_window, payload });
        }
    }

    fn for_each_merged(&self, visit: &mut dyn FnMut(Window, &Aggregate)) {
        self.1.iter().for_each(|merged| visit(merged.window(), merged));
    }
}

pub fn hotkey(uid: Uid) -> PublicKey {
    PublicKey::new([uid.0 as u8 + 1; 32])
}

impl Arena {
    pub fn new() -> Self {
        let genesis = genesis();
        let kept = |len: usize, kept| (format!("tensor of {len}"), len, kept);
        let layout = GradientLayout::new([kept(4096, 128), kept(4096, 128), kept(WALLED, 128)]).unwrap();
        Self::with(genesis, layout)
    }

    /// An arena of this rule, which keeps so many of 4096.
    pub fn of_rule(outer: OuterRule, kept: u16) -> Self {
        let tensors = [4096, 4096, WALLED].map(|len| (format!("tensor of {len}"), len, kept));
        let layout = GradientLayout::new(tensors).unwrap().with_values(outer.values).unwrap();
        Self::with(Genesis { outer, ..genesis() }, layout)
    }

    fn with(genesis: Genesis, layout: GradientLayout) -> Self {
        Self {
            genesis,
            layout,
            start: OuterState::new(vec![0.0; PARAMETERS]),
            window: Window(0),
            ratings: Ratings::default(),
            registered: (0..64).map(|uid| (Uid(uid), hotkey(Uid(uid)))).collect(),
            noise: 1.0,
            text_noise: 0.3,
            senders: BTreeMap::new(),
            earlier: Earlier::default(),
        }
    }

    pub fn model(&self) -> Bowl {
        Bowl::new(self.window, self.text_noise)
    }

    pub fn run(&self) -> RunId {
        self.genesis.run_id()
    }

    pub fn beacon(&self) -> Beacon {
        Beacon::new([self.window.0 as u8 ^ 0x5a; 32])
    }

    pub fn data_digest(&self, uid: Uid) -> ContentHash {
        ContentHash::of(format!("batches of {uid} in {}", self.window).as_bytes())
    }

    /// What an honest payload says.
    pub fn metadata(&self, uid: Uid) -> Metadata {
        Metadata {
            run: self.run(),
            window: self.window,
            uid,
            start_state: self.start.hash(),
            data_digest: self.data_digest(uid),
            tokens_trained: u64::from(STEPS) * 32,
            inner_steps: STEPS,
            numerics: self.genesis.numerics.clone(),
            ..Metadata::default()
        }
    }

    /// A payload that sends `wanted` and nothing else.
    pub fn payload_of(&self, uid: Uid, wanted: &[f32]) -> Payload {
        Sender::once(&self.layout, Accumulation::of(&self.genesis.outer), wanted, self.metadata(uid)).unwrap()
    }

    /// The drift of honest training on data of its own; `effort` is how much data of that.
    pub fn honest_drift(&self, uid: Uid, effort: f32) -> Vec<f32> {
        let bowl = self.model();
        let mut data = Stream::new([uid.0 as u8 + 1; 32], "own data", self.window.0);
        let mut x = self.start.params.clone();
        for (j, x) in x.iter_mut().enumerate().take(TRAINED) {
            let slope = bowl.curvature[j] * (self.start.params[j] - bowl.optimum[j]);
            // Small, for error feedback collects up to ten windows of it before a coordinate is sent.
            *x -= 0.05 * (effort * slope + effort.sqrt() * self.noise * bowl.curvature[j] * normal(&mut data));
        }
        drift_between(&self.start.params, &x).unwrap()
    }

    /// The payload of an honest miner, which carries on its error feedback.
    pub fn honest(&mut self, uid: Uid, effort: f32) -> Payload {
        let (delta, metadata) = (self.honest_drift(uid, effort), self.metadata(uid));
        let rules = Accumulation::of(&self.genesis.outer);
        let sender = self.senders.entry(uid).or_insert_with(|| Sender::new(self.layout.clone(), rules));
        sender.send(&delta, metadata).unwrap()
    }

    /// What arrives of a payload that went through its bytes; committed in a block that follows from the uid.
    pub fn entry(&self, payload: &Payload) -> Entry {
        let uid = payload.metadata().uid;
        self.entry_as(uid, payload)
    }

    /// The same in the bucket of `uid`.
    pub fn entry_as(&self, uid: Uid, payload: &Payload) -> Entry {
        let bytes = payload.encode();
        let submission = match Payload::decode(&bytes, &self.layout) {
            Ok(payload) => Submission::Payload {
                payload: Box::new(payload),
                hash: ContentHash::of(&bytes),
                data_digest: Some(self.data_digest(uid)),
            },
            Err(error) => Submission::Rejected(Rejection::Undecodable { reason: error.to_string() }),
        };
        Entry { uid, hotkey: self.registered[&uid], block: BlockNumber(100 + u64::from(uid.0)), submission }
    }

    /// Entries of honest miners with these uids.
    pub fn honest_entries(&mut self, uids: impl IntoIterator<Item = u16>) -> Vec<Entry> {
        uids.into_iter()
            .map(|uid| {
                let payload = self.honest(Uid(uid), 1.0);
                self.entry(&payload)
            })
            .collect()
    }

    pub fn judge(&self, entries: &[Entry]) -> Verdict {
        let input = WindowInput {
            genesis: &self.genesis,
            inner_steps: self.genesis.data.batches_per_window as u32,
            run: self.run(),
            window: self.window,
            beacon: self.beacon(),
            start: &self.start,
            start_state: self.start.hash(),
            registered: &self.registered,
            entries,
            earlier: &self.earlier,
            ratings: &self.ratings,
        };
        judge(&input, &mut self.model()).unwrap()
    }

    /// The agreed outcome: the outer step of the selected, the ratings, the next window.
    pub fn advance(&mut self, entries: &[Entry], verdict: &Verdict) {
        let merged: Vec<(&Payload, u32)> = entries
            .iter()
            .filter(|entry| verdict.selected.contains(&entry.uid))
            .filter_map(|entry| match &entry.submission {
                Submission::Payload { payload, .. } => Some((payload.as_ref(), 1)),
                Submission::Rejected(_) => None,
            })
            .collect();
        if merged.is_empty() {
            self.start.rest();
        } else {
            let aggregate = Aggregate::merge(&self.layout, &merged, self.rule_of(verdict)).unwrap();
            self.step().apply(&mut self.start, &aggregate).unwrap();
            self.earlier.1.push(aggregate);
        }
        let is_null = merged.is_empty();
        let window = self.window;
        self.earlier.0.extend(entries.iter().filter_map(|entry| match &entry.submission {
            Submission::Payload { payload, .. } => Some((entry.uid, window, is_null, (**payload).clone())),
            Submission::Rejected(_) => None,
        }));
        self.earlier.0.retain(|(_, past, _, _)| window.windows_since(*past) < COMPARED_WINDOWS);
        self.earlier.1.retain(|merged| window.windows_since(merged.window()) < COMPARED_WINDOWS);
        self.ratings = verdict.ratings.clone();
        self.window = self.window.next();
    }

    /// The values of what was merged last.
    pub fn last_merged(&self) -> Vec<f32> {
        let mut values = vec![0.0; PARAMETERS];
        if let Some(merged) = self.earlier.1.last() {
            merged.for_each(|index, value| values[index] = value);
        }
        values
    }

    pub fn step(&self) -> OuterStep {
        OuterStep::of(&self.genesis.outer, self.window)
    }

    pub fn rule(&self) -> MergeRule {
        merge_rule(&self.genesis)
    }

    /// The rule with the part of the step that a verdict says.
    pub fn rule_of(&self, verdict: &Verdict) -> MergeRule {
        MergeRule { step: verdict.step(), ..self.rule() }
    }

    /// The weights that follow from a ratings after the present window.
    pub fn weights(&self, ratings: &Ratings) -> BTreeMap<Uid, u16> {
        weights(ratings, &self.genesis.economics, self.window).into_iter().collect()
    }
}

pub fn miner(verdict: &Verdict, uid: u16) -> &MinerVerdict {
    verdict.miners.iter().find(|miner| miner.uid == Uid(uid)).expect("the verdict speaks of every entry")
}

pub fn standing(verdict: &Verdict, uid: u16) -> &Standing {
    &miner(verdict, uid).standing
}
