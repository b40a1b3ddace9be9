//! The admission checks of the gauntlet, for judgings that have nothing else in common with it.

use super::Hearing;
use std::collections::BTreeMap;
use templar_base::Uid;
use templar_gauntlet::{Expectation, Rejection, Submission, check_payload, find_copies};
use templar_gradient::Payload;

/// The name of a rejection, as in a verdict.
pub(super) fn name_of(rejection: &Rejection) -> String {
    let value = serde_json::to_value(rejection).unwrap_or_default();
    let name = value.as_str().map(str::to_owned);
    name.or_else(|| value.as_object()?.keys().next().cloned()).unwrap_or_else(|| "rejected".to_owned())
}

/// The payloads that pass the checks, and the names of the others' rejections. `magnitude` is the usual sum of magnitudes;
/// copies are looked for where the judging does.
pub(super) struct Admitted<'a> {
    pub payloads: BTreeMap<Uid, &'a Payload>,
    pub rejected: BTreeMap<Uid, String>,
}

impl<'a> Admitted<'a> {
    pub fn of(hearing: &Hearing<'a>, magnitude: u64, finds_copies: bool) -> Self {
        let (mut payloads, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        for entry in hearing.entries {
            match check(hearing, entry, magnitude) {
                Ok(payload) => drop(payloads.insert(entry.uid, payload)),
                Err(rejection) => drop(rejected.insert(entry.uid, name_of(&rejection))),
            }
        }
        if finds_copies {
            // Uids are in the order of the commitments here.
            let (uids, all): (Vec<Uid>, Vec<&Payload>) = payloads.iter().map(|(uid, payload)| (*uid, *payload)).unzip();
            let found = find_copies(&all, hearing.ground.run.genesis.judging.copy_agreement);
            for uid in uids.iter().zip(found).filter_map(|(uid, copy)| copy.map(|_| uid)) {
                payloads.remove(uid);
                rejected.insert(*uid, "copy".to_owned());
            }
        }
        Self { payloads, rejected }
    }
}

fn check<'a>(
    hearing: &Hearing<'a>,
    entry: &'a templar_gauntlet::Entry,
    magnitude: u64,
) -> Result<&'a Payload, Rejection> {
    let (payload, data_digest) = match &entry.submission {
        Submission::Payload { payload, data_digest, .. } => (payload.as_ref(), *data_digest),
        Submission::Rejected(rejection) => return Err(rejection.clone()),
    };
    let run = &hearing.ground.run;
    let expected = Expectation {
        run: run.id,
        window: hearing.window,
        uid: entry.uid,
        start_state: hearing.shared.state,
        numerics: &run.genesis.numerics,
        open_numerics: &run.genesis.open_numerics,
        tokens_per_step: hearing.ground.tokens_per_step(),
        batches_per_window: hearing.ground.steps(),
        inner_steps: hearing.ground.steps(),
        data_digest,
        magnitude_history: magnitude,
    };
    check_payload(payload, &expected).map(|()| payload)
}
