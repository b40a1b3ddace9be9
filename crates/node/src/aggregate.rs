//! Getting the aggregate of a window: merged from payloads, or downloaded and checked against the agreed hash.

use crate::gather::Gathered;
use crate::transfer::{self, Fetched, Wanted};
use crate::{Network, NodeError, Run, payload};
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{ContentHash, PublicKey, Uid, Window};
use templar_gauntlet::{Submission, merge_rule};
use templar_gradient::{Aggregate, Payload};
use templar_round::ObjectKey;

/// Merges the payloads of `selected`; what was not gathered is fetched.
pub(crate) async fn build(
    run: &Run,
    network: &Arc<Network>,
    window: Window,
    selected: &[Uid],
    gathered: Option<Arc<Gathered>>,
) -> Result<Aggregate, NodeError> {
    let here = gathered.as_ref().map(|gathered| gathered.payloads()).unwrap_or_default();
    let mut fetched: BTreeMap<Uid, Box<Payload>> = BTreeMap::new();
    if selected.iter().any(|uid| !here.contains_key(uid)) {
        let (records, _) = network.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
        for uid in selected.iter().filter(|uid| !here.contains_key(uid)) {
            let missing = || NodeError::Missing { what: format!("the payload of uid {uid}"), window };
            let record = records.iter().find(|record| record.uid == *uid).ok_or_else(missing)?;
            match payload::fetch(run, network, window, record).await? {
                Submission::Payload { payload, .. } => fetched.insert(*uid, payload),
                Submission::Refused(_) => return Err(missing()),
            };
        }
    }
    let of = |uid: &Uid| here.get(uid).copied().or_else(|| fetched.get(uid).map(Box::as_ref));
    let payloads: Vec<(&Payload, u32)> = selected.iter().filter_map(|uid| Some((of(uid)?, 1))).collect();
    Ok(Aggregate::merge(&run.layout, &payloads, merge_rule(&run.genesis))?)
}

/// Downloads the aggregate with this hash, of `selected` payloads at most, from all peers that have it at once; and says
/// whose buckets failed or lied.
pub(crate) async fn fetch(
    run: &Run,
    network: &Network,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
    selected: usize,
) -> Result<Fetched<Aggregate>, NodeError> {
    let max_bytes = run.layout.max_aggregate_bytes(selected) as u64;
    let wanted = Wanted { key: ObjectKey::Aggregate(window), hash, max_bytes };
    let Fetched { content, complaints } = transfer::fetch(network, wanted, from).await?;
    let aggregate = Aggregate::decode(&content, &run.layout)?;
    if aggregate.run() != run.id || aggregate.window() != window {
        return Err(NodeError::NotAgreed { what: "the aggregate", window });
    }
    Ok(Fetched { content: aggregate, complaints })
}
