//! Merging the aggregate of a window from payloads.

use crate::NodeError;
use crate::context::Context;
use crate::gather::Gathered;
use crate::holders::{fetch_all, in_own_order, time_for};
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{ContentHash, Uid, Window};
use templar_gauntlet::merge_rule;
use templar_gradient::{Aggregate, MergeRule, Payload};
use templar_record::{FetchedPayload, fetch_mirrored, fetch_sealed, open_payload};
use templar_round::{SealedRecord, Selection};

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
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let committed = record.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
    let sealed: BTreeMap<Uid, SealedRecord> =
        committed.records.into_iter().map(|record| (record.uid, record)).collect();
    // Where nothing is agreed on them, or the ledger does not tell any more, there are the miners.
    let mirrors = record.mirrors(run, window).await.unwrap_or_default();
    let own_key = context.network.hotkey.public();
    let lacking = move |uid| NodeError::NoPayload { uid, window };
    let time = |uid: Uid| sealed.get(&uid).map(|sealed| time_for(u64::from(sealed.commitment.bytes)));
    let named = |uid: &Uid| Ok((*uid, time(*uid).ok_or(lacking(*uid))?));
    let wanted = missing.iter().map(named).collect::<Result<Vec<_>, NodeError>>()?;
    let fetch = |uid: Uid| {
        let (own, sealed) = (Arc::clone(context), sealed.get(&uid).copied());
        let mirrors = in_own_order(mirrors.get(&uid).cloned().unwrap_or_default(), own_key, window);
        async move {
            let sealed = sealed.ok_or(lacking(uid))?;
            let (run, record) = (&own.run, &own.network.record);
            // Validators that hold it first: what brings a node here is often a miner's bucket that does not serve it.
            if !mirrors.is_empty()
                && let Ok(object) = fetch_mirrored(run, record, window, (&sealed, &mirrors)).await
            {
                return Ok((sealed, object));
            }
            Ok((sealed, fetch_sealed(run, record, window, &sealed).await?))
        }
    };
    let mut opened = BTreeMap::new();
    for (uid, (sealed, object)) in fetch_all(wanted, "a selected payload", fetch).await? {
        let own = Arc::clone(context);
        match context.heavy.run(move || open_payload(&own.run, window, &sealed, &object)).await {
            FetchedPayload::Opened { payload, .. } => opened.insert(uid, payload),
            FetchedPayload::Rejected(_) => return Err(lacking(uid)),
        };
    }
    Ok(opened)
}
