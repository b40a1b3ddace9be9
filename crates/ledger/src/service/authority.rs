//! The block authority: state, queue and store together. Synchronous; time comes from the caller.

use crate::rules::explain::explain;
use crate::service::counts::Counts;
use crate::service::mempool::Mempool;
#[cfg(feature = "server")]
use crate::service::mempool::Pool;
use crate::service::store::{BlockRecord, Opened, Store, StoreError};
use crate::state::State;
use crate::transition::{Applied, BlockInput, apply_included, apply_verified};
use crate::{Profile, service::view};
use parity_scale_codec::Encode;
use std::path::Path;
use templar_base::{BlockNumber, Netuid, PublicKey, Rao, TransactionHash, Uid};
use templar_chain::{
    Account, AuthoritySigner, Block, BlockHeader, BlsSignature, Certificate, CertificateError, ChainError,
    CommitmentRecord, EventRecord, Explanation, Header, Hyperparameters, Included, IndexedCommitment, Load,
    MAX_EVENT_BLOCKS, MAX_PROVED_KEYS, Metagraph, ProvedRecords, Receipt, SignedBlock, SignedHeader, Topic,
    Transaction, transactions_root,
};

/// A whole local ledger, in a folder or in memory.
///
/// One authority makes all blocks and there is no consensus protocol: it is for one operator's network, for tests and
/// for study. Everybody can replay the blocks and compare roots, so the authority cannot break the rules unseen; it
/// can leave transactions out. It signs each block: whoever knows the chain's name can check a header. Beacons follow from
/// its key and the blocks' numbers alone: it knows them ahead, and cannot choose one.
pub struct Ledger {
    state: State,
    head: SignedHeader,
    store: Store,
    mempool: Mempool,
    signer: AuthoritySigner,
    counts: Counts,
}

impl Ledger {
    /// Opens the ledger in `folder`, or makes it from `profile` where there is none.
    ///
    /// `secret` is what the authority's signing key is made from, and so what makes beacons unpredictable for everybody
    /// else; it is used only for a new ledger, whose profile gets the key if it names none, and kept in its folder. Draw
    /// it with [`Ledger::draw_secret`].
    pub fn open(folder: &Path, profile: &Profile, secret: [u8; 32]) -> Result<Self, StoreError> {
        Self::from_opened(Store::open(folder, Some(profile), secret)?)
    }

