//! A miner's part: when it is drawn, it publishes what it kept.

use super::draw::Draw;
use super::kept::kept_answer;
use crate::context::Context;
use crate::{JournalEntry, NodeError};
use std::sync::Arc;
use templar_base::Window;
use templar_bucket::{LargeSource, PART_BYTES};
use templar_round::ObjectKey;

/// Answers the audits of this miner's payloads, from window `first` on, for as long as the node runs.
pub(crate) async fn answer(context: Arc<Context>, first: Window) {
    let mut window = first;
    loop {
        if let Err(error) = answer_window(&context, window).await {
            context.journal.warn(format!("the audit of window {window} is not answered: {error}"));
        }
        window = window.next();
    }
}

async fn answer_window(context: &Context, window: Window) -> Result<(), NodeError> {
    let draw = Draw::of(context, window).await?;
    let own = draw.metagraph().neuron(&context.network.hotkey.public());
    if !own.is_some_and(|own| draw.draws(context, own)) {
        return Ok(());
    }
    let (mut block, deadline) = (Draw::block(context, window), Draw::deadline(context, window));
    loop {
        match publish(context, window).await {
            Err(error) if block < deadline => {
                context.journal.warn(format!("the answer to the audit of window {window} is sent again: {error}"));
                block = block.plus(1);
                context.network.record.wait_for_block(block).await;
            }
            result => return result,
        }
    }
}

async fn publish(context: &Context, window: Window) -> Result<(), NodeError> {
    let Some((answer, state)) = kept_answer(&context.folder, window)? else { return Ok(()) };
    let bucket = &context.network.bucket;
    // The state first: the answer names it.
    if let Some(path) = state {
        let key = ObjectKey::AuditState(window, context.uid).to_string();
        bucket.put_large(&key, LargeSource::File(path), PART_BYTES).await?;
    }
    let states = answer.leaves.len() as u64;
    bucket.put(&ObjectKey::Audit(window, context.uid).to_string(), answer.encode().into()).await?;
    context.journal.add(&JournalEntry::AuditAnswered { window, states });
    Ok(())
}
