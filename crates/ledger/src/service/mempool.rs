//! Transactions that wait for a block: bounded in all, and per account.
//!
//! There are two kinds. Those in the lane (commitments and weights of registered hotkeys, within the bytes that each has
//! free in a tempo) are bounded by registration, and a part of each block is kept for them: no number of other
//! transactions delays them. All others pay a fee, which has to be there when they come, and wait in one queue.

use crate::State;
use crate::transition::free_bytes_after;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{BlockNumber, PublicKey, Rao, TransactionHash};
use templar_chain::{Load, MAX_MORTALITY_BLOCKS, MempoolError, Transaction, TransactionHead};

/// Transactions that wait at most, outside of the lane.
const MAX_WAITING: usize = 16_384;
/// Their bytes at most.
const MAX_WAITING_BYTES: u64 = 32 << 20;
/// Transactions of one account that wait at most.
const MAX_WAITING_PER_ACCOUNT: u64 = 64;

/// A transaction whose signature was checked.
#[derive(Debug)]
struct Waiting {
    hash: TransactionHash,
    transaction: Transaction,
    load: Load,
    /// What it pays; none in the lane.
    fee: Option<Rao>,
    /// Counted over all, so that accounts are served in the order in which they came.
    arrival: u64,
}

/// The queue. One transaction per account and nonce; the first stays.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    waiting: BTreeMap<(PublicKey, u64), Waiting>,
    /// Places of the transactions outside of the lane, by arrival.
    arrivals: BTreeMap<u64, (PublicKey, u64)>,
    /// Their bytes together.
    paying_bytes: u64,
    next_arrival: u64,
}

/// How many transactions wait and how many bytes they have.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pool {
    /// In the lane.
    pub lane: (usize, u64),
    /// All others.
    pub paying: (usize, u64),
}

/// A block as it fills.
struct Filling {
    room: Load,
    /// The nonce that each account's next transaction needs.
    next: BTreeMap<PublicKey, u64>,
    taken: Vec<(TransactionHash, Transaction)>,
}

impl Mempool {
    /// The next nonce that is neither applied nor waiting.
    pub fn next_nonce(&self, state: &State, key: &PublicKey) -> u64 {
        let mut nonce = state.account(key).nonce;
        while self.waiting.contains_key(&(*key, nonce)) {
            nonce += 1;
        }
        nonce
    }

    /// Whether the transaction waits.
    pub fn contains(&self, transaction: &Transaction, hash: &TransactionHash) -> bool {
        self.waiting.get(&(transaction.signer, transaction.nonce)).is_some_and(|waiting| waiting.hash == *hash)
    }

    /// What waits.
    #[cfg(feature = "server")]
    pub fn pool(&self) -> Pool {
        let in_lane = self.waiting.values().filter(|waiting| waiting.fee.is_none()).map(|waiting| waiting.load.bytes);
        Pool { lane: (in_lane.clone().count(), in_lane.sum()), paying: (self.arrivals.len(), self.paying_bytes) }
    }

    fn of_account(&self, key: &PublicKey) -> impl Iterator<Item = &Waiting> {
        self.waiting.range((*key, 0)..=(*key, u64::MAX)).map(|(_, waiting)| waiting)
    }

    /// Queues a transaction; whether it was not there before. Everything cheap is checked before the signature.
    pub fn insert(
        &mut self,
        state: &State,
        transaction: Transaction,
        head: &TransactionHead,
    ) -> Result<bool, MempoolError> {
        let hash = head.hash();
        if self.contains(&transaction, &hash) {
            return Ok(false);
        }
        self.check_envelope(state, head)?;
        let (fee, load) = (self.fee(state, head)?, head.load());
        if fee.is_some()
            && (self.arrivals.len() >= MAX_WAITING || self.paying_bytes.saturating_add(load.bytes) > MAX_WAITING_BYTES)
        {
            return Err(MempoolError::Full);
        }
        if !head.is_authentic() {
            return Err(MempoolError::BadProof);
        }
        let (place, arrival) = ((head.signer, head.nonce), self.next_arrival);
        self.next_arrival += 1;
        if fee.is_some() {
            self.arrivals.insert(arrival, place);
            self.paying_bytes = self.paying_bytes.saturating_add(load.bytes);
        }
        self.waiting.insert(place, Waiting { hash, transaction, load, fee, arrival });
        Ok(true)
    }

    fn check_envelope(&self, state: &State, head: &TransactionHead) -> Result<(), MempoolError> {
        let here = state.genesis_hash();
        if head.genesis != here {
            return Err(MempoolError::BadGenesis { here });
        }
        let (signer, nonce, valid_until) = (head.signer, head.nonce, head.valid_until);
        let (next, latest) = (state.block().plus(1), state.block().plus(MAX_MORTALITY_BLOCKS));
        if valid_until < next || valid_until > latest {
            return Err(MempoolError::BadLifetime { valid_until, next, latest });
        }
        let account = state.account(&signer);
        if account.balance == Rao::ZERO && state.owner_of(&signer).is_none() {
            return Err(MempoolError::UnknownAccount(signer));
        }
        let next = self.next_nonce(state, &signer);
        if nonce < next {
            return Err(MempoolError::NonceTaken { nonce, next });
        }
        if nonce > next {
            return Err(MempoolError::NonceGap { nonce, next });
        }
        if next - account.nonce >= MAX_WAITING_PER_ACCOUNT {
            return Err(MempoolError::AccountBusy { limit: MAX_WAITING_PER_ACCOUNT });
        }
        Ok(())
    }

