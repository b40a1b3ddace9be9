//! Checkpoints: the model folder at the start of a window, in parts, for those who join or come back.

use crate::{Network, NodeError, PublicRecord, Run};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use templar_base::{BlockNumber, ContentHash, PublicKey, RunId, StateHash, Window};
use templar_bucket::Bucket;
use templar_engine::checkpoint::{
    Precision, SpecialTokens, config_to_json, generation_config_to_json, write_safetensors,
};
use templar_gradient::state_hash;
use templar_ledger::ChainError;
use templar_round::{Majority, ObjectKey, Signed, applied_majority};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Size of a part: large enough for throughput, small enough to be fetched again after a fault.
const PART_BYTES: usize = 8 << 20;
const PARALLEL: usize = 4;
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
const MANIFEST: &str = "checkpoint";
const MODEL_FILE: &str = "model.safetensors";

/// One part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPart {
    /// Its number in the checkpoint, which names the object.
    pub number: u32,
    /// Its size.
    pub bytes: u64,
    /// Hash of its bytes.
    pub hash: ContentHash,
}

/// One file of the model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Its name in the folder.
    pub name: String,
    /// Its parts in order.
    pub parts: Vec<CheckpointPart>,
}

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// The run.
    pub run: RunId,
    /// The window whose start it is.
    pub window: Window,
    /// State hash of the parameters.
    pub state: StateHash,
    /// The files of a Hugging Face model folder.
    pub files: Vec<CheckpointFile>,
}

impl CheckpointManifest {
    /// Size of all files; none where a peer's numbers do not add up to one.
    pub fn total_bytes(&self) -> Option<u64> {
        let mut parts = self.files.iter().flat_map(|file| &file.parts);
        parts.try_fold(0u64, |total, part| total.checked_add(part.bytes))
    }
}

/// The files of the model folder with these parameters.
fn model_folder(run: &Run, params: &[f32]) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let model = &run.genesis.model;
    let tokenizer = run.assignments.corpus().tokenizer();
    let end = tokenizer.end_of_text();
    let tokens = SpecialTokens { begin: None, end: vec![end], padding: None };
    let weights = write_safetensors(model, params, Precision::F32);
    let weights = weights.map_err(|error| NodeError::Missing { what: error.to_string(), window: Window(0) })?;
    Ok(vec![
        ("config.json".to_owned(), config_to_json(model, &tokens, Precision::F32).into_bytes()),
        ("generation_config.json".to_owned(), generation_config_to_json(&tokens).into_bytes()),
        ("tokenizer.json".to_owned(), tokenizer.to_json().to_vec()),
        (MODEL_FILE.to_owned(), weights),
    ])
}

/// Publishes the checkpoint of a window's start; the manifest comes last, so that whoever sees it finds all parts.
pub(crate) async fn publish(run: &Run, network: &Network, window: Window, params: Vec<f32>) -> Result<u64, NodeError> {
    let state = state_hash(&params);
    let mut files = Vec::new();
    let (mut number, mut total) = (0u32, 0u64);
    for (name, bytes) in model_folder(run, &params)? {
        let bytes = Bytes::from(bytes);
        let mut parts = Vec::new();
        for start in (0..bytes.len()).step_by(PART_BYTES) {
            let part = bytes.slice(start..(start + PART_BYTES).min(bytes.len()));
            parts.push(CheckpointPart { number, bytes: part.len() as u64, hash: ContentHash::of(&part) });
            network.bucket.put(&ObjectKey::CheckpointPart(window, number).to_string(), part).await?;
            number += 1;
        }
        total += bytes.len() as u64;
        files.push(CheckpointFile { name, parts });
    }
    let manifest = CheckpointManifest { run: run.id, window, state, files };
    let signed = Signed::new(manifest, run.id, window, MANIFEST, &network.hotkey)?;
    network.bucket.put(&ObjectKey::CheckpointManifest(window).to_string(), signed.to_bytes()?.into()).await?;
    Ok(total)
}

/// Deletes the checkpoints of windows before `oldest`.
pub(crate) async fn delete_before(bucket: &Bucket, oldest: Window) -> Result<(), NodeError> {
    delete_sorted_before(bucket, "checkpoint", &ObjectKey::checkpoint_prefix(oldest)).await
}

