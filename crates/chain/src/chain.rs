//! What a node asks of any chain, be it the local ledger or a Bittensor node.

use crate::governance::Governance;
use crate::market::Market;
use crate::{
    Bank, BlockHeader, Call, ChainError, Commitments, HeadStream, Hyperparameters, Metagraph, Receipt, SettingChanges,
};
use async_trait::async_trait;
use templar_base::{BlockNumber, Keypair, Netuid};

/// A chain that a node can stand on. Object safe: nodes hold an `Arc<dyn NodeChain>`.
///
/// What only some chains have is in traits of its own: [`Commitments`], [`Bank`](crate::Bank),
/// [`Market`](crate::market::Market), [`Governance`](crate::governance::Governance),
/// [`Access`](crate::access::Access), [`Explain`](crate::Explain).
#[async_trait]
pub trait Chain: Send + Sync {
    /// The newest block.
    async fn head(&self) -> Result<BlockHeader, ChainError>;

    /// A block of the kept history, with its beacon.
    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError>;

    /// The newest block, then every later one in order and without gaps (as far as history reaches). Reconnects
    /// automatically.
    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError>;

    /// The subnet after block `at`, or now.
    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError>;

    /// The subnet's rules.
    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError>;

    /// All run settings that the token's holders adopted, in order. A chain without governance has none.
    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        let _ = netuid;
        Ok(SettingChanges { at: self.head().await?.number, changes: Vec::new() })
    }

    /// Signs `call` and waits until a block includes it. The call takes effect at most once, whatever breaks on the
    /// way; a refusal is [`ChainError::Refused`].
    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError>;
}

/// What a node of a run needs: a chain that keeps commitments as well.
pub trait NodeChain: Chain + Commitments {}

impl<T: Chain + Commitments + ?Sized> NodeChain for T {}

/// What whoever shows a run to the public asks: what a node needs, and balances, the market and votes besides.
pub trait PublicChain: NodeChain + Bank + Market + Governance {}

impl<T: NodeChain + Bank + Market + Governance + ?Sized> PublicChain for T {}
