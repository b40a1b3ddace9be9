//! The ledger on disk: one redb file, one write transaction per block.
//!
//! A kill at any instant leaves the last committed block whole. The state is kept as the entries of its tables, so
//! that a block writes only what it changed and opening reads only what is there now; history is pruned as it grows.

use crate::service::guard;
pub use crate::service::store_error::StoreError;
use crate::service::view::WeightRows;
use crate::state::{Change, State};
use crate::{PaidEpoch, Profile};
use parity_scale_codec::{DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use templar_base::{BlockNumber, PublicKey, TransactionHash, Uid};
use templar_chain::{
    AuthorityKey, Block, Certificate, Event, EventRecord, Header, Neuron, Receipt, SignedBlock, SignedHeader,
    early_beacon, transactions_root,
};
use templar_disk::{Disk, SystemDisk};

/// Layout of the file; another number is another layout.
const STORE_VERSION: u32 = 4;
const FILE_NAME: &str = "ledger.redb";

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Entries of the state: table number, then the encoded key.
const STATE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("state");
const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// What proves the blocks, by number; none for block 0.
const CERTIFICATES: TableDefinition<u64, &[u8]> = TableDefinition::new("certificates");
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const RECEIPTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("receipts");
/// Slots without weights, at each block that changed them; see [`slot_place`].
const METAGRAPHS: TableDefinition<u64, &[u8]> = TableDefinition::new("metagraphs");
/// Epochs as they were computed and paid, at the blocks that ended them.
const EPOCHS: TableDefinition<u64, &[u8]> = TableDefinition::new("epochs");
/// Weight rows, at each block that changed them; see [`slot_place`].
const WEIGHTS: TableDefinition<u64, &[u8]> = TableDefinition::new("weights");

/// Events by the keys that they concern: key, block and place in the block, both big-endian, so that a key's events lie
/// together in their order.
const HISTORY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("history");

/// The profile with the key of the authority whose secret is `secret`, which it has or is a draft.
fn signed_by(profile: &Profile, secret: &[u8; 32]) -> Result<Profile, StoreError> {
    let signed = profile.clone().with_authority(secret);
    if profile.authority_key.is_named() && profile.authority_key != signed.authority_key {
        return Err(StoreError::OtherAuthority { named: Box::new(profile.authority_key) });
    }
    Ok(signed)
}

/// The header of block 0, which follows from the state alone.
pub(crate) fn genesis_header(state: &State) -> Header {
    let chain = state.genesis_hash();
    Header {
        number: BlockNumber(0),
        parent: chain,
        view: 0,
        time_ms: 0,
        seeds: Vec::new(),
        beacon: early_beacon(&chain, BlockNumber(0)),
        transactions_root: transactions_root(&[]),
        state_root: state.root(),
        records_root: state.records_root(),
        extra: Vec::new(),
    }
}

fn history_place(key: &PublicKey, block: u64, place: usize) -> Vec<u8> {
    [key.as_bytes().as_slice(), &block.to_be_bytes(), &(place as u32).to_be_bytes()].concat()
}

/// What a block adds to the store.
pub(crate) struct BlockRecord<'a> {
    pub block: &'a Block,
    /// None for block 0.
    pub certificate: Option<&'a Certificate>,
    pub events: &'a [Event],
    pub receipts: &'a [Receipt],
    pub changes: &'a [(u8, Vec<Change>)],
    pub metagraph: Option<Vec<Neuron>>,
    pub weights: Option<WeightRows>,
    pub epoch: Option<&'a PaidEpoch>,
}

/// What a store holds when it is opened.
pub(crate) struct Opened {
    pub store: Store,
    pub state: State,
    pub head: SignedHeader,
    /// The authority's secret, from which its signing key is made; none in a follower's copy.
    pub secret: Option<[u8; 32]>,
}

/// An open ledger file.
#[derive(Debug)]
pub(crate) struct Store {
    /// There until the store is dropped.
    database: Option<Database>,
    path: PathBuf,
    history_blocks: u64,
    /// Blocks between two that are flushed to the disk; 1 but for ledgers that can be made again.
    pub blocks_per_sync: u64,
}

