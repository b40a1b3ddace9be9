//! What a record file holds: the genesis document, the ledger's answers, objects of buckets.

use super::entries::Entries;
use super::{PackedError, RecordedChain, store};
use crate::{PublicRecord, Rules};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use templar_base::{BlockNumber, ContentHash, Genesis, PublicKey, RunId, Window};
use templar_bucket::{Bucket, BucketLocation, BucketOptions};
use templar_chain::governance::ProposalView;
use templar_chain::market::{Candle, EpochRecord, MarketSummary};
use templar_chain::{
    BlockHeader, CommitmentRecord, EventRecord, Hyperparameters, IndexedCommitment, Metagraph, NodeChain,
    SettingChanges,
};
use templar_disk::{Existing, Folder, WriteOptions, Writers};

const GENESIS: &str = "genesis.json";
const FACTS: &str = "record.json";
const LEDGER: &str = "ledger.json";
const LISTS: &str = "lists.json";

/// Something that could not be packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing, such as `windows 0 to 41`.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What a record file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFacts {
    /// The run.
    pub run: RunId,
    /// The program that packed it.
    pub made_by: String,
    /// The ledger's block when it was packed.
    pub head: BlockNumber,
    /// The oldest window in it; none where it has no window.
    pub first: Option<Window>,
    /// The newest window in it.
    pub last: Option<Window>,
    /// Whether payloads, aggregates and evidence were asked for.
    pub with_objects: bool,
    /// What could not be packed.
    pub gaps: Vec<Gap>,
}

/// What the ledger answered at the time of packing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LedgerPart {
    pub(super) head: BlockHeader,
    pub(super) metagraph: Metagraph,
    pub(super) hyperparameters: Hyperparameters,
    pub(super) settings: SettingChanges,
    pub(super) last_reports: Vec<IndexedCommitment>,
    /// Addresses of buckets.
    pub(super) buckets: Vec<CommitmentRecord>,
    /// None where the chain has no market.
    pub(super) market: Option<MarketSummary>,
    /// Of a minute, the oldest first.
    pub(super) candles: Vec<Candle>,
    pub(super) epochs: Vec<EpochRecord>,
    /// The newest first; none where the chain has no governance.
    pub(super) proposals: Option<Vec<ProposalView>>,
    /// Of the keys that hold slots.
    pub(super) history: BTreeMap<PublicKey, Vec<EventRecord>>,
}

/// A block that a window of the record refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BlockPart {
    pub(super) header: BlockHeader,
    /// The slots after it, where they are referred to.
    pub(super) metagraph: Option<Metagraph>,
}

/// What was committed about a window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct WindowPart {
    pub(super) sealed: Vec<CommitmentRecord>,
    /// Of a run that agrees on what is held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<CommitmentRecord>,
    pub(super) vote_seals: Vec<CommitmentRecord>,
    pub(super) votes: Vec<CommitmentRecord>,
    pub(super) reports: Vec<CommitmentRecord>,
}

/// An object that a bucket listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) bytes: u64,
}

/// Everything in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) genesis: Genesis,
    pub(super) facts: PackedFacts,
    pub(super) ledger: LedgerPart,
    /// What the buckets that answered listed as evidence.
    pub(super) lists: BTreeMap<PublicKey, Vec<Listed>>,
    pub(super) blocks: BTreeMap<BlockNumber, BlockPart>,
    pub(super) windows: BTreeMap<Window, WindowPart>,
    /// Objects by the bucket's owner and the object's key.
    pub(super) objects: BTreeMap<PublicKey, BTreeMap<String, Bytes>>,
}

fn json(value: &impl Serialize) -> Bytes {
    // Maps have keys that are text, and nothing here fails to be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn parsed<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, PackedError> {
    serde_json::from_slice(bytes).map_err(|source| PackedError::Object { name: name.to_owned(), source })
}

