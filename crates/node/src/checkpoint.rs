//! Checkpoints: the model folder at the start of a window, for those who join or come back.

use crate::transfer::{self, Wanted};
use crate::{DataFolderError, Network, NodeError, PublicRecord, Run};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use templar_base::{BlockNumber, ContentHash, PublicKey, RunId, StateHash, StepRule, Window};
use templar_bucket::{Bucket, BucketError, LargeSource, PART_BYTES};
use templar_engine::checkpoint::{
    Precision, SpecialTokens, config_to_json, generation_config_to_json, write_safetensors,
};
use templar_gradient::OuterState;
use templar_ledger::ChainError;
use templar_round::{Majority, ObjectKey, Signed, applied_majority};
use tokio::task::JoinSet;

const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Objects asked for at once, and deleted at a time, when old ones are removed.
const DELETE_PAGE: usize = 256;
const DELETE_PARALLEL: usize = 8;
/// How often a file is begun or gone on with, and the pause between.
const PUBLISH_ATTEMPTS: u32 = 10;
const PUBLISH_PAUSE: Duration = Duration::from_secs(10);
const MANIFEST: &str = "checkpoint";
const MODEL_FILE: &str = "model.safetensors";
/// The outer step's momentum, by the names of the parameters; there where the run has one and a step was done.
pub const MOMENTUM_FILE: &str = "outer_momentum.safetensors";

/// One file of the model folder. In the bucket it is a large object, named by its place in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Its name in the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Hash of its bytes.
    pub hash: ContentHash,
}

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// The run.
    pub run: RunId,
    /// The window whose start it is.
    pub window: Window,
    /// State hash of the parameters, and of the momentum where there is one.
    pub state: StateHash,
    /// The files of a Hugging Face model folder, and the momentum.
    pub files: Vec<CheckpointFile>,
}

impl CheckpointManifest {
    /// Size of all files; none where a peer's numbers do not add up to one.
    pub fn total_bytes(&self) -> Option<u64> {
        self.files.iter().try_fold(0u64, |total, file| total.checked_add(file.bytes))
    }
}

/// The files of the model folder with these parameters, and the momentum beside them.
fn model_folder(run: &Run, outer: &OuterState) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let model = &run.genesis.model;
    let tokenizer = run.assignments.corpus().tokenizer();
    let end = tokenizer.end_of_text();
    let tokens = SpecialTokens { begin: None, end: vec![end], padding: None };
    let values = |values: &[f32]| {
        let written = write_safetensors(model, values, Precision::F32);
        written.map_err(|error| NodeError::Missing { what: error.to_string(), window: Window(0) })
    };
    let mut files = vec![
        ("config.json".to_owned(), config_to_json(model, &tokens, Precision::F32).into_bytes()),
        ("generation_config.json".to_owned(), generation_config_to_json(&tokens).into_bytes()),
        ("tokenizer.json".to_owned(), tokenizer.to_json().to_vec()),
        (MODEL_FILE.to_owned(), values(&outer.params)?),
    ];
    if !outer.momentum.is_empty() {
        files.push((MOMENTUM_FILE.to_owned(), values(&outer.momentum)?));
    }
    Ok(files)
}

/// Publishes the checkpoint of a window's start; the manifest comes last, so that whoever sees it finds all files. A
/// publication that broke off is gone on with.
pub(crate) async fn publish(run: &Run, network: &Network, window: Window, outer: OuterState) -> Result<u64, NodeError> {
    let state = outer.hash();
    let folder = model_folder(run, &outer)?;
    drop(outer);
    let mut files = Vec::new();
    for (number, (name, content)) in (0..).zip(folder) {
        let (bytes, content) = (content.len() as u64, LargeSource::Memory(content.into()));
        let key = ObjectKey::CheckpointFile(window, number).to_string();
        let hash = ContentHash::new(put_file(&network.bucket, &key, content).await?);
        files.push(CheckpointFile { name, bytes, hash });
    }
    let manifest = CheckpointManifest { run: run.id, window, state, files };
    let total = manifest.total_bytes().unwrap_or_default();
    let signed = Signed::new(manifest, run.id, window, MANIFEST, &network.hotkey)?;
    network.bucket.put(&ObjectKey::CheckpointManifest(window).to_string(), signed.to_bytes()?.into()).await?;
    Ok(total)
}

