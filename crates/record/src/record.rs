//! The public record of a subnet: what anybody can read of its ledger and its nodes' buckets, without a key.

use crate::electors::Standings;
use crate::held::Availability;
use crate::{RecordError, Rules};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use templar_base::{Beacon, BlockNumber, Netuid, PublicKey, Window};
use templar_bucket::{Bucket, BucketLocation, LocationKind, TrafficObserver};
use templar_chain::{CommitmentRecord, Metagraph, NodeChain, SettingChanges, Topic};
use templar_round::{
    ACTIVE_WINDOWS, Applied, AppliedRecord, Elector, LASTING_WINDOWS, MalformedCommitment, Permitted, Phases,
    SealCommitment, SealedCommitments, SealedRecord, Vote, VoteRecord, VoteSeal, VoteSealRecord, electors, opened,
};

/// Beacons and electors of this many recent blocks are kept.
const CACHE: usize = 64;

/// Pause before the ledger is asked for its blocks again.
const LEDGER_PAUSE: Duration = Duration::from_millis(500);

/// Buckets by their owner, each with the address it was opened at.
type Readers = Mutex<BTreeMap<PublicKey, (Vec<u8>, Bucket)>>;

/// Reads the ledger and the buckets that it names. Nothing in it can sign or write. Cheap to clone; clones share a cache.
#[derive(Clone)]
pub struct PublicRecord {
    /// The ledger.
    pub chain: Arc<dyn NodeChain>,
    /// The run's subnet.
    pub netuid: Netuid,
    /// Whether peers' buckets may be folders or memory; only for networks within one machine.
    pub local_buckets: bool,
    pub(crate) known: Arc<Known>,
}

/// What was read already and does not change.
#[derive(Default)]
pub(crate) struct Known {
    readers: Readers,
    beacons: Mutex<BTreeMap<BlockNumber, Beacon>>,
    metagraphs: Mutex<BTreeMap<BlockNumber, Arc<Metagraph>>>,
    /// Who has judged of late, at windows' starts, as far as ratings were seen.
    pub(crate) standings: Standings,
    /// What electors hold, as far as it was read.
    pub(crate) availability: Availability,
    /// The newest answer.
    changes: Mutex<Option<Arc<SettingChanges>>>,
    /// Who hears of the traffic with buckets.
    observer: OnceLock<Arc<dyn TrafficObserver>>,
    /// Whether the buckets are those of a file, which are all there will be.
    is_recorded: bool,
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

fn hotkeys_of(electors: &[Elector]) -> Vec<PublicKey> {
    electors.iter().map(|elector| elector.hotkey).collect()
}

/// The well-formed votes among commitments.
fn votes_of(records: &[CommitmentRecord]) -> Vec<VoteRecord> {
    let votes = records.iter().filter_map(|record| {
        let vote = Vote::from_ledger(&record.data)?;
        Some(VoteRecord { hotkey: record.hotkey, block: record.block, vote })
    });
    votes.collect()
}

impl PublicRecord {
    /// The record of a subnet; nothing is contacted yet.
    pub fn new(chain: Arc<dyn NodeChain>, netuid: Netuid) -> Self {
        Self { chain, netuid, local_buckets: false, known: Arc::default() }
    }

    /// The record out of a file: its ledger, and its buckets by their owners. No other bucket is opened.
    pub(crate) fn recorded(chain: Arc<dyn NodeChain>, netuid: Netuid, buckets: BTreeMap<PublicKey, Bucket>) -> Self {
        let readers = buckets.into_iter().map(|(hotkey, bucket)| (hotkey, (Vec::new(), bucket))).collect();
        let known = Known { readers: Mutex::new(readers), is_recorded: true, ..Known::default() };
        Self { chain, netuid, local_buckets: false, known: Arc::new(known) }
    }

    /// The same record, with somebody who hears of the traffic with buckets that are opened from now on. The first that
    /// is named stays.
    pub fn observed_by(self, observer: Arc<dyn TrafficObserver>) -> Self {
        let _ = self.known.observer.set(observer);
        self
    }

    /// Waits until the ledger has this block, also while the ledger is away.
    pub async fn wait_for_block(&self, block: BlockNumber) {
        loop {
            if let Ok(mut heads) = self.chain.subscribe_heads().await {
                while let Ok(head) = heads.next().await {
                    if head.number >= block {
                        return;
                    }
                }
            }
            tokio::time::sleep(LEDGER_PAUSE).await;
        }
    }

