//! Our judging: `templar_gauntlet`, as validators run it.

use super::{Hearing, Judge, Ruling, normalised};
use crate::attacks::ground::failed;
use crate::attacks::judging::admission::name_of;
use crate::model::{Evaluation, ModelError};
use std::collections::BTreeMap;
use templar_base::{Uid, Window};
use templar_engine::Engine;
use templar_gauntlet::{
    COMPARED_WINDOWS, EarlierPayload, EarlierPayloads, Entry, Ratings, Standing, Submission, Verdict, WindowInput,
    judge, merge_rule, weights,
};
use templar_gradient::{Aggregate, MergeRule, Payload};

#[derive(Default)]
pub(super) struct Ours {
    ratings: Ratings,
    earlier: Earlier,
}

/// The candidates of the last windows, whether nobody was merged in theirs, and what was merged.
#[derive(Debug, Default)]
struct Earlier {
    payloads: Vec<(Uid, Window, bool, Payload)>,
    merged: Vec<Aggregate>,
}

impl Earlier {
    fn keep(&mut self, window: Window, merged: Option<&Aggregate>, entries: &[Entry]) {
        self.payloads.retain(|(_, past, _, _)| window.windows_since(*past) < COMPARED_WINDOWS);
        self.payloads.extend(entries.iter().filter_map(|entry| match &entry.submission {
            Submission::Payload { payload, .. } => Some((entry.uid, window, merged.is_none(), (**payload).clone())),
            Submission::Rejected(_) => None,
        }));
        self.merged.retain(|past| window.windows_since(past.window()) < COMPARED_WINDOWS);
        self.merged.extend(merged.cloned());
    }
}