/// The number in a name such as `0000000012.json`.
fn number(rest: &str) -> Option<u64> {
    rest.strip_suffix(".json").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

impl Content {
    pub(super) fn entries(&self) -> Entries {
        let mut entries = BTreeMap::from([
            (GENESIS.to_owned(), Bytes::from(self.genesis.to_json())),
            (FACTS.to_owned(), json(&self.facts)),
            (LEDGER.to_owned(), json(&self.ledger)),
            (LISTS.to_owned(), json(&self.lists)),
        ]);
        entries.extend(self.blocks.iter().map(|(block, part)| (format!("block/{:020}.json", block.get()), json(part))));
        entries.extend(
            self.windows.iter().map(|(window, part)| (format!("window/{:020}.json", window.get()), json(part))),
        );
        for (owner, objects) in &self.objects {
            entries.extend(objects.iter().map(|(key, bytes)| (format!("object/{owner}/{key}"), bytes.clone())));
        }
        Entries(entries)
    }

    fn of(entries: &Entries) -> Result<Self, PackedError> {
        let (mut genesis, mut facts, mut ledger, mut lists) = (None, None, None, None);
        let (mut blocks, mut windows) = (BTreeMap::new(), BTreeMap::new());
        let mut objects: BTreeMap<PublicKey, BTreeMap<String, Bytes>> = BTreeMap::new();
        for (name, bytes) in &entries.0 {
            let unexpected = || PackedError::Unexpected { name: name.clone() };
            match name.split_once('/') {
                None if name == GENESIS => genesis = Some(Genesis::from_json(bytes)?),
                None if name == FACTS => facts = Some(parsed(name, bytes)?),
                None if name == LEDGER => ledger = Some(parsed(name, bytes)?),
                None if name == LISTS => lists = Some(parsed(name, bytes)?),
                Some(("block", rest)) => {
                    let block = BlockNumber(number(rest).ok_or_else(unexpected)?);
                    let part: BlockPart = parsed(name, bytes)?;
                    if part.header.number != block {
                        return Err(PackedError::OtherBlock { said: block, actual: part.header.number });
                    }
                    blocks.insert(block, part);
                }
                Some(("window", rest)) => {
                    let window = Window(number(rest).ok_or_else(unexpected)?);
                    windows.insert(window, parsed(name, bytes)?);
                }
                Some(("object", rest)) => {
                    let (owner, key) = rest.split_once('/').ok_or_else(unexpected)?;
                    let owner: PublicKey = owner.parse().map_err(|_| unexpected())?;
                    objects.entry(owner).or_default().insert(key.to_owned(), bytes.clone());
                }
                _ => return Err(unexpected()),
            }
        }
        let missing = |name| PackedError::Missing { name };
        let content = Self {
            genesis: genesis.ok_or_else(|| missing(GENESIS))?,
            facts: facts.ok_or_else(|| missing(FACTS))?,
            ledger: ledger.ok_or_else(|| missing(LEDGER))?,
            lists: lists.ok_or_else(|| missing(LISTS))?,
            blocks,
            windows,
            objects,
        };
        // One check for all of it: what parses and is written in another way is not in the one form.
        let own = content.entries();
        let other = entries.0.iter().find(|(name, bytes)| own.0.get(*name) != Some(*bytes));
        match other {
            Some((name, _)) => Err(PackedError::Form { name: name.clone() }),
            None => Ok(content),
        }
    }
}

/// A run's record out of a file, or for one.
#[derive(Debug, Clone)]
pub struct PackedRecord {
    content: Arc<Content>,
    run: Rules,
    root: ContentHash,
}

impl PackedRecord {
    pub(super) fn new(content: Content) -> Result<Self, PackedError> {
        let root = ContentHash::of(&content.entries().content());
        Self::with_root(content, root)
    }

    fn with_root(content: Content, root: ContentHash) -> Result<Self, PackedError> {
        let run = Rules::new(content.genesis.clone()).map_err(|error| PackedError::Rules(Box::new(error)))?;
        let said = content.facts.run;
        if said != run.id {
            return Err(PackedError::OtherRun { said, actual: run.id });
        }
        Ok(Self { content: Arc::new(content), run, root })
    }

    /// Reads a file. Whatever its bytes, it takes no more memory than the content's limit of 1 GiB and a small multiple
    /// for what is parsed.
    pub fn open(path: &Path) -> Result<Self, PackedError> {
        let file = File::open(path).map_err(|source| PackedError::Open { path: path.to_owned(), source })?;
        let (entries, root) = Entries::read(BufReader::with_capacity(1 << 16, file))?;
        Self::with_root(Content::of(&entries)?, root)
    }

    /// Reads a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PackedError> {
        let (entries, root) = Entries::read(bytes)?;
        Self::with_root(Content::of(&entries)?, root)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackedError> {
        let mut bytes = Vec::new();
        Entries::write(&self.content.entries().content(), &mut bytes).map_err(PackedError::Compress)?;
        Ok(bytes)
    }

    /// Writes the file, whole or not at all; returns its size. With [`Existing::Keep`] an existing file stays.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<u64, PackedError> {
        let options = WriteOptions { existing, writers: Writers::Many, ..WriteOptions::default() };
        let bytes = self.to_bytes()?;
        let name = path.file_name().unwrap_or_default();
        Folder::of_file(path).write_with(name, &[&bytes], options)?;
        Ok(bytes.len() as u64)
    }

    /// The record's name: BLAKE3 of its content.
    pub fn root(&self) -> ContentHash {
        self.root
    }

    /// What it says of itself.
    pub fn facts(&self) -> &PackedFacts {
        &self.content.facts
    }

    /// The run's rules.
    pub fn run(&self) -> &Rules {
        &self.run
    }

    /// Number of its windows.
    pub fn windows(&self) -> usize {
        self.content.windows.len()
    }

    /// Objects of buckets in it, and their bytes.
    pub fn objects(&self) -> (usize, u64) {
        let all = self.content.objects.values().flat_map(BTreeMap::values);
        all.fold((0, 0), |(count, bytes), object| (count + 1, bytes + object.len() as u64))
    }

    /// Hash and size of everything in it, by name: the genesis document, the ledger's answers, objects of buckets.
    pub fn index(&self) -> Vec<(String, ContentHash, u64)> {
        let entries = self.content.entries();
        entries.0.into_iter().map(|(name, bytes)| (name, ContentHash::of(&bytes), bytes.len() as u64)).collect()
    }

    /// The ledger as it was packed. What is not in the file is an error.
    pub fn chain(&self) -> Arc<RecordedChain> {
        Arc::new(RecordedChain::new(Arc::clone(&self.content), self.run.genesis.netuid))
    }

    /// The record as it was packed: ledger and buckets. Nothing outside of the file is contacted.
    pub fn record(&self) -> PublicRecord {
        let content = &self.content;
        // Whose bucket did not answer when it was packed has none here.
        let owners: BTreeSet<&PublicKey> = content.lists.keys().chain(content.objects.keys()).collect();
        let mut readers = BTreeMap::new();
        for owner in owners {
            let known = content.ledger.buckets.iter().find(|record| record.hotkey == *owner);
            let location = known.and_then(|record| std::str::from_utf8(&record.data).ok()?.parse().ok());
            let Some(location) = location.or_else(|| BucketLocation::memory("record").ok()) else { continue };
            let store = Arc::new(store::RecordedStore::new(Arc::clone(content), *owner));
            readers.insert(*owner, Bucket::over(store, location, BucketOptions::default()).read_only());
        }
        PublicRecord::recorded(self.chain() as Arc<dyn NodeChain>, self.run.genesis.netuid, readers)
    }
}

#[cfg(test)]
mod tests;
