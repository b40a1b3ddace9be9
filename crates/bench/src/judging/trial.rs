//! One run, window by window: both judgings of the same payloads, and what is true of them.

use super::counted::{Counted, Sequences};
use super::ranks::rank_correlation;
use super::subnet::Subnet;
use super::truth::Truth;
use super::{JudgingBenchError, report::Figure};
use crate::memory::{Effort, measured};
use std::collections::BTreeMap;
use templar_base::{BlockNumber, ContentHash, Uid};
use templar_engine::{Batch, Engine};
use templar_gauntlet::{Entry, Model, Ratings, Submission, Verdict, WindowInput, judge, merge_rule, pool};
use templar_gradient::{MergeRule, Payload};
use templar_node::EvaluationModel;
use templar_simulator::{ModelError, Original, OriginalRuling, OriginalWindow, TrialModel, TriedOn};

/// What a judging took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub sequences: Sequences,
    pub effort: Effort,
}

/// What a step was expected to bring and what it brought, in nats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub promised: f64,
    pub judged: f64,
    pub held_out: f64,
}

/// What was seen of one window.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub registered: usize,
    pub judged: usize,
    pub ours: Spent,
    /// None where not all registered miners have made a payload: the original judges them all.
    pub original: Option<Spent>,
    /// Rank correlations with leaving out, of figures that have an order.
    pub correlations: Vec<(Figure, f64)>,
    /// None where nothing was merged.
    pub step: Option<Step>,
}

/// A run under way: ours decides what is merged.
pub(super) struct Trial {
    subnet: Subnet,
    ratings: Ratings,
    original: Original,
    held_out_loss: f64,
}

impl Trial {
    pub fn new(mut subnet: Subnet) -> Result<Self, JudgingBenchError> {
        let held_out_loss = subnet.held_out_loss()?;
        Ok(Self { subnet, ratings: Ratings::default(), original: Original::default(), held_out_loss })
    }

    pub fn window(&mut self) -> Result<Seen, JudgingBenchError> {
        let sealed: Vec<Uid> = self.subnet.registered.keys().copied().collect();
        let (places, window) = (self.subnet.run.genesis.judging.pool, self.subnet.shared.next);
        let pool = pool(&self.ratings.ranking(), &sealed, places, window, self.subnet.beacon());
        let payloads = self.subnet.train(&pool)?;
        let text = self.subnet.judgement_text()?;
        let (verdict, ours) = self.judge_by_ours(&payloads, &text)?;
        let mut correlations = self.agreement_of_ours(&payloads, &text, &verdict)?;
        let mut original = None;
        if pool.len() == sealed.len() {
            let (ruling, spent) = self.judge_by_original(&payloads, &text)?;
            correlations.extend(self.agreement_of_original(&payloads, &text, &ruling)?);
            original = Some(spent);
        }
        self.subnet.apply(&payloads, &verdict)?;
        let step = self.step(&verdict)?;
        self.ratings = verdict.ratings;
        Ok(Seen { registered: sealed.len(), judged: pool.len(), ours, original, correlations, step })
    }

    fn judge_by_ours(
        &mut self,
        payloads: &BTreeMap<Uid, Payload>,
        text: &[Batch],
    ) -> Result<(Verdict, Spent), JudgingBenchError> {
        let (beacon, inner_steps) = (self.subnet.beacon(), self.subnet.steps());
        let Subnet { run, shared, engine, registered, .. } = &mut self.subnet;
        let entry = |(uid, payload): (&Uid, &Payload)| {
            let (hash, data_digest) = (ContentHash::of(payload.bytes()), Some(payload.metadata().data_digest));
            let submission = Submission::Payload { payload: Box::new(payload.clone()), hash, data_digest };
            Entry { uid: *uid, hotkey: registered[uid], block: BlockNumber(u64::from(uid.get())), submission }
        };
        let entries: Vec<Entry> = payloads.iter().map(entry).collect();
        let input = WindowInput {
            genesis: &run.genesis,
            inner_steps,
            run: run.id,
            window: shared.next,
            beacon,
            start: &shared.outer,
            start_state: shared.state,
            registered,
            entries: &entries,
            earlier: &(),
            ratings: &self.ratings,
        };
        let mut model = Counted::new(EvaluationModel::new(engine.as_mut(), text), text);
        let (verdict, effort) = measured(|| judge(&input, &mut model));
        Ok((verdict?, Spent { sequences: model.seen(), effort }))
    }

    fn judge_by_original(
        &mut self,
        payloads: &BTreeMap<Uid, Payload>,
        text: &[Batch],
    ) -> Result<(OriginalRuling, Spent), JudgingBenchError> {
        let own = |uid: &Uid| Ok((*uid, self.subnet.own_text(*uid)?));
        let own: BTreeMap<Uid, Vec<Batch>> = payloads.keys().map(own).collect::<Result<_, JudgingBenchError>>()?;
        let by_uid: BTreeMap<Uid, &Payload> = payloads.iter().map(|(uid, payload)| (*uid, payload)).collect();
        let beacon = self.subnet.beacon();
        let Subnet { run, shared, engine, .. } = &mut self.subnet;
        let window = OriginalWindow {
            layout: &run.layout,
            outer: &run.genesis.outer,
            window: shared.next,
            start: &shared.outer.params,
            beacon,
            payloads: &by_uid,
        };
        let mut trials = Trials { engine: engine.as_mut(), common: text, own: &own, seen: Sequences::default() };
        let (ruling, effort) = measured(|| self.original.judge(&window, &mut trials));
        Ok((ruling?, Spent { sequences: trials.seen, effort }))
    }

