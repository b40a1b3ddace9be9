//! The measurements of a window: who is admitted, who is merged, and what part of the step is taken.

use crate::case::Case;
use crate::confirmation::confirm_trial;
use crate::contribution::MeasureError;
use crate::judge::{WindowInput, merge_rule};
use crate::newcomers::{Entrance, by_lot, enter};
use crate::probe::{drawn, probe};
use crate::trials::{Seen, Trial, Trials};
use crate::{
    Candidates, Confirmation, Contribution, MeasuredAt, Measurement, Model, Nats, Promise, Rated, Ratings, Threshold,
    measure_candidates, select,
};
use templar_base::{Probe, StepShare, Uid};
use templar_gradient::{MergeRule, OuterStep, Payload};

/// A judgement under way, with the agreed ratings from before the window.
pub(crate) struct Judgement<'a, 'r> {
    pub input: &'a WindowInput<'a>,
    pub ratings: &'r Ratings,
    /// By uid.
    pub cases: Vec<Case<'a>>,
}

/// What the first pass came to.
pub(crate) struct FirstPass {
    pub threshold: Threshold,
    /// Whose step was measured, ascending; nobody's where it was measured at the start.
    along: Vec<Uid>,
    part: StepShare,
    /// At the midpoint.
    losses: Vec<f64>,
    carried: Nats,
}

impl FirstPass {
    /// Its midpoint, which is the half of its step.
    fn seen(&self) -> Option<Seen> {
        let half = self.part.halved();
        let is_half = !self.along.is_empty() && half != self.part;
        let trial = Trial { losses: self.losses.clone() };
        is_half.then(|| Seen { uids: self.along.clone(), part: half, trial })
    }
}

/// Payloads that may be merged, best first.
type Set<'a> = Vec<(Uid, &'a Payload)>;

fn payloads<'a>(set: &[(Uid, &'a Payload)]) -> Vec<&'a Payload> {
    set.iter().map(|(_, payload)| *payload).collect()
}

