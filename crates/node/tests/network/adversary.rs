//! Miners that cheat through the same public formats that honest ones use.

use super::World;
use std::sync::Arc;
use std::time::{Duration, Instant};
use templar_audit::Answer;
use templar_base::random::Stream;
use templar_base::{ContentHash, Keypair, PublicKey, RunId, StateHash, Uid, Window};
use templar_bucket::Bucket;
use templar_chain::Topic;
use templar_engine::{CpuBackend, DeviceName, OpenRequest, OptimiserConfig, open};
use templar_gradient::{Accumulation, Metadata, Payload};
use templar_round::{ObjectKey, Reveal, SealCommitment, SealKey, Sealed, seal};
use templar_trainer::{AssignedText, MemoryAnchor, Sender, SharedState, Trainer, Volatile, WindowData, WorkerRules};

/// What an adversary does in every window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Nothing wrong: trains and sends. What shows that the others fail by their act alone.
    Honest,
    /// Nothing wrong either, with a quarter of the steps.
    Brief,
    /// Random values, everything else right.
    Noise,
    /// No value at all.
    Zeros,
    /// Sealed bytes that are no payload.
    Garbage,
    /// Serves more bytes than committed.
    Oversize,
    /// Serves other bytes than committed.
    Mismatch,
    /// Never publishes the key.
    NoReveal,
    /// Publishes another key.
    WrongKey,
    /// Publishes the right key with somebody else's signature.
    ForeignSignature,
    /// Commits after the window's end.
    Late,
    /// Commits bytes that are no commitment.
    BadCommitment,
    /// Sends its payload of the first window again, as it was.
    Stale,
    /// Sends its values of the first window under this window's name and start.
    Relabelled,
    /// Commits miner 0's sealed object as its own, and publishes miner 0's key.
    Thief,
    /// A payload made for another uid.
    OtherUid,
    /// The values of the honest adversary with its own metadata.
    Twin,
    /// Trains on another's text, says that it was its own, and answers audits of that.
    OtherText,
    /// Another data digest.
    WrongData,
    /// Another start state.
    WrongStart,
    /// Another run.
    WrongRun,
    /// More tokens than steps give.
    MoreTokens,
    /// Sends the largest values of what was merged last, and trains not at all.
    LastMerged,
    /// Trains, and sends the opposite.
    SignFlip,
    /// Trains, and sends a thousand times as much.
    Huge,
}

/// One cheating miner.
pub struct Adversary {
    pub act: Act,
    pub hotkey: Keypair,
    pub uid: Uid,
    bucket: Bucket,
    first: Option<Payload>,
    /// What is done at the window's end.
    reveal: Option<Vec<u8>>,
    late: Option<Vec<u8>>,
    /// The answer to an audit of the window.
    answer: Option<Vec<u8>>,
}

impl Adversary {
    pub fn new(act: Act, hotkey: Keypair, uid: Uid, bucket: Bucket) -> Self {
        Self { act, hotkey, uid, bucket, first: None, reveal: None, late: None, answer: None }
    }

    fn key(&self, window: Window) -> SealKey {
        let mut key = [0; 32];
        Stream::new(*self.hotkey.public().as_bytes(), "seal key", window.0).fill(&mut key);
        SealKey(key)
    }

    /// Before the window's end: object and commitment.
    pub async fn seal(&mut self, world: &World, window: Window) {
        if world.observer.next != window {
            return;
        }
        (self.reveal, self.late) = (None, None);
        let (own, run) = (self.hotkey.public(), world.run.id);
        let key = self.key(window);
        let reveal = |key: SealKey, author: &Keypair| Some(Reveal::new(key, run, window, author).to_bytes());
        self.reveal = reveal(key.clone(), &self.hotkey);
        let sealed = match self.act {
            Act::Thief => match self.steal(world, window).await {
                Some(sealed) => sealed,
                None => return,
            },
            Act::Garbage => seal(&[7; 900], &key, run, own, window),
            _ => seal(&self.payload(world, window).encode(), &key, run, own, window),
        };
        let Sealed { mut object, commitment } = sealed;
        let mut data = World::encoded(&commitment);
        match self.act {
            Act::Oversize => object.extend_from_slice(&[0; 4096]),
            Act::Mismatch => object[100] ^= 1,
            Act::NoReveal | Act::Thief => self.reveal = None,
            Act::WrongKey => self.reveal = reveal(SealKey([3; 32]), &self.hotkey),
            Act::ForeignSignature => self.reveal = reveal(key, &world.nodes["miner-0"].hotkey),
            Act::BadCommitment => data = vec![1; 77],
            _ => {}
        }
        self.bucket.put(&ObjectKey::Payload(window).to_string(), object.into()).await.unwrap();
        if self.act == Act::Late {
            self.late = Some(data);
        } else {
            world.commit(&self.hotkey, Topic::Sealed, window, data);
        }
    }

