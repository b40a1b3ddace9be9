//! The ledger in this process: for tests, for the simulator, and behind the RPC server.

use crate::service::authority::Ledger;
use crate::service::snapshot::Snapshots;
use crate::service::store::StoreError;
use crate::state::Profile;
use async_trait::async_trait;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use templar_base::{Alpha, BlockNumber, Keypair, Netuid, PublicKey, Rao, TransactionHash, Uid};
use templar_chain::access::{Access, AccessAccountView, AccessOverview};
use templar_chain::governance::{Governance, Proposal, ProposalId, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, Market, MarketSummary, Order, Quote};
use templar_chain::submission::{self, SubmissionPort, Ticket};
use templar_chain::{
    Account, Bank, BlockHeader, Call, Chain, ChainError, CommitmentRecord, Commitments, EventRecord, Explain,
    Explanation, HeadStream, Hyperparameters, IndexedCommitment, Metagraph, Newest, Receipt, SettingChanges,
    SnapshotOffer, Topic, Totals, Transaction, is_beyond,
};
use tokio::sync::watch;

/// How long a submission waits for a block.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// A [`Ledger`] shared within this process. Cheap to clone; all clones are the same ledger.
#[derive(Clone)]
pub struct LocalChain {
    shared: Arc<Shared>,
    makes_block_on_submit: bool,
}

struct Shared {
    ledger: Mutex<Ledger>,
    newest: watch::Sender<Newest>,
    next_salt: AtomicU64,
    snapshots: Mutex<Snapshots>,
}

impl LocalChain {
    /// Shares `ledger`; blocks come from [`LocalChain::advance`] or [`LocalChain::make_block`].
    pub fn new(ledger: Ledger) -> Self {
        let (newest, _) = watch::channel(Some(Ok(ledger.head())));
        let shared =
            Shared { ledger: Mutex::new(ledger), newest, next_salt: AtomicU64::new(1), snapshots: Mutex::default() };
        Self { shared: Arc::new(shared), makes_block_on_submit: false }
    }

    /// A ledger in memory with a fixed secret, for tests and simulations.
    pub fn in_memory(profile: &Profile) -> Result<Self, StoreError> {
        Ok(Self::new(Ledger::in_memory(profile, [7; 32])?))
    }

    /// The same ledger, except that [`Chain::submit`] through this handle makes a block at once.
    pub fn with_block_on_submit(&self) -> Self {
        Self { makes_block_on_submit: true, ..self.clone() }
    }

    /// Makes `blocks` blocks, a block time apart; returns the newest.
    pub fn advance(&self, blocks: u64) -> Result<BlockHeader, ChainError> {
        let mut head = self.with(|ledger| ledger.head());
        let block_time_ms = self.with(|ledger| ledger.state().profile().block_time_ms);
        for _ in 0..blocks {
            head = self.make_block(head.time_ms.saturating_add(block_time_ms))?;
        }
        Ok(head)
    }

    /// Makes one block at `time_ms`.
    pub fn make_block(&self, time_ms: u64) -> Result<BlockHeader, ChainError> {
        let mut ledger = self.lock();
        let header = ledger.make_block(time_ms)?;
        self.shared.newest.send_replace(Some(Ok(header.clone())));
        Ok(header)
    }

    /// Signs `call` and queues it for the next block, without waiting.
    pub fn enqueue(&self, signer: &Keypair, call: Call) -> Result<TransactionHash, ChainError> {
        let mut ledger = self.lock();
        let nonce = ledger.next_nonce(&signer.public());
        let valid_until = ledger.head().number.plus(64);
        let genesis = ledger.state().genesis_hash();
        ledger.queue(Transaction::sign(signer, call, nonce, valid_until, genesis))
    }

    /// Queues a transaction that was signed elsewhere.
    pub fn queue(&self, transaction: Transaction) -> Result<TransactionHash, ChainError> {
        self.lock().queue(transaction)
    }

    /// Queues a transaction; its hash, and its signer where that shows a registered key: it holds a slot, and the
    /// transaction came for the first time.
    #[cfg(feature = "server")]
    pub(crate) fn queue_and_prove(
        &self,
        transaction: Transaction,
    ) -> Result<(TransactionHash, Option<PublicKey>), ChainError> {
        let signer = transaction.signer;
        let mut ledger = self.lock();
        let (hash, is_new) = ledger.queue_new(transaction)?;
        Ok((hash, Some(signer).filter(|signer| is_new && ledger.state().uid_of(signer).is_some())))
    }

    /// What became of a transaction; none while it waits, or when its block is no longer kept.
    pub fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError> {
        self.lock().receipt(hash)
    }