    /// The beacon of a block that exists.
    pub async fn beacon(&self, block: BlockNumber) -> Result<Beacon, RecordError> {
        if let Some(beacon) = recall(&self.known.beacons, block) {
            return Ok(beacon);
        }
        let beacon = self.chain.header(block).await?.beacon;
        remember(&self.known.beacons, block, beacon);
        Ok(beacon)
    }

    /// The metagraph as of a block that exists.
    pub async fn metagraph(&self, block: BlockNumber) -> Result<Arc<Metagraph>, RecordError> {
        if let Some(metagraph) = recall(&self.known.metagraphs, block) {
            return Ok(metagraph);
        }
        let metagraph = Arc::new(self.chain.metagraph(self.netuid, Some(block)).await?);
        remember(&self.known.metagraphs, block, Arc::clone(&metagraph));
        Ok(metagraph)
    }

    /// Makes sure that all settings are known that were decided on before `block`, which must have been made.
    pub async fn refresh_setting_changes(&self, block: BlockNumber) -> Result<(), RecordError> {
        if self.known_setting_changes(block).is_some() {
            return Ok(());
        }
        let read = Arc::new(self.chain.setting_changes(self.netuid).await?);
        if read.at.plus(1) < block {
            return Err(templar_chain::ChainError::NoSuchBlock { block, head: read.at }.into());
        }
        let mut known = self.known.changes.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two answers that cross, the newer one tells more.
        if known.as_ref().is_none_or(|known| known.at < read.at) {
            *known = Some(read);
        }
        Ok(())
    }

    /// All settings that were decided on before `block`, and perhaps later ones, if that much was read.
    pub fn known_setting_changes(&self, block: BlockNumber) -> Option<Arc<SettingChanges>> {
        let known = self.known.changes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| known.at.plus(1) >= block)
    }

    /// Whose stake counts by the ledger alone, and how much of it: what lasted, of who sets weights.
    pub(crate) async fn electors_by_permit(
        &self,
        phases: &Phases,
        window: Window,
    ) -> Result<Vec<Elector>, RecordError> {
        let end = self.metagraph(phases.end(window)).await?;
        let mut before = Vec::new();
        for past in window.minus(LASTING_WINDOWS).until(window) {
            before.push(self.metagraph(phases.end(past)).await?);
        }
        let stakes = |hotkey: &PublicKey| {
            let of = |metagraph: &Arc<Metagraph>| metagraph.neuron(hotkey).map_or(0, |own| own.stake.as_rao());
            before.iter().map(of).collect::<Vec<u64>>()
        };
        let permitted = |neuron: &templar_chain::Neuron| Permitted {
            uid: neuron.uid,
            hotkey: neuron.hotkey,
            stakes: [vec![neuron.stake.as_rao()], stakes(&neuron.hotkey)].concat(),
            weights_at: neuron.last_update,
        };
        let permitted: Vec<Permitted> = end.validators().map(permitted).collect();
        // Who will set weights is not known yet at the start: everybody counts as having done so.
        let is_early = window.get() < LASTING_WINDOWS;
        let since = phases.start(window.minus(ACTIVE_WINDOWS));
        let everybody = |own: Permitted| Permitted { weights_at: phases.end(window), ..own };
        let permitted = if is_early { permitted.into_iter().map(everybody).collect() } else { permitted };
        Ok(electors(&permitted, since))
    }

    /// The well-formed seals of the electors' votes on a window, and the head that they are complete up to. None is left
    /// out unseen: see [`Commitments::commitments_of`](templar_chain::Commitments::commitments_of).
    pub async fn vote_seals(
        &self,
        window: Window,
        electors: &[Elector],
    ) -> Result<(BlockNumber, Vec<VoteSealRecord>), RecordError> {
        // The head first: what is committed after it may be missing without harm.
        let head = self.chain.head().await?.number;
        Ok((head, self.seals_of(window, &hotkeys_of(electors)).await?))
    }

    /// The well-formed seals of these keys' votes on a window.
    pub(crate) async fn seals_of(
        &self,
        window: Window,
        hotkeys: &[PublicKey],
    ) -> Result<Vec<VoteSealRecord>, RecordError> {
        let records = self.chain.commitments_of(self.netuid, Topic::VoteSeal, window.0, hotkeys).await?;
        let seals = records.iter().filter_map(|record| {
            let seal = VoteSeal::from_ledger(&record.data)?;
            Some(VoteSealRecord { hotkey: record.hotkey, block: record.block, seal })
        });
        Ok(seals.collect())
    }

