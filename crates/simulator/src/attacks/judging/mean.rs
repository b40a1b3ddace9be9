//! No judging: the plain mean of all that pass the admission checks, in equal pay.

use super::admission::Admitted;
use super::{Hearing, Judge, Ruling, normalised};
use crate::attacks::ground::failed;
use crate::model::ModelError;
use templar_base::{MergeMethod, ScaleRule};
use templar_engine::Engine;
use templar_gradient::{Aggregate, MergeRule, Payload};

#[derive(Default)]
pub(super) struct PlainMean {
    /// The median sum of magnitudes of the last window.
    magnitude: u64,
}

impl Judge for PlainMean {
    fn rule(&mut self, hearing: &Hearing<'_>, _: &mut dyn Engine) -> Result<Ruling, ModelError> {
        let Admitted { payloads, rejected } = Admitted::of(hearing, self.magnitude, true);
        let mut magnitudes: Vec<u64> = payloads.values().map(|payload| payload.magnitude()).collect();
        magnitudes.sort_unstable();
        self.magnitude = magnitudes.get(magnitudes.len() / 2).copied().unwrap_or(self.magnitude);
        let set: Vec<(&Payload, u32)> = payloads.values().map(|payload| (*payload, 1)).collect();
        let rule = MergeRule { method: MergeMethod::MeanOfAll, scales: ScaleRule::Own, ..MergeRule::default() };
        let aggregate = match set.is_empty() {
            true => None,
            false => Some(Aggregate::merge(&hearing.ground.run.layout, &set, rule).map_err(failed)?),
        };
        let merged = payloads.keys().map(|uid| (*uid, "merged".to_owned()));
        Ok(Ruling {
            standings: rejected.into_iter().chain(merged).collect(),
            pay: normalised(payloads.keys().map(|uid| (*uid, 1.0)).collect()),
            forgets: Vec::new(),
            aggregate,
        })
    }
}
