//! The state transition: a pure function of the state and a block.

use crate::rules::commit_reveal::Reveal;
use crate::rules::payout::PaidEpoch;
use crate::rules::stake::Position;
use crate::state::{ROOT, State, StateChanges};
use templar_base::{Beacon, BlockNumber, Netuid, PublicKey, Rao, StateRoot};
use templar_chain::{Call, Event, MAX_MORTALITY_BLOCKS, Receipt, Refusal, Transaction};

/// What the transition is told about a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInput {
    /// The block's number, one more than the state's.
    pub number: BlockNumber,
    /// When the authority made it, in milliseconds since 1970.
    pub time_ms: u64,
    /// Randomness that the authority reveals with the block. No plain rule draws on it yet.
    pub beacon: Beacon,
    /// What keys ask, in this order.
    pub transactions: Vec<Transaction>,
}

/// What a block did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Facts, in order.
    pub events: Vec<Event>,
    /// One receipt for each transaction, in their order.
    pub receipts: Vec<Receipt>,
    /// Digest of the state after the block.
    pub root: StateRoot,
    /// How the epoch that ended with this block was computed and paid; none where none ended.
    pub epoch: Option<PaidEpoch>,
    /// Entries of each table that changed, for the store.
    pub(crate) changes: StateChanges,
    /// Whether slots or stakes changed.
    pub(crate) is_metagraph_changed: bool,
    /// Whether weights changed.
    pub(crate) is_weights_changed: bool,
}

/// A block that does not follow the state; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("block {given} cannot follow block {state}; apply blocks one by one")]
pub struct BlockOrderError {
    /// Number of the block.
    pub given: BlockNumber,
    /// Block of the state.
    pub state: BlockNumber,
}

/// Applies a block. Pure: the same state and block give the same result on every machine.
///
/// A transaction that is refused changes nothing, its signer's nonce included: the root is the one that the block
/// would have had without it.
pub fn apply(state: &mut State, block: &BlockInput) -> Result<Applied, BlockOrderError> {
    if block.number != state.block.plus(1) {
        return Err(BlockOrderError { given: block.number, state: state.block });
    }
    state.block = block.number;
    let mut events = Vec::new();
    let epoch = begin_block(state, &mut events);
    let mut receipts = Vec::with_capacity(block.transactions.len());
    for transaction in &block.transactions {
        let result = apply_transaction(state, transaction, &mut events);
        receipts.push(Receipt { transaction: transaction.hash(), block: block.number, result });
    }
    crate::modules::market::end_block(state, block.time_ms, &events);
    let (is_metagraph_changed, is_weights_changed) = (state.is_metagraph_changed(), state.weights.is_changed());
    let (root, changes) = state.settle();
    Ok(Applied { events, receipts, root, epoch, changes, is_metagraph_changed, is_weights_changed })
}

/// What happens at every block, whatever is asked: prices sink, old commitments go, and each tempo an epoch ends.
fn begin_block(state: &mut State, events: &mut Vec<Event>) -> Option<PaidEpoch> {
    crate::rules::registration::decay_price(state);
    crate::rules::emission::issue(state, events);
    crate::modules::access::begin_block(state, events);
    crate::modules::governance::begin_block(state, events);
    let retention = state.profile.commitment_retention_blocks;
    state.drop_commitments_before(state.block.minus(retention));
    if state.block.is_multiple_of(u64::from(state.profile.tempo)) {
        crate::rules::commitment::begin_tempo(state);
        let paid = crate::rules::emission::end_epoch(state, events);
        crate::modules::access::end_epoch(state, events);
        return Some(paid);
    }
    None
}

