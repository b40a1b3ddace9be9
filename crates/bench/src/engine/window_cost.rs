//! What the ends of a window cost a node with this engine: sealing a payload, and judging those of others.

use super::EngineBenchError;
use super::models::Shape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use templar_base::{
    Beacon, BlockNumber, ContentHash, CorpusHashes, FirstParameters, Genesis, ModelConfig, PublicKey, Uid, Window,
};
use templar_engine::{Batch, Engine, initial_parameters};
use templar_gauntlet::{Entry, Ratings, Submission, WindowInput, judge};
use templar_gradient::{Accumulation, Metadata, OuterState, Payload, state_hash};
use templar_node::EvaluationModel;
use templar_record::Rules;
use templar_round::{SealKey, seal};
use templar_trainer::{Learner, MemoryAnchor, Sender, SharedState, TrainerError};

/// Inner steps of a miner: enough for payloads that differ and help, since their number does not change the cost.
const STEPS: u32 = 2;
/// The rate of an inner step.
const LEARNING_RATE: f32 = 1e-3;
/// Tokens that the texts use, so that two steps on one of them help on the others.
const ALPHABET: u64 = 64;
/// Where the first parameters come from.
pub(super) const SEED: [u8; 32] = [1; 32];

/// What the ends of a window cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowCost {
    /// Seconds from the last inner step to the sealed payload: drift, selection, coding, encryption, error feedback.
    pub seal_seconds: f64,
    /// Bytes of the sealed payload.
    pub sealed_bytes: usize,
    /// Seconds for judging the payloads.
    pub judge_seconds: f64,
    /// Payloads that were judged.
    pub judged: u16,
    /// Of those, how many would be merged.
    pub selected: usize,
    /// Sequences that they were judged on.
    pub sequences: usize,
}

/// Makes this many payloads, one miner after the other, and judges them, as nodes do.
pub fn window_cost(engine: Box<dyn Engine>, shape: Shape, payloads: u16) -> Result<WindowCost, EngineBenchError> {
    let config = engine.config().clone();
    let start = initial_parameters(&config, SEED);
    let run = Rules::new(genesis(&config, &start, engine.numerics().to_string(), shape))?;
    let shared = SharedState::new(Window::ZERO, OuterState::new(start));
    let mut learner = Learner::new(engine, shared, Box::<MemoryAnchor>::default())?;
    let (mut entries, mut sealed) = (Vec::new(), None);
    for uid in (0..payloads).map(Uid) {
        for step in 0..STEPS {
            let text = text(&config, shape, u64::from(uid.get()) * u64::from(STEPS) + u64::from(step) + 1);
            learner.train(std::slice::from_ref(&text), LEARNING_RATE)?;
        }
        let begun = Instant::now();
        let (payload, bytes) = seal_payload(&run, &mut learner, uid)?;
        sealed.get_or_insert((begun.elapsed().as_secs_f64(), bytes));
        // The next miner begins where this one did.
        if let Some(error) = learner.discard()? {
            return Err(error.into());
        }
        learner.engine_mut().reset_optimiser()?;
        entries.push(entry(uid, payload));
    }
    let (seal_seconds, sealed_bytes) = sealed.unwrap_or_default();
    let judging = &run.genesis.judging;
    let part = Shape { sequences: judging.evaluation_sequences / judging.evaluation_parts, ..shape };
    let parts: Vec<Batch> =
        (0..judging.evaluation_parts as u64).map(|number| text(&config, part, (1 << 32) + number)).collect();
    let registered: BTreeMap<Uid, PublicKey> = entries.iter().map(|entry| (entry.uid, entry.hotkey)).collect();
    let (outer, start_state) = (learner.shared().outer.clone(), learner.shared().state);
    let input = WindowInput {
        genesis: &run.genesis,
        inner_steps: STEPS,
        run: run.id,
        window: Window::ZERO,
        beacon: Beacon::new(SEED),
        start: &outer,
        start_state,
        registered: &registered,
        entries: &entries,
        earlier: &(),
        ratings: &Ratings::default(),
    };
    let begun = Instant::now();
    let verdict = judge(&input, &mut EvaluationModel::new(learner.engine_mut(), &parts))?;
    Ok(WindowCost {
        seal_seconds,
        sealed_bytes,
        judge_seconds: begun.elapsed().as_secs_f64(),
        judged: payloads,
        selected: verdict.selected.len(),
        sequences: judging.evaluation_sequences,
    })
}