    /// What a transaction will pay, beside those of its account that wait; none where it goes into the lane.
    fn fee(&self, state: &State, head: &TransactionHead) -> Result<Option<Rao>, MempoolError> {
        let rule = &state.profile().load;
        let in_lane: u64 =
            self.of_account(&head.signer).filter(|one| one.fee.is_none()).map(|one| one.load.bytes).sum();
        let limit = rule.lane_bytes_per_tempo;
        let is_free = |used: u32| u64::from(used).saturating_add(in_lane) <= u64::from(limit);
        let free = free_bytes_after(state, head);
        if free.is_some_and(is_free) {
            return Ok(None);
        }
        let fee = rule.fee(head.load());
        let before = self.of_account(&head.signer).filter_map(|waiting| waiting.fee);
        let needed = before.fold(fee, Rao::saturating_add);
        let available = state.account(&head.signer).balance;
        if needed <= available {
            return Ok(Some(fee));
        }
        if head.is_for_lane && state.uid_of(&head.signer).is_some() {
            let tempo = u64::from(state.profile().tempo);
            let next_block = BlockNumber((state.block().0 / tempo + 1) * tempo);
            return Err(MempoolError::FreeBytesUsed { limit, next_block, fee });
        }
        Err(MempoolError::FeeNotCovered { needed, available })
    }

    /// Takes the transactions of the block after `state`, each with its hash: the lane's first, in its own part of the
    /// block, then the others in order of arrival, then what is left of the lane in what is left of the block. What does
    /// not fit waits for the next block.
    pub fn take_block(&mut self, state: &State) -> Vec<(TransactionHash, Transaction)> {
        self.drop_dead(state);
        let (block, lane) = (state.profile().load.block(), state.profile().load.lane());
        let mut next = BTreeMap::new();
        for (key, _) in self.waiting.keys() {
            next.entry(*key).or_insert_with(|| state.account(key).nonce);
        }
        let mut filling = Filling { room: lane, next, taken: Vec::new() };
        self.take_lane(&mut filling);
        let others = block.minus(lane).unwrap_or_default();
        filling.room = filling.room.plus(others);
        let places: Vec<(PublicKey, u64)> = self.arrivals.values().copied().collect();
        for place in places {
            self.take_one(place, &mut filling);
        }
        self.take_lane(&mut filling);
        filling.taken
    }

    /// Serves the lane in rounds of one transaction for each key, the small ones first: no key, and no number of large
    /// weight settings, can keep another key's vote out.
    fn take_lane(&mut self, filling: &mut Filling) {
        let in_lane = self.waiting.iter().filter(|(_, waiting)| waiting.fee.is_none());
        let keys: BTreeSet<PublicKey> = in_lane.map(|((key, _), _)| *key).collect();
        loop {
            let candidate = |key: &PublicKey| {
                let place = (*key, *filling.next.get(key)?);
                let waiting = self.waiting.get(&place).filter(|waiting| waiting.fee.is_none())?;
                Some((waiting.load.bytes, waiting.arrival, place))
            };
            let mut round: Vec<_> = keys.iter().filter_map(candidate).collect();
            round.sort_unstable();
            let before = filling.taken.len();
            for (.., place) in round {
                self.take_one(place, filling);
            }
            if filling.taken.len() == before {
                return;
            }
        }
    }

    /// Takes a transaction, if it is its account's next and fits.
    fn take_one(&mut self, place: (PublicKey, u64), filling: &mut Filling) {
        let Some(next) = filling.next.get_mut(&place.0).filter(|next| **next == place.1) else { return };
        let Some(room) = self.waiting.get(&place).and_then(|waiting| filling.room.minus(waiting.load)) else { return };
        let Some(waiting) = self.waiting.remove(&place) else { return };
        *next += 1;
        filling.room = room;
        self.forget(&waiting);
        filling.taken.push((waiting.hash, waiting.transaction));
    }

    fn forget(&mut self, waiting: &Waiting) {
        if self.arrivals.remove(&waiting.arrival).is_some() {
            self.paying_bytes = self.paying_bytes.saturating_sub(waiting.load.bytes);
        }
    }

    /// Drops what can be in no later block: its time has passed, or its nonce is taken or can no longer be reached.
    fn drop_dead(&mut self, state: &State) {
        let number = state.block().plus(1);
        let mut next = BTreeMap::new();
        let mut dead = Vec::new();
        for (place, waiting) in &self.waiting {
            let next = next.entry(place.0).or_insert_with(|| state.account(&place.0).nonce);
            if place.1 == *next && waiting.transaction.valid_until >= number {
                *next += 1;
            } else {
                dead.push(*place);
            }
        }
        for place in dead {
            if let Some(waiting) = self.waiting.remove(&place) {
                self.forget(&waiting);
            }
        }
    }
}
