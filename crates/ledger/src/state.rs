//! The ledger's state: accounts, stakes, slots, weights, commitments. Only the transition writes it.

use crate::purse::{Holding, Purse};
use crate::table::{NumberedTables, StateChanges, Table};
use crate::{Profile, ProfileError, Refusal, StateRoot, Topic};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use templar_base::{BlockHash, BlockNumber, PublicKey, Rao, Uid};

/// Where a commitment stands: topic and index first, so that a window's commitments lie together.
pub(crate) type CommitmentKey = (Topic, u64, PublicKey);

/// Free balance and transaction count of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Account {
    /// Balance that is not staked.
    pub balance: Rao,
    /// Applied transactions so far, and the nonce of the next.
    pub nonce: u64,
}

/// One slot of the subnet, without what is stored elsewhere (stake, weights).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Slot {
    pub hotkey: PublicKey,
    pub permit: bool,
    pub registered_at: BlockNumber,
    pub last_update: BlockNumber,
    pub incentive: u16,
    pub dividends: u16,
    pub emission: Rao,
}

/// A commitment as stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Commitment {
    pub block: BlockNumber,
    pub data: Vec<u8>,
}

/// Sums over the whole ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Totals {
    /// All TAO that was ever created.
    pub issued: Rao,
    /// TAO that was destroyed.
    pub burned: Rao,
    /// TAO in the subnet's pool; none while stake is plain.
    pub pooled: Rao,
    /// Price of a slot now.
    pub registration_price: Rao,
}

/// TAO was created or lost: a bug of the ledger, never of its users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger does not conserve: balances {balances} + stakes {stakes} + pools {pools} + purses {purses} + burned \
     {burned} rao are not the issued {issued} rao; this is a bug of the ledger, keep its folder and report it"
)]
pub struct ConservationError {
    /// Sum of free balances, in rao.
    pub balances: u128,
    /// Sum of stakes, in rao.
    pub stakes: u128,
    /// TAO in pools, in rao.
    pub pools: u128,
    /// TAO in the purses of modules, in rao.
    pub purses: u128,
    /// TAO destroyed, in rao.
    pub burned: u128,
    /// TAO created, in rao.
    pub issued: u128,
}

/// The whole state of a ledger after some block.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) profile: Arc<Profile>,
    genesis: BlockHash,
    root: StateRoot,
    /// What the registration price is multiplied by per block, in 2^-32.
    pub(crate) price_decay: u64,
    pub(crate) block: BlockNumber,
    pub(crate) totals: Table<(), Totals>,
    pub(crate) accounts: Table<PublicKey, Account>,
    pub(crate) owners: Table<PublicKey, PublicKey>,
    pub(crate) stakes: Table<(PublicKey, PublicKey), Rao>,
    pub(crate) slots: Table<Uid, Slot>,
    pub(crate) weights: Table<Uid, Vec<(Uid, u16)>>,
    pub(crate) commitments: Table<CommitmentKey, Commitment>,
    pub(crate) budgets: Table<PublicKey, u32>,
    pub(crate) purses: Table<Purse, Holding>,
    // What follows is derived from the tables above, for speed; no digest covers it.
    uid_of: BTreeMap<PublicKey, Uid>,
    stake_of: BTreeMap<PublicKey, Rao>,
    commitments_by_block: BTreeSet<(BlockNumber, CommitmentKey)>,
}

impl State {
    /// The state at block 0.
    pub fn genesis(profile: Profile) -> Result<Self, ProfileError> {
        Ok(Self::genesis_with_changes(profile)?.0)
    }

    /// The state at block 0 and its entries, for the store.
    pub(crate) fn genesis_with_changes(profile: Profile) -> Result<(Self, StateChanges), ProfileError> {
        let mut state = Self::empty(profile)?;
        let mut issued = 0;
        for (key, balance) in state.profile.clone().initial_balances.iter() {
            // `Profile::check` bounds the sum by 21 million TAO.
            issued += balance.0;
            state.accounts.insert(*key, Account { balance: *balance, nonce: 0 });
        }
        let registration_price = state.profile.registration_price.initial;
        state.totals.insert((), Totals { issued: Rao(issued), registration_price, ..Totals::default() });
        let (_, changes) = state.settle();
        Ok((state, changes))
    }

