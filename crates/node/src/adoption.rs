//! Taking over the ratings that most of the stake agreed on. No lock is held while a peer is asked.

use crate::NodeError;
use crate::context::Context;
use crate::follow::AgreedVerdict;
use crate::holders::in_own_order;
use crate::ratings_store::{Adoption, RatingsStore};
use crate::window_work::{ValidatorWork, WindowWork};
use std::sync::Arc;
use templar_base::Window;
use templar_gauntlet::Ratings;
use templar_record::fetch_verdict;
use templar_round::agreed_verdict;

/// Takes the ratings of an agreed verdict: the own one, or that of a validator that voted for it.
pub(crate) async fn adopt(
    context: Arc<Context>,
    work: Arc<WindowWork<ValidatorWork>>,
    adoption: Adoption,
    verdict: AgreedVerdict,
) {
    let store = adoption.store();
    let own = work.read(verdict.window, |work| {
        work.verdict.as_ref().filter(|own| own.hash == verdict.hash).map(|own| own.ratings.clone())
    });
    let window = verdict.window;
    if let Err(error) = take(&context, &store, verdict, own).await {
        context.journal.warn(format!("the agreed ratings of window {window} are missing: {error}"));
    }
}

/// After a checkpoint: the newest agreed ratings of a window before `next`, as far back as votes are kept.
pub(crate) async fn adopt_latest(
    context: &Arc<Context>,
    store: &Arc<RatingsStore>,
    next: Window,
) -> Result<(), NodeError> {
    let (phases, record) = (&context.run.phases, &context.network.record);
    let oldest = phases.oldest_kept(next);
    let mut window = next;
    while let Some(before) = window.previous().filter(|before| *before >= oldest) {
        window = before;
        let electors = record.electors(phases, window).await?;
        let (_, votes) = record.votes(window).await?;
        if let Some((hash, from)) = agreed_verdict(&electors, &votes, phases.judge(window)) {
            return take(context, store, AgreedVerdict { window, hash, from }, None).await;
        }
    }
    Ok(())
}

async fn take(
    context: &Arc<Context>,
    store: &Arc<RatingsStore>,
    verdict: AgreedVerdict,
    own: Option<Ratings>,
) -> Result<(), NodeError> {
    let AgreedVerdict { window, hash, from } = verdict;
    if store.has(window) {
        return Ok(());
    }
    let ratings = match own {
        Some(ratings) => ratings,
        None => {
            let from = in_own_order(from, context.network.hotkey.public(), window);
            fetch_verdict(&context.run, &context.network.record, window, hash, &from).await?.ratings
        }
    };
    let (own, store) = (Arc::clone(context), Arc::clone(store));
    context.heavy.run(move || store.install(&own.folder, window, ratings)).await
}
