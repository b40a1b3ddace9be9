//! Taking what is agreed of a window into the ratings, which every node carries.

use crate::NodeError;
use crate::context::Context;
use crate::ratings_store::Settling;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{AgreedFindings, Window};
use templar_gauntlet::{Ratings, Settlement};
use templar_record::fetch_latest_ratings;

/// Settles a window whose votes are in. Where the ratings before it are missing they are made from the record first.
pub(crate) async fn settle(context: Arc<Context>, settling: Settling, window: Window, agreed: AgreedFindings) {
    let settled = async {
        if context.ratings.next() < window {
            catch_up(&context, window).await?;
        }
        fold(&context, window, agreed).await
    };
    if let Err(error) = settled.await {
        context.journal.warn(format!("the ratings after window {window} are missing: {error}"));
    }
    drop(settling);
}

/// From the newest agreed checkpoint on, by the votes that the ledger still has: the disk lost what it held.
async fn catch_up(context: &Arc<Context>, window: Window) -> Result<(), NodeError> {
    let (run, record) = (&context.run, &context.network.record);
    let (from, ratings) = match fetch_latest_ratings(run, record, window, &context.folder.path().join(INCOMING)).await {
        Ok(found) => found,
        Err(_) if run.phases.oldest_kept(window) == Window::ZERO => (Window::ZERO, Ratings::default()),
        Err(error) => return Err(error.into()),
    };
    let own = Arc::clone(context);
    context.heavy.run(move || own.ratings.install(&own.folder, from, ratings)).await?;
    for past in from.until(window) {
        let limit = context.rules(past).await?.genesis.judging.selected;
        let agreed = context.network.record.agreed(&context.run, past, limit).await?;
        fold(context, past, agreed).await?;
    }
    Ok(())
}

/// The file of the data folder that a checkpoint's ratings are downloaded into.
const INCOMING: &str = "incoming.ratings.json";

async fn fold(context: &Arc<Context>, window: Window, agreed: AgreedFindings) -> Result<(), NodeError> {
    let rules = context.rules(window).await?;
    let metagraph = context.network.record.metagraph(context.run.phases.end(window)).await?;
    let own = Arc::clone(context);
    let fold = move || {
        let registered: BTreeMap<_, _> = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect();
        let settlement = Settlement { rule: &rules.genesis.judging, window, registered: &registered };
        own.ratings.settle(&own.folder, window, |ratings| ratings.fold(&agreed, settlement))
    };
    context.heavy.run(fold).await
}
