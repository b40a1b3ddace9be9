//! The client: reconnects automatically, and gives up in time.

use super::address::ledger_url;
use super::api::LedgerRpcClient;
use super::connection::{Connection, RpcOptions, follow_heads};
use crate::access::{Access, AccessAccountView, AccessOverview};
use crate::governance::{Governance, Proposal, ProposalId, ProposalView};
use crate::market::{Candle, EpochRecord, Interval, Market, MarketSummary, Order, Quote};
use crate::submission::{self, SubmissionPort, Ticket};
use crate::{
    Account, Bank, BlockHeader, Call, Chain, ChainError, CommitmentRecord, Commitments, EventRecord, Explain,
    Explanation, HeadStream, Hyperparameters, IndexedCommitment, MAX_PROVED_KEYS, Metagraph, ProvedRecords, Receipt,
    SettingChanges, SignedBlock, SnapshotOffer, Topic, Totals, Transaction,
};
use async_trait::async_trait;
use parity_scale_codec::{DecodeAll, Encode};
use serde::de::DeserializeOwned;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use templar_base::{Alpha, BlockHash, BlockNumber, Keypair, Netuid, PublicKey, Rao, TransactionHash, Uid};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// Calls a method of [`LedgerRpcClient`] with arguments that are `Copy`, retrying within the client's limits.
macro_rules! call {
    ($chain:expr, $method:ident($($argument:expr),*)) => {
        $chain.connection.call(stringify!($method), move |client| async move { client.$method($($argument),*).await })
    };
}

/// A ledger that is reached by JSON-RPC over WebSocket. Cheap to clone; clones share one connection.
///
/// Heads, headers with their beacons, blocks, and what hotkeys committed ([`Commitments::commitments_of`]) are believed
/// with the signature of the chain's authority only, whose key is in the chain's name: [`ChainError::Forged`]. All else
/// is the server's word.
#[derive(Clone)]
pub struct RpcChain {
    connection: Arc<Connection>,
    follower: Arc<Follower>,
}

/// The task that follows heads; it ends with the last handle of the chain.
#[derive(Default)]
struct Follower {
    task: OnceLock<JoinHandle<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl RpcChain {
    /// Connects to `url`, such as `ws://127.0.0.1:9944`; fails if the ledger does not answer in time.
    pub async fn connect(url: &str, options: RpcOptions) -> Result<Self, ChainError> {
        let (newest, _) = watch::channel(None);
        let (url, client, key) = (ledger_url(url)?, Mutex::new(None), OnceLock::new());
        let connection = Arc::new(Connection { url, options, client, key, newest, shown: AtomicU64::new(0) });
        connection.client().await?;
        Ok(Self { connection, follower: Arc::new(Follower::default()) })
    }

    /// The chain's name: that of the first connection, which all later answers are held to.
    pub async fn genesis(&self) -> Result<BlockHash, ChainError> {
        match self.connection.chain() {
            Some(chain) => Ok(chain),
            None => call!(self, genesis()).await,
        }
    }

    /// The document that the ledger started from, of whatever type `P` the ledger's implementation gives it.
    pub async fn profile<P: DeserializeOwned>(&self) -> Result<P, ChainError> {
        let document = call!(self, profile()).await?;
        serde_json::from_value(document).map_err(|error| self.connection.protocol("profile", &error.to_string()))
    }

    /// A kept block, for replay; the chain's authority has signed it.
    pub async fn block(&self, block: BlockNumber) -> Result<SignedBlock, ChainError> {
        let text = call!(self, block(block)).await?;
        let found = hex::decode(text).ok().and_then(|bytes| SignedBlock::decode_all(&mut &bytes[..]).ok());
        let found = found.ok_or_else(|| self.connection.protocol("block", "the bytes are not a block"))?;
        self.check_number("block", block, found.block.header.number)?;
        let verified = found.verify(self.connection.key()?);
        verified.map_err(|error| self.connection.forged("block", &error.to_string()))?;
        Ok(found)
    }

    fn check_number(&self, method: &str, wanted: BlockNumber, given: BlockNumber) -> Result<(), ChainError> {
        if given == wanted {
            return Ok(());
        }
        Err(self.connection.forged(method, &format!("block {given} instead of {wanted}")))
    }

    /// What some hotkeys have under a topic and index, each proved by a header that is no older than the newest that the
    /// server had shown before.
    async fn proved(
        &self,
        netuid: Netuid,
        (topic, index): (Topic, u64),
        hotkeys: &[PublicKey],
    ) -> Result<Vec<CommitmentRecord>, ChainError> {
        let (name, shown) = ("records", self.connection.shown());
        let ask = |client: Arc<jsonrpsee::ws_client::WsClient>| {
            let hotkeys = hotkeys.to_vec();
            async move { client.records(netuid, topic, index, hotkeys).await }
        };
        let text = self.connection.call(name, ask).await?;
        let answer = hex::decode(text).ok().and_then(|bytes| ProvedRecords::decode_all(&mut &bytes[..]).ok());
        let answer = answer.filter(|answer| answer.proofs.len() == hotkeys.len());
        let answer = answer.ok_or_else(|| self.connection.protocol(name, "the bytes are not as many proofs"))?;
        let given = self.connection.verified(name, &answer.header)?.number;
        if given < shown {
            return Err(ChainError::Behind { address: self.connection.url.clone(), given, shown });
        }
        let mut records = Vec::new();
        for (hotkey, proof) in hotkeys.iter().zip(&answer.proofs) {
            let found = proof.find(&answer.header.header.records_root, *hotkey, (topic, index));
            records.extend(found.map_err(|error| self.connection.forged(name, &error.to_string()))?);
        }
        Ok(records)
    }

    /// The newest snapshot of the state that the ledger offers.
    pub async fn snapshot(&self) -> Result<SnapshotOffer, ChainError> {
        call!(self, snapshot()).await
    }

    /// A part of the snapshot of `block`, as it came: to be compared with its hash.
    pub async fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        let text = call!(self, snapshot_part(block, index)).await?;
        hex::decode(text).map_err(|error| self.connection.protocol("snapshot_part", &error.to_string()))
    }

