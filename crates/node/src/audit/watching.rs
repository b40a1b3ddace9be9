//! Who answers its audits: each validator sees for itself, so that votes can say of whom no answer came.

use super::auditing::{Auditing, sealed};
use super::draw::Draw;
use crate::context::Context;
use crate::earlier::kept_payload;
use crate::{JournalEntry, NodeError};
use std::sync::Arc;
use templar_audit::{Answer, EndState};
use templar_base::{Uid, Window};
use templar_bucket::{Bucket, LargeObject, download};
use templar_gradient::Metadata;
use templar_round::{ObjectKey, SealedRecord};
use tokio::task::JoinSet;

/// States up to this size are fetched by every validator and held against what the last payload left. Larger ones are looked at by
/// the two auditors alone.
const MOST_STATE_BYTES: u64 = 64 << 20;

/// Watches for answers, from window `first` on, for as long as the node runs.
pub(crate) async fn watch(context: Arc<Context>, auditing: Auditing, first: Window) {
    let mut window = first;
    loop {
        if let Err(error) = watch_window(&context, &auditing, window).await {
            context.journal.warn(format!("who answers the audits of window {window} is not seen: {error}"));
        }
        window = window.next();
    }
}

/// Of the drawn payloads those count that this node has itself: the pool's.
async fn watch_window(context: &Arc<Context>, auditing: &Auditing, window: Window) -> Result<(), NodeError> {
    let draw = Draw::of(context, window).await?;
    if context.network.record.chain.head().await?.number >= Draw::deadline(context, window) {
        // Answers were due while this node was away: what is gone now may have been there.
        return Ok(());
    }
    let (all, mut tasks) = (sealed(context, window).await?, JoinSet::new());
    for (drawn, _) in draw.drawn(context, &all) {
        let (own, reader, drawn) = (Arc::clone(context), Arc::clone(context), *drawn);
        let kept = move || {
            let payload = kept_payload(reader.folder.path(), window, drawn.uid, &reader.run.layout);
            payload.map(|payload| payload.metadata().clone())
        };
        let Some(metadata) = context.heavy.run(kept).await else { continue };
        tasks.spawn(async move { (drawn.uid, answers(&own, window, &drawn, &metadata).await) });
    }
    let mut answers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(answer) => answers.push(answer),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    answers.sort();
    // Where nobody answers, the fault may be this node's.
    let is_blind = answers.len() > 1 && answers.iter().all(|(_, is_answered)| !is_answered);
    if is_blind {
        context.journal.warn(format!("no answer to an audit of window {window} was seen: this is held against nobody"));
        return Ok(());
    }
    for (uid, _) in answers.iter().filter(|(_, is_answered)| !is_answered) {
        context.journal.add(&JournalEntry::AuditUnanswered { window, uid: *uid });
    }
    auditing.store.note_answers(window, &answers, &context.folder)
}

/// Whether the author of a payload answers in time.
async fn answers(context: &Arc<Context>, window: Window, sealed: &SealedRecord, metadata: &Metadata) -> bool {
    let (mut block, deadline) = (Draw::block(context, window), Draw::deadline(context, window));
    loop {
        if is_answered(context, window, sealed, metadata).await {
            return true;
        }
        if block >= deadline {
            return false;
        }
        block = block.plus(1);
        context.network.record.wait_for_block(block).await;
    }
}

/// Whether the author's bucket has an answer that its payloads bind.
async fn is_answered(context: &Arc<Context>, window: Window, sealed: &SealedRecord, metadata: &Metadata) -> bool {
    let Ok(bucket) = context.network.record.reader(sealed.hotkey).await else { return false };
    let key = ObjectKey::Audit(window, sealed.uid).to_string();
    let Ok(bytes) = bucket.get(&key, Answer::max_bytes(metadata.trajectory_len())).await else { return false };
    let Ok(answer) = Answer::decode(&bytes) else { return false };
    answer.is_of(metadata, &context.run.layout) && has_state(context, window, sealed.uid, &answer, bucket).await
}

/// Whether the state that an answer names is there, and is what the key's payload left; as far as that can be seen here.
async fn has_state(context: &Arc<Context>, window: Window, uid: Uid, answer: &Answer, bucket: Bucket) -> bool {
    let max_bytes = EndState::coded_bytes(context.run.layout.parameters());
    let Some(last) = answer.last.filter(|_| max_bytes <= MOST_STATE_BYTES) else { return true };
    let key = ObjectKey::AuditState(window, uid).to_string();
    let object = LargeObject { key: &key, hash: last.hash, max_bytes };
    let Ok(fetched) = download(&[bucket], &object).await else { return false };
    let own = Arc::clone(context);
    let check = move || {
        let layout = &own.run.layout;
        let Ok(state) = EndState::read(&mut &fetched.content[..], layout.parameters()) else { return false };
        // A payload that this node does not have is the auditors' matter.
        let before = kept_payload(own.folder.path(), last.window, uid, layout);
        before.is_none_or(|before| state.is_left_by(before.metadata(), layout))
    };
    context.heavy.run(check).await
}