    /// What ours says of the merged payloads, beside what leaving each out of its merge shows.
    fn agreement_of_ours(
        &mut self,
        payloads: &BTreeMap<Uid, Payload>,
        text: &[Batch],
        verdict: &Verdict,
    ) -> Result<Vec<(Figure, f64)>, JudgingBenchError> {
        let uids = &verdict.selected;
        let rule = MergeRule { step: verdict.step(), ..merge_rule(&self.subnet.run.genesis) };
        let layout = self.subnet.run.layout.clone();
        let mut truth = truth(&mut self.subnet, text);
        let brought = truth.left_out(uids, |some| super::subnet::merge(&layout, payloads, some, rule))?;
        let contribution = |uid: &Uid| verdict.miner(*uid)?.contribution.as_ref().map(|own| own.mean.to_f64());
        let rating = |uid: &Uid| verdict.ratings.miners.get(uid).map(|record| record.rating.mean);
        Ok([
            (Figure::Contribution, agreement(uids, &brought, contribution)),
            (Figure::Rating, agreement(uids, &brought, rating)),
        ]
        .into_iter()
        .filter_map(|(figure, correlation)| Some((figure, correlation?)))
        .collect())
    }

    /// The same of the original, whose merge is another.
    fn agreement_of_original(
        &mut self,
        payloads: &BTreeMap<Uid, Payload>,
        text: &[Batch],
        ruling: &OriginalRuling,
    ) -> Result<Vec<(Figure, f64)>, JudgingBenchError> {
        let by_uid: BTreeMap<Uid, &Payload> = payloads.iter().map(|(uid, payload)| (*uid, payload)).collect();
        let (run, shared, beacon) = (self.subnet.run.clone(), self.subnet.shared.clone(), self.subnet.beacon());
        let window = OriginalWindow {
            layout: &run.layout,
            outer: &run.genesis.outer,
            window: shared.next,
            start: &shared.outer.params,
            beacon,
            payloads: &by_uid,
        };
        let uids = &ruling.merged;
        let brought = truth(&mut self.subnet, text).left_out(uids, |some| Ok(window.merge(some)?))?;
        let decrease = agreement(uids, &brought, |uid| ruling.decreases.get(uid).copied());
        let score = agreement(uids, &brought, |uid| Some(self.original.score(*uid)));
        Ok([(Figure::Decrease, decrease), (Figure::Score, score)]
            .into_iter()
            .filter_map(|(figure, correlation)| Some((figure, correlation?)))
            .collect())
    }

    /// What the applied step was to bring and brought; the loss on held-out text moves on.
    fn step(&mut self, verdict: &Verdict) -> Result<Option<Step>, JudgingBenchError> {
        let after = self.subnet.held_out_loss()?;
        let held_out = std::mem::replace(&mut self.held_out_loss, after) - after;
        let confirmed = verdict.confirmation.as_ref().filter(|_| !verdict.selected.is_empty());
        Ok(confirmed.and_then(|own| {
            let judged = own.loss_before - own.loss_after?;
            Some(Step { promised: own.predicted.to_f64(), judged, held_out })
        }))
    }
}

fn truth<'a>(subnet: &'a mut Subnet, text: &'a [Batch]) -> Truth<'a> {
    let step = subnet.step();
    Truth { engine: subnet.engine.as_mut(), text, start: &subnet.shared.outer, step }
}

/// How well a figure orders what the payloads bring; none where it gives them no order.
fn agreement(uids: &[Uid], brought: &[f64], figure: impl Fn(&Uid) -> Option<f64>) -> Option<f64> {
    let known = uids.iter().zip(brought).filter_map(|(uid, brought)| Some((figure(uid)?, *brought)));
    let (figures, brought): (Vec<f64>, Vec<f64>) = known.unzip();
    rank_correlation(&figures, &brought)
}

/// The engine and the texts of the original's judging, counted.
struct Trials<'a> {
    engine: &'a mut dyn Engine,
    common: &'a [Batch],
    own: &'a BTreeMap<Uid, Vec<Batch>>,
    seen: Sequences,
}

impl TrialModel for Trials<'_> {
    fn loss(&mut self, params: &[f32], text: TriedOn) -> Result<f64, ModelError> {
        let text = match text {
            TriedOn::Common => self.common,
            TriedOn::Own(uid) => self.own.get(&uid).map_or(&[][..], Vec::as_slice),
        };
        let failed = |error: templar_gauntlet::ModelError| ModelError(error.0);
        let mut model = Counted::new(EvaluationModel::new(&mut *self.engine, text), text);
        model.set_point(0, params).map_err(failed)?;
        let losses = model.losses().map_err(failed)?;
        let seen = model.seen();
        self.seen.add(seen);
        let sequences: f64 = text.iter().map(|part| part.sequences as f64).sum();
        let sum: f64 = text.iter().zip(losses).map(|(part, loss)| part.sequences as f64 * loss).sum();
        Ok(sum / sequences)
    }
}
