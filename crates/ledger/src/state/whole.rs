//! The whole state: every table of the ledger, the chain's and the modules'.

use super::access::AccessState;
use super::escrow::{Escrow, Holding};
use super::governance::GovernanceState;
use super::market::MarketState;
use super::moving_price::MovingPrice;
use super::profile::{Profile, ProfileError};
use super::records::RecordTree;
use super::rows::{Commitment, CommitmentKey, Slot, StakeTotal, Subnet, WeightCommit};
use super::table::{NumberedTables, StateChanges, Table};
use super::weighted_pool::WeightedPool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use templar_base::{Alpha, BlockHash, BlockNumber, Netuid, PublicKey, StateRoot, Uid};
use templar_chain::{Account, ChainKey, RecordProof, Topic, Totals};

/// How many of its newest reports of what it applied stay for each registered hotkey when the retention is over.
pub const LAST_REPORTS: u32 = 8;

/// The whole state of a ledger after some block.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) profile: Arc<Profile>,
    genesis: BlockHash,
    root: StateRoot,
    pub(crate) block: BlockNumber,
    pub(crate) totals: Table<(), Totals>,
    pub(crate) accounts: Table<PublicKey, Account>,
    pub(crate) owners: Table<PublicKey, PublicKey>,
    pub(crate) stake_shares: Table<(Netuid, PublicKey, PublicKey), u128>,
    pub(crate) stake_totals: Table<(Netuid, PublicKey), StakeTotal>,
    pub(crate) slots: Table<Uid, Slot>,
    pub(crate) weights: Table<Uid, Vec<(Uid, u16)>>,
    pub(crate) bonds: Table<Uid, Vec<(Uid, u16)>>,
    pub(crate) weight_commits: Table<PublicKey, Vec<WeightCommit>>,
    /// What validators keep of their stakers' dividends, and when that last rose.
    pub(crate) takes: Table<PublicKey, (u16, BlockNumber)>,
    pub(crate) subnets: Table<(), Subnet>,
    pub(crate) commitments: Table<CommitmentKey, Commitment>,
    pub(crate) budgets: Table<PublicKey, u32>,
    /// Bytes of transactions that hotkeys have sent through the lane in the running tempo.
    pub(crate) lanes: Table<PublicKey, u32>,
    /// For each holder of the token the least that it held in the running epoch and in those before, newest first.
    pub(crate) lows: Table<PublicKey, Vec<u64>>,
    pub(crate) escrows: Table<Escrow, Holding>,
    pub(crate) governance: GovernanceState,
    pub(crate) access: AccessState,
    pub(crate) market: MarketState,
    // What follows is derived from the tables above, for speed; no digest covers it.
    uid_of: BTreeMap<PublicKey, Uid>,
    /// Coldkeys with positions in the subnet's token, and the hotkeys that they are behind.
    pub(crate) positions_of: BTreeMap<PublicKey, BTreeSet<PublicKey>>,
    commitments_by_block: BTreeSet<(BlockNumber, CommitmentKey)>,
    /// Kept commitments of each hotkey by topic, buckets left out.
    commitments_of: BTreeMap<(Topic, PublicKey), u32>,
    /// Reports past the retention that are among their hotkey's newest.
    last_reports: BTreeMap<PublicKey, BTreeSet<(BlockNumber, CommitmentKey)>>,
    records: RecordTree,
    records_root: StateRoot,
    /// What seeds and certificates are checked with; none where the profile names no sound key.
    chain_key: Option<Arc<ChainKey>>,
}

impl State {
    /// The state at block 0.
    pub fn genesis(profile: Profile) -> Result<Self, ProfileError> {
        Ok(Self::genesis_with_changes(profile)?.0)
    }

