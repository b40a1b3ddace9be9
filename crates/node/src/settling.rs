//! Taking what is agreed of a window into the ratings, which every node carries.

use crate::NodeError;
use crate::context::Context;
use crate::ratings_store::Settling;
use std::sync::Arc;
use templar_base::{AgreedFindings, Window};
use templar_gauntlet::Ratings;

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
    make_missing(context, window).await?;
    // None where the window was settled before.
    let Some(mut ratings) = context.ratings.held_at_start_of(window) else { return Ok(()) };
    record.settle(&context.run, window, agreed, &mut ratings).await?;
    let own = Arc::clone(context);
    context.heavy.run(move || own.ratings.settle(&own.folder, window, ratings)).await
}

async fn make_missing(context: &Arc<Context>, window: Window) -> Result<(), NodeError> {
    if context.ratings.next() < window {
        let (_, ratings) = context.network.record.ratings_at_start_of(&context.run, window).await?;
        install(context, window, ratings).await?;
    }
    Ok(())
}

/// Waits until it is known whose stake counts in a window, where that goes by the ratings. Of windows long before a restart it
/// is not known any more.
pub(crate) async fn wait_for_electors(context: &Context, window: Window) -> Result<(), NodeError> {
    let is_known = || context.network.record.knows_electors(&context.run, window);
    if !is_known() {
        context.ratings.settled().await;
    }
    if is_known() || window < context.ratings.next() { Ok(()) } else { Err(NodeError::RatingsUnknown { window }) }
}

/// The same of the window whose votes are read next: ratings that are missing are made from the record.
pub(crate) async fn learn_electors(context: &Arc<Context>, window: Window) -> Result<(), NodeError> {
    if !context.network.record.knows_electors(&context.run, window) {
        context.ratings.settled().await;
        make_missing(context, window).await?;
    }
    wait_for_electors(context, window).await
}

/// Takes ratings that are agreed for a window's start.
pub(crate) async fn install(context: &Arc<Context>, next: Window, ratings: Ratings) -> Result<(), NodeError> {
    context.network.record.note_ratings(&context.run, next, &ratings);
    let own = Arc::clone(context);
    context.heavy.run(move || own.ratings.install(&own.folder, next, ratings)).await
}
