//! Getting one call into the ledger at most once, over a line that may break at any moment.
//!
//! The signed transaction is the unit of retry: sending it again cannot apply it twice, since its nonce counts once.
//! Another transaction is signed only when the first is known to be dead: another took its nonce.

use crate::{Call, ChainError, Envelope, MempoolError, Receipt, Refusal, Transaction};
use async_trait::async_trait;
use std::time::Duration;
use templar_base::{AtFault, BlockHash, BlockNumber, Keypair, PublicKey, TransactionHash};
use tokio::time::Instant;

/// Blocks that a submitted transaction lives.
const LIFETIME_BLOCKS: u64 = 64;
/// Fresh signatures after another transaction of the same key took the nonce.
const MAX_SIGNATURES: u32 = 16;

/// What a signer needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The account's next nonce, after those that wait.
    pub nonce: u64,
    /// The newest block.
    pub head: BlockNumber,
    /// The chain's name.
    pub genesis: BlockHash,
    /// Another for each submission, so that two equal calls at once are two transactions.
    pub salt: u64,
}

/// The few requests that submission makes; each may fail with a retryable error.
#[async_trait]
pub trait SubmissionPort: Send + Sync {
    /// What a transaction of `signer` needs now.
    async fn ticket(&self, signer: &PublicKey) -> Result<Ticket, ChainError>;
    /// Puts a transaction into the queue; sending it again has no effect.
    async fn queue(&self, transaction: &Transaction) -> Result<(), ChainError>;
    /// The receipt of a transaction; none while it waits.
    async fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError>;
    /// The number of the newest block.
    async fn head_number(&self) -> Result<BlockNumber, ChainError>;
    /// Waits until a block after `head` is likely.
    async fn wait_after(&self, head: BlockNumber);
}

enum Outcome {
    Included(Receipt),
    NonceLost,
}

/// Signs, queues and waits until the call is included or can never be.
pub async fn submit(
    port: &dyn SubmissionPort,
    signer: &Keypair,
    call: Call,
    patience: Duration,
) -> Result<Receipt, ChainError> {
    let deadline = Instant::now() + patience;
    let late = || ChainError::Deadline {
        milliseconds: patience.as_millis() as u64,
        what: "the account's next nonce".to_owned(),
    };
    for _ in 0..MAX_SIGNATURES {
        let asked = tokio::time::timeout_at(deadline, port.ticket(&signer.public())).await;
        let Ticket { nonce, head, genesis, salt } = asked.map_err(|_| late())??;
        let envelope = Envelope { nonce, valid_until: head.plus(LIFETIME_BLOCKS), genesis, salt };
        let transaction = Transaction::sign_envelope(signer, call.clone(), envelope);
        match tokio::time::timeout_at(deadline, drive(port, &transaction)).await {
            Ok(Ok(Outcome::NonceLost)) => continue,
            Ok(Ok(Outcome::Included(receipt))) => match receipt.result {
                Ok(()) => return Ok(receipt),
                // An earlier transaction of this key was refused, or another came between: this one is decided and
                // had no effect, so a new one is no repetition.
                Err(Refusal::BadNonce { .. }) => continue,
                Err(refusal) => return Err(ChainError::Refused { refusal }),
            },
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let (transaction, valid_until) = (transaction.hash(), transaction.valid_until);
                return Err(ChainError::Undecided { transaction, valid_until });
            }
        }
    }
    Err(ChainError::Deadline {
        milliseconds: patience.as_millis() as u64,
        what: "a nonce that nobody else takes; use one process for a key".to_owned(),
    })
}

async fn drive(port: &dyn SubmissionPort, transaction: &Transaction) -> Result<Outcome, ChainError> {
    let (hash, valid_until) = (transaction.hash(), transaction.valid_until);
    let mut pause = Duration::from_millis(50);
    loop {
        match step(port, transaction, &hash).await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => pause = Duration::from_millis(50),
            Err(error @ ChainError::NotQueued { .. }) => return Err(error),
            Err(ChainError::Expired { .. }) => {
                return Err(ChainError::Expired { transaction: hash, valid_until });
            }
            // A ledger that fails in the middle leaves it open whether the transaction waits there.
            Err(error) if !error.is_retryable() => {
                tracing::warn!(%error, "the ledger failed while a transaction was under way");
                return Err(ChainError::Undecided { transaction: hash, valid_until });
            }
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// One round: send again (the ledger may have restarted and lost its queue), look for the receipt, wait for a block.
async fn step(
    port: &dyn SubmissionPort,
    transaction: &Transaction,
    hash: &TransactionHash,
) -> Result<Option<Outcome>, ChainError> {
    // The head is read before the receipt: a block that comes between cannot be taken for a missing inclusion.
    let head = port.head_number().await?;
    let queued = port.queue(transaction).await;
    if let Some(receipt) = port.receipt(hash).await? {
        return Ok(Some(Outcome::Included(receipt)));
    }
    let valid_until = transaction.valid_until;
    match queued {
        Ok(()) => {}
        Err(ChainError::NotQueued { reason: MempoolError::NonceTaken { .. } | MempoolError::NonceGap { .. } }) => {
            return Ok(Some(Outcome::NonceLost));
        }
        Err(ChainError::NotQueued { reason: MempoolError::Full | MempoolError::AccountBusy { .. } }) => {}
        Err(ChainError::NotQueued { reason: MempoolError::BadLifetime { next, .. } }) if next > valid_until => {
            return Err(ChainError::Expired { transaction: *hash, valid_until });
        }
        Err(error) => return Err(error),
    }
    if head > valid_until {
        return Err(ChainError::Expired { transaction: *hash, valid_until });
    }
    port.wait_after(head).await;
    Ok(None)
}