impl Store {
    /// Opens the ledger in `folder`, or makes it from `profile` with `secret` where there is none. Without a profile
    /// the folder must hold one.
    pub fn open(folder: &Path, profile: Option<&Profile>, secret: [u8; 32]) -> Result<Opened, StoreError> {
        let path = folder.join(FILE_NAME);
        if path.exists() {
            return guarded(&path, || {
                let database = Database::open(&path).map_err(|error| database_error(&path, error))?;
                Self::load(database, path.clone(), profile)
            });
        }
        let profile = profile.ok_or_else(|| StoreError::Missing(folder.to_owned()))?;
        Self::make_file(folder, |database| Self::create(database, path.clone(), profile, secret))
    }

    /// Opens the follower's copy in `folder`.
    pub fn open_replica(folder: &Path) -> Result<Opened, StoreError> {
        let opened = Self::open(folder, None, [0; 32])?;
        match opened.secret {
            None => Ok(opened),
            Some(_) => {
                Err(StoreError::Damaged(opened.store.path.clone(), "it is a ledger's own file, no follower's copy"))
            }
        }
    }

    /// Makes a follower's copy in `folder` that begins with a block and the whole state after it.
    pub fn create_replica(folder: &Path, profile: &Profile, record: BlockRecord<'_>) -> Result<Self, StoreError> {
        Self::make_file(folder, |database| {
            let store = Self::begin(database, folder.join(FILE_NAME), profile, None)?;
            store.commit(record)?;
            Ok(store)
        })
    }

    /// Makes the file in `folder`, which must have none.
    fn make_file<T>(folder: &Path, fill: impl FnOnce(Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let path = folder.join(FILE_NAME);
        let disk = |error: std::io::Error| StoreError::Disk(folder.to_owned(), error);
        std::fs::create_dir_all(folder).map_err(disk)?;
        // A new file gets its name only when its genesis is committed, so that a kill cannot leave half a ledger.
        let draft = folder.join(format!("{FILE_NAME}.new"));
        remove_stale_draft(&draft)?;
        let database = Database::create(&draft).map_err(|error| database_error(&draft, error))?;
        // The file holds the ledger's secret.
        #[cfg(unix)]
        std::fs::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(disk)?;
        let filled = fill(database)?;
        // Unlike a renaming, this fails where another process was faster.
        SystemDisk.name_new(&draft, &path).map_err(disk)?;
        // The draft's name may be gone already.
        let _ = std::fs::remove_file(&draft);
        Ok(filled)
    }

    /// A ledger in memory.
    pub fn in_memory(profile: &Profile, secret: [u8; 32]) -> Result<Opened, StoreError> {
        let path = PathBuf::from("memory");
        let database = Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|error| database_error(&path, error))?;
        Self::create(database, path, profile, secret)
    }

    fn create(database: Database, path: PathBuf, profile: &Profile, secret: [u8; 32]) -> Result<Opened, StoreError> {
        let profile = signed_by(profile, &secret)?;
        let (state, changes) = State::genesis_with_changes(profile.clone())?;
        let header = genesis_header(&state);
        let store = Self::begin(database, path, &profile, Some(secret))?;
        let block = Block { header: header.clone(), transactions: Vec::new() };
        let metagraph = Some(crate::service::view::neurons(&state));
        let weights = Some(Vec::new());
        store.commit(BlockRecord {
            block: &block,
            certificate: None,
            events: &[],
            receipts: &[],
            changes: &changes,
            metagraph,
            weights,
            epoch: None,
        })?;
        let head = SignedHeader { header, certificate: None };
        Ok(Opened { store, state, head, secret: Some(secret) })
    }