    /// After the window's end: the key.
    pub async fn reveal(&mut self, world: &World, window: Window) {
        if let Some(data) = self.late.take() {
            world.commit(&self.hotkey, Topic::Sealed, window, data);
        }
        if let Some(reveal) = self.reveal.take() {
            self.bucket.put(&ObjectKey::Reveal(window).to_string(), reveal.into()).await.unwrap();
        }
        if let Some(answer) = self.answer.take() {
            self.bucket.put(&ObjectKey::Audit(window, self.uid).to_string(), answer.into()).await.unwrap();
        }
        if self.act == Act::Thief {
            let (from, to) = (world.nodes["miner-0"].bucket.clone(), self.bucket.clone());
            let (run, hotkey) = (world.run.id, self.hotkey.clone());
            tokio::spawn(async move { pass_on_key(&from, &to, run, window, &hotkey).await });
        }
    }

    /// The victim's object under an own commitment.
    async fn steal(&self, world: &World, window: Window) -> Option<Sealed> {
        let victim = &world.nodes["miner-0"].bucket;
        let object = victim.get(&ObjectKey::Payload(window).to_string(), 64 << 20).await.ok()?.to_vec();
        let commitment = SealCommitment { digest: ContentHash::of(&object), bytes: object.len() as u32 };
        Some(Sealed { object, commitment })
    }

    fn payload(&mut self, world: &World, window: Window) -> Payload {
        let steps = world.run.genesis.data.batches_per_window as u32;
        let steps = if self.act == Act::Brief { steps / 4 } else { steps };
        if self.act == Act::OtherText {
            let (payload, leaves) = other_text(world, window, (self.uid, &self.hotkey.public()), steps);
            self.answer = Some(Answer { window, uid: self.uid, leaves, last: None }.encode());
            return payload;
        }
        let (mut delta, metadata) = train(world, window, self.uid, &self.hotkey.public(), steps);
        let rules = Accumulation::of(&world.run.genesis.outer);
        let of = |delta: Vec<f32>, metadata| Sender::once(&world.run.layout, rules, &delta, metadata).unwrap();
        match self.act {
            Act::Noise => {
                let mut stream = Stream::new(*self.hotkey.public().as_bytes(), "noise", window.0);
                delta.iter_mut().for_each(|value| *value = (stream.unit_f32() - 0.5) * 0.02);
                of(delta, metadata)
            }
            Act::Zeros => of(vec![0.0; delta.len()], metadata),
            // Before anything was merged: honest work.
            Act::LastMerged => of(world.observer.merged.clone().unwrap_or(delta), metadata),
            Act::SignFlip => of(delta.iter().map(|value| -value).collect(), metadata),
            Act::Huge => of(delta.iter().map(|value| value * 1000.0).collect(), metadata),
            Act::Twin => {
                let twin = world.honest_adversary.unwrap_or(self.hotkey.public());
                of(train(world, window, self.uid, &twin, steps).0, metadata)
            }
            Act::OtherUid => of(delta, Metadata { uid: world.nodes["miner-1"].uid, ..metadata }),
            Act::WrongData => of(delta, Metadata { data_digest: ContentHash::of(b"other"), ..metadata }),
            Act::WrongStart => of(delta, Metadata { start_state: StateHash::new([4; 32]), ..metadata }),
            Act::WrongRun => of(delta, Metadata { run: RunId::new([4; 32]), ..metadata }),
            Act::MoreTokens => {
                let tokens_trained = metadata.tokens_trained * 2;
                of(delta, Metadata { tokens_trained, ..metadata })
            }
            Act::Stale | Act::Relabelled => {
                let first = self.first.get_or_insert_with(|| of(delta, metadata.clone())).clone();
                if self.act == Act::Stale {
                    return first;
                }
                let data_digest = first.metadata().data_digest;
                first.with_metadata(Metadata { data_digest, ..metadata }).unwrap()
            }
            _ => of(delta, metadata),
        }
    }
}