/// Stores one file. A bucket that is away for longer than a call waits is tried again; what was sent stays sent.
async fn put_file(bucket: &Bucket, key: &str, content: LargeSource) -> Result<[u8; 32], BucketError> {
    let mut attempt = 1;
    loop {
        match bucket.put_large(key, content.clone(), PART_BYTES).await {
            Err(error) if error.is_retryable() && attempt < PUBLISH_ATTEMPTS => {
                tracing::warn!(key, %error, "a file of the checkpoint is sent again from where it broke off");
                tokio::time::sleep(PUBLISH_PAUSE).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// Deletes the checkpoints of windows before `oldest`.
pub(crate) async fn delete_before(bucket: &Bucket, oldest: Window) -> Result<(), NodeError> {
    delete_sorted_before(bucket, "checkpoint", &ObjectKey::checkpoint_prefix(oldest)).await
}

/// Deletes the objects whose names lie between `prefix` and `end`; names sort by window.
pub(crate) async fn delete_sorted_before(bucket: &Bucket, prefix: &str, end: &str) -> Result<(), NodeError> {
    loop {
        let page = bucket.list(prefix, None, DELETE_PAGE).await?;
        let old: Vec<_> = page.objects.into_iter().filter(|object| object.key.as_str() < end).collect();
        for group in old.chunks(DELETE_PARALLEL) {
            let mut deleting = JoinSet::new();
            for object in group {
                let (bucket, key) = (bucket.clone(), object.key.clone());
                deleting.spawn(async move { bucket.delete(&key).await });
            }
            while let Some(deleted) = deleting.join_next().await {
                deleted.map_err(|_| NodeError::WorkerGone)??;
            }
        }
        if old.len() < DELETE_PAGE {
            return Ok(());
        }
    }
}

/// Fetches the newest agreed checkpoint at or before the start of `window` that somebody still has, as
/// [`fetch_checkpoint`] does.
pub async fn fetch_latest_checkpoint(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<(Window, Vec<(String, Vec<u8>)>), NodeError> {
    let (found, outer) = restore(run, record, window, scratch).await?;
    Ok((found, model_folder(run, &outer)?))
}

/// The newest agreed checkpoint at or before the start of `window` that somebody still has: its window and state.
pub(crate) async fn restore(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<(Window, OuterState), NodeError> {
    let mut candidate = run.phases.checkpoint_at_or_before(window);
    let mut reason = "the run has not published one yet".to_owned();
    let oldest = run.phases.oldest_kept(window);
    while let Some(next) = candidate.filter(|candidate| *candidate >= oldest) {
        match fetch_state(run, record, next, scratch).await {
            Ok(outer) => return Ok((next, outer)),
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
/// Of the peers' bytes only parameters and momentum are used, and these have the state hash that most of the stake
/// applied; the other files follow from the run's genesis and corpus. The download goes through the file `scratch`, by
/// parts from all validators at once; one that breaks off is gone on with by the next call.
pub async fn fetch_checkpoint(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    model_folder(run, &fetch_state(run, record, window, scratch).await?)
}

async fn fetch_state(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<OuterState, NodeError> {
    let missing = |what: &str| NodeError::Missing { what: what.to_owned(), window };
    if window == Window(0) {
        return Err(missing("a window before the checkpoint"));
    }
    let majority = majority_before(run, record, window).await?.ok_or_else(|| missing("an agreed state"))?;
    let mut last = missing("the checkpoint");
    for hotkey in &majority.by {
        match fetch_from(run, record, window, &majority, *hotkey, scratch).await {
            Ok(outer) => return Ok(outer),
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
    majority: &Majority,
    hotkey: PublicKey,
    scratch: &Path,
) -> Result<OuterState, NodeError> {
    let not_agreed = || NodeError::NotAgreed { what: "the checkpoint", window };
    let manifest = fetch_manifest(run, record, window, hotkey).await?;
    if manifest.state != majority.applied.state {
        return Err(not_agreed());
    }
    let number = |name: &str| (0..).zip(&manifest.files).find(|(_, file)| file.name == name);
    let (place, file) = number(MODEL_FILE).ok_or_else(not_agreed)?;
    let fetch = |place, file| fetch_values(run, record, window, (place, file), &majority.by, scratch);
    let params = fetch(place, file).await?;
    let momentum = match number(MOMENTUM_FILE) {
        Some((place, file)) if has_momentum(run) => fetch(place, file).await?,
        _ => Vec::new(),
    };
    let outer = OuterState { params, momentum };
    match outer.hash() == manifest.state {
        true => Ok(outer),
        false => Err(not_agreed()),
    }
}

fn has_momentum(run: &Run) -> bool {
    matches!(run.genesis.outer.step, StepRule::Nesterov { .. })
}

/// Downloads one file of values, one for each parameter, through the file `scratch`. All of the majority have the same
/// ones, and the same bytes.
async fn fetch_values(
    run: &Run,
    record: &PublicRecord,
    window: Window,
    (number, file): (u32, &CheckpointFile),
    from: &[PublicKey],
    scratch: &Path,
) -> Result<Vec<f32>, NodeError> {
    let wanted = Wanted { key: ObjectKey::CheckpointFile(window, number), hash: file.hash, max_bytes: file.bytes };
    let fetched = transfer::fetch_to_file(record, wanted, from, scratch).await?;
    for complaint in fetched.complaints {
        tracing::warn!("{complaint}");
    }
    let failed = |source| DataFolderError::Io { path: scratch.to_owned(), source };
    let values = run.parameters_of(&std::fs::read(scratch).map_err(failed)?);
    std::fs::remove_file(scratch).map_err(failed)?;
    values
}
