//! What miners, attackers and judges of an arena share: the rules, the language, and the text of each window.

use crate::model::{Language, ModelError, Share, open_engine, small_genesis};
use std::sync::Arc;
use templar_base::{Beacon, ContentHash, PublicKey, StateHash, Uid, Window};
use templar_engine::{Batch, Engine};
use templar_gradient::{Accumulation, Metadata, OuterState, OuterStep, Payload};
use templar_record::Rules;
use templar_trainer::{MemoryAnchor, Sender, SharedState, Text, Trainer, WorkerRules};

/// Sequences of the held-out text: the error of its mean is shared by all runs of a seed, which are compared.
const HELD_OUT_SEQUENCES: usize = 256;

/// The sizes of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ArenaSizes {
    /// Honest miners.
    pub honest: u16,
    /// Windows.
    pub windows: u64,
    /// Width of the model.
    pub hidden: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Inner steps of a window.
    pub steps: usize,
}

impl ArenaSizes {
    /// The sizes of the default table: 12,000 parameters, which learn most of the language in these windows.
    pub const QUICK: Self = Self { honest: 9, windows: 40, hidden: 32, layers: 1, steps: 16 };
    /// Sizes for a night: 100,000 parameters, and time enough for what takes 200 windows.
    pub const FULL: Self = Self { honest: 12, windows: 240, hidden: 64, layers: 2, steps: 32 };
}

pub(super) fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError(error.to_string())
}

/// What all share.
pub(super) struct Ground {
    pub run: Rules,
    pub sizes: ArenaSizes,
    pub seed: u64,
    pub language: Arc<Language>,
    /// Text in it teaches nothing about the run's language.
    pub foreign: Arc<Language>,
    pub held_out: Vec<Batch>,
}

impl Ground {
    pub fn new(sizes: ArenaSizes, seed: u64) -> Result<Self, ModelError> {
        let genesis = small_genesis(sizes.hidden, sizes.layers, sizes.steps, seed);
        let run = Rules::new(genesis).map_err(failed)?;
        let data = &run.genesis.data;
        let language = |seed| Arc::new(Language::new(seed, data.sequence_length, data.sequences_per_batch));
        let (language, foreign) = (language(seed), language(!seed));
        let held_out = vec![language.batch("held out", 0, HELD_OUT_SEQUENCES)];
        Ok(Self { sizes, seed, language, foreign, held_out, run })
    }

    /// The parameters at the start of window 0.
    pub fn first(&self) -> Result<SharedState, ModelError> {
        let params = self.run.first_parameters(None).map_err(failed)?;
        Ok(SharedState::new(Window::ZERO, OuterState::new(params)))
    }

    pub fn engine(&self) -> Result<Box<dyn Engine>, ModelError> {
        open_engine(&self.run)
    }

    pub fn trainer(&self, uid: Uid, shared: SharedState) -> Result<Trainer, ModelError> {
        let genesis = &self.run.genesis;
        let rules = WorkerRules {
            run: self.run.id,
            uid,
            layout: self.run.layout.clone(),
            outer: genesis.outer.clone(),
            numerics: genesis.numerics.clone(),
        };
        Trainer::new(rules, self.engine()?, shared, Box::<MemoryAnchor>::default()).map_err(failed)
    }

    /// Inner steps of a window.
    pub fn steps(&self) -> u32 {
        self.sizes.steps as u32
    }

    /// What a key is to train on.
    pub fn share(&self, window: Window, uid: Uid) -> Share {
        Share { language: Arc::clone(&self.language), window, uid, batches: self.steps() }
    }

    /// The digest that a payload of this number of steps must name.
    pub fn data_digest(&self, window: Window, uid: Uid, steps: u32) -> Option<ContentHash> {
        self.share(window, uid).digest(0, steps).ok()
    }

    pub fn tokens_per_step(&self) -> u64 {
        let data = &self.run.genesis.data;
        (data.sequences_per_batch * data.sequence_length) as u64
    }

    /// What an honest payload of all steps says: an attacker can say it of any content.
    pub fn metadata(&self, window: Window, uid: Uid, start_state: StateHash) -> Metadata {
        Metadata {
            run: self.run.id,
            window,
            uid,
            start_state,
            data_digest: self.data_digest(window, uid, self.steps()).unwrap_or_default(),
            tokens_trained: u64::from(self.steps()) * self.tokens_per_step(),
            inner_steps: self.steps(),
            numerics: self.run.genesis.numerics.clone(),
            ..Metadata::default()
        }
    }

    /// A payload that sends the largest of these values and keeps nothing back.
    pub fn payload(&self, values: &[f32], metadata: Metadata) -> Result<Payload, ModelError> {
        let rules = Accumulation::of(&self.run.genesis.outer);
        Sender::once(&self.run.layout, rules, values, metadata).map_err(failed)
    }

    pub fn step(&self, window: Window) -> OuterStep {
        OuterStep::of(&self.run.genesis.outer, window)
    }

    pub fn beacon(&self, window: Window) -> Beacon {
        let name = format!("beacon of {window} with seed {} of {}", self.seed, self.run.id);
        Beacon::new(*ContentHash::of(name.as_bytes()).as_bytes())
    }

    /// The text that judges measure on, in the parts of the genesis; nobody trains on it.
    pub fn judgement_text(&self, window: Window) -> Vec<Batch> {
        let rule = &self.run.genesis.judging;
        let each = rule.evaluation_sequences / rule.evaluation_parts.max(1);
        let name = format!("judgement of {window}");
        (0..rule.evaluation_parts).map(|part| self.language.batch(&name, part as u64, each)).collect()
    }
}

pub(super) fn hotkey(uid: Uid) -> PublicKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&(uid.0 + 1).to_le_bytes());
    PublicKey::new(key)
}