    /// An empty store under a profile.
    fn begin(
        database: Database,
        path: PathBuf,
        profile: &Profile,
        secret: Option<[u8; 32]>,
    ) -> Result<Self, StoreError> {
        let database = Some(database);
        let store = Self { database, path, history_blocks: profile.history_blocks, blocks_per_sync: 1 };
        store.write(true, |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("version", STORE_VERSION.encode().as_slice())?;
            meta.insert("profile", profile.encode().as_slice())?;
            match secret {
                Some(secret) => meta.insert("secret", secret.as_slice())?,
                None => meta.insert("replica", [].as_slice())?,
            };
            Ok(())
        })?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn load(database: Database, path: PathBuf, wanted: Option<&Profile>) -> Result<Opened, StoreError> {
        let damaged = |what| StoreError::Damaged(path.clone(), what);
        let mut store = Self { database: Some(database), path: path.clone(), history_blocks: 0, blocks_per_sync: 1 };
        let version = store.meta("version")?.and_then(|bytes| u32::decode_all(&mut &bytes[..]).ok()).unwrap_or(0);
        if version != STORE_VERSION {
            return Err(StoreError::WrongVersion { folder: path, found: version, wanted: STORE_VERSION });
        }
        let profile = store.meta("profile")?.and_then(|bytes| Profile::decode_all(&mut &bytes[..]).ok());
        let profile = profile.ok_or_else(|| damaged("its profile is not readable"))?;
        if let Some(wanted) = wanted {
            // A draft asks for the same rules, whoever signs.
            let key = if wanted.authority_key.is_named() { wanted.authority_key } else { profile.authority_key };
            let wanted = Profile { authority_key: key, ..wanted.clone() }.genesis_hash();
            let found = profile.genesis_hash();
            if found != wanted {
                return Err(StoreError::WrongChain { folder: path, found, wanted });
            }
        }
        let secret = store.meta("secret")?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if secret.is_none() && store.meta("replica")?.is_none() {
            return Err(damaged("its secret is missing"));
        }
        if secret.is_some_and(|secret| AuthorityKey::of_seed(&secret) != profile.authority_key) {
            return Err(damaged("its secret is not that of its authority key"));
        }
        store.history_blocks = profile.history_blocks;
        let (state, head) = store.load_state(profile)?;
        Ok(Opened { store, state, head, secret })
    }

