//! What was agreed last, however long ago.

use crate::{PublicRecord, RecordError, Rules};
use templar_base::Window;
use templar_chain::ChainError;
use templar_round::{Applied, AppliedRecord, Elector, last_majority};

impl PublicRecord {
    /// The newest window of which most of the stake reported the same, by the electors of the window before `now`; none
    /// where the ledger tells of none.
    pub async fn last_agreed(&self, run: &Rules, now: Window) -> Result<Option<(Window, Applied)>, RecordError> {
        let Some(last) = now.previous() else { return Ok(None) };
        let electors = self.electors(run, last).await?;
        let reports = self.chain.last_reports(self.netuid).await?;
        let known = reports.iter().filter_map(|report| {
            let applied = Applied::from_ledger(&report.record.data)?;
            Some((Window(report.index), AppliedRecord { hotkey: report.record.hotkey, applied }))
        });
        Ok(last_majority(&electors, known))
    }

    /// The electors of a window; nobody where the window is so old that the ledger has dropped what it knew of it: nothing
    /// can be agreed of it any more.
    pub async fn electors_or_nobody(&self, run: &Rules, window: Window) -> Result<Vec<Elector>, RecordError> {
        match self.electors(run, window).await {
            Err(RecordError::Chain(ChainError::Pruned { .. })) => Ok(Vec::new()),
            read => read,
        }
    }
}
