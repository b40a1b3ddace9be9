//! Taking what is agreed of a window into the ratings, which every node carries.

use crate::NodeError;
use crate::context::Context;
use crate::ratings_store::Settling;
use std::sync::Arc;
use templar_base::{AgreedFindings, Window};
use templar_gauntlet::Ratings;

/// The file of the data folder that a checkpoint's ratings are downloaded into.
const INCOMING: &str = "incoming.ratings.json";

/// Settles a window whose votes are in.
pub(crate) async fn settle(context: Arc<Context>, settling: Settling, window: Window, agreed: AgreedFindings) {
    if let Err(error) = try_settle(&context, window, &agreed).await {
        context.journal.warn(format!("the ratings after window {window} are missing: {error}"));
    }
    drop(settling);
}

/// Where the ratings before the window are missing, since the disk lost what it held, they are made from the record first.
async fn try_settle(context: &Arc<Context>, window: Window, agreed: &AgreedFindings) -> Result<(), NodeError> {
    let record = &context.network.record;
    if context.ratings.next() < window {
        let scratch = context.folder.path().join(INCOMING);
        let (_, ratings) = record.ratings_at_start_of(&context.run, window, &scratch).await?;
        install(context, window, ratings).await?;
    }
    // None where the window was settled before.
    let Some(mut ratings) = context.ratings.held_at_start_of(window) else { return Ok(()) };
    record.settle(&context.run, window, agreed, &mut ratings).await?;
    let own = Arc::clone(context);
    context.heavy.run(move || own.ratings.settle(&own.folder, window, ratings)).await
}

/// Takes ratings that are agreed for a window's start.
pub(crate) async fn install(context: &Arc<Context>, next: Window, ratings: Ratings) -> Result<(), NodeError> {
    let own = Arc::clone(context);
    context.heavy.run(move || own.ratings.install(&own.folder, next, ratings)).await
}