impl<'a> Judgement<'a, '_> {
    fn place(&self, uid: Uid) -> Option<usize> {
        self.cases.binary_search_by_key(&uid, |case| case.entry.uid).ok()
    }

    fn payloads_of(&self, uids: &[Uid]) -> Set<'a> {
        uids.iter().filter_map(|uid| Some((*uid, self.cases[self.place(*uid)?].payload()?))).collect()
    }

    fn weight(&self, uid: Uid) -> f64 {
        self.ratings.weight_of(uid)
    }

    fn is_doubtful(&self) -> bool {
        self.ratings.doubt.is_real()
    }

    fn step(&self) -> OuterStep {
        OuterStep::of(&self.input.genesis.outer, self.input.window)
    }

    /// Measures everybody along the rated miners' step, which no stranger shapes; at the start where nobody is rated.
    pub fn first_pass(&mut self, model: &mut dyn Model) -> Result<FirstPass, MeasureError> {
        let all = self.cases.iter().filter(|case| !case.is_harmful);
        let all = all.filter_map(|case| Some((case.entry.uid, case.payload()?)));
        let (rated, others): (Set<'a>, Set<'a>) = all.partition(|(uid, _)| self.weight(*uid) > 0.0);
        let (merged, beside, at) = match rated.is_empty() {
            true => (others, Vec::new(), MeasuredAt::Start),
            false => (rated, others, MeasuredAt::Midpoint),
        };
        let along = match at {
            MeasuredAt::Start => Vec::new(),
            MeasuredAt::Midpoint => merged.iter().map(|(uid, _)| *uid).collect(),
        };
        let order: Vec<Uid> = merged.iter().chain(&beside).map(|(uid, _)| *uid).collect();
        let mut part = self.ratings.step;
        if order.is_empty() {
            let threshold = self.threshold(&[], &[]);
            return Ok(FirstPass { threshold, along, part, losses: Vec::new(), carried: Nats(0) });
        }
        let (merged, beside) = (payloads(&merged), payloads(&beside));
        let candidates = Candidates { merged: &merged, beside: &beside, at };
        loop {
            let rule = MergeRule { step: part, ..merge_rule(self.input.genesis) };
            let measured = measure_candidates(model, self.input.start, candidates, rule, self.step())?;
            let threshold = self.threshold(&order, &measured.contributions);
            // Where the typical miner makes the model worse, the step overshoots, which is no miner's fault.
            if threshold.middle >= 0.0 || at == MeasuredAt::Start || part == part.halved() {
                let Measurement { losses, carried, contributions } = measured;
                self.admit(&threshold, &order, contributions);
                return Ok(FirstPass { threshold, along, part, losses, carried });
            }
            part = part.halved();
        }
    }

    fn threshold(&self, order: &[Uid], contributions: &[Contribution]) -> Threshold {
        let rated: Vec<Rated<'_>> =
            contributions.iter().zip(order).map(|(contribution, uid)| self.rated(contribution, *uid)).collect();
        Threshold::of(&rated, self.input.genesis.judging.admission_share, self.is_doubtful())
    }

    /// A contribution with what it is admitted by.
    fn rated<'c>(&self, contribution: &'c Contribution, uid: Uid) -> Rated<'c> {
        let tokens = self.place(uid).map_or(0, |place| self.cases[place].entry.tokens());
        Rated { contribution, weight: self.weight(uid), tokens }
    }

    fn admit(&mut self, threshold: &Threshold, order: &[Uid], contributions: Vec<Contribution>) {
        for (uid, contribution) in order.iter().zip(contributions) {
            let Some(place) = self.place(*uid) else { continue };
            let rated = self.rated(&contribution, *uid);
            let (is_admitted, is_sure) = (threshold.admits(&rated), threshold.is_surely_reached(&rated));
            let case = &mut self.cases[place];
            (case.admitted, case.is_sure) = (is_admitted, is_sure);
            case.first = Some(contribution);
        }
    }

    /// How many did harm where nobody is rated: then they shaped what the others had to reach.
    pub fn strangers_that_harm(&self) -> usize {
        let is_anybody_rated = self.cases.iter().any(|case| self.weight(case.entry.uid) > 0.0);
        if is_anybody_rated { 0 } else { self.cases.iter().filter(|case| case.is_harmful).count() }
    }

    /// Who may be merged, best first.
    pub fn rank(&self, threshold: &Threshold) -> Vec<Uid> {
        let WindowInput { genesis, window, beacon, .. } = self.input;
        let admitted: Vec<Uid> = self.cases.iter().filter(|case| case.admitted).map(|case| case.entry.uid).collect();
        let rule = &genesis.judging;
        // While few are known, half of the places are as many as may be wrong at once.
        let places = if threshold.has_few_rated { rule.selected.div_ceil(2) } else { rule.selected };
        select(self.ratings, &admitted, places, rule, *window, *beacon)
    }

    /// Who is merged, and what part of the step is taken; none where nobody is left.
    pub fn decide(
        &mut self,
        model: &mut dyn Model,
        first: &FirstPass,
        ranked: &[Uid],
    ) -> Result<Option<Confirmation>, MeasureError> {
        if ranked.is_empty() {
            return Ok(None);
        }
        let rule = merge_rule(self.input.genesis);
        let mut trials = Trials::new(model, self.input.start, rule, self.step(), first.seen())?;
        let mut set = self.join(&mut trials, ranked)?;
        if set.is_empty() {
            return Ok(None);
        }
        let (part, mut trial) = self.choose_step(&mut trials, &set)?;
        let carried = self.second_pass(&mut trials, first, &set, part)?;
        let before = set.len();
        set.retain(|(uid, _)| self.brings_no_sure_loss(*uid));
        if set.is_empty() {
            return Ok(None);
        }
        if set.len() < before {
            trial = trials.after(&payloads(&set), part)?;
        }
        let promise = Promise {
            share: self.input.genesis.judging.confirmation_share,
            carried,
            is_strict: first.threshold.has_few_rated || self.is_doubtful(),
        };
        let own =
            |(uid, payload): &(Uid, &'a Payload)| Some((*uid, *payload, self.cases[self.place(*uid)?].contribution()?));
        let candidates: Vec<_> = set.iter().filter_map(own).collect();
        let confirmed = confirm_trial(&mut trials, &candidates, (part, trial), promise, &self.ratings.merged)?;
        if let Some(place) = confirmed.culprit.and_then(|uid| self.place(uid)) {
            self.cases[place].is_harmful = true;
        }
        Ok(Some(confirmed))
    }

    /// The rated of the ranked, and of the others those whose entrance does no harm. In doubt none of these enters.
    fn join(&mut self, trials: &mut Trials<'_>, ranked: &[Uid]) -> Result<Set<'a>, MeasureError> {
        let (rated, newcomers): (Vec<Uid>, Vec<Uid>) = ranked.iter().partition(|uid| self.weight(**uid) > 0.0);
        let mut set = self.payloads_of(&rated);
        if self.is_doubtful() || newcomers.is_empty() {
            return Ok(set);
        }
        let newcomers = self.payloads_of(&by_lot(newcomers, self.input.window, self.input.beacon));
        let least = self.input.genesis.judging.confirmation_share;
        let entered = enter(trials, &payloads(&set), &newcomers, self.ratings.step, least)?;
        for ((uid, payload), entrance) in newcomers.into_iter().zip(entered) {
            let Some(place) = self.place(uid) else { continue };
            match entrance {
                Entrance::Joins => set.push((uid, payload)),
                Entrance::StaysOut => self.cases[place].admitted = false,
                Entrance::Harms => (self.cases[place].admitted, self.cases[place].is_harmful) = (false, true),
            }
        }
        Ok(set)
    }

    /// The part of the step that brings most; in doubt half of that.
    fn choose_step(
        &self,
        trials: &mut Trials<'_>,
        set: &[(Uid, &Payload)],
    ) -> Result<(StepShare, Trial), MeasureError> {
        let payloads = payloads(set);
        let (part, trial) = trials.best_step(&payloads)?;
        if !self.is_doubtful() || part == part.halved() {
            return Ok((part, trial));
        }
        Ok((part.halved(), trials.after(&payloads, part.halved())?))
    }

    /// Measures the set along the very step that is to be applied, where the first pass was along another one: these
    /// contributions are paid and confirmed. Gives what a momentum carries.
    fn second_pass(
        &mut self,
        trials: &mut Trials<'_>,
        first: &FirstPass,
        set: &[(Uid, &Payload)],
        part: StepShare,
    ) -> Result<Nats, MeasureError> {
        let mut uids: Vec<Uid> = set.iter().map(|(uid, _)| *uid).collect();
        uids.sort();
        let mut carried = first.carried;
        if part != first.part || uids != first.along {
            let candidates = Candidates { merged: &payloads(set), beside: &[], at: MeasuredAt::Midpoint };
            let rule = MergeRule { step: part, ..trials.rule };
            let measured = measure_candidates(trials.model, trials.start, candidates, rule, trials.step)?;
            carried = measured.carried;
            for ((uid, _), contribution) in set.iter().zip(measured.contributions) {
                let Some(place) = self.place(*uid) else { continue };
                self.cases[place].second = Some(contribution);
            }
        }
        for place in uids.iter().filter_map(|uid| self.place(*uid)).collect::<Vec<_>>() {
            let case = &mut self.cases[place];
            case.is_harmful = case.contribution().is_some_and(Contribution::is_harmful);
        }
        Ok(carried)
    }

    /// Probes some of the candidates on their own text.
    pub fn probe(&self, model: &mut dyn Model) -> Result<Vec<Probe>, MeasureError> {
        let WindowInput { genesis, window, beacon, start, .. } = self.input;
        let all: Vec<Uid> =
            self.cases.iter().filter(|case| case.payload().is_some()).map(|case| case.entry.uid).collect();
        let drawn = self.payloads_of(&drawn(&all, *window, *beacon));
        probe(model, start, &drawn, merge_rule(genesis), self.step())
    }

    fn brings_no_sure_loss(&mut self, uid: Uid) -> bool {
        let Some(place) = self.place(uid) else { return false };
        let case = &mut self.cases[place];
        case.admitted &= case.contribution().is_some_and(|own| !own.at_most().is_loss());
        case.admitted
    }
}
