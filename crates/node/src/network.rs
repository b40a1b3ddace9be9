//! How a node reaches the ledger, its own bucket and its peers' buckets.

use crate::NodeError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use templar_base::{Beacon, BlockNumber, Keypair, Netuid, PublicKey, Uid, Window};
use templar_bucket::{Bucket, BucketLocation, LocationKind};
use templar_ledger::{Call, Chain, ChainError, Metagraph, Topic};
use templar_round::{Applied, AppliedRecord, Elector, Phases, SealCommitment, SealedRecord, Vote, VoteRecord};

/// How often a commitment is tried while the ledger is away.
const COMMIT_ATTEMPTS: usize = 120;
const COMMIT_PAUSE: Duration = Duration::from_millis(500);
/// Beacons and electors of this many recent blocks are kept.
const CACHE: usize = 64;

/// A node's connections.
pub struct Network {
    /// The ledger.
    pub chain: Arc<dyn Chain>,
    /// The run's subnet.
    pub netuid: Netuid,
    /// The node's identity.
    pub hotkey: Keypair,
    /// The node's own bucket.
    pub bucket: Bucket,
    /// Whether buckets in folders and memory are taken from peers; only for networks within one machine.
    pub local_buckets: bool,
    readers: Mutex<BTreeMap<PublicKey, (Vec<u8>, Bucket)>>,
    beacons: Mutex<BTreeMap<BlockNumber, Beacon>>,
    metagraphs: Mutex<BTreeMap<BlockNumber, Arc<Metagraph>>>,
}

fn remember<V: Clone>(cache: &Mutex<BTreeMap<BlockNumber, V>>, block: BlockNumber, value: V) {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.insert(block, value);
    while cache.len() > CACHE {
        cache.pop_first();
    }
}

fn recall<V: Clone>(cache: &Mutex<BTreeMap<BlockNumber, V>>, block: BlockNumber) -> Option<V> {
    cache.lock().unwrap_or_else(PoisonError::into_inner).get(&block).cloned()
}

impl Network {
    /// A node's connections; nothing is contacted yet.
    pub fn new(chain: Arc<dyn Chain>, netuid: Netuid, hotkey: Keypair, bucket: Bucket) -> Self {
        let (readers, beacons, metagraphs) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { chain, netuid, hotkey, bucket, local_buckets: false, readers, beacons, metagraphs }
    }

    /// The beacon of a block that exists.
    pub(crate) async fn beacon(&self, block: BlockNumber) -> Result<Beacon, NodeError> {
        if let Some(beacon) = recall(&self.beacons, block) {
            return Ok(beacon);
        }
        let beacon = self.chain.header(block).await?.beacon;
        remember(&self.beacons, block, beacon);
        Ok(beacon)
    }

    /// The metagraph as of a block that exists.
    pub(crate) async fn metagraph(&self, block: BlockNumber) -> Result<Arc<Metagraph>, NodeError> {
        if let Some(metagraph) = recall(&self.metagraphs, block) {
            return Ok(metagraph);
        }
        let metagraph = Arc::new(self.chain.metagraph(self.netuid, Some(block)).await?);
        remember(&self.metagraphs, block, Arc::clone(&metagraph));
        Ok(metagraph)
    }

    /// Who may vote on a window: the permitted stake at its end.
    pub(crate) async fn electors(&self, phases: &Phases, window: Window) -> Result<Vec<Elector>, NodeError> {
        let metagraph = self.metagraph(phases.end(window)).await?;
        let elector =
            |neuron: &templar_ledger::Neuron| Elector { uid: neuron.uid, hotkey: neuron.hotkey, stake: neuron.stake.0 };
        Ok(metagraph.validators().map(elector).collect())
    }

    /// The well-formed votes on a window, and the head that they are complete up to.
    pub(crate) async fn votes(&self, window: Window) -> Result<(BlockNumber, Vec<VoteRecord>), NodeError> {
        // The head first: what is committed after it may be missing without harm.
        let head = self.chain.head().await?.number;
        let records = self.chain.commitments(self.netuid, Topic::Vote, window.0).await?;
        let votes = records.iter().filter_map(|record| {
            let vote = Vote::from_ledger(&record.data).ok()?;
            Some(VoteRecord { hotkey: record.hotkey, block: record.block, vote })
        });
        Ok((head, votes.collect()))
    }

    /// The well-formed reports of what was applied in a window.
    pub(crate) async fn reports(&self, window: Window) -> Result<Vec<AppliedRecord>, NodeError> {
        let records = self.chain.commitments(self.netuid, Topic::Applied, window.0).await?;
        let reports = records.iter().filter_map(|record| {
            let applied = Applied::from_ledger(&record.data)?;
            Some(AppliedRecord { hotkey: record.hotkey, applied })
        });
        Ok(reports.collect())
    }

