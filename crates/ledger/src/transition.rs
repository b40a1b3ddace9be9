//! The state transition: a pure function of the state and a block.

use crate::rules::commit_reveal::Reveal;
use crate::rules::payout::PaidEpoch;
use crate::rules::stake::Position;
use crate::state::{ROOT, State, StateChanges};
use std::collections::BTreeSet;
use templar_base::{Alpha, Beacon, BlockNumber, Netuid, PublicKey, Rao, StateRoot, TransactionHash};
use templar_chain::access::AccessCall;
use templar_chain::{Call, Event, Included, MAX_MORTALITY_BLOCKS, Receipt, Refusal, Transaction, TransactionHead};

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
    /// Whether each transaction belongs into the block: its envelope is right and its fee was paid.
    pub(crate) is_included: Vec<bool>,
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
/// A transaction whose call is refused pays its fee and uses up its nonce, and nothing else of it stays. One whose
/// envelope is wrong, or whose fee its signer cannot pay, changes nothing at all.
pub fn apply(state: &mut State, block: &BlockInput) -> Result<Applied, BlockOrderError> {
    apply_verified(state, block, &BTreeSet::new())
}

/// Applies a block in which the signatures of `verified` were checked before: a hash covers its signature.
pub(crate) fn apply_verified(
    state: &mut State,
    block: &BlockInput,
    verified: &BTreeSet<TransactionHash>,
) -> Result<Applied, BlockOrderError> {
    let entries: Vec<Entry<'_>> = block.transactions.iter().map(Entry::Whole).collect();
    apply_entries(state, (block.number, block.time_ms), &entries, verified)
}

/// Applies a block as a follower gets it, where refused calls are not kept.
pub(crate) fn apply_included(
    state: &mut State,
    number: BlockNumber,
    time_ms: u64,
    transactions: &[Included],
) -> Result<Applied, BlockOrderError> {
    let entries: Vec<Entry<'_>> = transactions.iter().map(Entry::of).collect();
    apply_entries(state, (number, time_ms), &entries, &BTreeSet::new())
}

/// A transaction on its way into the state.
enum Entry<'a> {
    Whole(&'a Transaction),
    /// Its call was refused when the block was made, and is not known.
    Refused(&'a TransactionHead, &'a Refusal),
}

impl<'a> Entry<'a> {
    fn of(included: &'a Included) -> Self {
        match included {
            Included::Applied(transaction) => Self::Whole(transaction),
            Included::Refused { head, refusal } => Self::Refused(head, refusal),
        }
    }
}

fn apply_entries(
    state: &mut State,
    (number, time_ms): (BlockNumber, u64),
    entries: &[Entry<'_>],
    verified: &BTreeSet<TransactionHash>,
) -> Result<Applied, BlockOrderError> {
    if number != state.block.plus(1) {
        return Err(BlockOrderError { given: number, state: state.block });
    }
    state.block = number;
    let mut events = Vec::new();
    let epoch = begin_block(state, &mut events);
    let mut receipts = Vec::with_capacity(entries.len());
    let mut is_included = Vec::with_capacity(entries.len());
    for entry in entries {
        let head = match entry {
            Entry::Whole(transaction) => transaction.head(),
            Entry::Refused(head, _) => (*head).clone(),
        };
        let transaction = head.hash();
        let entered = enter(state, &head, verified.contains(&transaction));
        is_included.push(entered.is_ok());
        let result = entered.and_then(|()| match entry {
            Entry::Whole(transaction) => apply_call(state, &head.signer, &transaction.call, &mut events),
            Entry::Refused(_, refusal) => Err((*refusal).clone()),
        });
        receipts.push(Receipt { transaction, block: number, result });
    }
    crate::modules::market::end_block(state, time_ms, &events);
    let (is_metagraph_changed, is_weights_changed) = (state.is_metagraph_changed(), state.weights.is_changed());
    let (root, changes) = state.settle();
    Ok(Applied { events, receipts, is_included, root, epoch, changes, is_metagraph_changed, is_weights_changed })
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
        crate::rules::lasting::end_epoch(state);
        return Some(paid);
    }
    None
}

/// Takes a transaction in: checks its envelope, takes its fee, uses up its nonce. Nothing of it stays where it is refused
/// here.
fn enter(state: &mut State, head: &TransactionHead, is_verified: bool) -> Result<(), Refusal> {
    check_envelope(state, head, is_verified)?;
    let load = head.load();
    let fee = state.profile.load.fee(load);
    match free_bytes_after(state, head) {
        _ if fee == Rao::ZERO => {}
        Some(used) => state.lanes.insert(head.signer, used),
        None => state.pay_fee(&head.signer, fee)?,
    }
    state.advance_nonce(&head.signer);
    Ok(())
}

