//! Checkpoints: the model folder at the start of a window, in parts, for those who join or come back.

use crate::{Network, NodeError, Run};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use templar_base::{ContentHash, PublicKey, RunId, StateHash, Window};
use templar_bucket::Bucket;
use templar_engine::checkpoint::{
    Precision, SpecialTokens, config_to_json, generation_config_to_json, write_safetensors,
};
use templar_gradient::state_hash;
use templar_round::{ObjectKey, Signed, applied_majority};
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
pub(crate) async fn restore(
    run: &Run,
    network: &Arc<Network>,
    window: Window,
) -> Result<(Window, Vec<f32>), NodeError> {
    let mut candidate = run.phases.checkpoint_at_or_before(window);
    let mut reason = "the run has not published one yet".to_owned();
    let oldest = run.phases.oldest_kept(window);
    while let Some(next) = candidate.filter(|candidate| *candidate >= oldest) {
        match fetch_checkpoint(run, network, next).await {
            Ok(files) => {
                if let Some((_, bytes)) = files.iter().find(|(name, _)| name == MODEL_FILE) {
                    return Ok((next, run.parameters_of(bytes)?));
                }
            }
            Err(error) => reason = error.to_string(),
        }
        candidate = next.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Err(NodeError::NoCheckpoint { window, reason })
}

/// Fetches the files of the checkpoint at the start of `window`, checked against what most of the stake applied.
pub async fn fetch_checkpoint(
    run: &Run,
    network: &Arc<Network>,
    window: Window,
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let missing = |what: &str| NodeError::Missing { what: what.to_owned(), window };
    let before = window.previous().ok_or_else(|| missing("a window before the checkpoint"))?;
    let electors = network.electors(&run.phases, before).await?;
    let reports = network.reports(before).await?;
    let majority = applied_majority(&electors, &reports).ok_or_else(|| missing("an agreed state"))?;
    let mut last = missing("the checkpoint");
    for hotkey in &majority.by {
        match fetch_from(run, network, window, majority.applied.state, *hotkey, &majority.by).await {
            Ok(files) => return Ok(files),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn fetch_from(
    run: &Run,
    network: &Arc<Network>,
    window: Window,
    state: StateHash,
    hotkey: PublicKey,
    sources: &[PublicKey],
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let bucket = network.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::CheckpointManifest(window).to_string(), MAX_MANIFEST_BYTES).await?;
    let manifest = Signed::<CheckpointManifest>::from_bytes(&bytes, run.id, window, MANIFEST, hotkey)?.body;
    let total: u64 = manifest.files.iter().flat_map(|file| &file.parts).map(|part| part.bytes).sum();
    // The parameters in f32, and as much again and 64 MiB for everything else, bound what a peer can make us fetch.
    let limit = 8 * run.layout.parameters() as u64 + (64 << 20);
    if manifest.state != state || manifest.window != window || total > limit {
        return Err(NodeError::NotAgreed { what: "the checkpoint", window });
    }
    let files = fetch_parts(network, window, &manifest, sources).await?;
    verify_checkpoint(run, window, state, &files)?;
    Ok(files)
}

/// Checks that the files hold parameters with the agreed state hash.
pub fn verify_checkpoint(
    run: &Run,
    window: Window,
    state: StateHash,
    files: &[(String, Vec<u8>)],
) -> Result<(), NodeError> {
    let weights = files.iter().find(|(name, _)| name == MODEL_FILE);
    let (_, bytes) = weights.ok_or(NodeError::NotAgreed { what: "the checkpoint's file list", window })?;
    if state_hash(&run.parameters_of(bytes)?) == state {
        Ok(())
    } else {
        Err(NodeError::NotAgreed { what: "the checkpoint", window })
    }
}

/// Fetches all parts, several at a time, each from any source that has it.
async fn fetch_parts(
    network: &Arc<Network>,
    window: Window,
    manifest: &CheckpointManifest,
    sources: &[PublicKey],
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    for (file, entry) in manifest.files.iter().enumerate() {
        for (place, part) in entry.parts.iter().enumerate() {
            let (network, permits, part, sources) =
                (Arc::clone(network), Arc::clone(&permits), part.clone(), sources.to_vec());
            tasks.spawn(async move {
                let _permit = permits.acquire().await;
                (file, place, fetch_part(&network, window, &part, &sources).await)
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
    network: &Network,
    window: Window,
    part: &CheckpointPart,
    sources: &[PublicKey],
) -> Result<Bytes, NodeError> {
    let mut last = NodeError::Missing { what: format!("part {} of the checkpoint", part.number), window };
    // Different parts begin with different sources, so that the load spreads.
    for offset in 0..sources.len() {
        let hotkey = sources[(part.number as usize + offset) % sources.len()];
        let key = ObjectKey::CheckpointPart(window, part.number).to_string();
        let fetched = match network.reader(hotkey).await {
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