/// Deletes the objects whose names lie between `prefix` and `end`; names sort by window.
pub(crate) async fn delete_sorted_before(bucket: &Bucket, prefix: &str, end: &str) -> Result<(), NodeError> {
    loop {
        let page = bucket.list(prefix, None, 256).await?;
        let old: Vec<_> = page.objects.into_iter().filter(|object| object.key.as_str() < end).collect();
        for object in &old {
            bucket.delete(&object.key).await?;
        }
        if old.len() < 256 {
            return Ok(());
        }
    }
}

/// The newest agreed checkpoint at or before the start of `window`: its window and parameters.
pub(crate) async fn restore(run: &Run, record: &PublicRecord, window: Window) -> Result<(Window, Vec<f32>), NodeError> {
    let (found, files) = fetch_latest_checkpoint(run, record, window).await?;
    Ok((found, run.parameters_of(weights_of(&files, found)?)?))
}

/// Fetches the newest agreed checkpoint at or before the start of `window` that somebody still has, as
/// [`fetch_checkpoint`] does.
pub async fn fetch_latest_checkpoint(
    run: &Run,
    record: &PublicRecord,
    window: Window,
) -> Result<(Window, Vec<(String, Vec<u8>)>), NodeError> {
    let mut candidate = run.phases.checkpoint_at_or_before(window);
    let mut reason = "the run has not published one yet".to_owned();
    let oldest = run.phases.oldest_kept(window);
    while let Some(next) = candidate.filter(|candidate| *candidate >= oldest) {
        match fetch_checkpoint(run, record, next).await {
            Ok(files) => return Ok((next, files)),
            Err(error) => reason = error.to_string(),
        }
        candidate = next.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Err(NodeError::NoCheckpoint { window, reason })
}

/// What most of the stake applied before the start of `window`, and who; none where there is no such majority (yet).
pub(crate) async fn majority_before(
    run: &Run,
    record: &PublicRecord,
    window: Window,
) -> Result<Option<Majority>, NodeError> {
    let Some(before) = window.previous() else { return Ok(None) };
    let electors = record.electors(&run.phases, before).await?;
    Ok(applied_majority(&electors, &record.reports(before).await?))
}

/// The state hash that the run agreed on for the start of `window`: that of the genesis for window 0, later what most
/// of the stake applied; none where there is no such majority, or its reports are no longer on the ledger.
///
/// Fails with [`NodeError::NotYet`] before the window has begun.
pub async fn agreed_state(run: &Run, record: &PublicRecord, window: Window) -> Result<Option<StateHash>, NodeError> {
    if window == Window(0) {
        return Ok(Some(run.genesis.first_state));
    }
    let head = record.chain.head().await?.number;
    check_begun(run, window, head)?;
    match majority_before(run, record, window).await {
        Ok(majority) => Ok(majority.map(|majority| majority.applied.state)),
        Err(NodeError::Chain(ChainError::Pruned { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Before a window has begun, the ledger cannot hold anything about its start.
pub(crate) fn check_begun(run: &Run, window: Window, head: BlockNumber) -> Result<(), NodeError> {
    let current = run.phases.window_of(head);
    match current.is_some_and(|current| window <= current) {
        true => Ok(()),
        false => Err(NodeError::NotYet { window, current }),
    }
}

/// Fetches the checkpoint at the start of `window`: the files of a Hugging Face model folder.
///
/// Of the peers' bytes only the parameters are used, and these have the state hash that most of the stake applied; the
/// other files follow from the run's genesis and corpus.
pub async fn fetch_checkpoint(
    run: &Run,
    record: &PublicRecord,
    window: Window,
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let missing = |what: &str| NodeError::Missing { what: what.to_owned(), window };
    if window == Window(0) {
        return Err(missing("a window before the checkpoint"));
    }
    let majority = majority_before(run, record, window).await?.ok_or_else(|| missing("an agreed state"))?;
    let mut last = missing("the checkpoint");
    for hotkey in &majority.by {
        match fetch_from(run, record, window, majority.applied.state, *hotkey, &majority.by).await {
            Ok(files) => return Ok(files),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The manifest of the checkpoint that a validator offers for the start of `window`, signed by it and within bounds.
pub(crate) async fn fetch_manifest(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    hotkey: PublicKey,
) -> Result<CheckpointManifest, NodeError> {
    let bucket = record.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::CheckpointManifest(window).to_string(), MAX_MANIFEST_BYTES).await?;
    let manifest = Signed::<CheckpointManifest>::from_bytes(&bytes, run.id, window, MANIFEST, hotkey)?.body;
    // The parameters in f32, and as much again and 64 MiB for everything else, bound what a peer can make us fetch.
    let limit = 8 * run.layout.parameters() as u64 + (64 << 20);
    let is_sound = manifest.window == window && manifest.run == run.id;
    match manifest.total_bytes().filter(|total| is_sound && *total <= limit) {
        Some(_) => Ok(manifest),
        None => Err(NodeError::NotAgreed { what: "the checkpoint", window }),
    }
}

async fn fetch_from(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    state: StateHash,
    hotkey: PublicKey,
    sources: &[PublicKey],
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let mut manifest = fetch_manifest(run, record, window, hotkey).await?;
    if manifest.state != state {
        return Err(NodeError::NotAgreed { what: "the checkpoint", window });
    }
    manifest.files.retain(|file| file.name == MODEL_FILE);
    manifest.files.truncate(1);
    let files = fetch_parts(record, window, &manifest, sources).await?;
    let params = run.parameters_of(weights_of(&files, window)?)?;
    drop(files);
    if state_hash(&params) != state {
        return Err(NodeError::NotAgreed { what: "the checkpoint", window });
    }
    model_folder(run, &params)
}

/// The bytes of the parameters among the files of a checkpoint.
fn weights_of(files: &[(String, Vec<u8>)], window: Window) -> Result<&[u8], NodeError> {
    let weights = files.iter().find(|(name, _)| name == MODEL_FILE);
    weights
        .map(|(_, bytes)| bytes.as_slice())
        .ok_or(NodeError::NotAgreed { what: "the checkpoint's file list", window })
}

/// Checks that the files hold parameters with the agreed state hash.
pub fn verify_checkpoint(
    run: &Run,
    window: Window,
    state: StateHash,
    files: &[(String, Vec<u8>)],
) -> Result<(), NodeError> {
    if state_hash(&run.parameters_of(weights_of(files, window)?)?) == state {
        Ok(())
    } else {
        Err(NodeError::NotAgreed { what: "the checkpoint", window })
    }
}

/// Fetches all parts, several at a time, each from any source that has it.
async fn fetch_parts(
    record: &PublicRecord,
    window: Window,
    manifest: &CheckpointManifest,
    sources: &[PublicKey],
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    for (file, entry) in manifest.files.iter().enumerate() {
        for (place, part) in entry.parts.iter().enumerate() {
            let (record, permits, part, sources) =
                (record.clone(), Arc::clone(&permits), part.clone(), sources.to_vec());
            tasks.spawn(async move {
                let _permit = permits.acquire().await;
                (file, place, fetch_part(&record, window, &part, &sources).await)
            });
        }
    }
    let mut fetched = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let (file, place, part) = joined.map_err(|_| NodeError::WorkerGone)?;
        fetched.push((file, place, part?));
    }
    fetched.sort_by_key(|(file, place, _)| (*file, *place));
    let mut files: Vec<(String, Vec<u8>)> = manifest.files.iter().map(|file| (file.name.clone(), Vec::new())).collect();
    for (file, _, part) in fetched {
        files[file].1.extend_from_slice(&part);
    }
    Ok(files)
}

async fn fetch_part(
    record: &PublicRecord,
    window: Window,
    part: &CheckpointPart,
    sources: &[PublicKey],
) -> Result<Bytes, NodeError> {
    let mut last = NodeError::Missing { what: format!("part {} of the checkpoint", part.number), window };
    // Different parts begin with different sources, so that the load spreads.
    for offset in 0..sources.len() {
        let hotkey = sources[(part.number as usize + offset) % sources.len()];
        let key = ObjectKey::CheckpointPart(window, part.number).to_string();
        let fetched = match record.reader(hotkey).await {
            Ok(bucket) => bucket.get(&key, part.bytes).await.map_err(NodeError::from),
            Err(error) => Err(error),
        };
        match fetched {
            Ok(bytes) if ContentHash::of(&bytes) == part.hash => return Ok(bytes),
            Ok(_) => last = NodeError::NotAgreed { what: "a part of the checkpoint", window },
            Err(error) => last = error,
        }
    }
    Err(last)
}
