//! Fetching a snapshot: parts lie in the folder until all are there, so that a download that ends early goes on.

use super::copy::Replica;
use super::error::ReplicaError;
use crate::service::snapshot::{Entry, MAX_PARTS, read_part};
use crate::{Profile, State, check_conservation};
use async_trait::async_trait;
use parity_scale_codec::{DecodeAll, Encode};
use std::fs;
use std::path::{Path, PathBuf};
use templar_base::{BlockHash, BlockNumber, ContentHash};
use templar_chain::{Block, ChainError, SnapshotOffer, transactions_root};

/// Blocks after the snapshot's among which the trusted one is looked for.
const MAX_TRUST_BLOCKS: u64 = 4_096;
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
    /// A kept block.
    async fn block(&self, block: BlockNumber) -> Result<Block, ChainError>;
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

    async fn block(&self, block: BlockNumber) -> Result<Block, ChainError> {
        Self::block(self, block).await
    }
}

/// Makes a copy of a ledger in `folder` from a snapshot whose block is the one with the hash `trusted`, or an ancestor
/// of that. `done` hears how many parts of how many are there. What was fetched before a kill is not fetched again.
pub async fn fetch_snapshot(
    source: &dyn SnapshotSource,
    folder: &Path,
    trusted: Option<BlockHash>,
    done: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Replica, ReplicaError> {
    let parts = Parts { folder: folder.join("snapshot") };
    for _ in 0..MAX_BEGINNINGS {
        let offer = match parts.offer() {
            Some(offer) => offer,
            None => parts.begin(source.snapshot().await?)?,
        };
        let fetched = async {
            let block = check_block(source, &offer, trusted).await?;
            let entries = parts.fetch(source, &offer, done).await?;
            let state = check_state(source.profile().await?, &block, &entries)?;
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

/// The snapshot's block, if the trusted one is it or comes of it.
async fn check_block(
    source: &dyn SnapshotSource,
    offer: &SnapshotOffer,
    trusted: Option<BlockHash>,
) -> Result<Block, ReplicaError> {
    let block = source.block(offer.block).await?;
    let is_whole = block.header.transactions_root == transactions_root(&block.transactions);
    if block.header.number != offer.block || block.header.hash() != offer.hash || !is_whole {
        return Err(ReplicaError::Contradiction(format!("its block {} has another hash than offered", offer.block)));
    }
    let trusted = trusted.ok_or(ReplicaError::Untrusted { block: offer.block, hash: offer.hash })?;
    let mut at = block.header.clone();
    while at.hash() != trusted {
        let not_trusted = ReplicaError::NotTrusted { from: offer.block, to: at.number, trusted };
        if at.number.blocks_since(offer.block) >= MAX_TRUST_BLOCKS {
            return Err(not_trusted);
        }
        let next = match source.block(at.number.plus(1)).await {
            Err(ChainError::NoSuchBlock { .. }) => return Err(not_trusted),
            next => next?.header,
        };
        if next.parent != at.hash() || next.number != at.number.plus(1) {
            return Err(ReplicaError::Contradiction(format!("block {} does not follow {}", next.number, at.number)));
        }
        at = next;
    }
    Ok(block)
}

/// The state of the entries, if it is the one that the block's header names.
fn check_state(profile: Profile, block: &Block, entries: &[Entry]) -> Result<State, ReplicaError> {
    let number = block.header.number;
    let entries = entries.iter().map(|(table, key, value)| (*table, key.as_slice(), value.as_slice()));
    let state = State::restore(profile, number, entries);
    let state = state.filter(|state| state.root() == block.header.state_root);
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