    /// A secret for a new ledger, from the system's random source.
    pub fn draw_secret() -> Result<[u8; 32], StoreError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(StoreError::Random)?;
        Ok(secret)
    }

    /// Opens the ledger in `folder` under the profile that it was made with.
    pub fn reopen(folder: &Path) -> Result<Self, StoreError> {
        Self::from_opened(Store::open(folder, None, [0; 32])?)
    }

    /// A ledger in memory, for tests and simulations; equal arguments give equal blocks.
    pub fn in_memory(profile: &Profile, secret: [u8; 32]) -> Result<Self, StoreError> {
        Self::from_opened(Store::in_memory(profile, secret)?)
    }

    fn from_opened(opened: Opened) -> Result<Self, StoreError> {
        let Opened { store, state, head, secret } = opened;
        let secret = secret.ok_or_else(|| StoreError::Replica(store.path().to_owned()))?;
        let signer = AuthoritySigner::new(&secret, &state.genesis_hash());
        Ok(Self { state, head, store, mempool: Mempool::default(), signer, counts: Counts::default() })
    }

    /// The same ledger, except that blocks reach the disk only now and then: a kill loses the newest. For ledgers that
    /// can be made again, as in measurements.
    pub fn without_sync(mut self) -> Self {
        self.store.blocks_per_sync = 256;
        self
    }

    /// The state after the newest block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Shows every entry of the state, encoded, by table and key.
    pub(crate) fn visit_entries(&mut self, entry: &mut dyn FnMut(u8, Vec<u8>, Vec<u8>)) {
        self.state.visit_entries(entry);
    }

    /// The newest block.
    pub fn head(&self) -> BlockHeader {
        (&self.head.header).into()
    }

    /// The newest block's header and certificate.
    pub fn signed_head(&self) -> SignedHeader {
        self.head.clone()
    }

    fn number(&self) -> BlockNumber {
        self.head.header.number
    }

    /// Queues a transaction for the next block. One that was decided or is waiting already is left as it is.
    pub fn queue(&mut self, transaction: Transaction) -> Result<TransactionHash, ChainError> {
        Ok(self.queue_new(transaction)?.0)
    }

    /// Queues a transaction, and reports whether it came for the first time: only then does it show that its sender has
    /// the key, since everybody can read those of earlier blocks.
    pub(crate) fn queue_new(&mut self, transaction: Transaction) -> Result<(TransactionHash, bool), ChainError> {
        let head = transaction.head();
        let hash = head.hash();
        if self.receipt(&hash)?.is_some() {
            return Ok((hash, false));
        }
        let inserted = self.mempool.insert(&self.state, transaction, &head);
        self.counts.came(&inserted);
        Ok((hash, inserted.map_err(|reason| ChainError::NotQueued { reason })?))
    }

    /// Makes the next block from the queue, at `time_ms` (milliseconds since 1970; never before its parent).
    ///
    /// Where the store fails, the ledger stands where it stood before, except that the queue is gone.
    pub fn make_block(&mut self, time_ms: u64) -> Result<BlockHeader, StoreError> {
        let made = self.make_next(time_ms);
        if made.is_err() {
            self.counts.failed();
        }
        made
    }

    fn make_next(&mut self, time_ms: u64) -> Result<BlockHeader, StoreError> {
        // The queue has checked these signatures.
        let (verified, transactions) = self.mempool.take_block(&self.state).into_iter().unzip();
        let Some((input, mut header)) = self.next_header(time_ms, transactions) else {
            return Err(StoreError::Damaged(self.store.path().to_owned(), "its last block has no seed for the next"));
        };
        let Ok(mut applied) = apply_verified(&mut self.state, &input, &verified) else {
            return Err(self.recover(StoreError::Damaged("state".into(), "it does not stand at the head")));
        };
        let transactions = included(input.transactions, &mut applied);
        header.transactions_root = transactions_root(&transactions);
        (header.state_root, header.records_root) = (applied.root, self.state.records_root());
        let certificate = Some(self.signer.certify(&header));
        let signed = SignedBlock { block: Block { header, transactions }, certificate };
        if let Err(error) = self.store.commit(record(&signed, &applied, &self.state)) {
            return Err(self.recover(error));
        }
        self.counts.made(signed.block.encoded_size(), &applied.receipts);
        self.head = SignedHeader { header: signed.block.header, certificate: signed.certificate };
        Ok(self.head())
    }

    /// The next block's header but for its roots, and what the transition is to be told.
    fn next_header(&self, time_ms: u64, transactions: Vec<Transaction>) -> Option<(BlockInput, Header)> {
        let parent = &self.head.header;
        let number = parent.number.plus(1);
        // No view is skipped: the parent's is the only one since, and its seed came with its certificate.
        let seeds: Vec<BlsSignature> = self.head.certificate.iter().map(|certificate| certificate.seed).collect();
        let header = Header {
            number,
            parent: parent.hash(),
            view: parent.view.saturating_add(1),
            time_ms: time_ms.max(parent.time_ms),
            beacon: parent.next_beacon(&self.state.genesis_hash(), &seeds)?,
            seeds,
            transactions_root: Default::default(),
            state_root: Default::default(),
            records_root: Default::default(),
            extra: Vec::new(),
        };
        let input = BlockInput { number, time_ms: header.time_ms, beacon: header.beacon, transactions };
        Some((input, header))
    }

    /// After a failed write: back to the last committed block.
    fn recover(&mut self, error: StoreError) -> StoreError {
        match self.store.load_state(self.state.profile().clone()) {
            Ok((state, head)) => (self.state, self.head) = (state, head),
            Err(reload) => return reload,
        }
        error
    }

    /// A kept block's header.
    pub fn header(&self, number: BlockNumber) -> Result<BlockHeader, ChainError> {
        Ok((&self.signed_header(number)?.header).into())
    }

    /// A kept block's header and certificate.
    pub fn signed_header(&self, number: BlockNumber) -> Result<SignedHeader, ChainError> {
        if number == self.number() {
            return Ok(self.signed_head());
        }
        let SignedBlock { block, certificate } = self.signed_block(number)?;
        Ok(SignedHeader { header: block.header, certificate })
    }

    /// A kept block, for replay.
    pub fn block(&self, number: BlockNumber) -> Result<Block, ChainError> {
        Ok(self.signed_block(number)?.block)
    }

    /// A kept block with its certificate, for followers.
    pub fn signed_block(&self, number: BlockNumber) -> Result<SignedBlock, ChainError> {
        self.check_kept(number)?;
        let oldest = self.store.oldest()?;
        self.store.signed_block(number)?.ok_or(ChainError::Pruned { block: number, oldest })
    }

    fn check_kept(&self, block: BlockNumber) -> Result<(), ChainError> {
        let head = self.number();
        if block > head {
            return Err(ChainError::NoSuchBlock { block, head });
        }
        let oldest = self.store.oldest()?;
        if block < oldest { Err(ChainError::Pruned { block, oldest }) } else { Ok(()) }
    }

    /// The receipt of a transaction that was included in the kept history.
    pub fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError> {
        Ok(self.store.receipt(hash)?)
    }

    /// The subnet after block `at`, or now.
    pub fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.check_netuid(netuid)?;
        let block = at.unwrap_or(self.number());
        if block == self.number() {
            let (neurons, weights) = (view::neurons(&self.state), view::weight_rows(&self.state));
            return Ok(view::metagraph(&self.state, block, neurons, weights));
        }
        self.check_kept(block)?;
        let (neurons, weights) = self.store.metagraph(block)?;
        Ok(view::metagraph(&self.state, block, neurons, weights))
    }

    /// Commitments under a topic and index, by hotkey.
    pub fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(view::commitments(&self.state, topic, index))
    }

    /// The newest reports of each registered hotkey, the newest window first.
    pub fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(view::last_reports(&self.state))
    }

    /// What each of these hotkeys has under a topic and index now, proved by the newest header.
    pub fn prove_records(
        &self,
        netuid: Netuid,
        (topic, index): (Topic, u64),
        hotkeys: &[PublicKey],
    ) -> Result<ProvedRecords, ChainError> {
        self.check_netuid(netuid)?;
        let (asked, limit) = (hotkeys.len() as u64, MAX_PROVED_KEYS as u64);
        if asked > limit {
            return Err(ChainError::TooManyKeys { asked, limit });
        }
        Ok(ProvedRecords { header: self.signed_head(), proofs: self.state.prove_records(topic, index, hotkeys) })
    }

    /// Balance and nonce.
    pub fn account(&self, key: &PublicKey) -> Account {
        self.state.account(key)
    }

    /// The nonce that the key's next transaction needs, behind those that wait.
    pub fn next_nonce(&self, key: &PublicKey) -> u64 {
        self.mempool.next_nonce(&self.state, key)
    }

    /// Price of a slot now.
    pub fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state.totals().registration_price)
    }

    /// Events of the blocks `from..=to`.
    pub fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError> {
        if to < from {
            return Ok(Vec::new());
        }
        self.check_kept(to)?;
        self.check_kept(from)?;
        let asked = to.blocks_since(from) + 1;
        if asked > MAX_EVENT_BLOCKS {
            return Err(ChainError::RangeTooLarge { asked, limit: MAX_EVENT_BLOCKS });
        }
        let record = |(block, events): (BlockNumber, Vec<templar_chain::Event>)| {
            events.into_iter().map(move |event| EventRecord { block, event })
        };
        Ok(self.store.events(from, to)?.into_iter().flat_map(record).collect())
    }

    pub(crate) fn events_of(
        &self,
        key: &PublicKey,
        before: BlockNumber,
        limit: usize,
    ) -> Result<Vec<EventRecord>, ChainError> {
        Ok(self.store.history(key, before, limit)?)
    }

    /// Why a slot was paid what it was paid in the newest epoch that ended at `at` or before; the newest of all where no
    /// block is named.
    pub fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ChainError> {
        self.check_netuid(netuid)?;
        let at = at.unwrap_or(self.number());
        let epoch = self.store.epoch(at)?.ok_or(ChainError::NoSuchEpoch { at })?;
        let rules = self.state.profile().rule_set;
        explain(rules, &epoch, uid).ok_or(ChainError::NoSuchSlot { uid, slots: epoch.payouts.len() as u32 })
    }

    /// The subnet's rules.
    pub fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.check_netuid(netuid)?;
        Ok(view::hyperparameters(&self.state))
    }

    pub(crate) fn check_netuid(&self, given: Netuid) -> Result<(), ChainError> {
        let here = self.state.profile().netuid;
        if given == here { Ok(()) } else { Err(ChainError::NoSuchSubnet { given, here }) }
    }
}