    /// The well-formed votes of these keys on a window, sealed or not.
    pub(crate) async fn votes_of(&self, window: Window, hotkeys: &[PublicKey]) -> Result<Vec<VoteRecord>, RecordError> {
        Ok(votes_of(&self.chain.commitments_of(self.netuid, Topic::Vote, window.0, hotkeys).await?))
    }

    /// The votes on a window that count so far: well-formed, sealed before any was open, opened after; of each what it says of
    /// candidates, where these are agreed on. And the head that they are complete up to.
    pub async fn votes(
        &self,
        run: &Rules,
        window: Window,
        electors: &[Elector],
    ) -> Result<(BlockNumber, Vec<VoteRecord>), RecordError> {
        let (head, seals) = self.vote_seals(window, electors).await?;
        let votes = self.votes_of(window, &hotkeys_of(electors)).await?;
        let when = (run.phases.seal_time(window), head);
        let opened = opened(run.id, window, (electors, &seals), votes, when);
        if opened.is_empty() {
            return Ok((head, opened));
        }
        Ok((head, self.candidates(run, window, electors).await?.counted(opened)))
    }

    /// All well-formed votes on a window, whether they count or not.
    pub(crate) async fn vote_records(&self, window: Window) -> Result<Vec<VoteRecord>, RecordError> {
        Ok(votes_of(&self.chain.commitments(self.netuid, Topic::Vote, window.0).await?))
    }

    /// The well-formed reports of what was applied in a window.
    pub async fn reports(&self, window: Window) -> Result<Vec<AppliedRecord>, RecordError> {
        let records = self.chain.commitments(self.netuid, Topic::Applied, window.0).await?;
        let reports = records.iter().filter_map(|record| {
            let applied = Applied::from_ledger(&record.data)?;
            Some(AppliedRecord { hotkey: record.hotkey, applied })
        });
        Ok(reports.collect())
    }

    /// What was sealed for a window before its end.
    pub async fn sealed(
        &self,
        phases: &Phases,
        window: Window,
        max_payload_bytes: usize,
    ) -> Result<SealedCommitments, RecordError> {
        let metagraph = self.metagraph(phases.end(window)).await?;
        let records = self.chain.commitments(self.netuid, Topic::Sealed, window.0).await?;
        let mut sealed = SealedCommitments::default();
        for record in records.iter().filter(|record| record.block < phases.end(window)) {
            let Some(neuron) = metagraph.neuron(&record.hotkey) else { continue };
            let (uid, hotkey, block) = (neuron.uid, record.hotkey, record.block);
            match SealCommitment::from_ledger(&record.data, max_payload_bytes) {
                Ok(commitment) => sealed.records.push(SealedRecord { uid, hotkey, block, commitment }),
                Err(_) => sealed.malformed.push(MalformedCommitment { uid, hotkey, block }),
            }
        }
        Ok(sealed)
    }

    /// A reader of a peer's bucket, wherever the ledger says that it is.
    pub async fn reader(&self, hotkey: PublicKey) -> Result<Bucket, RecordError> {
        let known = |readers: &Readers| {
            let readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.get(&hotkey).map(|(_, bucket)| bucket.clone())
        };
        if let Some(bucket) = known(&self.known.readers) {
            return Ok(bucket);
        }
        self.refresh_readers().await?;
        known(&self.known.readers).ok_or(RecordError::NoBucketAddress { hotkey })
    }

    /// The host of a peer's bucket, as far as its address was read; for limits by host.
    pub fn known_host(&self, hotkey: PublicKey) -> Option<String> {
        let readers = self.known.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.get(&hotkey).and_then(|(_, bucket)| bucket.location().host())
    }

    /// Where a peer's bucket is, as far as its address was read.
    pub fn known_location(&self, hotkey: PublicKey) -> Option<BucketLocation> {
        let readers = self.known.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.get(&hotkey).map(|(_, bucket)| bucket.location().clone())
    }

    /// Reads all bucket addresses again. Unusable addresses are skipped: their owners are at fault.
    pub async fn refresh_readers(&self) -> Result<(), RecordError> {
        if self.known.is_recorded {
            return Ok(());
        }
        let records = self.chain.bucket_commitments(self.netuid).await?;
        let mut readers = self.known.readers.lock().unwrap_or_else(PoisonError::into_inner);
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
                let bucket = match self.known.observer.get() {
                    Some(observer) => bucket.observed_by(Arc::clone(observer)),
                    None => bucket,
                };
                readers.insert(record.hotkey, (record.data, bucket));
            }
        }
        Ok(())
    }
}
