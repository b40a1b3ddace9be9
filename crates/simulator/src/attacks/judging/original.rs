//! The judging of the dormant first templar ([`crate::original`]) in an arena.

use super::admission::Admitted;
use super::{Hearing, Judge, Ruling, normalised};
use crate::attacks::ground::{Ground, failed};
use crate::model::ModelError;
use crate::original::{self, OriginalWindow, TrialModel, TriedOn};
use templar_base::{Uid, Window};
use templar_engine::{Batch, Buffer, Engine};
use templar_trainer::{Text, mean_loss};

#[derive(Default)]
pub(super) struct Original(original::Original);

/// The arena's engine and texts.
struct Trials<'a> {
    ground: &'a Ground,
    window: Window,
    engine: &'a mut dyn Engine,
    common: Vec<Batch>,
}

impl Judge for Original {
    fn rule(&mut self, hearing: &Hearing<'_>, engine: &mut dyn Engine) -> Result<Ruling, ModelError> {
        let Admitted { payloads, rejected } = Admitted::of(hearing, 0, false);
        let (ground, window) = (hearing.ground, hearing.window);
        let judged = OriginalWindow {
            layout: &ground.run.layout,
            outer: &ground.run.genesis.outer,
            window,
            start: &hearing.shared.outer.params,
            beacon: ground.beacon(window),
            payloads: &payloads,
        };
        let mut trials = Trials { ground, window, engine, common: ground.judgement_text(window) };
        let chosen = self.0.judge(&judged, &mut trials)?.merged;
        let standing = |uid: &Uid| if chosen.contains(uid) { "merged" } else { "admitted" }.to_owned();
        let standings = payloads.keys().map(|uid| (*uid, standing(uid)));
        Ok(Ruling {
            standings: rejected.into_iter().chain(standings).collect(),
            pay: normalised(self.0.pay()),
            forgets: Vec::new(),
            aggregate: judged.merge(&chosen)?,
        })
    }
}

impl TrialModel for Trials<'_> {
    fn loss(&mut self, params: &[f32], text: TriedOn) -> Result<f64, ModelError> {
        self.engine.write(Buffer::Parameters, 0, params).map_err(failed)?;
        match text {
            TriedOn::Common => mean_loss(self.engine, &self.common).map_err(failed),
            TriedOn::Own(uid) => {
                let own = self.own_text(uid)?;
                mean_loss(self.engine, &own).map_err(failed)
            }
        }
    }
}

impl Trials<'_> {
    /// The beginning of a miner's assigned text, as much as there is of the common one.
    fn own_text(&self, uid: Uid) -> Result<Vec<Batch>, ModelError> {
        let sequences: usize = self.common.iter().map(|batch| batch.sequences).sum();
        let share = self.ground.share(self.window, uid);
        let batches = sequences.div_ceil(self.ground.run.genesis.data.sequences_per_batch) as u32;
        (0..batches.min(share.batches())).map(|number| share.batch(number).map_err(failed)).collect()
    }
}