fn apply_transaction(state: &mut State, transaction: &Transaction, events: &mut Vec<Event>) -> Result<(), Refusal> {
    check_envelope(state, transaction)?;
    let signer = transaction.signer;
    // Each rule checks everything before it writes anything, so that a refusal needs no undoing.
    match &transaction.call {
        Call::Transfer { to, amount } => {
            state.debit(&signer, *amount, |needed, available| Refusal::InsufficientBalance { needed, available })?;
            if *amount != Rao::ZERO {
                state.credit(to, *amount);
            }
            events.push(Event::Transferred { from: signer, to: *to, amount: *amount });
        }
        Call::Register { netuid, hotkey, max_price } => {
            check_netuid(state, *netuid)?;
            crate::rules::registration::register(state, &signer, hotkey, *max_price, events)?;
        }
        Call::SetWeights { netuid, uids, values, version_key } => {
            check_netuid(state, *netuid)?;
            events.push(crate::rules::weights::set_weights(state, &signer, uids, values, *version_key)?);
        }
        Call::AddStake { hotkey, netuid, amount } => {
            crate::rules::stake::add(state, position(state, *netuid, hotkey, &signer)?, *amount, None, events)?;
        }
        Call::AddStakeLimit { hotkey, netuid, amount, limit } => {
            crate::rules::stake::add(state, position(state, *netuid, hotkey, &signer)?, *amount, Some(*limit), events)?;
        }
        Call::RemoveStake { hotkey, netuid, amount } => {
            crate::rules::stake::remove(
                state,
                position(state, *netuid, hotkey, &signer)?,
                amount.as_rao(),
                None,
                events,
            )?;
        }
        Call::RemoveStakeLimit { hotkey, netuid, amount, limit } => {
            crate::rules::stake::remove(
                state,
                position(state, *netuid, hotkey, &signer)?,
                amount.as_rao(),
                Some(*limit),
                events,
            )?;
        }
        Call::MoveStake { from, to, netuid, amount } => {
            crate::rules::stake::move_between(
                state,
                position(state, *netuid, from, &signer)?,
                to,
                amount.as_rao(),
                events,
            )?;
        }
        Call::SetTake { hotkey, take } => events.push(crate::rules::stake::set_take(state, &signer, hotkey, *take)?),
        Call::CommitWeights { netuid, hash } => {
            check_netuid(state, *netuid)?;
            events.push(crate::rules::commit_reveal::commit(state, &signer, *hash)?);
        }
        Call::RevealWeights { netuid, uids, values, salt, version_key } => {
            check_netuid(state, *netuid)?;
            let reveal = Reveal { uids, values, salt, version_key: *version_key };
            events.push(crate::rules::commit_reveal::reveal(state, &signer, &reveal)?);
        }
        Call::Governance { netuid, call } => {
            check_netuid(state, *netuid)?;
            events.push(crate::modules::governance::apply(state, &signer, call)?);
        }
        Call::Access { netuid, call } => {
            check_netuid(state, *netuid)?;
            crate::modules::access::apply(state, &signer, call, events)?;
        }
        Call::Commit { netuid, topic, index, data } => {
            check_netuid(state, *netuid)?;
            events.push(crate::rules::commitment::commit(state, &signer, *topic, *index, data)?);
        }
    }
    state.advance_nonce(&signer);
    Ok(())
}

/// Checks everything about a transaction but its call: signature, chain, lifetime and nonce, for inclusion in the
/// block that `state` stands at.
fn check_envelope(state: &State, transaction: &Transaction) -> Result<(), Refusal> {
    let now = state.block;
    if transaction.genesis != state.genesis_hash() {
        return Err(Refusal::BadGenesis { signed: transaction.genesis, here: state.genesis_hash() });
    }
    let valid_until = transaction.valid_until;
    if valid_until < now {
        return Err(Refusal::Expired { valid_until, now });
    }
    let latest = now.plus(MAX_MORTALITY_BLOCKS);
    if valid_until > latest {
        return Err(Refusal::MortalityTooLong { valid_until, latest });
    }
    let expected = state.account(&transaction.signer).nonce;
    if transaction.nonce != expected {
        return Err(Refusal::BadNonce { given: transaction.nonce, expected });
    }
    if !transaction.is_authentic() {
        return Err(Refusal::BadProof);
    }
    Ok(())
}

/// A position in the subnet or on the root.
fn position<'a>(
    state: &State,
    netuid: Netuid,
    hotkey: &'a PublicKey,
    coldkey: &'a PublicKey,
) -> Result<Position<'a>, Refusal> {
    if netuid != ROOT {
        check_netuid(state, netuid)?;
    }
    Ok(Position { netuid, hotkey, coldkey })
}

fn check_netuid(state: &State, given: Netuid) -> Result<(), Refusal> {
    let here = state.profile.netuid;
    if given == here { Ok(()) } else { Err(Refusal::SubnetNotExists { given, here }) }
}
