//! The draw of a window, as every node computes it from the ledger.

use crate::NodeError;
use crate::context::Context;
use crate::ratings_store::UnusualLots;
use std::sync::Arc;
use templar_audit::{Auditor, Lottery};
use templar_base::{Beacon, BlockNumber, PublicKey, Uid, Window};
use templar_chain::{Metagraph, Neuron};
use templar_round::SealedRecord;

/// Who of a window's payloads is audited, and by whom.
pub(crate) struct Draw {
    window: Window,
    beacon: Beacon,
    lottery: Lottery,
    /// Of those that have not the usual ones.
    lots: UnusualLots,
    metagraph: Arc<Metagraph>,
}

impl Draw {
    /// The block whose beacon draws: the one after the window's outcome was to be applied.
    pub(crate) fn block(context: &Context, window: Window) -> BlockNumber {
        context.run.phases.apply(window).plus(1)
    }

    /// Until this block an answer counts.
    pub(crate) fn deadline(context: &Context, window: Window) -> BlockNumber {
        context.run.phases.apply(window.next())
    }

    /// Waits for the draw of a window, and reads it.
    pub(crate) async fn of(context: &Context, window: Window) -> Result<Self, NodeError> {
        let (record, genesis) = (&context.network.record, &context.run.genesis);
        let block = Self::block(context, window);
        record.wait_for_block(block).await;
        let lots = Self::lots(context, window).await;
        let beacon = record.beacon(block).await?;
        let metagraph = record.metagraph(context.run.phases.end(window)).await?;
        let lottery = Lottery::of(&genesis.audit, genesis.economics.ramp_windows);
        Ok(Self { window, beacon, lottery, lots, metagraph })
    }

    /// The lots by the ratings after the window. A node that is behind waits until it has them, at most until answers no longer
    /// count.
    async fn lots(context: &Context, window: Window) -> UnusualLots {
        let (mut block, deadline) = (Self::block(context, window), Self::deadline(context, window));
        loop {
            if let Some(lots) = context.ratings.lots_after(window) {
                return lots;
            }
            if block >= deadline {
                return UnusualLots::new();
            }
            block = block.plus(1);
            context.network.record.wait_for_block(block).await;
        }
    }

    /// The slots as of the window's end.
    pub(crate) fn metagraph(&self) -> &Metagraph {
        &self.metagraph
    }

    /// Whether the payload of this slot is audited.
    pub(crate) fn draws(&self, context: &Context, neuron: &Neuron) -> bool {
        // A key from before the run is as old as the run.
        let first = context.run.phases.window_of(neuron.registered_at).unwrap_or_default();
        let lots = self.lots.get(&neuron.uid).copied().unwrap_or_default();
        self.lottery.draws(&self.beacon, neuron.uid, self.window.windows_since(first), lots)
    }

    /// The sealed payloads that are audited, with their slots.
    pub(crate) fn drawn<'a>(
        &'a self,
        context: &'a Context,
        sealed: &'a [SealedRecord],
    ) -> impl Iterator<Item = (&'a SealedRecord, &'a Neuron)> {
        let slot = move |own: &'a SealedRecord| Some((own, self.metagraph.neuron(&own.hotkey)?));
        sealed.iter().filter_map(slot).filter(move |(_, neuron)| self.draws(context, neuron))
    }

    /// Who audits the payload of a drawn slot. Who has sent a payload in the window does not audit: miners that have earned
    /// stake are electors too, and have no time for it.
    pub(crate) async fn auditors(
        &self,
        context: &Context,
        drawn: &Neuron,
        sealed: &[SealedRecord],
    ) -> Result<Vec<(Uid, PublicKey)>, NodeError> {
        let electors = context.network.record.electors(&context.run, self.window).await?;
        let auditor = |uid: Uid| {
            let neuron = self.metagraph.neurons.iter().find(|neuron| neuron.uid == uid)?;
            Some(Auditor { uid, coldkey: neuron.coldkey })
        };
        let idle = electors.iter().filter(|elector| sealed.iter().all(|own| own.hotkey != elector.hotkey));
        let auditors: Vec<Auditor> = idle.filter_map(|elector| auditor(elector.uid)).collect();
        let drawn = Lottery::auditors(&self.beacon, drawn.uid, drawn.coldkey, &auditors);
        let hotkey = |uid: &Uid| electors.iter().find(|elector| elector.uid == *uid).map(|own| (*uid, own.hotkey));
        Ok(drawn.iter().filter_map(hotkey).collect())
    }
}