    /// What was sealed for a window before its end. A malformed commitment comes with its miner alone.
    pub(crate) async fn sealed(
        &self,
        phases: &Phases,
        window: Window,
        max_payload_bytes: usize,
    ) -> Result<(Vec<SealedRecord>, Vec<(Uid, PublicKey, BlockNumber)>), NodeError> {
        let metagraph = self.metagraph(phases.end(window)).await?;
        let records = self.chain.commitments(self.netuid, Topic::Sealed, window.0).await?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for record in records.iter().filter(|record| record.block < phases.end(window)) {
            let Some(neuron) = metagraph.neuron(&record.hotkey) else { continue };
            let (uid, hotkey, block) = (neuron.uid, record.hotkey, record.block);
            match SealCommitment::from_ledger(&record.data, max_payload_bytes) {
                Ok(commitment) => good.push(SealedRecord { uid, hotkey, block, commitment }),
                Err(_) => bad.push((uid, hotkey, block)),
            }
        }
        Ok((good, bad))
    }

    /// A reader of a peer's bucket, wherever the ledger says that it is.
    pub(crate) async fn reader(&self, hotkey: PublicKey) -> Result<Bucket, NodeError> {
        let known = |readers: &Mutex<BTreeMap<PublicKey, (Vec<u8>, Bucket)>>| {
            let readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.get(&hotkey).map(|(_, bucket)| bucket.clone())
        };
        if let Some(bucket) = known(&self.readers) {
            return Ok(bucket);
        }
        self.refresh_readers().await?;
        known(&self.readers).ok_or_else(|| NodeError::Missing {
            what: format!("the bucket address of {}", hotkey.short()),
            window: Window::default(),
        })
    }

    /// Reads all bucket addresses anew. Addresses that are not usable are passed over: their owners are at fault.
    pub(crate) async fn refresh_readers(&self) -> Result<(), NodeError> {
        let records = self.chain.bucket_commitments(self.netuid).await?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|hotkey, _| records.iter().any(|record| record.hotkey == *hotkey));
        for record in records {
            if readers.get(&record.hotkey).is_some_and(|(data, _)| *data == record.data) {
                continue;
            }
            let location = std::str::from_utf8(&record.data).ok().and_then(|text| text.parse::<BucketLocation>().ok());
            let Some(location) = location else { continue };
            if location.kind() != LocationKind::S3 && !self.local_buckets {
                continue;
            }
            if let Ok(bucket) = Bucket::open_reader(&location) {
                readers.insert(record.hotkey, (record.data, bucket));
            }
        }
        Ok(())
    }

    /// Says on the ledger where the own bucket is, unless it says so already.
    pub(crate) async fn announce_bucket(&self) -> Result<(), NodeError> {
        let location = self.bucket.location().to_string().into_bytes();
        let own = self.hotkey.public();
        let records = self.chain.bucket_commitments(self.netuid).await?;
        if records.iter().any(|record| record.hotkey == own && record.data == location) {
            return Ok(());
        }
        self.commit(Topic::Bucket, 0, location).await.map(|_| ())
    }

    /// Commits bytes on the ledger and gives the block that holds them. Safe to repeat: what is there already counts.
    pub(crate) async fn commit(&self, topic: Topic, index: u64, data: Vec<u8>) -> Result<BlockNumber, NodeError> {
        let mut last = None;
        for attempt in 0..COMMIT_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(COMMIT_PAUSE).await;
                if let Ok(Some(block)) = self.own_commitment(topic, index, &data).await {
                    return Ok(block);
                }
            }
            let call = Call::Commit { netuid: self.netuid, topic, index, data: data.clone() };
            match self.chain.submit(&self.hotkey, call).await {
                Ok(receipt) => return Ok(receipt.block),
                Err(error) if error.is_retryable() || matches!(error, ChainError::Undecided { .. }) => {
                    last = Some(error);
                }
                // It may be there from before a restart, or from an attempt whose answer was lost.
                Err(error) => return self.own_commitment(topic, index, &data).await?.ok_or_else(|| error.into()),
            }
        }
        Err(last.map_or(NodeError::Deadline { what: "a commitment on the ledger", seconds: 60 }, Into::into))
    }

    async fn own_commitment(&self, topic: Topic, index: u64, data: &[u8]) -> Result<Option<BlockNumber>, NodeError> {
        let own = self.hotkey.public();
        let records = self.chain.commitments(self.netuid, topic, index).await?;
        Ok(records.iter().find(|record| record.hotkey == own && record.data == data).map(|record| record.block))
    }
}