    /// The state at block 0 and its entries, for the store.
    pub(crate) fn genesis_with_changes(profile: Profile) -> Result<(Self, StateChanges), ProfileError> {
        let mut state = Self::empty(profile)?;
        let mut issued = state.profile.pool.tao;
        for (key, balance) in state.profile.clone().initial_balances.iter() {
            // `Profile::check` bounds the sum by 21 million TAO.
            issued = issued.saturating_add(*balance);
            state.accounts.insert(*key, Account { balance: *balance, nonce: 0 });
        }
        state.access = AccessState::new(state.profile.access.clone());
        let registration_price = state.profile.registration_price.initial;
        let market = state.profile.pool.clone();
        state.totals.insert((), Totals { issued, registration_price, ..Totals::default() });
        // The owner's part is staked behind its own key until it has a slot.
        state.owners.insert(state.profile.owner, state.profile.owner);
        state.set_subnet(Subnet {
            pool: WeightedPool::new(market.tao, market.alpha, market.fee_rate, market.least_reserve),
            moving_price: MovingPrice::default(),
            alpha_issued: market.alpha,
            alpha_burned: Alpha::ZERO,
            pending_owner: Alpha::ZERO,
            pending_emission: Alpha::ZERO,
            last_epoch: BlockNumber(0),
        });
        let (_, changes) = state.settle();
        Ok((state, changes))
    }

    fn empty(profile: Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        let genesis = profile.genesis_hash();
        let records = RecordTree::default();
        Ok(Self {
            genesis,
            chain_key: ChainKey::new(genesis, &profile.authority_key).ok().map(Arc::new),
            records_root: records.root(),
            records,
            root: StateRoot::default(),
            profile: Arc::new(profile),
            block: BlockNumber(0),
            totals: Table::new(),
            accounts: Table::new(),
            owners: Table::new(),
            stake_shares: Table::new(),
            stake_totals: Table::new(),
            slots: Table::new(),
            weights: Table::new(),
            bonds: Table::new(),
            weight_commits: Table::new(),
            takes: Table::new(),
            subnets: Table::new(),
            commitments: Table::new(),
            budgets: Table::new(),
            lanes: Table::new(),
            lows: Table::new(),
            escrows: Table::new(),
            governance: GovernanceState::default(),
            access: AccessState::default(),
            market: MarketState::default(),
            uid_of: BTreeMap::new(),
            positions_of: BTreeMap::new(),
            commitments_by_block: BTreeSet::new(),
            commitments_of: BTreeMap::new(),
            last_reports: BTreeMap::new(),
        })
    }

    /// The profile that rules this ledger.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The chain's name: the profile's hash.
    pub fn genesis_hash(&self) -> BlockHash {
        self.genesis
    }

    /// The key that the chain's blocks are signed with; none where the profile names none.
    pub fn chain_key(&self) -> Option<&ChainKey> {
        self.chain_key.as_deref()
    }

    /// Root of the tree over all commitment records, as headers name it.
    pub fn records_root(&self) -> StateRoot {
        self.records_root
    }

    /// Proves of each hotkey what it has under a topic and index, or that it has nothing there.
    pub(crate) fn prove_records(&self, topic: Topic, index: u64, hotkeys: &[PublicKey]) -> Vec<RecordProof> {
        self.records.prove((topic, index), hotkeys, |key| self.commitments.get(key))
    }

    /// The block after which this is the state.
    pub fn block(&self) -> BlockNumber {
        self.block
    }

    /// The ledger's sums.
    pub fn totals(&self) -> Totals {
        self.totals.get(&()).copied().unwrap_or_default()
    }

    /// Balance and nonce of `key`; zeros for a key that was never heard of.
    pub fn account(&self, key: &PublicKey) -> Account {
        self.accounts.get(key).copied().unwrap_or_default()
    }

    /// The coldkey that owns `hotkey`, if it was ever registered.
    pub fn owner_of(&self, hotkey: &PublicKey) -> Option<PublicKey> {
        self.owners.get(hotkey).copied()
    }

    /// The slot of `hotkey`, if it holds one.
    pub fn uid_of(&self, hotkey: &PublicKey) -> Option<Uid> {
        self.uid_of.get(hotkey).copied()
    }

