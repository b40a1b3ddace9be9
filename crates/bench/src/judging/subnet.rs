//! Miners of a small model on real text, in one process.

use super::{JudgingBench, JudgingBenchError};
use crate::convergence::micro;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use templar_base::{
    Beacon, ContentHash, CorpusHashes, FirstParameters, Genesis, PublicKey, StateHash, TensorClass, Uid, Window,
};
use templar_corpus::Corpus;
use templar_engine::{Batch, Buffer, Engine, EngineSource, initial_parameters};
use templar_gauntlet::{Verdict, merge_rule};
use templar_gradient::{Aggregate, GradientLayout, Merge, MergeRule, OuterState, OuterStep, Payload, state_hash};
use templar_node::{Data, evaluation_parts, open_engine};
use templar_record::Rules;
use templar_trainer::{
    AssignedText, MemoryAnchor, Outcome, SharedState, Trainer, TrainerError, Volatile, WindowData, WorkerRules,
    mean_loss,
};

const SEQUENCE_LENGTH: usize = 64;
/// Sequences of an inner step.
const SEQUENCES: usize = 4;
/// Kept values of each 4096: much, since so small a model has few.
const KEPT: u16 = 1_024;
const PEAK_RATE: f32 = 3e-3;
/// The part of the text that windows are judged on.
const EVALUATION_PERCENT: u32 = 10;
/// Sequences of the held-out text, or all where there are fewer: what a step brings there is small beside the noise of
/// few.
const HELD_OUT_SEQUENCES: u64 = 256;
/// Miners differ: the first does a quarter of the steps, the next a half, then three quarters, then all, and so on.
const KINDS: u32 = 4;

/// Inner steps of a miner, of those that there are.
fn steps_of(uid: Uid, all: u32) -> u32 {
    let kind = u32::from(uid.get()) % KINDS + 1;
    (all * kind).div_ceil(KINDS)
}

/// The rules of a subnet: the defaults of a genesis, but for what a small model and its text need.
fn rules(wanted: &JudgingBench, registered: u16, seed: u64, corpus: &Corpus) -> Result<Rules, JudgingBenchError> {
    let hashes = CorpusHashes { tokenizer: corpus.tokenizer().hash(), manifest: corpus.manifest_hash() };
    let mut genesis = Genesis::new(micro(corpus.manifest().vocab_size as usize)?, hashes);
    let key = *ContentHash::of(format!("judging {seed}").as_bytes()).as_bytes();
    genesis.first_parameters = FirstParameters::Seed(ContentHash::new(key));
    genesis.first_state = state_hash(&initial_parameters(&genesis.model, key));
    genesis.outer.tensor_classes = vec![TensorClass { suffix: String::new(), kept_per_chunk: KEPT }];
    genesis.inner.schedule.peak = PEAK_RATE;
    let held_out = corpus.held_out_tokens().saturating_sub(1) / SEQUENCE_LENGTH as u64;
    genesis.judging.held_out_sequences = held_out.clamp(1, HELD_OUT_SEQUENCES) as usize;
    let (pool, evaluation) = (genesis.judging.pool as u64, genesis.judging.evaluation_sequences);
    let data = &mut genesis.data;
    (data.sequence_length, data.sequences_per_batch) = (SEQUENCE_LENGTH, SEQUENCES);
    (data.batches_per_window, data.evaluation_percent) = (usize::from(wanted.steps), EVALUATION_PERCENT);
    data.span_sequences = data.span_for(u64::from(registered).min(pool) as u16, evaluation);
    Ok(Rules::new(genesis)?)
}

/// What figures are about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub parameters: usize,
    /// Sequences that a window is judged on.
    pub judged_sequences: usize,
    /// Sequences of a miner's own text that the original tries it on.
    pub own_sequences: usize,
    pub held_out_sequences: usize,
}

/// A subnet at the start of a window.
pub(super) struct Subnet {
    pub run: Rules,
    pub shared: SharedState,
    /// Computes for judges and for what is true.
    pub engine: Box<dyn Engine>,
    pub registered: BTreeMap<Uid, PublicKey>,
    data: Data,
    held_out: Vec<Batch>,
    /// Those in the pool of the last window.
    miners: BTreeMap<Uid, Trainer>,
}

impl Subnet {
    pub fn new(
        wanted: &JudgingBench,
        registered: u16,
        seed: u64,
        corpus: &Arc<Corpus>,
    ) -> Result<Self, JudgingBenchError> {
        let run = rules(wanted, registered, seed, corpus)?;
        let data = Data::new(&run, Arc::clone(corpus))?;
        Ok(Self {
            shared: SharedState::new(Window::ZERO, OuterState::new(run.first_parameters(None)?)),
            engine: open_engine(&run, &EngineSource::default(), 1)?,
            registered: (0..registered).map(|uid| (Uid(uid), hotkey(Uid(uid)))).collect(),
            held_out: data.held_out()?,
            miners: BTreeMap::new(),
            data,
            run,
        })
    }

    pub fn beacon(&self) -> Beacon {
        let name = format!("beacon {} of {}", self.shared.next, self.run.id);
        Beacon::new(*ContentHash::of(name.as_bytes()).as_bytes())
    }

    pub fn step(&self) -> OuterStep {
        OuterStep::of(&self.run.genesis.outer, self.shared.next)
    }

    /// Inner steps of a window.
    pub fn steps(&self) -> u32 {
        self.run.genesis.data.batches_per_window as u32
    }

