//! What is true of a window: what steps bring that nobody had to estimate.

use super::JudgingBenchError;
use templar_base::Uid;
use templar_engine::{Batch, Engine};
use templar_gauntlet::{MeasureError, Model};
use templar_gradient::{Merged, OuterState, OuterStep};
use templar_node::EvaluationModel;

/// The text of a judgement at the parameters of a window's start.
pub(super) struct Truth<'a> {
    pub engine: &'a mut dyn Engine,
    pub text: &'a [Batch],
    pub start: &'a OuterState,
    pub step: OuterStep,
}

impl Truth<'_> {
    /// Mean loss in nats per token after the step of what is merged; at the start where nothing is.
    fn loss_after(&mut self, merged: Option<&impl Merged>) -> Result<f64, MeasureError> {
        let mut model = EvaluationModel::new(&mut *self.engine, self.text);
        match merged {
            None => model.set_point(0, &self.start.params)?,
            Some(merged) => self.step.visit_stepped(self.start, merged, |first, params| {
                Ok::<_, MeasureError>(model.set_point(first, params)?)
            })?,
        }
        let losses = model.losses()?;
        Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
    }

    /// What each payload brings, by leaving it out: the loss after the step of the others less that after the step of
    /// all.
    /// `merge` merges those of some uids, or nothing.
    pub fn left_out<M: Merged>(
        &mut self,
        uids: &[Uid],
        merge: impl Fn(&[Uid]) -> Result<Option<M>, JudgingBenchError>,
    ) -> Result<Vec<f64>, JudgingBenchError> {
        let whole = self.loss_after(merge(uids)?.as_ref())?;
        let mut brought = Vec::with_capacity(uids.len());
        for out in uids {
            let rest: Vec<Uid> = uids.iter().copied().filter(|uid| uid != out).collect();
            brought.push(self.loss_after(merge(&rest)?.as_ref())? - whole);
        }
        Ok(brought)
    }
}
