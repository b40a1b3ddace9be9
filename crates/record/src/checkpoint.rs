//! Checkpoints: the model at the start of a window, for nodes that join or return, and for everyone who uses it.

use crate::model_files::{MODEL_FILE, MOMENTUM_FILE};
use crate::ratings::{MAX_RATINGS_BYTES, RATINGS_FILE};
use crate::transfer::{self, PeerComplaint, Wanted};
use crate::{PublicRecord, RecordError, Rules};
use serde::{Deserialize, Serialize};
use std::path::Path;
use templar_base::{BlockNumber, ContentHash, PublicKey, RunId, StateHash, StepRule, Window};
use templar_chain::ChainError;
use templar_gauntlet::Ratings;
use templar_gradient::OuterState;
use templar_round::{Applied, Majority, ObjectKey, Signed, applied_majority};

/// A manifest names a few files.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// What the signature of a manifest stands for.
pub const CHECKPOINT_PURPOSE: &str = "checkpoint";

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

/// A checkpoint that was fetched. Every part of it is agreed: the state by most of the stake, the tokenizer by the
/// genesis. [`crate::write_model_files`] makes a model folder of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The window whose start it is.
    pub window: Window,
    /// The parameters, and the outer step's momentum where the run has one.
    pub outer: OuterState,
    /// The run's `tokenizer.json`.
    pub tokenizer: Vec<u8>,
}

/// What a node of the run needs of a checkpoint: all of it is agreed.
#[derive(Debug, Clone)]
pub struct RunState {
    /// The window whose start it is.
    pub window: Window,
    /// The parameters, and the outer step's momentum where the run has one.
    pub outer: OuterState,
    /// What is agreed of the miners.
    pub ratings: Ratings,
}