    /// The newest snapshot of the state; a new one where that is [`SNAPSHOT_BLOCKS`](crate::SNAPSHOT_BLOCKS) old.
    pub fn snapshot(&self) -> SnapshotOffer {
        self.snapshots().offer(&mut self.lock())
    }

    /// A part of one of the newest snapshots.
    pub fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        self.snapshots().part(block, index)
    }

    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        // What is kept there is always whole: a snapshot comes in when it is made.
        self.shared.snapshots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads the ledger under its lock.
    pub fn with<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.lock())
    }

    /// Follows the newest block.
    pub(crate) fn newest(&self) -> watch::Receiver<Newest> {
        self.shared.newest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic under the lock would be a bug in the transition; its state was then never committed, and serving
        // reads from the rest is better than bringing every caller down.
        self.shared.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Chain for LocalChain {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        Ok(self.with(Ledger::head))
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        self.with(|ledger| ledger.header(block))
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        Ok(HeadStream::new(self.newest(), Arc::new(self.clone())))
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.with(|ledger| ledger.metagraph(netuid, at))
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.with(|ledger| ledger.hyperparameters(netuid))
    }

    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        self.with(|ledger| ledger.setting_changes(netuid))
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError> {
        submission::submit(self, signer, call, SUBMIT_TIMEOUT).await
    }
}

#[async_trait]
impl Commitments for LocalChain {
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.with(|ledger| ledger.commitments(netuid, topic, index))
    }

    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        self.with(|ledger| ledger.last_reports(netuid))
    }
}

#[async_trait]
impl Bank for LocalChain {
    async fn account(&self, key: &PublicKey) -> Result<Account, ChainError> {
        Ok(self.with(|ledger| ledger.account(key)))
    }

    async fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Result<Alpha, ChainError> {
        Ok(self.with(|ledger| ledger.state().stake(hotkey, coldkey)))
    }

    async fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError> {
        self.with(|ledger| ledger.registration_cost(netuid))
    }

    async fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError> {
        self.with(|ledger| ledger.events(from, to))
    }

    async fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError> {
        self.with(|ledger| ledger.history(key, before, limit))
    }

    async fn totals(&self) -> Result<Totals, ChainError> {
        Ok(self.with(|ledger| ledger.state().totals()))
    }
}

#[async_trait]
impl Market for LocalChain {
    async fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError> {
        self.with(|ledger| ledger.market(netuid))
    }

    async fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ChainError> {
        self.with(|ledger| ledger.quote(netuid, order))
    }

    async fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError> {
        self.with(|ledger| ledger.candles(netuid, interval, limit))
    }

    async fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError> {
        self.with(|ledger| ledger.epochs(netuid, limit))
    }
}

#[async_trait]
impl Governance for LocalChain {
    async fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError> {
        self.with(|ledger| ledger.proposals(netuid, limit))
    }

    async fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError> {
        self.with(|ledger| ledger.proposal(netuid, id, after))
    }
}

#[async_trait]
impl Access for LocalChain {
    async fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ChainError> {
        self.with(|ledger| ledger.access_overview(netuid))
    }

    async fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError> {
        self.with(|ledger| ledger.access_account(netuid, gateway, key))
    }

    async fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ChainError> {
        self.with(|ledger| ledger.access_accounts(netuid, gateway, after))
    }
}

#[async_trait]
impl Explain for LocalChain {
    async fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ChainError> {
        self.with(|ledger| ledger.explain(netuid, uid, at))
    }
}

#[async_trait]
impl SubmissionPort for LocalChain {
    async fn ticket(&self, signer: &PublicKey) -> Result<Ticket, ChainError> {
        Ok(self.with(|ledger| Ticket {
            nonce: ledger.next_nonce(signer),
            head: ledger.head().number,
            genesis: ledger.state().genesis_hash(),
            // Counted per chain, so that a simulation gives the same transactions every time.
            salt: self.shared.next_salt.fetch_add(1, Ordering::Relaxed),
        }))
    }

    async fn queue(&self, transaction: &Transaction) -> Result<(), ChainError> {
        LocalChain::queue(self, transaction.clone())?;
        if self.makes_block_on_submit {
            self.advance(1)?;
        }
        Ok(())
    }

    async fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError> {
        LocalChain::receipt(self, hash)
    }

    async fn head_number(&self) -> Result<BlockNumber, ChainError> {
        Ok(self.with(Ledger::head).number)
    }

    async fn wait_after(&self, head: BlockNumber) {
        let mut newest = self.newest();
        // The sender lives as long as this chain does, so this ends with a block only.
        let _ = newest.wait_for(|newest| is_beyond(newest, head)).await;
    }
}