impl EarlierPayloads for Earlier {
    fn for_each(&self, visit: &mut dyn FnMut(EarlierPayload<'_>)) {
        for (uid, window, is_of_null_window, payload) in &self.payloads {
            visit(EarlierPayload { uid: *uid, window: *window, is_of_null_window: *is_of_null_window, payload });
        }
    }

    fn for_each_merged(&self, visit: &mut dyn FnMut(Window, &Aggregate)) {
        self.merged.iter().for_each(|merged| visit(merged.window(), merged));
    }
}

impl Judge for Ours {
    fn rule(&mut self, hearing: &Hearing<'_>, engine: &mut dyn Engine) -> Result<Ruling, ModelError> {
        let run = &hearing.ground.run;
        let input = WindowInput {
            genesis: &run.genesis,
            inner_steps: hearing.ground.steps(),
            run: run.id,
            window: hearing.window,
            beacon: hearing.ground.beacon(hearing.window),
            start: &hearing.shared.outer,
            start_state: hearing.shared.state,
            registered: hearing.registered,
            entries: hearing.entries,
            earlier: &self.earlier,
            ratings: &self.ratings,
        };
        let parts = hearing.ground.judgement_text(hearing.window);
        let own = |uid| hearing.ground.share(hearing.window, uid);
        let verdict = judge(&input, &mut Evaluation::new(engine, &parts, &own)).map_err(failed)?;
        self.ratings = verdict.ratings.clone();
        let aggregate = merged(hearing, &verdict)?;
        self.earlier.keep(hearing.window, aggregate.as_ref(), hearing.entries);
        let alone = verdict.alone();
        let weights = weights(&self.ratings, &run.genesis.economics, hearing.window);
        Ok(Ruling {
            standings: verdict.miners.iter().map(|miner| (miner.uid, standing_name(&miner.standing))).collect(),
            pay: normalised(weights.into_iter().map(|(uid, weight)| (uid, f64::from(weight))).collect()),
            forgets: verdict.miners.iter().map(|miner| miner.uid).filter(|uid| alone.voids_feedback_of(*uid)).collect(),
            aggregate,
        })
    }
}

fn standing_name(standing: &Standing) -> String {
    match standing {
        Standing::Rejected(rejection) => name_of(rejection),
        Standing::Harmful => "harmful".to_owned(),
        Standing::NotAdmitted => "not_admitted".to_owned(),
        Standing::Admitted => "admitted".to_owned(),
        Standing::Dropped => "dropped".to_owned(),
        Standing::Selected => "merged".to_owned(),
    }
}

fn merged(hearing: &Hearing<'_>, verdict: &Verdict) -> Result<Option<Aggregate>, ModelError> {
    let payloads: BTreeMap<Uid, &Payload> = hearing
        .entries
        .iter()
        .filter(|entry| verdict.selected.contains(&entry.uid))
        .filter_map(|entry| match &entry.submission {
            Submission::Payload { payload, .. } => Some((entry.uid, payload.as_ref())),
            Submission::Rejected(_) => None,
        })
        .collect();
    if payloads.is_empty() {
        return Ok(None);
    }
    let set: Vec<(&Payload, u32)> = payloads.values().map(|payload| (*payload, 1)).collect();
    let run = &hearing.ground.run;
    let rule = MergeRule { step: verdict.step(), ..merge_rule(&run.genesis) };
    Aggregate::merge(&run.layout, &set, rule).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::attacker::values_of;
    use crate::attacks::crew::Student;
    use crate::attacks::ground::{ArenaSizes, Ground, hotkey};
    use templar_base::{BlockNumber, ContentHash};
    use templar_record::Rules;
    use templar_trainer::{Outcome, TrainerError};

    const HONEST: u16 = 5;
    /// Trains, and shares its values out among three keys, of which it is the first.
    const TRAINED: u16 = 5;
    const RIDERS: std::ops::Range<u16> = 6..8;

    fn payloads(ground: &Ground, shared: &templar_trainer::SharedState, students: &mut [Student]) -> Vec<Payload> {
        let (window, start) = (shared.next, shared.state);
        let mut payloads: Vec<Payload> =
            students.iter_mut().map(|student| student.work(ground, window, start).unwrap()).collect();
        let values = values_of(&payloads.pop().unwrap());
        payloads.extend((0..3u16).map(|part| {
            let own = |(place, value): (usize, &f32)| if place % 3 == usize::from(part) { *value } else { 0.0 };
            let own: Vec<f32> = values.iter().enumerate().map(own).collect();
            ground.payload(&own, ground.metadata(window, Uid(TRAINED + part), start)).unwrap()
        }));
        payloads
    }

    fn entry(ground: &Ground, window: Window, payload: Payload) -> Entry {
        let (uid, steps) = (payload.metadata().uid, payload.metadata().inner_steps);
        let (hash, data_digest) = (ContentHash::of(payload.bytes()), ground.data_digest(window, uid, steps));
        let submission = Submission::Payload { payload: Box::new(payload), hash, data_digest };
        Entry { uid, hotkey: hotkey(uid), block: BlockNumber(100 + u64::from(uid.0)), submission }
    }

    /// Finding S6: one training behind many keys. Their parts are as good on any text as on their own; honest payloads are
    /// better on theirs.
    #[test]
    fn honest_payloads_help_more_on_their_own_text_and_parts_of_another_s_training_do_not() {
        let sizes = ArenaSizes { honest: HONEST, windows: 40, hidden: 16, layers: 1, steps: 12 };
        let mut ground = Ground::new(sizes, 3).unwrap();
        // Probes are made where there are audits.
        let mut genesis = ground.run.genesis.as_ref().clone();
        genesis.set_audit_rate(100);
        ground.run = Rules::new(genesis).unwrap();
        let (mut shared, mut engine, mut judge) = (ground.first().unwrap(), ground.engine().unwrap(), Ours::default());
        let mut students: Vec<Student> =
            (0..=TRAINED).map(|uid| Student::new(&ground, Uid(uid), &shared).unwrap()).collect();
        let registered = (0..RIDERS.end).map(|uid| (Uid(uid), hotkey(Uid(uid)))).collect();
        let (mut honest, mut riders) = (Vec::new(), Vec::new());
        for window in (0..sizes.windows).map(Window) {
            let sent = payloads(&ground, &shared, &mut students);
            let entries: Vec<Entry> = sent.into_iter().map(|payload| entry(&ground, window, payload)).collect();
            let hearing =
                Hearing { ground: &ground, window, shared: &shared, entries: &entries, registered: &registered };
            let before = judge.ratings.clone();
            let ruling = judge.rule(&hearing, engine.as_mut()).unwrap();
            for (uid, record) in &judge.ratings.miners {
                let sum = |ratings: &Ratings| ratings.miners.get(uid).map_or(0.0, |record| record.own_text.to_f64());
                let probed = record.own_text.to_f64() - sum(&before);
                if probed != 0.0 {
                    let probes = if RIDERS.contains(&uid.0) { &mut riders } else { &mut honest };
                    probes.push(probed);
                }
            }
            let step = ground.step(window);
            let outcome = Outcome { aggregate: ruling.aggregate.as_ref(), step: &step };
            shared.advance::<TrainerError>(outcome, |_| Ok(()), |_, _, _| {}).unwrap();
            for student in &mut students {
                student.apply(window, outcome, ruling.forgets.contains(&student.uid)).unwrap();
            }
        }
        let mean = |probes: &[f64]| probes.iter().sum::<f64>() / probes.len().max(1) as f64;
        let sum = |uid: u16| judge.ratings.miners[&Uid(uid)].own_text.to_f64();
        let (sums, means) = ((0..RIDERS.end).map(sum).collect::<Vec<_>>(), (mean(&honest), mean(&riders)));
        assert!(riders.len() > 10 && honest.len() > 30, "{} and {} probes", honest.len(), riders.len());
        assert!(means.1 < -0.1 && means.0 > means.1 + 0.2, "{means:?}, {sums:?}");
        assert!((0..HONEST).all(|uid| sum(uid) > -3.0), "no honest miner is doubted: {sums:?}");
    }
}