fn beacon(world: &World, window: Window) -> templar_base::Beacon {
    let start = world.run.phases.start(window);
    world.chain.inner.with(|ledger| ledger.header(start).unwrap().beacon)
}

/// The drift of real training from the agreed parameters on the data of `hotkey`, and what a payload says of it.
fn train(world: &World, window: Window, uid: Uid, hotkey: &PublicKey, steps: u32) -> (Vec<f32>, Metadata) {
    let mut trainer = trained(world, window, (uid, hotkey), steps);
    (trainer.learner_mut().drift().unwrap(), trainer.metadata(window).unwrap())
}

/// A payload of training on another's text that says that it was the own, and the leaves of its trajectory.
fn other_text(
    world: &World,
    window: Window,
    (uid, hotkey): (Uid, &PublicKey),
    steps: u32,
) -> (Payload, Vec<ContentHash>) {
    let mut trainer = trained(world, window, (uid, &PublicKey::new([0x77; 32])), steps);
    let start = trainer.shared().state;
    let sealed = trainer.seal(window, start, &mut Volatile).unwrap();
    let own = world.data.assignments.assignment(window, hotkey, &beacon(world, window));
    let metadata = Metadata { data_digest: own.digest(0, steps).unwrap(), ..sealed.payload.metadata().clone() };
    (sealed.payload.with_metadata(metadata).unwrap(), sealed.leaves)
}

/// A trainer that starts afresh as `uid`, after these steps on the text of a hotkey.
fn trained(world: &World, window: Window, (uid, text_of): (Uid, &PublicKey), steps: u32) -> Trainer {
    let (genesis, observer) = (&world.run.genesis, &world.observer);
    let inner = &genesis.inner;
    let optimiser = OptimiserConfig {
        beta1: inner.beta1,
        beta2: inner.beta2,
        epsilon: inner.epsilon,
        weight_decay: inner.weight_decay,
        clip_norm: inner.clip_norm,
        hidden_matrices: inner.hidden_matrices,
    };
    let rules = WorkerRules {
        run: world.run.id,
        uid,
        layout: world.run.layout.clone(),
        outer: genesis.outer.clone(),
        numerics: genesis.numerics.clone(),
    };
    let request = OpenRequest::new(genesis.model.clone()).with_optimiser(optimiser);
    let engine = open(&DeviceName::cpu(), &[&CpuBackend], request).unwrap();
    let shared = SharedState::new(observer.next, observer.held.clone());
    let mut trainer = Trainer::new(rules, engine, shared, Box::<MemoryAnchor>::default()).unwrap();
    if genesis.audit.is_on() {
        trainer.bind_steps();
    }
    let assignment = world.data.assignments.assignment(window, text_of, &beacon(world, window));
    let text = Arc::new(AssignedText { assignment, rule: world.data.batch_rule });
    let learning_rate = inner.schedule.learning_rate(window);
    trainer.begin(WindowData { window, text, inner_steps: steps, learning_rate }).unwrap();
    while trainer.step().unwrap().is_some() {}
    trainer
}

/// Publishes the victim's key under an own signature as soon as it is out.
async fn pass_on_key(from: &Bucket, to: &Bucket, run: RunId, window: Window, hotkey: &Keypair) {
    let name = ObjectKey::Reveal(window).to_string();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Ok(bytes) = from.get(&name, 1000).await {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes[4..36]);
            let own = Reveal::new(SealKey(key), run, window, hotkey).to_bytes();
            let _ = to.put(&name, own.into()).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
