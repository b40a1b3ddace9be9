//! Why a ledger's folder cannot be used.

use std::path::PathBuf;
use templar_base::BlockHash;
use templar_chain::AuthorityKey;

/// A ledger's folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the folder.
    #[error("{0} is in use by another ledger process; stop that one, or use another folder")]
    Locked(PathBuf),
    /// Made by another version of this program.
    #[error(
        "{folder} has layout {found}, this program writes {wanted}; use the program that made it, or start again: a local \
         network with `templar up --fresh`, a ledger of its own in another folder"
    )]
    WrongVersion {
        /// The folder.
        folder: PathBuf,
        /// Its layout.
        found: u32,
        /// The layout of this program.
        wanted: u32,
    },
    /// The folder holds another chain.
    #[error(
        "{folder} holds chain {found}, the profile names {wanted}; use the profile it was made with, or another folder"
    )]
    WrongChain {
        /// The folder.
        folder: PathBuf,
        /// The chain in it.
        found: BlockHash,
        /// The chain of the profile.
        wanted: BlockHash,
    },
    /// No ledger in the folder.
    #[error("{0} holds no ledger; make one with a profile first")]
    Missing(PathBuf),
    /// The folder holds a follower's copy.
    #[error(
        "{0} is a follower's copy of a ledger and makes no blocks; resume it with `templar ledger follow \
         --from-snapshot`, or use another folder"
    )]
    Replica(PathBuf),
    /// The file's contents contradict each other.
    #[error("{0} is damaged: {1}; restore it from a copy")]
    Damaged(PathBuf, &'static str),
    /// The profile names the key of an authority whose secret is not this ledger's.
    #[error(
        "the profile names the authority key {named}, whose secret only the ledger has that signs that chain; remove \
         `authority_key` from the profile to start a new chain"
    )]
    OtherAuthority {
        /// The key in the profile.
        named: Box<AuthorityKey>,
    },
    /// The profile is not sound.
    #[error(transparent)]
    Profile(#[from] crate::ProfileError),
    /// The system has no randomness.
    #[error("the system's random source failed: {0}")]
    Random(#[source] getrandom::Error),
    /// The disk failed or is full.
    #[error("{0}: {1}; check the disk's space and rights")]
    Disk(PathBuf, #[source] std::io::Error),
    /// The database failed: its disk, or what is in its file.
    #[error("{0}: {1}; check the disk's space and rights, and that the file is a ledger's")]
    Database(PathBuf, #[source] Box<redb::Error>),
}