/// Fetches the newest agreed checkpoint at or before the start of `window` that a validator still has, as
/// [`fetch_checkpoint`] does.
pub async fn fetch_latest_checkpoint(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<Checkpoint, RecordError> {
    let (window, outer, files) = newest(run, record, window, scratch).await?;
    let tokenizer = fetch_tokenizer(run, record, &files, scratch).await?;
    Ok(Checkpoint { window, outer, tokenizer })
}

/// The newest agreed checkpoint at or before the start of `window` that a validator still has, with the ratings; a node of
/// the run has the tokenizer.
pub async fn fetch_latest_state(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<RunState, RecordError> {
    let (window, outer, holders) = newest(run, record, window, scratch).await?;
    let ratings = fetch_ratings(record, &holders).await?;
    Ok(RunState { window, outer, ratings })
}

/// The ratings of the newest agreed checkpoint at or before the start of `window`, and its window.
pub(crate) async fn fetch_latest_ratings(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
) -> Result<(Window, Ratings), RecordError> {
    newest_of(run, window, |next| ratings_at(run, record, next)).await
}

/// The ratings at the start of a window that has a checkpoint.
pub(crate) async fn ratings_at(run: &Rules, record: &PublicRecord, window: Window) -> Result<Ratings, RecordError> {
    let majority = majority_before(run, record, window).await?.ok_or(RecordError::NoAgreedState { window })?;
    let mut last = RecordError::NotPublished { window };
    for hotkey in &majority.by {
        let fetch = async {
            let manifest = fetch_manifest(run, record, window, *hotkey).await?;
            let holders = Holders { manifest, agreed: majority.applied, by: majority.by.clone() };
            fetch_ratings(record, &holders).await
        };
        match fetch.await {
            Ok(ratings) => return Ok(ratings),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn newest(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<(Window, OuterState, Holders), RecordError> {
    let (found, (outer, holders)) = newest_of(run, window, |next| fetch_state(run, record, next, scratch)).await?;
    Ok((found, outer, holders))
}

/// The first that can be fetched of the checkpoints at or before the start of `window`, the newest first.
async fn newest_of<T, F>(run: &Rules, window: Window, fetch: impl Fn(Window) -> F) -> Result<(Window, T), RecordError>
where
    F: Future<Output = Result<T, RecordError>>,
{
    let mut candidate = run.phases.checkpoint_at_or_before(window);
    let mut reason = "the run has not published one yet".to_owned();
    let oldest = run.phases.oldest_kept(window);
    while let Some(next) = candidate.filter(|candidate| *candidate >= oldest) {
        match fetch(next).await {
            Ok(fetched) => return Ok((next, fetched)),
            Err(error) => reason = error.to_string(),
        }
        candidate = next.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Err(RecordError::NoCheckpoint { window, reason })
}

/// What most of the stake applied before the start of `window`, and who; none where there is no such majority (yet).
pub(crate) async fn majority_before(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
) -> Result<Option<Majority>, RecordError> {
    let Some(before) = window.previous() else { return Ok(None) };
    let electors = record.electors(run, before).await?;
    Ok(applied_majority(&electors, &record.reports(before).await?))
}

/// The state hash that the run agreed on for the start of `window`: that of the genesis for window 0, later what most
/// of the stake applied; none where there is no such majority, or its reports are no longer on the ledger.
///
/// Fails with [`RecordError::NotYet`] before the window has begun.
pub async fn agreed_state(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
) -> Result<Option<StateHash>, RecordError> {
    if window == Window(0) {
        return Ok(Some(run.genesis.first_state));
    }
    Ok(agreed_report(run, record, window).await?.map(|applied| applied.state))
}

/// What most of the stake reported before the start of `window`: state, and root of the ratings. None where there is no such
/// majority, or its reports are no longer on the ledger.
///
/// Fails with [`RecordError::NotYet`] before the window has begun.
pub async fn agreed_report(run: &Rules, record: &PublicRecord, window: Window) -> Result<Option<Applied>, RecordError> {
    let head = record.chain.head().await?.number;
    check_begun(run, window, head)?;
    match majority_before(run, record, window).await {
        Ok(majority) => Ok(majority.map(|majority| majority.applied)),
        Err(RecordError::Chain(ChainError::Pruned { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Before a window has begun, the ledger cannot hold anything about its start.
fn check_begun(run: &Rules, window: Window, head: BlockNumber) -> Result<(), RecordError> {
    let current = run.phases.window_of(head);
    match current.is_some_and(|current| window <= current) {
        true => Ok(()),
        false => Err(RecordError::NotYet { window, current }),
    }
}

/// Fetches the checkpoint at the start of `window`.
///
/// Of the peers' bytes only those are used that have the state hash that most of the stake applied, or the hash of the
/// tokenizer in the genesis. The download goes through the file `scratch`, by parts from all validators at once; an
/// interrupted one is resumed by the next call.
pub async fn fetch_checkpoint(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<Checkpoint, RecordError> {
    let (outer, holders) = fetch_state(run, record, window, scratch).await?;
    let tokenizer = fetch_tokenizer(run, record, &holders, scratch).await?;
    Ok(Checkpoint { window, outer, tokenizer })
}

/// A checkpoint's manifest, and who has its files.
struct Holders {
    manifest: CheckpointManifest,
    /// What most of the stake applied before it.
    agreed: Applied,
    by: Vec<PublicKey>,
}

async fn fetch_state(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    scratch: &Path,
) -> Result<(OuterState, Holders), RecordError> {
    let majority = majority_before(run, record, window).await?.ok_or(RecordError::NoAgreedState { window })?;
    let mut last = RecordError::NotPublished { window };
    for hotkey in &majority.by {
        match fetch_from(run, record, window, &majority, *hotkey, scratch).await {
            Ok((outer, manifest)) => {
                let (agreed, by) = (majority.applied, majority.by);
                return Ok((outer, Holders { manifest, agreed, by }));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The manifest of the checkpoint that a validator offers for the start of `window`, signed by it and within bounds.
pub async fn fetch_manifest(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hotkey: PublicKey,
) -> Result<CheckpointManifest, RecordError> {
    let bucket = record.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::CheckpointManifest(window).to_string(), MAX_MANIFEST_BYTES).await?;
    let manifest = Signed::<CheckpointManifest>::from_bytes(&bytes, run.id, window, CHECKPOINT_PURPOSE, hotkey)?.body;
    // The parameters in f32, and as much again and 64 MiB for everything else, bound what a peer can make us fetch.
    let limit = 8 * run.layout.parameters() as u64 + (64 << 20);
    let is_sound = manifest.window == window && manifest.run == run.id;
    match manifest.total_bytes().filter(|total| is_sound && *total <= limit) {
        Some(_) => Ok(manifest),
        None => Err(RecordError::NotAgreed { what: "the checkpoint", window }),
    }
}

async fn fetch_from(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    majority: &Majority,
    hotkey: PublicKey,
    scratch: &Path,
) -> Result<(OuterState, CheckpointManifest), RecordError> {
    let not_agreed = || RecordError::NotAgreed { what: "the checkpoint", window };
    let manifest = fetch_manifest(run, record, window, hotkey).await?;
    if manifest.state != majority.applied.state {
        return Err(not_agreed());
    }
    let file = |name: &str| position(&manifest, |file| file.name == name);
    let fetch = async |wanted| {
        fetch_file(record, wanted, &majority.by, scratch).await?;
        let (run, path) = (run.clone(), scratch.to_owned());
        let values = tokio::task::spawn_blocking(move || run.read_parameters(&path)).await?;
        remove(scratch)?;
        values
    };
    let params = fetch(file(MODEL_FILE).ok_or_else(not_agreed)?).await?;
    let momentum = match file(MOMENTUM_FILE) {
        Some(wanted) if has_momentum(run) => fetch(wanted).await?,
        _ => Vec::new(),
    };
    let outer = OuterState { params, momentum };
    let (outer, hash) = tokio::task::spawn_blocking(move || {
        let hash = outer.hash();
        (outer, hash)
    })
    .await?;
    if hash == manifest.state { Ok((outer, manifest)) } else { Err(not_agreed()) }
}

fn has_momentum(run: &Rules) -> bool {
    matches!(run.genesis.outer.step, StepRule::Nesterov { .. })
}

/// The run's tokenizer out of a checkpoint. Its hash is in the genesis, whatever the manifest names it.
async fn fetch_tokenizer(
    run: &Rules,
    record: &PublicRecord,
    holders: &Holders,
    scratch: &Path,
) -> Result<Vec<u8>, RecordError> {
    let (hash, window) = (run.genesis.data.tokenizer, holders.manifest.window);
    let wanted = position(&holders.manifest, |file| file.hash == hash);
    let wanted = wanted.ok_or(RecordError::NotAgreed { what: "the tokenizer in the checkpoint", window })?;
    fetch_file(record, wanted, &holders.by, scratch).await?;
    let bytes = std::fs::read(scratch).map_err(|source| RecordError::Io { path: scratch.to_owned(), source })?;
    remove(scratch)?;
    Ok(bytes)
}

/// The ratings out of a checkpoint, whose root most of the stake reported.
async fn fetch_ratings(record: &PublicRecord, holders: &Holders) -> Result<Ratings, RecordError> {
    let not_agreed =
        || RecordError::NotAgreed { what: "the ratings in the checkpoint", window: holders.manifest.window };
    let wanted = ratings_object(&holders.manifest).ok_or_else(not_agreed)?;
    // Small enough for memory: the reader of a manifest has bounded it.
    let fetched = transfer::fetch(record, wanted, &holders.by).await?;
    warn(&fetched.complaints);
    let bytes = fetched.content;
    let is_agreed = ContentHash::of(&bytes) == holders.agreed.record;
    let ratings = is_agreed.then(|| serde_json::from_slice(&bytes).ok()).flatten();
    ratings.ok_or_else(not_agreed)
}

/// The ratings of a checkpoint, as an object of the buckets.
pub(crate) fn ratings_object(manifest: &CheckpointManifest) -> Option<Wanted> {
    position(manifest, |file| file.name == RATINGS_FILE && file.bytes <= MAX_RATINGS_BYTES)
}

/// The first file of a manifest of which `is_it` holds, as an object of the buckets.
fn position(manifest: &CheckpointManifest, is_it: impl Fn(&CheckpointFile) -> bool) -> Option<Wanted> {
    let (number, file) = (0..).zip(&manifest.files).find(|(_, file)| is_it(file))?;
    Some(Wanted { key: ObjectKey::CheckpointFile(manifest.window, number), hash: file.hash, max_bytes: file.bytes })
}

/// Downloads one file into `scratch`. All of the majority have the same ones, in the same places.
async fn fetch_file(
    record: &PublicRecord,
    wanted: Wanted,
    from: &[PublicKey],
    scratch: &Path,
) -> Result<(), RecordError> {
    let fetched = transfer::fetch_to_file(record, wanted, from, scratch).await?;
    warn(&fetched.complaints);
    Ok(())
}

fn warn(complaints: &[PeerComplaint]) {
    complaints.iter().for_each(|complaint| tracing::warn!("{complaint}"));
}

fn remove(scratch: &Path) -> Result<(), RecordError> {
    std::fs::remove_file(scratch).map_err(|source| RecordError::Io { path: scratch.to_owned(), source })
}
