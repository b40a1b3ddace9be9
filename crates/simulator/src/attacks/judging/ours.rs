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
