//! Commitments: a few bytes that a registered hotkey writes on the chain.

use crate::{ChainError, Topic};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use templar_base::{BlockNumber, Netuid, PublicKey};

/// A commitment and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitmentRecord {
    /// By whom.
    pub hotkey: PublicKey,
    /// The block that included it.
    pub block: BlockNumber,
    /// What it says; foreign bytes, to be parsed with suspicion.
    #[serde(with = "hex_bytes")]
    pub data: Vec<u8>,
}

/// A commitment, and the window that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedCommitment {
    /// The window.
    pub index: u64,
    /// The commitment.
    #[serde(flatten)]
    pub record: CommitmentRecord,
}

/// A chain that keeps commitments by topic and index.
#[async_trait]
pub trait Commitments: Send + Sync {
    /// All commitments under a topic and index (window), by hotkey.
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError>;

    /// The newest reports ([`Topic::Applied`]) of each registered hotkey, some windows of them, however long ago they were
    /// made; the newest window first.
    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError>;

    /// What each of these hotkeys has under a topic and index, by hotkey, and nothing of others. Over a network an
    /// answer counts only with a proof for each key that it has this record, or none: nobody can leave one out.
    async fn commitments_of(
        &self,
        netuid: Netuid,
        topic: Topic,
        index: u64,
        hotkeys: &[PublicKey],
    ) -> Result<Vec<CommitmentRecord>, ChainError> {
        let mut records = self.commitments(netuid, topic, index).await?;
        records.retain(|record| hotkeys.contains(&record.hotkey));
        Ok(records)
    }

    /// The address of each hotkey's bucket, by hotkey.
    async fn bucket_commitments(&self, netuid: Netuid) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.commitments(netuid, Topic::Bucket, 0).await
    }
}

/// Bytes as hexadecimal text in JSON.
pub(crate) mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        hex::decode(text.as_ref()).map_err(serde::de::Error::custom)
    }
}
