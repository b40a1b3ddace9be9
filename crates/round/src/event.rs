//! What reaches a machine.

use crate::{AppliedRecord, Elector, FailedEffect, HeldRecord, SealCommitment, Vote, VoteRecord, VoteSealRecord};
#[cfg(doc)]
use crate::{FollowEffect, MinerEffect, ValidatorEffect};
use templar_base::{Beacon, BlockNumber, ContentHash, PublicKey, StateHash, Uid, Window};

/// A payload that was committed on the ledger before its window's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedRecord {
    /// The miner's slot.
    pub uid: Uid,
    /// The miner's key.
    pub hotkey: PublicKey,
    /// The block that holds the commitment: who was earlier decides who copied.
    pub block: BlockNumber,
    /// What was committed.
    pub commitment: SealCommitment,
}

/// A commitment that does not parse; the miner is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedCommitment {
    /// The miner's slot.
    pub uid: Uid,
    /// The miner's key.
    pub hotkey: PublicKey,
    /// The block that holds the commitment.
    pub block: BlockNumber,
}

/// What was committed for a window in blocks before its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealedCommitments {
    /// Those that parse, in the order of the ledger.
    pub records: Vec<SealedRecord>,
    /// Those that do not.
    pub malformed: Vec<MalformedCommitment>,
}

/// Something that happened; the only way by which the world reaches a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The ledger has a new head. Heads may be skipped, and never go back.
    Block(BlockNumber),
    /// Answers [`FollowEffect::ReadVotes`]: all votes of blocks up to `at`.
    Votes {
        /// The window voted on.
        window: Window,
        /// The head when they were read.
        at: BlockNumber,
        /// The most payloads that are merged in this window, by the rules as they hold in it.
        limit: usize,
        /// Who may vote, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed votes that were sealed before any was open.
        votes: Vec<VoteRecord>,
    },
    /// Answers [`FollowEffect::ReadReports`].
    Reports {
        /// The window reported on.
        window: Window,
        /// Whose reports count, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed reports.
        reports: Vec<AppliedRecord>,
    },
    /// Answers [`FollowEffect::BuildAggregate`] and [`FollowEffect::FetchAggregate`]: the node holds the aggregate.
    AggregateReady {
        /// Its window.
        window: Window,
        /// Its hash.
        hash: ContentHash,
    },
    /// Answers [`FollowEffect::Apply`]: parameters and ratings are those at the start of the next window, and safe on disk.
    Applied {
        /// The window whose outcome was applied.
        window: Window,
        /// The state hash now.
        state: StateHash,
        /// Hash of the ratings after the window.
        record: ContentHash,
    },
    /// Answers [`FollowEffect::Restore`]: the parameters are those of an agreed checkpoint.
    Restored {
        /// The window whose start they are.
        next: Window,
        /// Their state hash.
        state: StateHash,
    },
    /// Answers [`MinerEffect::Seal`]: payload and key are safe on disk, the object is in the bucket.
    Sealed {
        /// The window.
        window: Window,
        /// What to commit.
        commitment: SealCommitment,
    },
    /// Answers [`MinerEffect::CommitSeal`].
    SealCommitted {
        /// The window.
        window: Window,
        /// The block that holds the commitment.
        block: BlockNumber,
    },
    /// Answers [`MinerEffect::Reveal`].
    Revealed {
        /// The window.
        window: Window,
    },
    /// Answers [`ValidatorEffect::ReadSealed`]: what was committed in time.
    SealedRead {
        /// The window.
        window: Window,
        /// What was found.
        sealed: SealedCommitments,
    },
    /// Answers [`ValidatorEffect::Gather`]: everything is here, or it was told to close.
    Gathered {
        /// The window.
        window: Window,
        /// Payloads that were fetched, opened or found at fault.
        settled: usize,
        /// Payloads that were committed.
        committed: usize,
    },
    /// Answers [`ValidatorEffect::WriteHeld`].
    HeldWritten {
        /// The window.
        window: Window,
    },
    /// Answers [`ValidatorEffect::ReadHeld`].
    HeldRead {
        /// The window.
        window: Window,
        /// The head when it was read.
        at: BlockNumber,
        /// The beacon of [`Phases::draw`](crate::Phases::draw).
        beacon: Beacon,
        /// The window's pool, ascending.
        pool: Vec<Uid>,
        /// Whose stake counts, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed bitmaps over the pool.
        held: Vec<HeldRecord>,
    },
    /// Answers [`ValidatorEffect::TakeCandidates`]: all candidates are here, or it was told to close.
    CandidatesTaken {
        /// The window.
        window: Window,
        /// The rated weight of the candidates that are missing, in any unit; where none is rated, each weighs the same.
        lacking: u64,
        /// That of all candidates.
        all: u64,
    },
    /// Answers [`ValidatorEffect::Judge`].
    Judged {
        /// The window.
        window: Window,
        /// The own vote.
        vote: Vote,
    },
    /// Answers [`ValidatorEffect::SealVote`].
    VoteSealed {
        /// The window.
        window: Window,
    },
    /// Answers [`ValidatorEffect::ReadVoteSeals`].
    VoteSeals {
        /// The window.
        window: Window,
        /// The head when they were read.
        at: BlockNumber,
        /// Who may vote, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed seals.
        seals: Vec<VoteSealRecord>,
    },
    /// Answers [`ValidatorEffect::Vote`].
    Voted {
        /// The window.
        window: Window,
    },
    /// An effect could not be carried out; the machine decides what follows.
    Failed {
        /// The window of the effect.
        window: Window,
        /// What failed.
        effect: FailedEffect,
    },
}
