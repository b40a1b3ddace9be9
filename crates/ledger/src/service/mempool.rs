//! Transactions that wait for a block: bounded in all, and per account.

use crate::State;
use std::collections::BTreeMap;
use templar_base::{PublicKey, Rao, TransactionHash};
use templar_chain::{MAX_MORTALITY_BLOCKS, MempoolError, Transaction};

/// Transactions that wait at most.
const MAX_WAITING: usize = 16_384;
/// Transactions of one account that wait at most.
const MAX_WAITING_PER_ACCOUNT: u64 = 64;
/// Transactions of one block at most.
const MAX_PER_BLOCK: usize = 8_192;

/// The queue. One transaction per account and nonce; the first stays.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    waiting: BTreeMap<(PublicKey, u64), (TransactionHash, Transaction)>,
    /// Arrival numbers, so that accounts are served in the order in which they came.
    arrivals: BTreeMap<u64, (PublicKey, u64)>,
    next_arrival: u64,
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
        self.waiting.get(&(transaction.signer, transaction.nonce)).is_some_and(|(waiting, _)| waiting == hash)
    }

    /// Queues a transaction. Everything cheap is checked before the signature.
    pub fn insert(
        &mut self,
        state: &State,
        transaction: Transaction,
        hash: TransactionHash,
    ) -> Result<(), MempoolError> {
        if self.contains(&transaction, &hash) {
            return Ok(());
        }
        let here = state.genesis_hash();
        if transaction.genesis != here {
            return Err(MempoolError::BadGenesis { here });
        }
        let (signer, nonce, valid_until) = (transaction.signer, transaction.nonce, transaction.valid_until);
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
        if self.waiting.len() >= MAX_WAITING {
            return Err(MempoolError::Full);
        }
        if !transaction.is_authentic() {
            return Err(MempoolError::BadProof);
        }
        self.arrivals.insert(self.next_arrival, (signer, nonce));
        self.next_arrival += 1;
        self.waiting.insert((signer, nonce), (hash, transaction));
        Ok(())
    }

    /// Takes the transactions of the next block, in order of arrival.
    pub fn take_block(&mut self) -> Vec<Transaction> {
        let mut taken = Vec::new();
        while taken.len() < MAX_PER_BLOCK {
            let Some((_, place)) = self.arrivals.pop_first() else { break };
            taken.extend(self.waiting.remove(&place).map(|(_, transaction)| transaction));
        }
        taken
    }
}
