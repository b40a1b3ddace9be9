//! The ledger in memory, with a note of what nodes have handed in: a block can wait until a commitment is in the queue.

use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use templar_base::{BlockNumber, Keypair, Netuid, PublicKey};
use templar_bucket::Bucket;
use templar_chain::{
    BlockHeader, Call, Chain, ChainError, CommitmentRecord, Commitments, HeadStream, Hyperparameters,
    IndexedCommitment, Metagraph, Receipt, Topic,
};
use templar_ledger::LocalChain;

type Submitted = BTreeSet<(PublicKey, Topic, u64)>;

/// A shared ledger that remembers who committed what.
#[derive(Clone)]
pub struct Recording {
    pub inner: LocalChain,
    submitted: Arc<Mutex<Submitted>>,
    /// Whose buckets a reader of this clone does not find.
    hidden: BTreeSet<PublicKey>,
}

impl Recording {
    pub fn new(inner: LocalChain) -> Self {
        Self { inner, submitted: Arc::default(), hidden: BTreeSet::new() }
    }

    /// What was queued so far: whose, what, which window.
    pub fn submitted(&self) -> Submitted {
        self.submitted.lock().unwrap().clone()
    }

    /// The same ledger, without the buckets of these keys: as if they served the reader nothing.
    pub fn hiding(&self, hidden: BTreeSet<PublicKey>) -> Self {
        Self { hidden, ..self.clone() }
    }

    /// Says where a key's bucket is.
    pub fn announce(&self, hotkey: &Keypair, bucket: &Bucket) {
        let data = bucket.location().to_string().into_bytes();
        let call = Call::Commit { netuid: Netuid(3), topic: Topic::Bucket, index: 0, data };
        self.inner.enqueue(hotkey, call).unwrap();
    }
}

#[async_trait]
impl Chain for Recording {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        self.inner.head().await
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        self.inner.header(block).await
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        self.inner.subscribe_heads().await
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.inner.metagraph(netuid, at).await
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.inner.hyperparameters(netuid).await
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError> {
        let key = match &call {
            Call::Commit { topic, index, .. } => Some((signer.public(), *topic, *index)),
            _ => None,
        };
        // The first poll signs and queues; what follows is waiting for the block.
        let mut submission = self.inner.submit(signer, call);
        let first = std::future::poll_fn(|context| Poll::Ready(submission.as_mut().poll(context))).await;
        if let Some(key) = key {
            self.submitted.lock().unwrap().insert(key);
        }
        match first {
            Poll::Ready(receipt) => receipt,
            Poll::Pending => submission.await,
        }
    }
}

#[async_trait]
impl Commitments for Recording {
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        let mut all = self.inner.commitments(netuid, topic, index).await?;
        all.retain(|record| topic != Topic::Bucket || !self.hidden.contains(&record.hotkey));
        Ok(all)
    }

    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        self.inner.last_reports(netuid).await
    }
}