    /// Reads the state and the head as of the last committed block.
    pub fn load_state(&self, profile: Profile) -> Result<(State, SignedHeader), StoreError> {
        let head = self.read(|transaction| {
            let blocks = transaction.open_table(BLOCKS)?;
            Ok(blocks.last()?.map(|(_, bytes)| bytes.value().to_vec()))
        })?;
        let head = head.and_then(|bytes| Block::decode_all(&mut &bytes[..]).ok()).map(|block| block.header);
        let head = head.ok_or_else(|| StoreError::Damaged(self.path.clone(), "its last block is not readable"))?;
        let entries = self.read(|transaction| {
            let mut entries = Vec::new();
            for entry in transaction.open_table(STATE)?.iter()? {
                let (key, value) = entry?;
                entries.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(entries)
        })?;
        let split = entries.iter().filter_map(|(key, value)| Some((*key.first()?, key.get(1..)?, value.as_slice())));
        let state = State::restore(profile, head.number, split);
        match state {
            Some(state) if state.root() == head.state_root => {
                let certificate = self.certificate(head.number)?;
                Ok((state, SignedHeader { header: head, certificate }))
            }
            _ => Err(StoreError::Damaged(self.path.clone(), "its state does not match the root of its last block")),
        }
    }

    /// Writes a block with everything it did, and drops what history no longer covers, in one transaction.
    pub fn commit(&self, record: BlockRecord<'_>) -> Result<(), StoreError> {
        let number = record.block.header.number.0;
        let horizon = number.saturating_sub(self.history_blocks);
        let is_synced = number.is_multiple_of(self.blocks_per_sync);
        self.write(is_synced, |transaction| {
            let mut state = transaction.open_table(STATE)?;
            for (table, changes) in record.changes {
                for (key, value) in changes {
                    let key = [&[*table], key.as_slice()].concat();
                    match value {
                        Some(value) => state.insert(key.as_slice(), value.as_slice())?,
                        None => state.remove(key.as_slice())?,
                    };
                }
            }
            let mut blocks = transaction.open_table(BLOCKS)?;
            let mut events = transaction.open_table(EVENTS)?;
            let mut receipts = transaction.open_table(RECEIPTS)?;
            blocks.insert(number, record.block.encode().as_slice())?;
            let mut certificates = transaction.open_table(CERTIFICATES)?;
            if let Some(certificate) = record.certificate {
                certificates.insert(number, certificate.to_bytes().as_slice())?;
            }
            events.insert(number, record.events.encode().as_slice())?;
            let mut history = transaction.open_table(HISTORY)?;
            for (place, event) in record.events.iter().enumerate() {
                for key in event.accounts() {
                    history.insert(history_place(&key, number, place).as_slice(), event.encode().as_slice())?;
                }
            }
            for receipt in record.receipts {
                receipts.insert(receipt.transaction.as_bytes().as_slice(), receipt.encode().as_slice())?;
            }
            let mut metagraphs = transaction.open_table(METAGRAPHS)?;
            for neuron in record.metagraph.iter().flatten() {
                put_if_changed(&mut metagraphs, neuron.uid, number, horizon, &neuron.encode())?;
            }
            let mut weights = transaction.open_table(WEIGHTS)?;
            for (uid, row) in record.weights.iter().flatten() {
                put_if_changed(&mut weights, *uid, number, horizon, &row.encode())?;
            }
            let mut epochs = transaction.open_table(EPOCHS)?;
            if let Some(epoch) = record.epoch {
                epochs.insert(number, epoch.encode().as_slice())?;
            }
            while let Some((oldest, _)) = first(&epochs)?.filter(|(oldest, _)| *oldest < horizon) {
                epochs.remove(oldest)?;
            }
            while let Some((oldest, bytes)) = first(&blocks)?.filter(|(oldest, _)| *oldest < horizon) {
                if let Ok(block) = Block::decode_all(&mut &bytes[..]) {
                    for transaction in &block.transactions {
                        receipts.remove(transaction.hash().as_bytes().as_slice())?;
                    }
                }
                blocks.remove(oldest)?;
                certificates.remove(oldest)?;
                let old = events.remove(oldest)?.and_then(|bytes| Vec::<Event>::decode_all(&mut bytes.value()).ok());
                for (place, event) in old.unwrap_or_default().iter().enumerate() {
                    for key in event.accounts() {
                        history.remove(history_place(&key, oldest, place).as_slice())?;
                    }
                }
            }
            Ok(())
        })
    }

    /// A kept block.
    pub fn block(&self, number: BlockNumber) -> Result<Option<Block>, StoreError> {
        let bytes = self.read(|transaction| {
            Ok(transaction.open_table(BLOCKS)?.get(number.0)?.map(|bytes| bytes.value().to_vec()))
        })?;
        Ok(bytes.and_then(|bytes| Block::decode_all(&mut &bytes[..]).ok()))
    }

    /// A kept block's certificate; none for block 0.
    pub fn certificate(&self, number: BlockNumber) -> Result<Option<Certificate>, StoreError> {
        let bytes = self.read(|transaction| {
            Ok(transaction.open_table(CERTIFICATES)?.get(number.0)?.map(|bytes| bytes.value().to_vec()))
        })?;
        let read = bytes.map(|bytes| Certificate::from_bytes(&bytes)).transpose();
        let found = read.map_err(|_| StoreError::Damaged(self.path.clone(), "a certificate is not readable"))?;
        match found {
            None if number.0 > 0 => Err(StoreError::Damaged(self.path.clone(), "a block has no certificate")),
            found => Ok(found),
        }
    }

    /// A kept block with its certificate.
    pub fn signed_block(&self, number: BlockNumber) -> Result<Option<SignedBlock>, StoreError> {
        let Some(block) = self.block(number)? else { return Ok(None) };
        Ok(Some(SignedBlock { block, certificate: self.certificate(number)? }))
    }

    /// The oldest kept block.
    pub fn oldest(&self) -> Result<BlockNumber, StoreError> {
        self.read(|transaction| {
            Ok(BlockNumber(transaction.open_table(BLOCKS)?.first()?.map_or(0, |(number, _)| number.value())))
        })
    }

    /// The receipt of a transaction, if its block is kept.
    pub fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, StoreError> {
        let bytes = self.read(|transaction| {
            let receipts = transaction.open_table(RECEIPTS)?;
            Ok(receipts.get(hash.as_bytes().as_slice())?.map(|bytes| bytes.value().to_vec()))
        })?;
        Ok(bytes.and_then(|bytes| Receipt::decode_all(&mut &bytes[..]).ok()))
    }

    /// Events of the kept blocks among `from..=to`.
    pub fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<(BlockNumber, Vec<Event>)>, StoreError> {
        let found = self.read(|transaction| {
            let mut found = Vec::new();
            for entry in transaction.open_table(EVENTS)?.range(from.0..=to.0)? {
                let (number, bytes) = entry?;
                found.push((BlockNumber(number.value()), bytes.value().to_vec()));
            }
            Ok(found)
        })?;
        let decode = |bytes: Vec<u8>| Vec::<Event>::decode_all(&mut &bytes[..]).unwrap_or_default();
        Ok(found.into_iter().map(|(number, bytes)| (number, decode(bytes))).collect())
    }

    /// Kept events that concern `key` in blocks before `before`, the newest first, `limit` at most.
    pub fn history(&self, key: &PublicKey, before: BlockNumber, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let (first, end) = (history_place(key, 0, 0), history_place(key, before.0, 0));
        let found = self.read(|transaction| {
            let mut found = Vec::new();
            let history = transaction.open_table(HISTORY)?;
            for entry in history.range(first.as_slice()..end.as_slice())?.rev().take(limit) {
                let (place, event) = entry?;
                found.push((place.value().to_vec(), event.value().to_vec()));
            }
            Ok(found)
        })?;
        let decode = |(place, event): (Vec<u8>, Vec<u8>)| {
            let block = place.get(32..40)?.try_into().map(u64::from_be_bytes).ok()?;
            Some(EventRecord { block: BlockNumber(block), event: Event::decode_all(&mut &event[..]).ok()? })
        };
        Ok(found.into_iter().filter_map(decode).collect())
    }

    /// The newest kept epoch that ended at `at` or before.
    pub fn epoch(&self, at: BlockNumber) -> Result<Option<PaidEpoch>, StoreError> {
        let bytes = self.read(|transaction| {
            let epochs = transaction.open_table(EPOCHS)?;
            let entry = epochs.range(..=at.0)?.next_back().transpose()?;
            Ok(entry.map(|(_, bytes)| bytes.value().to_vec()))
        })?;
        Ok(bytes.and_then(|bytes| PaidEpoch::decode_all(&mut &bytes[..]).ok()))
    }

    /// Slots and weights as they were after block `at`.
    pub fn metagraph(&self, at: BlockNumber) -> Result<(Vec<Neuron>, WeightRows), StoreError> {
        let damaged = || StoreError::Damaged(self.path.clone(), "a slot's entry is not readable");
        let entries = self.read(|transaction| {
            let (slots, weights) = (transaction.open_table(METAGRAPHS)?, transaction.open_table(WEIGHTS)?);
            let mut entries = Vec::new();
            // Slots are numbered without gaps, and never given up.
            while let Some(slot) = slot_entry(&slots, Uid(entries.len() as u16), at.0)? {
                entries.push((slot, slot_entry(&weights, Uid(entries.len() as u16), at.0)?));
            }
            Ok(entries)
        })?;
        let (mut neurons, mut rows) = (Vec::new(), WeightRows::new());
        for (slot, row) in entries {
            let neuron = Neuron::decode_all(&mut &slot[..]).map_err(|_| damaged())?;
            if let Some(row) = row {
                rows.push((neuron.uid, Vec::decode_all(&mut &row[..]).map_err(|_| damaged())?));
            }
            neurons.push(neuron);
        }
        Ok((neurons, rows))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| match transaction.open_table(META) {
            Ok(table) => Ok(table.get(key)?.map(|bytes| bytes.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn read<T>(&self, body: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let run = || body(&self.database()?.begin_read()?);
        guarded(&self.path, || run().map_err(|error| self.failed(error)))
    }

    fn write(
        &self,
        is_synced: bool,
        body: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let run = || -> Result<(), redb::Error> {
            let mut transaction = self.database()?.begin_write()?;
            // After a kill the file opens at once instead of being scanned.
            transaction.set_quick_repair(true);
            if !is_synced {
                transaction.set_durability(redb::Durability::None)?;
            }
            body(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        guarded(&self.path, || run().map_err(|error| self.failed(error)))
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Corrupted(_) => StoreError::Damaged(self.path.clone(), "its pages contradict each other"),
            error => StoreError::Database(self.path.clone(), Box::new(error)),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing writes, which may panic where the file is damaged; that was reported when it was read.
        let _ = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

/// Runs an operation on the file at `path`; a panic of the database is the error that says what it means.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    guard::guarded(run, || StoreError::Damaged(path.to_owned(), "a page of it is not readable"))
}

/// Removes what a process left that was killed while it made a ledger, unless it is still at it.
fn remove_stale_draft(draft: &Path) -> Result<(), StoreError> {
    if !draft.exists() {
        return Ok(());
    }
    if let Err(redb::DatabaseError::DatabaseAlreadyOpen) = Database::create(draft) {
        return Err(StoreError::Locked(draft.to_owned()));
    }
    std::fs::remove_file(draft).map_err(|error| StoreError::Disk(draft.to_owned(), error))
}

/// Where an entry of a slot stands that changed at a block: the slot's entries lie together, by block. There are fewer
/// than 2^48 blocks.
fn slot_place(uid: Uid, block: u64) -> u64 {
    u64::from(uid.0) << 48 | block
}

/// A slot's entry as it was after a block, if it was there.
fn slot_entry(
    table: &impl ReadableTable<u64, &'static [u8]>,
    uid: Uid,
    block: u64,
) -> Result<Option<Vec<u8>>, redb::StorageError> {
    let entry = table.range(slot_place(uid, 0)..=slot_place(uid, block))?.next_back().transpose()?;
    Ok(entry.map(|(_, bytes)| bytes.value().to_vec()))
}

/// Writes a slot's entry where it differs from the one before, and drops those that history no longer covers. An entry
/// holds until the next one, so the last one at or before the horizon stays.
fn put_if_changed(
    table: &mut redb::Table<'_, u64, &'static [u8]>,
    uid: Uid,
    block: u64,
    horizon: u64,
    bytes: &[u8],
) -> Result<(), redb::StorageError> {
    if slot_entry(table, uid, block)?.as_deref() == Some(bytes) {
        return Ok(());
    }
    table.insert(slot_place(uid, block), bytes)?;
    let mut old = Vec::new();
    for entry in table.range(slot_place(uid, 0)..=slot_place(uid, horizon))? {
        old.push(entry?.0.value());
    }
    old.pop();
    for place in old {
        table.remove(place)?;
    }
    Ok(())
}

fn first(table: &redb::Table<'_, u64, &[u8]>) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
    Ok(table.first()?.map(|(number, bytes)| (number.value(), bytes.value().to_vec())))
}

fn database_error(path: &Path, error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::Locked(path.to_owned()),
        redb::DatabaseError::UpgradeRequired(found) => {
            StoreError::WrongVersion { folder: path.to_owned(), found: u32::from(found), wanted: STORE_VERSION }
        }
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)) => {
            StoreError::Damaged(path.to_owned(), "its pages contradict each other")
        }
        error => StoreError::Database(path.to_owned(), Box::new(error.into())),
    }
}
