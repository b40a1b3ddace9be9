//! Merging the aggregate of a window from payloads.

use crate::NodeError;
use crate::context::Context;
use crate::gather::Gathered;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{Uid, Window};
use templar_gauntlet::merge_rule;
use templar_gradient::{Aggregate, Payload};
use templar_record::{FetchedPayload, fetch_payload};

/// Merges the payloads of `selected`; what was not gathered is fetched.
pub(crate) async fn build(
    context: &Context,
    window: Window,
    selected: &[Uid],
    gathered: Option<Arc<Gathered>>,
) -> Result<Aggregate, NodeError> {
    let (run, record) = (&context.run, &context.network.record);
    let here = gathered.as_ref().map(|gathered| gathered.payloads()).unwrap_or_default();
    let mut fetched: BTreeMap<Uid, Box<Payload>> = BTreeMap::new();
    if selected.iter().any(|uid| !here.contains_key(uid)) {
        let (records, _) = record.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
        for uid in selected.iter().filter(|uid| !here.contains_key(uid)) {
            let missing = || NodeError::Missing { what: format!("the payload of uid {uid}"), window };
            let sealed = records.iter().find(|record| record.uid == *uid).ok_or_else(missing)?;
            match fetch_payload(run, record, window, sealed).await? {
                FetchedPayload::Opened { payload, .. } => fetched.insert(*uid, payload),
                FetchedPayload::Rejected(_) => return Err(missing()),
            };
        }
    }
    let of = |uid: &Uid| here.get(uid).copied().or_else(|| fetched.get(uid).map(Box::as_ref));
    let payloads: Vec<(&Payload, u32)> = selected.iter().filter_map(|uid| Some((of(uid)?, 1))).collect();
    Ok(Aggregate::merge(&run.layout, &payloads, merge_rule(&run.genesis))?)
}
