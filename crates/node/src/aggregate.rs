//! Merging the aggregate of a window from payloads.

use crate::NodeError;
use crate::context::Context;
use crate::gather::Gathered;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{ContentHash, Uid, Window};
use templar_gauntlet::merge_rule;
use templar_gradient::{Aggregate, MergeRule, Payload};
use templar_record::{FetchedPayload, fetch_sealed, open_payload};
use templar_round::Selection;

/// Merges the selected payloads, and hashes the result; what was not gathered is fetched.
pub(crate) async fn build(
    context: &Arc<Context>,
    window: Window,
    selection: Selection,
    gathered: Option<Arc<Gathered>>,
) -> Result<(ContentHash, Aggregate), NodeError> {
    let fetched = fetch_missing(context, window, &selection.uids, gathered.as_deref()).await?;
    let own = Arc::clone(context);
    let merge = move || {
        let here = gathered.as_ref().map(|gathered| gathered.payloads()).unwrap_or_default();
        let of = |uid: &Uid| here.get(uid).copied().or_else(|| fetched.get(uid).map(Box::as_ref));
        let payloads: Vec<(&Payload, u32)> = selection.uids.iter().filter_map(|uid| Some((of(uid)?, 1))).collect();
        let rule = MergeRule { step: selection.step, ..merge_rule(&own.run.genesis) };
        let aggregate = Aggregate::merge(&own.run.layout, &payloads, rule)?;
        Ok((aggregate.hash(), aggregate))
    };
    context.heavy.run(merge).await
}

async fn fetch_missing(
    context: &Arc<Context>,
    window: Window,
    selected: &[Uid],
    gathered: Option<&Gathered>,
) -> Result<BTreeMap<Uid, Box<Payload>>, NodeError> {
    let (run, record) = (&context.run, &context.network.record);
    let here = gathered.map(Gathered::payloads).unwrap_or_default();
    let missing: Vec<Uid> = selected.iter().copied().filter(|uid| !here.contains_key(uid)).collect();
    let mut fetched = BTreeMap::new();
    if missing.is_empty() {
        return Ok(fetched);
    }
    let committed = record.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
    for uid in missing {
        let lacking = || NodeError::NoPayload { uid, window };
        let sealed = *committed.records.iter().find(|record| record.uid == uid).ok_or_else(lacking)?;
        let object = fetch_sealed(run, record, window, &sealed).await?;
        let own = Arc::clone(context);
        match context.heavy.run(move || open_payload(&own.run, window, &sealed, &object)).await {
            FetchedPayload::Opened { payload, .. } => fetched.insert(uid, payload),
            FetchedPayload::Rejected(_) => return Err(lacking()),
        };
    }
    Ok(fetched)
}
