//! Fetching a snapshot: parts lie in the folder until all are there, so that a download that ends early goes on.

use super::copy::Replica;
use super::error::ReplicaError;
use crate::service::authority::ReplayError;
use crate::service::snapshot::{Entry, MAX_PARTS, read_part};
use crate::{Profile, State, check_conservation};
use async_trait::async_trait;
use parity_scale_codec::{DecodeAll, Encode};
use std::fs;
use std::path::{Path, PathBuf};
use templar_base::{BlockHash, BlockNumber, ContentHash};
use templar_chain::{ChainError, ChainKey, SignedBlock, SnapshotOffer};

/// How often a download begins anew because its snapshot is no longer offered.
const MAX_BEGINNINGS: usize = 4;
const OFFER_FILE: &str = "offer";

/// Whoever offers snapshots. Nothing that it says is believed unchecked.
#[async_trait]
pub trait SnapshotSource: Send + Sync {
    /// The rules of the ledger.
    async fn profile(&self) -> Result<Profile, ChainError>;
    /// The newest snapshot.
    async fn snapshot(&self) -> Result<SnapshotOffer, ChainError>;
    /// A part of the snapshot of `block`; [`ChainError::NoSnapshot`] where that is no longer offered.
    async fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError>;
    /// A kept block with its certificate.
    async fn block(&self, block: BlockNumber) -> Result<SignedBlock, ChainError>;
}

#[cfg(feature = "client")]
#[async_trait]
impl SnapshotSource for templar_chain::RpcChain {
    async fn profile(&self) -> Result<Profile, ChainError> {
        Self::profile(self).await
    }

    async fn snapshot(&self) -> Result<SnapshotOffer, ChainError> {
        Self::snapshot(self).await
    }

    async fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        Self::snapshot_part(self, block, index).await
    }

    async fn block(&self, block: BlockNumber) -> Result<SignedBlock, ChainError> {
        Self::block(self, block).await
    }
}

/// Makes a copy of a ledger in `folder` from a snapshot whose block the authority of the chain named `chain` signed.
/// `done` hears how many parts of how many are there. What was fetched before a kill is not fetched again.
pub async fn fetch_snapshot(
    source: &dyn SnapshotSource,
    folder: &Path,
    chain: BlockHash,
    done: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Replica, ReplicaError> {
    let profile = source.profile().await?;
    let found = profile.genesis_hash();
    if found != chain {
        return Err(ReplicaError::WrongChain { wanted: chain, found });
    }
    let key = ChainKey::new(chain, &profile.authority_key).map_err(|_| ReplayError::NoKey)?;
    let parts = Parts { folder: folder.join("snapshot") };
    for _ in 0..MAX_BEGINNINGS {
        let offer = match parts.offer() {
            Some(offer) => offer,
            None => parts.begin(source.snapshot().await?)?,
        };
        let fetched = async {
            let block = check_block(source, &offer, &key).await?;
            let entries = parts.fetch(source, &offer, done).await?;
            let state = check_state(profile.clone(), &block, &entries)?;
            Ok((block, state))
        };
        match fetched.await {
            Ok((block, state)) => {
                let replica = Replica::create(folder, state, &block)?;
                parts.clear()?;
                return Ok(replica);
            }
            Err(ReplicaError::Chain(ChainError::NoSnapshot { .. } | ChainError::Pruned { .. })) => parts.clear()?,
            // Not the network's or the disk's fault: another try must ask anew what is offered.
            Err(error) if error.is_of_snapshot() => {
                parts.clear()?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(ReplicaError::Contradiction("it withdraws each snapshot that it offers".to_owned()))
}

/// The snapshot's block, if the authority signed it.
async fn check_block(
    source: &dyn SnapshotSource,
    offer: &SnapshotOffer,
    key: &ChainKey,
) -> Result<SignedBlock, ReplicaError> {
    let signed = source.block(offer.block).await?;
    let header = &signed.block.header;
    if header.number != offer.block || header.hash() != offer.hash {
        return Err(ReplicaError::Contradiction(format!("its block {} has another hash than offered", offer.block)));
    }
    signed.verify(key).map_err(|error| ReplayError::NotSigned(offer.block, error))?;
    Ok(signed)
}

/// The state of the entries, if it is the one that the block's header names.
fn check_state(profile: Profile, signed: &SignedBlock, entries: &[Entry]) -> Result<State, ReplicaError> {
    let (header, number) = (&signed.block.header, signed.block.header.number);
    let entries = entries.iter().map(|(table, key, value)| (*table, key.as_slice(), value.as_slice()));
    let state = State::restore(profile, number, entries);
    let state = state.filter(|state| state.root() == header.state_root && state.records_root() == header.records_root);
    let state = state.ok_or(ReplicaError::FalseState(number))?;
    check_conservation(&state)?;
    Ok(state)
}

/// The parts that are on disk.
struct Parts {
    folder: PathBuf,
}

impl Parts {
    fn disk(&self) -> impl Fn(std::io::Error) -> ReplicaError {
        |error| ReplicaError::Disk(self.folder.clone(), error)
    }

    /// What was being fetched when a download ended early.
    fn offer(&self) -> Option<SnapshotOffer> {
        let bytes = fs::read(self.folder.join(OFFER_FILE)).ok()?;
        SnapshotOffer::decode_all(&mut &bytes[..]).ok().filter(|offer| offer.parts.len() <= MAX_PARTS)
    }

    fn begin(&self, offer: SnapshotOffer) -> Result<SnapshotOffer, ReplicaError> {
        if offer.parts.len() > MAX_PARTS {
            let what = format!("it has {} parts, over the {MAX_PARTS} that a snapshot may have", offer.parts.len());
            return Err(ReplicaError::Contradiction(what));
        }
        self.clear()?;
        fs::create_dir_all(&self.folder).map_err(self.disk())?;
        self.write(OFFER_FILE, &offer.encode())?;
        Ok(offer)
    }

    fn clear(&self) -> Result<(), ReplicaError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.disk()(error)),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ReplicaError> {
        let draft = self.folder.join(format!("{name}.new"));
        let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, self.folder.join(name)));
        written.map_err(self.disk())
    }

    /// A part that lies here; what a power cut spoilt counts as missing.
    fn kept(&self, name: &str, hash: &ContentHash) -> Option<Vec<u8>> {
        fs::read(self.folder.join(name)).ok().filter(|bytes| ContentHash::of(bytes) == *hash)
    }

    /// Fetches what is missing; gives all entries.
    async fn fetch(
        &self,
        source: &dyn SnapshotSource,
        offer: &SnapshotOffer,
        done: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Vec<Entry>, ReplicaError> {
        let mut entries = Vec::new();
        for (index, hash) in offer.parts.iter().enumerate() {
            let name = index.to_string();
            let bytes = match self.kept(&name, hash) {
                Some(bytes) => bytes,
                None => {
                    let bytes = source.snapshot_part(offer.block, index as u32).await?;
                    if ContentHash::of(&bytes) != *hash {
                        let what = format!("part {index} is not the one that was offered");
                        return Err(ReplicaError::Contradiction(what));
                    }
                    self.write(&name, &bytes)?;
                    bytes
                }
            };
            let part = read_part(&bytes);
            entries.extend(part.ok_or_else(|| ReplicaError::Contradiction(format!("part {index} is no part")))?);
            done(index + 1, offer.parts.len());
        }
        Ok(entries)
    }
}
