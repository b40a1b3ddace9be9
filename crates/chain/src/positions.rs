//! What a coldkey has staked, and behind whom anybody may stake.

use crate::{Bank, Chain, ChainError, Refusal};
use std::collections::BTreeMap;
use templar_base::{Alpha, Netuid, PublicKey, Uid};
use tokio::task::JoinSet;

/// Questions under way at once.
const PARALLEL: usize = 32;

/// Stake of one coldkey behind one hotkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Behind whom.
    pub hotkey: PublicKey,
    /// The hotkey's slot, if it has one.
    pub uid: Option<Uid>,
    /// How much, in the subnet's token.
    pub stake: Alpha,
}

/// What `coldkey` has behind the subnet's hotkeys and behind `further` ones, by slot, then by key; nothing of nothing.
/// Fails as the chain does.
pub async fn positions<C: Chain + Bank + Clone + 'static>(
    chain: &C,
    netuid: Netuid,
    coldkey: &PublicKey,
    further: Vec<PublicKey>,
) -> Result<Vec<Position>, ChainError> {
    let metagraph = chain.metagraph(netuid, None).await?;
    let staked = metagraph.neurons.iter().filter(|neuron| neuron.stake > Alpha::ZERO);
    let mut hotkeys: BTreeMap<PublicKey, Option<Uid>> = further.into_iter().map(|hotkey| (hotkey, None)).collect();
    hotkeys.extend(staked.map(|neuron| (neuron.hotkey, Some(neuron.uid))));
    let mut waiting = hotkeys.into_iter();
    let (mut tasks, mut positions) = (JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < PARALLEL {
            let Some((hotkey, uid)) = waiting.next() else { break };
            let (chain, coldkey) = (chain.clone(), *coldkey);
            tasks.spawn(async move {
                let stake = chain.stake(&hotkey, &coldkey).await?;
                Ok::<_, ChainError>(Position { hotkey, uid, stake })
            });
        }
        // A question neither panics nor is cancelled, so that every joined one has an answer.
        let Some(Ok(answer)) = tasks.join_next().await else { break };
        positions.push(answer?);
    }
    positions.retain(|position| position.stake > Alpha::ZERO);
    positions.sort_by_key(|position| (position.uid.is_none(), position.uid, position.hotkey));
    Ok(positions)
}

/// Fails in the ledger's own words where it does not know a hotkey: before somebody is asked to pay for stake behind it.
pub async fn check_known<C: Chain + Bank>(chain: &C, netuid: Netuid, hotkey: PublicKey) -> Result<(), ChainError> {
    let metagraph = chain.metagraph(netuid, None).await?;
    // A hotkey without a slot may be known all the same; what is staked behind it says so.
    if metagraph.neuron(&hotkey).is_some() || !chain.history(&hotkey, None, 1).await?.is_empty() {
        return Ok(());
    }
    Err(ChainError::Refused { refusal: Refusal::HotKeyAccountNotExists { hotkey } })
}
