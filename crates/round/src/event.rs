//! What reaches a machine, and what it wants done.

use crate::{Applied, AppliedRecord, Elector, SealCommitment, Vote, VoteRecord};
use templar_base::{BlockNumber, ContentHash, PublicKey, StateHash, Uid, Window};

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

/// Something that happened; the only way by which the world reaches a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The ledger has a new head. Heads may be skipped, and never go back.
    Block(BlockNumber),
    /// Answers [`Effect::ReadVotes`]: all votes of blocks up to `at`.
    Votes {
        /// The window voted on.
        window: Window,
        /// The head when they were read.
        at: BlockNumber,
        /// The most payloads that are merged in this window, by the rules as they hold in it.
        limit: usize,
        /// Who may vote, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed votes.
        votes: Vec<VoteRecord>,
    },
    /// Answers [`Effect::ReadReports`].
    Reports {
        /// The window reported on.
        window: Window,
        /// Whose reports count, as of the window's end.
        electors: Vec<Elector>,
        /// Well-formed reports.
        reports: Vec<AppliedRecord>,
    },
    /// Answers [`Effect::BuildAggregate`] and [`Effect::FetchAggregate`]: the node holds the aggregate.
    AggregateReady {
        /// Its window.
        window: Window,
        /// Its hash.
        hash: ContentHash,
    },
    /// Answers [`Effect::Apply`]: the parameters are those at the start of the next window, and safe on disk.
    Applied {
        /// The window whose outcome was applied.
        window: Window,
        /// The state hash now.
        state: StateHash,
    },
    /// Answers [`Effect::Restore`]: the parameters are those of an agreed checkpoint.
    Restored {
        /// The window whose start they are.
        next: Window,
        /// Their state hash.
        state: StateHash,
    },
    /// Answers [`Effect::Seal`]: payload and key are safe on disk, the object is in the bucket.
    Sealed {
        /// The window.
        window: Window,
        /// What to commit.
        commitment: SealCommitment,
    },
    /// Answers [`Effect::CommitSeal`].
    SealCommitted {
        /// The window.
        window: Window,
        /// The block that holds the commitment.
        block: BlockNumber,
    },
    /// Answers [`Effect::Reveal`].
    Revealed {
        /// The window.
        window: Window,
    },
    /// Answers [`Effect::ReadSealed`]: what was committed in time.
    SealedRead {
        /// The window.
        window: Window,
        /// Commitments in blocks before the window's end.
        records: Vec<SealedRecord>,
    },
    /// Answers [`Effect::Gather`]: everything is here, or it was told to close.
    Gathered {
        /// The window.
        window: Window,
        /// Payloads that were fetched, opened or found at fault.
        settled: usize,
        /// Payloads that were committed.
        committed: usize,
    },
    /// Answers [`Effect::Judge`].
    Judged {
        /// The window.
        window: Window,
        /// The own vote.
        vote: Vote,
    },
    /// Answers [`Effect::Vote`].
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

/// The kinds of effect whose failure a machine must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedEffect {
    /// [`Effect::ReadVotes`].
    ReadVotes,
    /// [`Effect::ReadReports`].
    ReadReports,
    /// [`Effect::BuildAggregate`] or [`Effect::FetchAggregate`].
    Aggregate,
    /// [`Effect::Apply`]: the disk is full or refuses, and nothing was changed.
    Apply,
    /// [`Effect::Restore`].
    Restore,
    /// [`Effect::Seal`].
    Seal,
    /// [`Effect::CommitSeal`].
    CommitSeal,
    /// [`Effect::Reveal`].
    Reveal,
    /// [`Effect::ReadSealed`] or [`Effect::Gather`].
    Gather,
    /// [`Effect::Judge`].
    Judge,
    /// [`Effect::Vote`].
    Vote,
}

/// Why a role sits a window out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The parameters at the window's start came too late to send a payload against them.
    #[error("the window's start state was not reached in time")]
    NotInSync,
    /// Sealing or committing failed or came too late.
    #[error("the payload was not committed before the window's end")]
    CommitLate,
    /// Most committed payloads could not be fetched: the fault is more likely here than with most miners.
    #[error("most payloads could not be fetched, so the fault is more likely here than there")]
    MostMissing,
    /// The verdict came after the last block in which votes count.
    #[error("the verdict was not ready before the judge deadline")]
    VoteLate,
}