    /// The nonce that the key's next transaction needs, after those that wait.
    pub async fn next_nonce(&self, key: &PublicKey) -> Result<u64, ChainError> {
        let key = *key;
        call!(self, next_nonce(key)).await
    }
}

#[async_trait]
impl Chain for RpcChain {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        let head = call!(self, head()).await?;
        self.connection.verified("head", &head)
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        let signed = call!(self, header(block)).await?;
        self.check_number("header", block, signed.header.number)?;
        self.connection.verified("header", &signed)
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        // The first subscriber starts the one task that follows for all of them.
        self.follower.task.get_or_init(|| tokio::spawn(follow_heads(self.connection.clone())));
        Ok(HeadStream::new(self.connection.newest.subscribe(), Arc::new(self.clone())))
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        call!(self, metagraph(netuid, at)).await
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        let rules: Hyperparameters = call!(self, hyperparameters(netuid)).await?;
        // Nodes compare this name with their run's.
        if self.connection.chain() != Some(rules.genesis) {
            let reason = format!("it names chain {} now", rules.genesis);
            return Err(self.connection.forged("hyperparameters", &reason));
        }
        Ok(rules)
    }

    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        call!(self, setting_changes(netuid)).await
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError> {
        submission::submit(self, signer, call, self.connection.options.submit_timeout).await
    }
}

#[async_trait]
impl Commitments for RpcChain {
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        call!(self, commitments(netuid, topic, index)).await
    }

    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        call!(self, last_reports(netuid)).await
    }

    async fn commitments_of(
        &self,
        netuid: Netuid,
        topic: Topic,
        index: u64,
        hotkeys: &[PublicKey],
    ) -> Result<Vec<CommitmentRecord>, ChainError> {
        let mut asked = hotkeys.to_vec();
        asked.sort_unstable();
        asked.dedup();
        let mut records = Vec::new();
        for keys in asked.chunks(MAX_PROVED_KEYS) {
            records.extend(self.proved(netuid, (topic, index), keys).await?);
        }
        Ok(records)
    }
}

#[async_trait]
impl Bank for RpcChain {
    async fn account(&self, key: &PublicKey) -> Result<Account, ChainError> {
        let key = *key;
        call!(self, account(key)).await
    }

    async fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Result<Alpha, ChainError> {
        let (hotkey, coldkey) = (*hotkey, *coldkey);
        call!(self, stake(hotkey, coldkey)).await
    }

    async fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError> {
        call!(self, registration_cost(netuid)).await
    }

    async fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError> {
        call!(self, events(from, to)).await
    }

    async fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError> {
        let key = *key;
        call!(self, history(key, before, limit)).await
    }

    async fn totals(&self) -> Result<Totals, ChainError> {
        call!(self, totals()).await
    }
}

#[async_trait]
impl Market for RpcChain {
    async fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError> {
        call!(self, market(netuid)).await
    }

    async fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ChainError> {
        call!(self, quote(netuid, order)).await
    }

    async fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError> {
        call!(self, candles(netuid, interval, limit)).await
    }

    async fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError> {
        call!(self, epochs(netuid, limit)).await
    }
}

#[async_trait]
impl Governance for RpcChain {
    async fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError> {
        call!(self, proposals(netuid, limit)).await
    }

    async fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError> {
        call!(self, proposal(netuid, id, after)).await
    }
}

#[async_trait]
impl Access for RpcChain {
    async fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ChainError> {
        call!(self, access_overview(netuid)).await
    }

    async fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError> {
        let (gateway, key) = (*gateway, *key);
        call!(self, access_account(netuid, gateway, key)).await
    }

    async fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ChainError> {
        let gateway = *gateway;
        call!(self, access_accounts(netuid, gateway, after)).await
    }
}

#[async_trait]
impl Explain for RpcChain {
    async fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ChainError> {
        call!(self, explain(netuid, uid, at)).await
    }
}

#[async_trait]
impl SubmissionPort for RpcChain {
    async fn ticket(&self, signer: &PublicKey) -> Result<Ticket, ChainError> {
        let nonce = self.next_nonce(signer).await?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| ChainError::Random(error.to_string()))?;
        let (head, genesis) = (self.head_number().await?, self.genesis().await?);
        Ok(Ticket { nonce, head, genesis, salt: u64::from_le_bytes(salt) })
    }

    async fn queue(&self, transaction: &Transaction) -> Result<(), ChainError> {
        let text = hex::encode(transaction.encode());
        let submit = |client: Arc<jsonrpsee::ws_client::WsClient>| {
            let text = text.clone();
            async move { client.submit(text).await }
        };
        self.connection.call("submit", submit).await.map(|_: TransactionHash| ())
    }

    async fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError> {
        let hash = *hash;
        call!(self, receipt(hash)).await
    }

    async fn head_number(&self) -> Result<BlockNumber, ChainError> {
        Ok(self.head().await?.number)
    }

    async fn wait_after(&self, head: BlockNumber) {
        let Ok(heads) = self.subscribe_heads().await else { return };
        // The subscription wakes this up at once; the limit covers a subscription that is being made again.
        let _ = tokio::time::timeout(Duration::from_secs(2), heads.wait_beyond(head)).await;
    }
}
