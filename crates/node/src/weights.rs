//! A validator's weights on their way to the ledger: at once, or hidden until nobody can copy them.
//!
//! Where the ledger wants commits, the weights are in the data folder from before the commit until they are revealed, an
//! epoch later: a node that was killed in between reveals them after its restart.

use crate::context::Context;
use crate::{JournalEntry, NodeError};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use std::path::PathBuf;
use std::sync::Arc;
use templar_base::{AtFault, BlockNumber, Uid, Window};
use templar_chain::{Call, ChainError, Refusal, weights_hash};
use templar_round::{first_reveal, head_before};
use tokio::task::JoinSet;

/// Version of the weights' meaning.
const VERSION_KEY: u64 = 0;
/// Numbers of 16 bits that hide weights: as many bits as the hash has.
const SALT_LENGTH: usize = 16;
const FILE_PREFIX: &str = "weights-";

/// Weights that are committed, or about to be.
#[derive(Debug, Clone, Encode, Decode)]
struct Hidden {
    window: Window,
    uids: Vec<Uid>,
    values: Vec<u16>,
    salt: Vec<u16>,
}

/// Sets the weights of a window on the ledger.
pub(crate) async fn submit(context: Arc<Context>, window: Window, weights: Vec<(Uid, u16)>) {
    if let Err(error) = try_submit(&context, window, weights).await {
        context.journal.warn(format!("weights of window {window} are not set: {error}"));
    }
}

async fn try_submit(context: &Arc<Context>, window: Window, weights: Vec<(Uid, u16)>) -> Result<(), NodeError> {
    let network = &context.network;
    let (uids, values): (Vec<Uid>, Vec<u16>) = weights.iter().copied().unzip();
    let rules = network.record.chain.hyperparameters(network.record.netuid).await?;
    if !rules.commit_reveal {
        let call = Call::SetWeights { netuid: network.record.netuid, uids, values, version_key: VERSION_KEY };
        network.record.chain.submit(&network.hotkey, call).await?;
        context.journal.add(&JournalEntry::Weights { window, weights });
        return Ok(());
    }
    let hidden = Hidden { window, uids, values, salt: salt()? };
    context.folder.write(&file_name(window), &[&hidden.encode()])?;
    let Hidden { uids, values, salt, .. } = &hidden;
    let hash = weights_hash(&network.hotkey.public(), network.record.netuid, uids, values, salt, VERSION_KEY);
    let call = Call::CommitWeights { netuid: network.record.netuid, hash };
    let receipt = match network.record.chain.submit(&network.hotkey, call).await {
        Ok(receipt) => receipt,
        Err(error) => {
            // Whether it counts may be open: the file stays, and a restart finds out.
            if matches!(error, ChainError::Refused { .. } | ChainError::NotQueued { .. }) {
                forget(context, window);
            }
            return Err(error.into());
        }
    };
    reveal(context, hidden, first_reveal(receipt.block, rules.tempo)).await
}

/// Reveals what an earlier process of this node committed.
pub(crate) fn resume(context: &Arc<Context>, tasks: &mut JoinSet<()>) {
    for hidden in left_over(context) {
        let context = Arc::clone(context);
        tasks.spawn(async move {
            let window = hidden.window;
            if let Err(error) = reveal(&context, hidden, BlockNumber(0)).await {
                context.journal.warn(format!("weights of window {window} are not revealed: {error}"));
            }
        });
    }
}

fn left_over(context: &Context) -> Vec<Hidden> {
    let Ok(entries) = std::fs::read_dir(context.folder.path()) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_file_name(name)).collect();
    names.sort();
    let read = |name: &String| {
        let bytes = context.folder.read(name).ok()??;
        Hidden::decode_all(&mut &bytes[..]).ok()
    };
    names.iter().filter_map(read).collect()
}

fn file_name(window: Window) -> String {
    format!("{FILE_PREFIX}{}", window.0)
}

fn is_file_name(name: &str) -> bool {
    let number = name.strip_prefix(FILE_PREFIX);
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn forget(context: &Context, window: Window) {
    let path: PathBuf = context.folder.path().join(file_name(window));
    if let Err(error) = std::fs::remove_file(&path) {
        context.journal.warn(format!("cannot remove {}: {error}", path.display()));
    }
}

/// Waits for the epoch of the reveal, and reveals.
async fn reveal(context: &Context, hidden: Hidden, not_before: BlockNumber) -> Result<(), NodeError> {
    let network = &context.network;
    let Hidden { window, uids, values, salt } = hidden;
    let weights = uids.iter().copied().zip(values.iter().copied()).collect();
    let call = Call::RevealWeights { netuid: network.record.netuid, uids, values, salt, version_key: VERSION_KEY };
    let mut heads = network.record.chain.subscribe_heads().await?;
    let mut not_before = not_before;
    loop {
        while heads.next().await?.number < not_before {}
        match network.record.chain.submit(&network.hotkey, call.clone()).await {
            Ok(_) => {
                forget(context, window);
                context.journal.add(&JournalEntry::Weights { window, weights });
                return Ok(());
            }
            Err(ChainError::Refused { refusal: Refusal::RevealTooEarly { next_block } }) => {
                not_before = head_before(next_block);
            }
            Err(error) if error.is_retryable() => {}
            Err(error) => {
                forget(context, window);
                return Err(error.into());
            }
        }
    }
}

fn salt() -> Result<Vec<u16>, NodeError> {
    let mut bytes = [0; 2 * SALT_LENGTH];
    getrandom::fill(&mut bytes).map_err(NodeError::Random)?;
    Ok(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}