    /// Every table of the state, under the number that the store knows it by: the one list that digests, storage and
    /// restoring go by. Numbers are part of the format. The chain's rules have those under 32; governance has 32 to
    /// 47, access 48 to 63, market 64 to 79, each given by the module's own list.
    fn tables(&mut self) -> NumberedTables<'_> {
        let mut tables: NumberedTables<'_> = vec![
            (0, &mut self.totals),
            (1, &mut self.accounts),
            (2, &mut self.owners),
            (3, &mut self.stake_shares),
            (4, &mut self.slots),
            (5, &mut self.weights),
            (6, &mut self.commitments),
            (7, &mut self.budgets),
            (8, &mut self.escrows),
            (9, &mut self.subnets),
            (10, &mut self.stake_totals),
            (11, &mut self.bonds),
            (12, &mut self.weight_commits),
            (13, &mut self.takes),
            (14, &mut self.lanes),
            (15, &mut self.lows),
        ];
        tables.extend(self.governance.tables());
        tables.extend(self.access.tables());
        tables.extend(self.market.tables());
        tables
    }

    /// Brings the digests up to date; returns the root and, for each table, what changed since the last call.
    pub(crate) fn settle(&mut self) -> (StateRoot, StateChanges) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"templar ledger state 2").update(self.genesis.as_bytes());
        let mut changes = Vec::new();
        for (number, table) in self.tables() {
            let (digest, changed) = table.settle();
            hasher.update(&[number]).update(&digest);
            changes.push((number, changed));
        }
        self.root = StateRoot::new(*hasher.finalize().as_bytes());
        if let Some(root) = self.records.settle() {
            self.records_root = root;
        }
        (self.root, changes)
    }

    /// Coldkeys that hold any of the subnet's token.
    pub fn holders(&self) -> u64 {
        self.positions_of.len() as u64
    }

    /// Shows every entry of every table, encoded, in the order of tables and keys.
    pub(crate) fn visit_entries(&mut self, entry: &mut dyn FnMut(u8, Vec<u8>, Vec<u8>)) {
        for (number, table) in self.tables() {
            table.visit(&mut |key, value| entry(number, key, value));
        }
    }

    /// The digest of the whole state, the profile included.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// Rebuilds a state from what [`State::settle`] reported over time; none where an entry is not readable.
    pub(crate) fn restore<'a>(
        profile: Profile,
        block: BlockNumber,
        entries: impl Iterator<Item = (u8, &'a [u8], &'a [u8])>,
    ) -> Option<Self> {
        let mut state = Self::empty(profile).ok()?;
        state.block = block;
        let mut tables: BTreeMap<u8, _> = state.tables().into_iter().collect();
        for (number, key, value) in entries {
            if !tables.get_mut(&number)?.restore(key, value) {
                return None;
            }
        }
        drop(tables);
        state.governance.index();
        state.access.index();
        if !state.subnets.contains(&()) {
            return None;
        }
        for (uid, slot) in state.slots.iter() {
            state.uid_of.insert(slot.hotkey, *uid);
        }
        state.index_holders();
        for (key, commitment) in state.commitments.iter().filter(|(key, _)| key.0 != Topic::Bucket) {
            state.commitments_by_block.insert((commitment.block, *key));
            *state.commitments_of.entry((key.0, key.2)).or_default() += 1;
        }
        for (key, commitment) in state.commitments.iter() {
            state.records.insert(key, commitment);
        }
        state.settle();
        Some(state)
    }

    /// Writes a slot, with its key's entry in the index.
    pub(crate) fn set_slot(&mut self, uid: Uid, slot: Slot) {
        if let Some(before) = self.slots.get(&uid).map(|before| before.hotkey).filter(|before| *before != slot.hotkey) {
            self.uid_of.remove(&before);
            for (_, key) in self.last_reports.remove(&before).unwrap_or_default() {
                self.remove_commitment(key);
            }
        }
        self.uid_of.insert(slot.hotkey, uid);
        self.slots.insert(uid, slot);
    }

    /// Rebuilds the index of holders from the shares.
    pub(crate) fn index_holders(&mut self) {
        let positions: Vec<_> = self.stake_shares.iter().map(|(position, _)| *position).collect();
        self.positions_of.clear();
        for (netuid, hotkey, coldkey) in positions {
            self.note_position(netuid, &hotkey, &coldkey);
        }
    }

    /// Lists a position among its holder's.
    pub(crate) fn note_position(&mut self, netuid: Netuid, hotkey: &PublicKey, coldkey: &PublicKey) {
        if netuid == self.profile.netuid {
            self.positions_of.entry(*coldkey).or_default().insert(*hotkey);
        }
    }

    /// Removes a position from its holder's.
    pub(crate) fn note_position_closed(&mut self, netuid: Netuid, hotkey: &PublicKey, coldkey: &PublicKey) {
        if netuid != self.profile.netuid {
            return;
        }
        if let Some(hotkeys) = self.positions_of.get_mut(coldkey) {
            hotkeys.remove(hotkey);
            if hotkeys.is_empty() {
                self.positions_of.remove(coldkey);
            }
        }
    }

    pub(crate) fn set_commitment(&mut self, key: CommitmentKey, commitment: Commitment) {
        if key.0 != Topic::Bucket {
            self.commitments_by_block.insert((commitment.block, key));
            *self.commitments_of.entry((key.0, key.2)).or_default() += 1;
        }
        self.records.insert(&key, &commitment);
        self.commitments.insert(key, commitment);
        if key.0 == Topic::Applied {
            self.trim_last_reports(&key.2);
        }
    }

    /// Drops the bucket's address of a hotkey that lost its slot.
    pub(crate) fn remove_bucket(&mut self, hotkey: PublicKey) {
        let key = (Topic::Bucket, 0, hotkey);
        self.records.remove(&key);
        self.commitments.remove(&key);
    }

    /// How many commitments of a topic are kept for `hotkey`.
    pub(crate) fn commitments_kept(&self, topic: Topic, hotkey: &PublicKey) -> u32 {
        self.commitments_of.get(&(topic, *hotkey)).copied().unwrap_or(0)
    }

    /// Drops write-once commitments that were made before `horizon`; but the newest reports of a registered hotkey stay,
    /// [`LAST_REPORTS`] of them: they tell what was agreed last, however long all nodes were away.
    pub(crate) fn drop_commitments_before(&mut self, horizon: BlockNumber) {
        while let Some((block, key)) = self.commitments_by_block.first().copied()
            && block < horizon
        {
            let (topic, _, hotkey) = key;
            let is_last = topic == Topic::Applied
                && self.uid_of.contains_key(&hotkey)
                && self.commitments_kept(topic, &hotkey) <= LAST_REPORTS;
            self.commitments_by_block.remove(&(block, key));
            match is_last {
                true => drop(self.last_reports.entry(hotkey).or_default().insert((block, key))),
                false => self.remove_commitment(key),
            }
        }
    }

    /// Drops the oldest reports of a hotkey that are past the retention while it has more than [`LAST_REPORTS`].
    fn trim_last_reports(&mut self, hotkey: &PublicKey) {
        while self.commitments_kept(Topic::Applied, hotkey) > LAST_REPORTS
            && let Some(past) = self.last_reports.get_mut(hotkey)
            && let Some((_, key)) = past.pop_first()
        {
            if past.is_empty() {
                self.last_reports.remove(hotkey);
            }
            self.remove_commitment(key);
        }
    }

    fn remove_commitment(&mut self, key: CommitmentKey) {
        self.records.remove(&key);
        self.commitments.remove(&key);
        let of_key = (key.0, key.2);
        match self.commitments_of.get_mut(&of_key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.commitments_of.remove(&of_key)),
        }
    }

    /// Whether slots, stakes or weights changed since the last settling.
    pub(crate) fn is_metagraph_changed(&self) -> bool {
        self.slots.is_changed() || self.stake_totals.is_changed()
    }
}
