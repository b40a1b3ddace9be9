//! What a node may ask of a chain, be it the local ledger or a Bittensor node.

use crate::access::AccessAccountView;
use crate::{Account, Call, EventRecord, HeadStream, Header, Receipt, Refusal, StateRoot, Topic, TransactionHash};
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, Beacon, BlockHash, BlockNumber, Keypair, Netuid, PublicKey, Rao, SettingChange, Uid};

/// A block as nodes see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// The block's number.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Hash of the block before.
    pub parent: BlockHash,
    /// When it was made, in milliseconds since 1970, by the block authority's clock.
    pub time_ms: u64,
    /// Digest of the state after it.
    pub state_root: StateRoot,
    /// Public randomness that nobody but the authority could know before it.
    pub beacon: Beacon,
}

impl From<&Header> for BlockHeader {
    fn from(header: &Header) -> Self {
        let hash = header.hash();
        Self {
            number: header.number,
            hash,
            parent: header.parent,
            time_ms: header.time_ms,
            state_root: header.state_root,
            beacon: hash.into(),
        }
    }
}

/// One slot of the subnet as nodes see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Neuron {
    /// The slot.
    pub uid: Uid,
    /// The key that holds it.
    pub hotkey: PublicKey,
    /// The key that owns the hotkey.
    pub coldkey: PublicKey,
    /// What the stake behind the hotkey counts for: its alpha, and its TAO on the root by the chain's weight.
    pub stake: Alpha,
    /// Whether it may judge.
    pub permit: bool,
    /// Whether it set weights lately, as of the last epoch.
    pub active: bool,
    /// The weight that the majority of the stake gives it, in 1/65535.
    pub consensus: u16,
    /// The part of its own weights within the consensus, in 1/65535.
    pub validator_trust: u16,
    /// When it got the slot.
    pub registered_at: BlockNumber,
    /// When it last set weights; 0 for never.
    pub last_update: BlockNumber,
    /// Its part of the last epoch's miners' pay, in 1/65535.
    pub incentive: u16,
    /// Its part of the last epoch's validators' pay, in 1/65535.
    pub dividends: u16,
    /// Its pay for the last epoch.
    pub emission: Alpha,
    /// Its weights over other slots; none where they are not known for this block.
    pub weights: Option<Vec<(Uid, u16)>>,
}

/// The subnet at a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Metagraph {
    /// After which block.
    pub block: BlockNumber,
    /// Which subnet.
    pub netuid: Netuid,
    /// Blocks from epoch to epoch.
    pub tempo: u32,
    /// How pay is computed.
    pub emission_rule: String,
    /// All slots, by uid.
    pub neurons: Vec<Neuron>,
}

impl Metagraph {
    /// The slot of `hotkey`.
    pub fn neuron(&self, hotkey: &PublicKey) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The slots that may judge, with their stake, by uid.
    pub fn validators(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.iter().filter(|neuron| neuron.permit && neuron.stake > Alpha::ZERO)
    }
}

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

/// The subnet's rules that nodes must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Which subnet.
    pub netuid: Netuid,
    /// The chain's name.
    pub genesis: BlockHash,
    /// Time between blocks, in milliseconds.
    pub block_time_ms: u64,
    /// Blocks from epoch to epoch.
    pub tempo: u32,
    /// Slots.
    pub max_uids: u16,
    /// Validators that hold a permit at most.
    pub max_validators: u16,
    /// Blocks during which a new slot is protected.
    pub immunity_blocks: u64,
    /// Blocks between two weight settings of one validator.
    pub weights_rate_limit_blocks: u64,
    /// Version key that weights must carry at least.
    pub weights_version: u64,
    /// Stake from which on a hotkey may set weights.
    pub weights_stake_threshold: Alpha,
    /// Whether weights are committed an epoch before they are revealed.
    pub commit_reveal: bool,
    /// Least stake.
    pub minimum_stake: Rao,
    /// Bytes of commitments a tempo, each with 32 bytes of overhead.
    pub commitment_bytes_per_tempo: u32,
    /// Blocks after which a write-once commitment is dropped.
    pub commitment_retention_blocks: u64,
    /// Blocks for which history is kept.
    pub history_blocks: u64,
}

/// The run settings that were adopted up to a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChanges {
    /// Everything that was decided up to this block is among them.
    pub at: BlockNumber,
    /// In the order of their adoption.
    pub changes: Vec<SettingChange>,
}

