//! What a node may ask of a chain, be it the local ledger or a Bittensor node.

use crate::access::AccessAccountView;
use crate::{
    Account, BlockHeader, Call, ChainError, CommitmentRecord, EventRecord, HeadStream, Hyperparameters, Metagraph,
    Receipt, SettingChanges, Topic,
};
use async_trait::async_trait;
use templar_base::{Alpha, BlockNumber, Keypair, Netuid, PublicKey, Rao};

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