#[cfg(feature = "server")]
impl Ledger {
    /// What it has done since it was opened.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What waits for a block.
    pub(crate) fn pool(&self) -> Pool {
        self.mempool.pool()
    }

    /// The oldest block that is kept.
    pub(crate) fn oldest(&self) -> Result<BlockNumber, StoreError> {
        self.store.oldest()
    }

    /// Bytes of its file; none in memory.
    pub(crate) fn store_bytes(&self) -> Option<u64> {
        std::fs::metadata(self.store.path()).ok().map(|file| file.len())
    }
}

/// What a block keeps of its transactions: of refused ones all but their calls, and nothing of those that were not taken
/// in, which changed nothing; their receipts go too.
fn included(transactions: Vec<Transaction>, applied: &mut Applied) -> Vec<Included> {
    let (mut kept, mut receipts) = (Vec::with_capacity(transactions.len()), Vec::with_capacity(transactions.len()));
    let outcomes = std::mem::take(&mut applied.receipts).into_iter().zip(&applied.is_included);
    for (transaction, (receipt, is_included)) in transactions.into_iter().zip(outcomes) {
        if !is_included {
            continue;
        }
        kept.push(match &receipt.result {
            Ok(()) => Included::Applied(transaction),
            Err(refusal) => Included::Refused { head: transaction.head(), refusal: refusal.clone() },
        });
        receipts.push(receipt);
    }
    applied.receipts = receipts;
    kept
}