/// Why a chain did not answer, and whose move it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ChainError {
    /// The chain included the transaction's block and refused the call.
    #[error("the ledger refused: {refusal}")]
    Refused {
        /// Why, under the chain's own name.
        refusal: Refusal,
    },
    /// The transaction was not even queued.
    #[error("the ledger did not take the transaction: {reason}")]
    NotQueued {
        /// Why.
        reason: crate::MempoolError,
    },
    /// The ledger cannot be reached.
    #[error("the ledger at {address} cannot be reached: {reason}; check that it runs (`templar status`), then retry")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The ledger is reachable and made no answer, or no block, in time.
    #[error("no answer from the ledger within {milliseconds} ms for {what}; retry")]
    Deadline {
        /// How long it was given.
        milliseconds: u64,
        /// What was asked.
        what: String,
    },
    /// The transaction's lifetime passed without its inclusion: it can no longer take effect.
    #[error("transaction {transaction} was not included by block {valid_until} and never will be; submit again")]
    Expired {
        /// Which.
        transaction: TransactionHash,
        /// The last block that might have.
        valid_until: BlockNumber,
    },
    /// The transaction may or may not have been included: the ledger was lost while waiting.
    #[error(
        "lost the ledger while transaction {transaction} was under way; it may count until block {valid_until}: look \
         at the account's nonce before submitting again"
    )]
    Undecided {
        /// Which.
        transaction: TransactionHash,
        /// The last block that may include it.
        valid_until: BlockNumber,
    },
    /// The block has not been made yet.
    #[error("block {block} does not exist yet; the head is {head}")]
    NoSuchBlock {
        /// Asked for.
        block: BlockNumber,
        /// The newest.
        head: BlockNumber,
    },
    /// The block is older than the history that is kept.
    #[error("block {block} is no longer kept; the oldest is {oldest}")]
    Pruned {
        /// Asked for.
        block: BlockNumber,
        /// The oldest kept.
        oldest: BlockNumber,
    },
    /// No such part of a snapshot.
    #[error("that part of the snapshot of block {block} is not offered; take the newest snapshot")]
    NoSnapshot {
        /// Asked for.
        block: BlockNumber,
    },
    /// More was asked for than one answer holds.
    #[error("{asked} blocks asked for, at most {limit} at once; ask in pieces")]
    RangeTooLarge {
        /// Blocks asked for.
        asked: u64,
        /// Blocks allowed.
        limit: u64,
    },
    /// This client asks too much.
    #[error("the ledger answers {per_second} requests a second of one client; ask more slowly")]
    TooManyRequests {
        /// How many.
        per_second: u32,
    },
    /// No epoch had ended by then, or it is no longer kept.
    #[error("no epoch that ended by block {at} is kept; name a later block, or wait for an epoch's end")]
    NoSuchEpoch {
        /// Asked for.
        at: BlockNumber,
    },
    /// No such slot in that epoch.
    #[error("the epoch had no slot {uid}, only {slots} of them; look at the metagraph")]
    NoSuchSlot {
        /// Asked for.
        uid: Uid,
        /// How many there were.
        slots: u32,
    },
    /// No such subnet.
    #[error("there is no subnet {given} here; use {here}")]
    NoSuchSubnet {
        /// Asked for.
        given: Netuid,
        /// The ledger's.
        here: Netuid,
    },
    /// The server speaks another language than this client.
    #[error("the ledger's answer to {method} is not understood: {reason}; run the same version on both sides")]
    Protocol {
        /// What was called.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// The ledger's own disk or data failed.
    #[error("the ledger's store failed: {0}; the operator of the ledger must look at its disk")]
    Store(String),
}

impl ChainError {
    /// Whether asking again, unchanged, may succeed and cannot do harm.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Expired { .. }
            | Self::TooManyRequests { .. }
            | Self::NoSuchBlock { .. } => true,
            Self::Refused { refusal } => refusal.is_transient(),
            Self::NotQueued { reason } => reason.is_transient(),
            _ => false,
        }
    }

    /// The chain's own name of the error, if the chain refused the call.
    pub fn chain_name(&self) -> Option<String> {
        match self {
            Self::Refused { refusal } => Some(refusal.name()),
            _ => None,
        }
    }
}

/// A chain that a node can stand on. Object safe: nodes hold an `Arc<dyn Chain>`.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The newest block.
    async fn head(&self) -> Result<BlockHeader, ChainError>;

    /// A block of the kept history.
    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError>;

    /// The newest block, then every later one in order and without gaps (as far as history reaches), reconnecting by
    /// itself.
    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError>;

    /// The subnet after block `at`, or now.
    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError>;

    /// All commitments under a topic and index (window), by hotkey.
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError>;

    /// Where everybody's bucket is, by hotkey.
    async fn bucket_commitments(&self, netuid: Netuid) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.commitments(netuid, Topic::Bucket, 0).await
    }

    /// Balance and nonce; zeros for an unknown key.
    async fn account(&self, key: &PublicKey) -> Result<Account, ChainError>;

    /// What `coldkey` has staked behind `hotkey`, in the subnet's token.
    async fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Result<Alpha, ChainError>;

    /// Price of a slot now.
    async fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError>;

    /// Events of the blocks `from..=to`, at most [`MAX_EVENT_BLOCKS`](crate::MAX_EVENT_BLOCKS) of them.
    async fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError>;

    /// All run settings that the token's holders adopted, in order. A chain without governance has none.
    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        let _ = netuid;
        Ok(SettingChanges { at: self.head().await?.number, changes: Vec::new() })
    }

    /// The prepaid account of `key` at `gateway`. A chain without access has none.
    async fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError> {
        let _ = (netuid, gateway, key);
        Ok(None)
    }

    /// The subnet's rules.
    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError>;

    /// Signs `call` and waits until a block includes it. The call takes effect at most once, whatever breaks on the
    /// way; a refusal is [`ChainError::Refused`].
    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError>;
}

/// Bytes as hexadecimal text in JSON.
mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        hex::decode(text.as_ref()).map_err(serde::de::Error::custom)
    }
}