/// What a hotkey has used of its free bytes with this transaction; none where the transaction has to pay: it is not for
/// the lane, its signer holds no slot, or the bytes of the tempo are used up.
pub(crate) fn free_bytes_after(state: &State, head: &TransactionHead) -> Option<u32> {
    if !head.is_for_lane || state.uid_of(&head.signer).is_none() {
        return None;
    }
    let used = u64::from(state.lane_used(&head.signer)).saturating_add(head.load().bytes);
    u32::try_from(used).ok().filter(|used| *used <= state.profile.load.lane_bytes_per_tempo)
}

fn apply_call(state: &mut State, signer: &PublicKey, call: &Call, events: &mut Vec<Event>) -> Result<(), Refusal> {
    let signer = *signer;
    // Each rule checks everything before it writes anything, so that a refusal needs no undoing.
    match call {
        Call::Transfer { to, amount } => {
            state.transfer(&signer, to, *amount)?;
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
            check_unlocked(state, &signer, *netuid, *amount)?;
            crate::rules::stake::remove(
                state,
                position(state, *netuid, hotkey, &signer)?,
                amount.as_rao(),
                None,
                events,
            )?;
        }
        Call::RemoveStakeLimit { hotkey, netuid, amount, limit } => {
            check_unlocked(state, &signer, *netuid, *amount)?;
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
            if let AccessCall::Open { amount, .. } = call {
                check_unlocked(state, &signer, *netuid, *amount)?;
            }
            crate::modules::access::apply(state, &signer, call, events)?;
        }
        Call::Commit { netuid, topic, index, data } => {
            check_netuid(state, *netuid)?;
            events.push(crate::rules::commitment::commit(state, &signer, *topic, *index, data)?);
        }
    }
    crate::rules::lasting::note_low(state, &signer);
    Ok(())
}

/// Checks everything about a transaction but its call and its fee: signature, chain, lifetime and nonce, for inclusion in
/// the block that `state` stands at.
fn check_envelope(state: &State, transaction: &TransactionHead, is_verified: bool) -> Result<(), Refusal> {
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
    if !is_verified && !transaction.is_authentic() {
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

/// That stake of the subnet which has voted stays until the vote closes.
fn check_unlocked(state: &State, signer: &PublicKey, netuid: Netuid, amount: Alpha) -> Result<(), Refusal> {
    if netuid == ROOT { Ok(()) } else { crate::modules::governance::check_unlocked(state, signer, amount) }
}

fn check_netuid(state: &State, given: Netuid) -> Result<(), Refusal> {
    let here = state.profile.netuid;
    if given == here { Ok(()) } else { Err(Refusal::SubnetNotExists { given, here }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use templar_base::{Keypair, Signature};

    #[test]
    fn a_signature_that_the_queue_has_checked_is_not_checked_again() {
        let alice = Keypair::from_seed([1; 32]);
        let start = State::genesis(Profile::local(alice.public(), &[])).unwrap();
        let call = Call::Transfer { to: PublicKey::new([9; 32]), amount: Rao::from_whole(1) };
        let good = Transaction::sign(&alice, call, 0, BlockNumber(1), start.genesis_hash());
        let forged = Transaction { signature: Signature([7; 64]), ..good.clone() };
        let block = |transaction: &Transaction| BlockInput {
            number: BlockNumber(1),
            time_ms: 0,
            beacon: Beacon::default(),
            transactions: vec![transaction.clone()],
        };
        let outcome = |transaction: &Transaction, verified: &Transaction| {
            let verified = BTreeSet::from([verified.hash()]);
            let applied = apply_verified(&mut start.clone(), &block(transaction), &verified).unwrap();
            applied.receipts[0].result.clone()
        };
        assert_eq!(outcome(&forged, &forged), Ok(()), "the hash covers the signature, and is trusted");
        // Another signature of the same call has another hash, and is checked.
        assert_eq!(outcome(&forged, &good), Err(Refusal::BadProof));
        assert_eq!(outcome(&good, &forged), Ok(()));
        assert_eq!(apply(&mut start.clone(), &block(&forged)).unwrap().receipts[0].result, Err(Refusal::BadProof));
    }
}