pub(crate) fn record<'a>(signed: &'a SignedBlock, applied: &'a Applied, state: &State) -> BlockRecord<'a> {
    BlockRecord {
        block: &signed.block,
        certificate: signed.certificate.as_ref(),
        events: &applied.events,
        receipts: &applied.receipts,
        changes: &applied.changes,
        metagraph: applied.is_metagraph_changed.then(|| view::neurons(state)),
        weights: applied.is_weights_changed.then(|| view::weight_rows(state)),
        epoch: applied.epoch.as_ref(),
    }
}

impl From<StoreError> for ChainError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl std::fmt::Debug for Ledger {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("head", &self.number()).finish_non_exhaustive()
    }
}

/// A block that a follower must not accept; the authority is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It does not follow the block before.
    #[error("block {0} does not follow the one before it; fetch the blocks in order, from one ledger")]
    NotNext(BlockNumber),
    /// Its transactions or its state are not what its header says.
    #[error("block {0} breaks the rules: replay gives another root than its header; do not trust this ledger")]
    WrongRoot(BlockNumber),
    /// It holds more than the profile allows.
    #[error(
        "block {0} breaks the rules: it is over the profile's budget of bytes or signatures; do not trust this ledger"
    )]
    OverBudget(BlockNumber),
    /// It holds a transaction that is forged or does not pay, or a whole one whose call is refused.
    #[error("block {0} breaks the rules: it holds a transaction that may not be in it; do not trust this ledger")]
    WrongTransaction(BlockNumber),
    /// Its view, seeds or beacon are not what the authority's key gives.
    #[error("block {0} breaks the rules: {1}; do not trust this ledger")]
    WrongRandomness(BlockNumber, CertificateError),
    /// Its header holds what this version does not know.
    #[error("block {0} has a header of a later version; follow it with a newer program")]
    UnknownExtra(BlockNumber),
    /// The authority did not sign it.
    #[error("block {0} is not this chain's: {1}; do not trust the server that gave it")]
    NotSigned(BlockNumber, CertificateError),
    /// There is nothing to check signatures with.
    #[error("the ledger's profile names no key that its blocks are signed with; do not trust this ledger")]
    NoKey,
}

/// Replays `block` on `state`, which stands after `parent`, and compares the roots, the seeds and the beacon: how a
/// follower checks an authority. Whether the authority signed it is for its certificate to show. After an error the state
/// is not to be used.
pub fn replay(state: &mut State, parent: &Header, block: &Block) -> Result<Applied, ReplayError> {
    replay_knowing(state, parent, block, None)
}

/// Replays a block whose parent's certificate was checked: its seed is not checked again.
pub(crate) fn replay_after(state: &mut State, parent: &SignedHeader, block: &Block) -> Result<Applied, ReplayError> {
    let known = parent.certificate.as_ref().map(|certificate: &Certificate| (certificate.view, certificate.seed));
    replay_knowing(state, &parent.header, block, known)
}

fn replay_knowing(
    state: &mut State,
    parent: &Header,
    block: &Block,
    known: Option<(u64, BlsSignature)>,
) -> Result<Applied, ReplayError> {
    let header = &block.header;
    if header.parent != parent.hash() || header.number != parent.number.plus(1) || header.time_ms < parent.time_ms {
        return Err(ReplayError::NotNext(header.number));
    }
    let number = header.number;
    let loads = block.transactions.iter().map(Included::load);
    if state.profile().load.block().minus(loads.fold(Load::default(), Load::plus)).is_none() {
        return Err(ReplayError::OverBudget(number));
    }
    let applied = apply_included(state, number, header.time_ms, &block.transactions);
    let applied = applied.map_err(|_| ReplayError::NotNext(number))?;
    let mut outcomes = block.transactions.iter().zip(applied.is_included.iter().zip(&applied.receipts));
    let is_right = |(entry, (is_included, receipt)): (&Included, (&bool, &Receipt))| {
        *is_included && receipt.result.is_ok() == matches!(entry, Included::Applied(_))
    };
    if !outcomes.all(is_right) {
        return Err(ReplayError::WrongTransaction(number));
    }
    let is_right = applied.root == header.state_root && state.records_root() == header.records_root;
    if !is_right || transactions_root(&block.transactions) != header.transactions_root {
        return Err(ReplayError::WrongRoot(number));
    }
    if !header.extra.is_empty() {
        return Err(ReplayError::UnknownExtra(number));
    }
    let key = state.chain_key().ok_or(ReplayError::NoKey)?;
    let checked = header.check_randomness(parent, key, known);
    checked.map_err(|error| ReplayError::WrongRandomness(number, error))?;
    Ok(applied)
}