    fn empty(profile: Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        Ok(Self {
            genesis: profile.genesis_hash(),
            root: StateRoot::default(),
            price_decay: crate::registration::decay_per_block(profile.registration_price.half_life_blocks),
            profile: Arc::new(profile),
            block: BlockNumber(0),
            totals: Table::new(),
            accounts: Table::new(),
            owners: Table::new(),
            stakes: Table::new(),
            slots: Table::new(),
            weights: Table::new(),
            commitments: Table::new(),
            budgets: Table::new(),
            purses: Table::new(),
            uid_of: BTreeMap::new(),
            stake_of: BTreeMap::new(),
            commitments_by_block: BTreeSet::new(),
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

    /// Everything that is staked behind `hotkey`.
    pub fn stake_behind(&self, hotkey: &PublicKey) -> Rao {
        self.stake_of.get(hotkey).copied().unwrap_or_default()
    }

    /// What `coldkey` has staked behind `hotkey`.
    pub fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Rao {
        self.stakes.get(&(*hotkey, *coldkey)).copied().unwrap_or_default()
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
        vec![
            (0, &mut self.totals),
            (1, &mut self.accounts),
            (2, &mut self.owners),
            (3, &mut self.stakes),
            (4, &mut self.slots),
            (5, &mut self.weights),
            (6, &mut self.commitments),
            (7, &mut self.budgets),
            (8, &mut self.purses),
        ]
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
        (self.root, changes)
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
        for (uid, slot) in state.slots.iter() {
            state.uid_of.insert(slot.hotkey, *uid);
        }
        for ((hotkey, _), amount) in state.stakes.iter() {
            let sum = state.stake_of.entry(*hotkey).or_default();
            *sum = Rao(sum.0.saturating_add(amount.0));
        }
        for (key, commitment) in state.commitments.iter() {
            if key.0 != Topic::Bucket {
                state.commitments_by_block.insert((commitment.block, *key));
            }
        }
        state.settle();
        Some(state)
    }

    pub(crate) fn set_totals(&mut self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals();
        change(&mut totals);
        self.totals.insert((), totals);
    }

    /// Adds to a free balance. No sum can overflow: all of them together are under 21 million TAO.
    pub(crate) fn credit(&mut self, key: &PublicKey, amount: Rao) {
        let account = self.account(key);
        let balance = Rao(account.balance.0.saturating_add(amount.0));
        self.accounts.insert(*key, Account { balance, ..account });
    }

    /// Takes from a free balance; `refusal` names the lack.
    pub(crate) fn debit(
        &mut self,
        key: &PublicKey,
        amount: Rao,
        refusal: impl FnOnce(Rao, Rao) -> Refusal,
    ) -> Result<(), Refusal> {
        let account = self.account(key);
        let balance = account.balance.checked_sub(amount).map_err(|_| refusal(amount, account.balance))?;
        self.accounts.insert(*key, Account { balance, ..account });
        Ok(())
    }

    pub(crate) fn advance_nonce(&mut self, key: &PublicKey) {
        let account = self.account(key);
        self.accounts.insert(*key, Account { nonce: account.nonce.saturating_add(1), ..account });
    }

    pub(crate) fn set_stake(&mut self, hotkey: &PublicKey, coldkey: &PublicKey, amount: Rao) {
        let before = self.stake(hotkey, coldkey);
        let sum = self.stake_behind(hotkey).0.saturating_sub(before.0).saturating_add(amount.0);
        if amount == Rao::ZERO {
            self.stakes.remove(&(*hotkey, *coldkey));
        } else {
            self.stakes.insert((*hotkey, *coldkey), amount);
        }
        if sum == 0 {
            self.stake_of.remove(hotkey);
        } else {
            self.stake_of.insert(*hotkey, Rao(sum));
        }
    }

    /// Everybody who has staked behind `hotkey`.
    pub(crate) fn stakers(&self, hotkey: &PublicKey) -> Vec<(PublicKey, Rao)> {
        let (first, last) = (PublicKey::new([0; 32]), PublicKey::new([255; 32]));
        let positions = self.stakes.range((*hotkey, first)..=(*hotkey, last));
        positions.map(|((_, coldkey), amount)| (*coldkey, *amount)).collect()
    }

    /// Writes a slot, with its key's entry in the index.
    pub(crate) fn set_slot(&mut self, uid: Uid, slot: Slot) {
        if let Some(before) = self.slots.get(&uid)
            && before.hotkey != slot.hotkey
        {
            self.uid_of.remove(&before.hotkey);
        }
        self.uid_of.insert(slot.hotkey, uid);
        self.slots.insert(uid, slot);
    }

    pub(crate) fn set_commitment(&mut self, key: CommitmentKey, commitment: Commitment) {
        if key.0 != Topic::Bucket {
            self.commitments_by_block.insert((commitment.block, key));
        }
        self.commitments.insert(key, commitment);
    }

    /// Drops write-once commitments that were made before `horizon`.
    pub(crate) fn drop_commitments_before(&mut self, horizon: BlockNumber) {
        while let Some((block, key)) = self.commitments_by_block.first().copied()
            && block < horizon
        {
            self.commitments_by_block.remove(&(block, key));
            self.commitments.remove(&key);
        }
    }

    /// Whether slots, stakes or weights changed since the last settling.
    pub(crate) fn is_metagraph_changed(&self) -> bool {
        self.slots.is_changed() || self.stakes.is_changed()
    }
}

/// Checks that no TAO was created or lost: `balances + stakes + pools + purses + burned = issued`.
pub fn check_conservation(state: &State) -> Result<(), ConservationError> {
    let totals = state.totals();
    let balances = state.accounts.iter().map(|(_, account)| u128::from(account.balance.0)).sum::<u128>();
    let stakes = state.stakes.iter().map(|(_, amount)| u128::from(amount.0)).sum::<u128>();
    let purses = state.purses.iter().map(|(_, holding)| u128::from(holding.tao.0)).sum::<u128>();
    let (pools, burned, issued) =
        (u128::from(totals.pooled.0), u128::from(totals.burned.0), u128::from(totals.issued.0));
    if balances + stakes + pools + purses + burned == issued {
        return Ok(());
    }
    Err(ConservationError { balances, stakes, pools, purses, burned, issued })
}