/// The defaults of a run, for this model, these numerics and texts of this length.
fn genesis(config: &ModelConfig, start: &[f32], numerics: String, shape: Shape) -> Genesis {
    let none = ContentHash::of(b"no corpus");
    let mut genesis = Genesis::new(config.clone(), CorpusHashes { tokenizer: none, manifest: none });
    genesis.first_parameters = FirstParameters::Seed(ContentHash::new(SEED));
    genesis.first_state = state_hash(start);
    genesis.numerics = numerics;
    let (pool, evaluation) = (genesis.judging.pool as u16, genesis.judging.evaluation_sequences);
    let data = &mut genesis.data;
    (data.sequence_length, data.sequences_per_batch) = (shape.length, shape.sequences);
    data.span_sequences = data.span_for(pool, evaluation);
    genesis
}

/// What a miner does at the end of its window; the payload, and the bytes of its sealed form.
fn seal_payload(run: &Rules, learner: &mut Learner, uid: Uid) -> Result<(Payload, usize), EngineBenchError> {
    let mut sender = Sender::new(run.layout.clone(), Accumulation::of(&run.genesis.outer));
    let batch = &run.genesis.data;
    let tokens = batch.sequences_per_batch * batch.sequence_length;
    let metadata = Metadata {
        run: run.id,
        window: Window::ZERO,
        uid,
        start_state: learner.shared().state,
        data_digest: ContentHash::default(),
        tokens_trained: u64::from(STEPS) * tokens as u64,
        inner_steps: STEPS,
        steps_before_rebase: 0,
        carried_start: 0,
        carried_steps: 0,
        numerics: run.genesis.numerics.clone(),
        start: Default::default(),
        start_feedback: ContentHash::default(),
        feedback_origin: sender.origin(),
        end: Default::default(),
        trajectory_root: Default::default(),
        error_feedback_root: ContentHash::default(),
    };
    let payload = sender.prepare::<TrainerError>(metadata, |range, out| learner.drift_of(range, out))?;
    let object = seal(payload.bytes(), &SealKey(SEED), run.id, hotkey(uid), Window::ZERO).object;
    sender.commit::<TrainerError>(&payload, |range, out| learner.drift_of(range, out))?;
    Ok((payload, object.len()))
}

fn entry(uid: Uid, payload: Payload) -> Entry {
    let (hash, data_digest) = (ContentHash::of(payload.bytes()), Some(payload.metadata().data_digest));
    let submission = Submission::Payload { payload: Box::new(payload), hash, data_digest };
    Entry { uid, hotkey: hotkey(uid), block: BlockNumber(u64::from(uid.get())), submission }
}

fn hotkey(uid: Uid) -> PublicKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&(uid.get() + 1).to_le_bytes());
    PublicKey::new(key)
}

/// A text of few different tokens; texts of different numbers have them in another order.
fn text(config: &ModelConfig, shape: Shape, number: u64) -> Batch {
    let token = |place: u64| {
        let mixed = ((number << 32) | place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Smaller ones are more frequent: that is what can be learnt.
        ((mixed >> 58) * ((mixed >> 52) & 63) / ALPHABET) as u32 % config.vocab_size as u32
    };
    let tokens = shape.sequences * (shape.length + 1);
    Batch::new((0..tokens as u64).map(token).collect(), shape.sequences, shape.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_engine::preset;
    use templar_model::engine_of;

    #[test]
    fn what_miners_made_is_sealed_judged_and_merged() {
        let config = preset("nano", 256).unwrap();
        let engine = engine_of(&config, &initial_parameters(&config, SEED), 1).unwrap();
        let cost = window_cost(engine, Shape { sequences: 4, length: 32 }, 3).unwrap();
        assert_eq!(cost.judged, 3);
        assert!(cost.selected > 0, "{cost:?}");
        assert!(cost.sealed_bytes > config.parameter_count() / 64, "{cost:?}");
        assert!(cost.seal_seconds > 0.0 && cost.judge_seconds > cost.seal_seconds, "{cost:?}");
    }
}