/// Something that a machine wants done. The node answers each with the event named in its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the votes on a window, and who may vote as of its end. Answer: [`Event::Votes`].
    ReadVotes {
        /// The window.
        window: Window,
    },
    /// Read what validators applied in a window. Answer: [`Event::Reports`].
    ReadReports {
        /// The window.
        window: Window,
    },
    /// Take note of the verdict that most of the stake voted for: a validator takes its ratings, a miner reads what it
    /// says of it. No answer.
    AdoptVerdict {
        /// The window.
        window: Window,
        /// Hash of the verdict.
        verdict: ContentHash,
        /// Who holds it.
        from: Vec<PublicKey>,
    },
    /// Merge the payloads of these uids. Answer: [`Event::AggregateReady`].
    BuildAggregate {
        /// The window.
        window: Window,
        /// Whose payloads.
        selected: Vec<Uid>,
    },
    /// Download the aggregate with this hash. Answer: [`Event::AggregateReady`].
    FetchAggregate {
        /// The window.
        window: Window,
        /// Its agreed hash.
        hash: ContentHash,
        /// Who holds it.
        from: Vec<PublicKey>,
    },
    /// Do the outer step (none in a null window) and keep the result. Answer: [`Event::Applied`].
    Apply {
        /// The window.
        window: Window,
        /// The aggregate that is at hand; none in a null window.
        aggregate: Option<ContentHash>,
    },
    /// Fetch the last agreed checkpoint. Answer: [`Event::Restored`].
    Restore {
        /// The newest window of interest.
        window: Window,
    },
    /// Miner: go on training, on this window's data from now on. No answer.
    BeginWindow {
        /// The window; the beacon of its first block decides the data.
        window: Window,
    },
    /// Miner: make the payload, keep it, seal it, upload it. Answer: [`Event::Sealed`].
    Seal {
        /// The window.
        window: Window,
        /// State hash of the parameters at its start.
        start: StateHash,
    },
    /// Miner: commit the seal on the ledger. Answer: [`Event::SealCommitted`].
    CommitSeal {
        /// The window.
        window: Window,
        /// What to commit.
        commitment: SealCommitment,
    },
    /// Miner: publish the key. Answer: [`Event::Revealed`].
    Reveal {
        /// The window.
        window: Window,
    },
    /// Miner: what was sealed was not sent; it goes back into the error feedback. No answer.
    Unsend {
        /// The window.
        window: Window,
    },
    /// Validator: read who committed a payload in time. Answer: [`Event::SealedRead`].
    ReadSealed {
        /// The window.
        window: Window,
    },
    /// Validator: fetch and open the payloads. Answer: [`Event::Gathered`].
    Gather {
        /// The window.
        window: Window,
        /// What was committed.
        records: Vec<SealedRecord>,
    },
    /// Validator: stop waiting for payloads and keys. Answer: [`Event::Gathered`].
    CloseGather {
        /// The window.
        window: Window,
    },
    /// Validator: judge what was gathered. Answer: [`Event::Judged`].
    Judge {
        /// The window; the beacon of the block after its end draws the evaluation data.
        window: Window,
    },
    /// Validator: publish the verdict, then commit the vote. Answer: [`Event::Voted`].
    Vote {
        /// The window.
        window: Window,
        /// The vote.
        vote: Vote,
    },
    /// Validator: publish the aggregate, then commit what was applied. No answer.
    Report {
        /// The window.
        window: Window,
        /// What was applied.
        applied: Applied,
    },
    /// Validator: set weights by the agreed ratings. No answer.
    SetWeights {
        /// The last window that they take into account.
        window: Window,
    },
    /// Validator: publish a checkpoint of the parameters at the start of a window. No answer.
    PublishCheckpoint {
        /// The window.
        window: Window,
    },
    /// Tell the operator that this window goes by without this node. No answer.
    Skip {
        /// The window.
        window: Window,
        /// Why.
        reason: SkipReason,
    },
    /// Tell the operator that the own parameters are not those that most of the stake holds. No answer.
    Diverged {
        /// The window.
        window: Window,
        /// What this node has.
        own: Applied,
        /// What most of the stake has.
        agreed: Applied,
    },
}