    /// The payloads of the miners of a pool, which train at the same time. Whoever was not in the last pool begins at
    /// the shared parameters; nobody opens the payloads of the others, so they make none.
    pub fn train(&mut self, pool: &BTreeSet<Uid>) -> Result<BTreeMap<Uid, Payload>, JudgingBenchError> {
        self.miners.retain(|uid, _| pool.contains(uid));
        let strangers: Vec<Uid> = pool.iter().copied().filter(|uid| !self.miners.contains_key(uid)).collect();
        for uid in strangers {
            let miner = self.miner(uid)?;
            self.miners.insert(uid, miner);
        }
        let (window, state) = (self.shared.next, self.shared.state);
        let texts: Vec<WindowData> = self.miners.keys().map(|uid| self.share(*uid)).collect();
        let at_work: Vec<(&mut Trainer, WindowData)> = self.miners.values_mut().zip(texts).collect();
        let work = |(trainer, text): (&mut Trainer, WindowData)| work(trainer, text, window, state);
        let payloads = at_work.into_par_iter().map(work).collect::<Result<Vec<Payload>, TrainerError>>()?;
        Ok(pool.iter().copied().zip(payloads).collect())
    }

    fn miner(&self, uid: Uid) -> Result<Trainer, JudgingBenchError> {
        let (outer, numerics) = (self.run.genesis.outer.clone(), self.run.genesis.numerics.clone());
        let rules = WorkerRules { run: self.run.id, uid, layout: self.run.layout.clone(), outer, numerics };
        let (engine, shared) = (open_engine(&self.run, &EngineSource::default(), 1)?, self.shared.clone());
        Ok(Trainer::new(rules, engine, shared, Box::<MemoryAnchor>::default())?)
    }

    fn share(&self, uid: Uid) -> WindowData {
        let window = self.shared.next;
        let assignment = self.data.assignments.assignment(window, &hotkey(uid), &self.beacon());
        WindowData {
            window,
            text: Arc::new(AssignedText { assignment, rule: self.data.batch_rule }),
            inner_steps: steps_of(uid, self.steps()),
            learning_rate: self.run.genesis.inner.schedule.learning_rate(window),
        }
    }

    /// The text that judges measure on, in parts.
    pub fn judgement_text(&self) -> Result<Vec<Batch>, JudgingBenchError> {
        Ok(evaluation_parts(&self.run, &self.data, self.shared.next, &self.beacon())?)
    }

    /// The beginning of what a miner was assigned: as many sequences as windows are judged on, or all.
    pub fn own_text(&self, uid: Uid) -> Result<Vec<Batch>, JudgingBenchError> {
        let batches = self.run.genesis.judging.evaluation_sequences.div_ceil(SEQUENCES) as u32;
        let text = self.share(uid).text;
        Ok((0..batches.min(self.steps())).map(|number| text.batch(number)).collect::<Result<_, _>>()?)
    }

    /// The model and the text, for a report.
    pub fn facts(&self) -> Facts {
        let judging = &self.run.genesis.judging;
        let own = judging.evaluation_sequences.div_ceil(SEQUENCES).min(self.steps() as usize) * SEQUENCES;
        Facts {
            parameters: self.run.layout.parameters(),
            judged_sequences: judging.evaluation_sequences,
            own_sequences: own,
            held_out_sequences: judging.held_out_sequences,
        }
    }

    /// Everybody takes the step that was judged.
    pub fn apply(&mut self, payloads: &BTreeMap<Uid, Payload>, verdict: &Verdict) -> Result<(), JudgingBenchError> {
        let (window, step, alone) = (self.shared.next, self.step(), verdict.alone());
        let rule = MergeRule { step: verdict.step(), ..merge_rule(&self.run.genesis) };
        let merge = merge(&self.run.layout, payloads, &verdict.selected, rule)?;
        let aggregate = merge.map(|merge| Aggregate::of(&merge));
        let outcome = Outcome { aggregate: aggregate.as_ref(), step: &step };
        self.shared.advance::<TrainerError>(outcome, |_| Ok(()), |_, _, _| {})?;
        for (uid, miner) in &mut self.miners {
            miner.apply(window, outcome, &mut Volatile)?;
            if alone.voids_feedback_of(*uid) {
                miner.forget(window);
            }
        }
        Ok(())
    }

    /// The loss on held-out text at the shared parameters, in nats per token.
    pub fn held_out_loss(&mut self) -> Result<f64, JudgingBenchError> {
        self.engine.write(Buffer::Parameters, 0, &self.shared.outer.params)?;
        Ok(mean_loss(self.engine.as_mut(), &self.held_out)?)
    }
}

/// The merge of some of the payloads; none of none.
pub(super) fn merge<'p>(
    layout: &GradientLayout,
    payloads: &'p BTreeMap<Uid, Payload>,
    uids: &[Uid],
    rule: MergeRule,
) -> Result<Option<Merge<'p>>, JudgingBenchError> {
    let set: Vec<(&Payload, u32)> =
        payloads.iter().filter(|(uid, _)| uids.contains(uid)).map(|(_, payload)| (payload, 1)).collect();
    if set.is_empty() { Ok(None) } else { Ok(Some(Merge::new(layout, &set, rule)?)) }
}

fn work(trainer: &mut Trainer, text: WindowData, window: Window, state: StateHash) -> Result<Payload, TrainerError> {
    trainer.begin(text)?;
    while trainer.step()?.is_some() {}
    Ok(trainer.seal(window, state, &mut Volatile)?.payload)
}

fn hotkey(uid: Uid) -> PublicKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&(uid.get() + 1).to_le_bytes());
    PublicKey::new(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miners_differ_in_their_steps_and_nobody_does_none() {
        assert_eq!([0, 1, 2, 3, 4].map(|uid| steps_of(Uid(uid), 16)), [4, 8, 12, 16, 4]);
        assert_eq!([0, 3].map(|uid| steps_of(Uid(uid), 1)), [1, 1]);
    }
}
