//! A node's connections: the public record, its own key and its own bucket.

use crate::{NodeError, NodeMetrics};
use std::sync::Arc;
use std::time::Duration;
use templar_base::{AtFault, BlockNumber, Keypair, Netuid};
use templar_bucket::{Bucket, BucketOptions, TrafficObserver};
use templar_chain::{Call, ChainError, NodeChain, Topic};
use templar_record::PublicRecord;

/// How often a commitment is tried while the ledger is away.
const COMMIT_ATTEMPTS: usize = 120;
const COMMIT_PAUSE: Duration = Duration::from_millis(500);

/// How patient a node is with buckets: a window is short, so a try that hangs must end while others can still follow.
pub fn bucket_options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(3),
        attempts: 80,
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(1),
        ..BucketOptions::default()
    }
}

/// A node's connections.
pub struct Network {
    /// What everybody can read.
    pub record: PublicRecord,
    /// The node's identity.
    pub hotkey: Keypair,
    /// The node's own bucket.
    pub bucket: Bucket,
}

impl Network {
    /// A node's connections; nothing is contacted yet.
    pub fn new(chain: Arc<dyn NodeChain>, netuid: Netuid, hotkey: Keypair, bucket: Bucket) -> Self {
        Self { record: PublicRecord::new(chain, netuid), hotkey, bucket }
    }

    /// The same connections, with metrics of what the buckets carry.
    pub(crate) fn observed_by(self, metrics: Arc<NodeMetrics>) -> Self {
        let bucket = self.bucket.observed_by(Arc::clone(&metrics) as Arc<dyn TrafficObserver>);
        Self { record: self.record.observed_by(metrics), bucket, ..self }
    }

    /// Says on the ledger where the own bucket is, unless it says so already.
    pub(crate) async fn announce_bucket(&self) -> Result<(), NodeError> {
        let location = self.bucket.location().to_string().into_bytes();
        let own = self.hotkey.public();
        let records = self.record.chain.bucket_commitments(self.record.netuid).await?;
        if records.iter().any(|record| record.hotkey == own && record.data == location) {
            return Ok(());
        }
        self.commit(Topic::Bucket, 0, location).await.map(|_| ())
    }

    /// Commits bytes on the ledger and gives the block that holds them. Safe to repeat: what is there already counts.
    pub(crate) async fn commit(&self, topic: Topic, index: u64, data: Vec<u8>) -> Result<BlockNumber, NodeError> {
        let mut last = None;
        for attempt in 0..COMMIT_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(COMMIT_PAUSE).await;
                if let Ok(Some(block)) = self.own_commitment(topic, index, &data).await {
                    return Ok(block);
                }
            }
            let call = Call::Commit { netuid: self.record.netuid, topic, index, data: data.clone() };
            match self.record.chain.submit(&self.hotkey, call).await {
                Ok(receipt) => return Ok(receipt.block),
                Err(error) if error.is_retryable() || matches!(error, ChainError::Undecided { .. }) => {
                    last = Some(error);
                }
                // It may be there from before a restart, or from an attempt whose answer was lost.
                Err(error) => return self.own_commitment(topic, index, &data).await?.ok_or_else(|| error.into()),
            }
        }
        Err(last.map_or(NodeError::Deadline { what: "a commitment on the ledger", seconds: 60 }, Into::into))
    }

    /// Whether the own key has committed anything there.
    pub(crate) async fn has_committed(&self, topic: Topic, index: u64) -> Result<bool, NodeError> {
        let own = self.hotkey.public();
        let records = self.record.chain.commitments(self.record.netuid, topic, index).await?;
        Ok(records.iter().any(|record| record.hotkey == own))
    }

    async fn own_commitment(&self, topic: Topic, index: u64, data: &[u8]) -> Result<Option<BlockNumber>, NodeError> {
        let own = self.hotkey.public();
        let records = self.record.chain.commitments(self.record.netuid, topic, index).await?;
        Ok(records.iter().find(|record| record.hotkey == own && record.data == data).map(|record| record.block))
    }
}
