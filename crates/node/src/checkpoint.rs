//! Publishing checkpoints, and deleting what the run no longer keeps.

use crate::context::Context;
use crate::{Data, DataFolder, DataFolderError, Network, NodeError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use templar_base::{AtFault, ContentHash, StateHash, Window};
use templar_bucket::{Bucket, BucketError, LargeSource, PART_BYTES};
use templar_disk::Folder;
use templar_record::{
    CHECKPOINT_PURPOSE, CheckpointFile, CheckpointManifest, ModelFile, Rules, RunState, write_model_files,
    write_ratings,
};
use templar_round::{ObjectKey, Signed};
use tokio::task::JoinSet;

/// Objects listed per request, and deleted at a time, when old ones are removed.
const DELETE_PAGE: usize = 256;
const DELETE_PARALLEL: usize = 8;
/// How often the upload of a file is started or resumed, and the pause between.
const PUBLISH_ATTEMPTS: u32 = 10;
/// Where checkpoints are written before they are sent, in the data folder.
const DRAFTS: &str = "checkpoints";
const PUBLISH_PAUSE: Duration = Duration::from_secs(10);

/// Publishes the checkpoint of a window's start; the manifest comes last, so that whoever sees it finds all files. An
/// interrupted publication is resumed by the next call.
pub(crate) async fn publish(context: &Arc<Context>, state: RunState) -> Result<u64, NodeError> {
    let (own, window) = (Arc::clone(context), state.window);
    let draft = context.heavy.run(move || write_draft(&own.run, &own.data, own.folder.path(), &state)).await?;
    let published = upload(&context.run, &context.network, window, &draft).await;
    draft.folder.remove().map_err(DataFolderError::from)?;
    published
}

/// A checkpoint's files on this node's disk, until they are in the bucket: an upload takes long, and memory is scarce.
struct CheckpointDraft {
    folder: Folder,
    state: StateHash,
    files: Vec<ModelFile>,
}

fn write_draft(
    run: &Rules,
    data: &Data,
    own_folder: &Path,
    RunState { window, outer, ratings }: &RunState,
) -> Result<CheckpointDraft, NodeError> {
    let folder = Folder::new(own_folder).folder(DRAFTS).folder(window.to_string());
    folder.create().map_err(DataFolderError::from)?;
    let tokenizer = data.assignments.corpus().tokenizer();
    let (json, end_of_text) = (tokenizer.to_json(), tokenizer.end_of_text());
    let mut files = write_model_files(&run.genesis.model, outer, json, end_of_text, folder.path())?;
    files.push(write_ratings(ratings, folder.path())?);
    Ok(CheckpointDraft { folder, state: outer.hash(), files })
}

/// Removes what a publication left that the end of the process broke off.
pub(crate) fn remove_drafts(own_folder: &DataFolder) -> Result<(), DataFolderError> {
    Ok(Folder::new(own_folder.path()).folder(DRAFTS).remove()?)
}

async fn upload(run: &Rules, network: &Network, window: Window, draft: &CheckpointDraft) -> Result<u64, NodeError> {
    let mut files = Vec::new();
    for (number, file) in (0..).zip(&draft.files) {
        let key = ObjectKey::CheckpointFile(window, number).to_string();
        let content = LargeSource::File(draft.folder.path().join(file.name));
        let hash = ContentHash::new(put_file(&network.bucket, &key, content).await?);
        files.push(CheckpointFile { name: file.name.to_owned(), bytes: file.bytes, hash });
    }
    let manifest = CheckpointManifest { run: run.id, window, state: draft.state, files };
    let total = manifest.total_bytes().unwrap_or_default();
    let signed = Signed::new(manifest, run.id, window, CHECKPOINT_PURPOSE, &network.hotkey)?;
    network.bucket.put(&ObjectKey::CheckpointManifest(window).to_string(), signed.to_bytes()?.into()).await?;
    Ok(total)
}

/// Stores one file. A bucket that is away for longer than a call waits is retried; what was sent stays sent.
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

/// Deletes the objects whose names are between `prefix` and `end`; names sort by window.
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
                deleted.map_err(|error| NodeError::panicked("a deletion", error))??;
            }
        }
        if old.len() < DELETE_PAGE {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
