//! What a machine wants done, by role. Each request names the event that answers it.

#[cfg(doc)]
use crate::Event;
use crate::{Applied, SealCommitment, SealedCommitments, Selection, Vote};
use std::collections::BTreeMap;
use templar_base::{AgreedFindings, ContentHash, PublicKey, StateHash, Uid, Window};

/// What every role wants done to follow the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowEffect {
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
    /// Take what is agreed of a window's candidates into the ratings. It comes before the outcome is applied, and may come
    /// again. No answer.
    Settle {
        /// The window.
        window: Window,
        /// What is agreed.
        agreed: AgreedFindings,
        /// The verdict that explains it to people, by its hash, and who holds it; none where nobody voted.
        verdict: Option<(ContentHash, Vec<PublicKey>)>,
    },
    /// Merge the selected payloads. Answer: [`Event::AggregateReady`].
    BuildAggregate {
        /// The window.
        window: Window,
        /// Whose payloads, and the part of the step.
        selection: Selection,
    },
    /// Download the aggregate with this hash. Answer: [`Event::AggregateReady`].
    FetchAggregate {
        /// The window.
        window: Window,
        /// Its agreed hash.
        hash: ContentHash,
        /// What it must be of.
        selection: Selection,
        /// Who holds it.
        from: Vec<PublicKey>,
    },
    /// Do the outer step (none in a null window) and keep the result, with the ratings after [`Self::Settle`]. Asked again, it
    /// answers with the state that it led to. Answer: [`Event::Applied`].
    Apply {
        /// The window.
        window: Window,
        /// The aggregate, which the node holds; none in a null window.
        aggregate: Option<ContentHash>,
    },
    /// Fetch the last agreed checkpoint. Asked again, it starts over; the earlier request is void. Answer:
    /// [`Event::Restored`].
    Restore {
        /// The newest window of interest.
        window: Window,
    },
    /// Report to the operator that the own parameters are not those that most of the stake holds. No answer.
    Diverged {
        /// The window.
        window: Window,
        /// What this node has.
        own: Applied,
        /// What most of the stake has.
        agreed: Applied,
    },
}

/// What a miner wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinerEffect {
    /// What every role does.
    Follow(FollowEffect),
    /// Continue training, on this window's data from now on. No answer.
    BeginWindow {
        /// The window; the beacon of its first block decides the data.
        window: Window,
    },
    /// Make the payload, keep it, seal it, upload it. Answer: [`Event::Sealed`].
    Seal {
        /// The window.
        window: Window,
        /// State hash of the parameters at its start.
        start: StateHash,
    },
    /// Commit the seal on the ledger. Answer: [`Event::SealCommitted`].
    CommitSeal {
        /// The window.
        window: Window,
        /// What to commit.
        commitment: SealCommitment,
    },
    /// Publish the key. Answer: [`Event::Revealed`].
    Reveal {
        /// The window.
        window: Window,
    },
    /// What was sealed was not sent; it goes back into the error feedback. No answer.
    Unsend {
        /// The window.
        window: Window,
    },
    /// Report to the operator that this node does not take part in the window. No answer.
    Skip {
        /// The window.
        window: Window,
        /// Why.
        reason: SkipReason,
    },
}

/// What a validator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidatorEffect {
    /// What every role does.
    Follow(FollowEffect),
    /// Read who committed a payload in time. Answer: [`Event::SealedRead`].
    ReadSealed {
        /// The window.
        window: Window,
    },
    /// Fetch and open the payloads. Answer: [`Event::Gathered`].
    Gather {
        /// The window.
        window: Window,
        /// What was committed.
        sealed: SealedCommitments,
    },
    /// Stop waiting for payloads and keys. Answer: [`Event::Gathered`].
    CloseGather {
        /// The window.
        window: Window,
    },
    /// Commit which payloads of the pool are here, open, and pass the checks that need no other payload. Answer:
    /// [`Event::HeldWritten`].
    WriteHeld {
        /// The window.
        window: Window,
        /// State hash of the parameters at its start, which payloads must name.
        start: StateHash,
    },
    /// Read what electors hold, and who they are as of the window's end. Answer: [`Event::HeldRead`].
    ReadHeld {
        /// The window; its [`Phases::draw`](crate::Phases::draw) has been made.
        window: Window,
    },
    /// Of what was gathered keep the candidates; fetch those that are missing from their mirrors; put those that this node
    /// mirrors into its bucket. Answer: [`Event::CandidatesTaken`].
    TakeCandidates {
        /// The window.
        window: Window,
        /// Whose payloads, each with the keys of those whose buckets have it.
        mirrors: BTreeMap<Uid, Vec<PublicKey>>,
    },
    /// Stop waiting for candidates that are missing. Answer: [`Event::CandidatesTaken`].
    CloseTaking {
        /// The window.
        window: Window,
    },
    /// Judge what was gathered. Answer: [`Event::Judged`].
    Judge {
        /// The window; the beacon of `Phases::draw` draws the text.
        window: Window,
    },
    /// Commit the seal of the vote. Answer: [`Event::VoteSealed`].
    SealVote {
        /// The window.
        window: Window,
        /// The vote.
        vote: Vote,
    },
    /// Read the seals of the votes on a window, and who may vote as of its end. Answer: [`Event::VoteSeals`].
    ReadVoteSeals {
        /// The window.
        window: Window,
    },
    /// Publish the verdict, then commit the vote itself. Answer: [`Event::Voted`].
    Vote {
        /// The window.
        window: Window,
        /// The vote.
        vote: Vote,
    },
    /// Publish the aggregate, then commit what was applied. No answer.
    Report {
        /// The window.
        window: Window,
        /// What was applied.
        applied: Applied,
    },
    /// Set weights by the agreed ratings. No answer.
    SetWeights {
        /// The last window that they take into account.
        window: Window,
    },
    /// Publish a checkpoint of the parameters at the start of a window. No answer.
    PublishCheckpoint {
        /// The window.
        window: Window,
    },
    /// Report to the operator that this node does not take part in the window. No answer.
    Skip {
        /// The window.
        window: Window,
        /// Why.
        reason: SkipReason,
    },
}

impl From<FollowEffect> for MinerEffect {
    fn from(effect: FollowEffect) -> Self {
        Self::Follow(effect)
    }
}

impl From<FollowEffect> for ValidatorEffect {
    fn from(effect: FollowEffect) -> Self {
        Self::Follow(effect)
    }
}

impl FollowEffect {
    /// What [`Event::Failed`] says where this request fails; none where the machine does not need to know.
    pub fn failure(&self) -> Option<(Window, FailedEffect)> {
        match self {
            Self::ReadVotes { window } => Some((*window, FailedEffect::ReadVotes)),
            Self::ReadReports { window } => Some((*window, FailedEffect::ReadReports)),
            Self::BuildAggregate { window, .. } | Self::FetchAggregate { window, .. } => {
                Some((*window, FailedEffect::Aggregate))
            }
            Self::Apply { window, .. } => Some((*window, FailedEffect::Apply)),
            Self::Restore { window } => Some((*window, FailedEffect::Restore)),
            Self::Settle { .. } | Self::Diverged { .. } => None,
        }
    }
}

impl MinerEffect {
    /// What [`Event::Failed`] says where this request fails; none where the machine does not need to know.
    pub fn failure(&self) -> Option<(Window, FailedEffect)> {
        match self {
            Self::Follow(effect) => effect.failure(),
            Self::Seal { window, .. } => Some((*window, FailedEffect::Seal)),
            Self::CommitSeal { window, .. } => Some((*window, FailedEffect::CommitSeal)),
            Self::Reveal { window } => Some((*window, FailedEffect::Reveal)),
            Self::BeginWindow { .. } | Self::Unsend { .. } | Self::Skip { .. } => None,
        }
    }
}

impl ValidatorEffect {
    /// What [`Event::Failed`] says where this request fails; none where the machine does not need to know.
    pub fn failure(&self) -> Option<(Window, FailedEffect)> {
        match self {
            Self::Follow(effect) => effect.failure(),
            Self::ReadSealed { window } | Self::Gather { window, .. } => Some((*window, FailedEffect::Gather)),
            Self::WriteHeld { window, .. } => Some((*window, FailedEffect::WriteHeld)),
            Self::ReadHeld { window } => Some((*window, FailedEffect::ReadHeld)),
            Self::TakeCandidates { window, .. } => Some((*window, FailedEffect::Gather)),
            Self::Judge { window } => Some((*window, FailedEffect::Judge)),
            Self::SealVote { window, .. } | Self::Vote { window, .. } => Some((*window, FailedEffect::Vote)),
            Self::ReadVoteSeals { window } => Some((*window, FailedEffect::ReadVoteSeals)),
            Self::CloseGather { .. }
            | Self::CloseTaking { .. }
            | Self::Report { .. }
            | Self::SetWeights { .. }
            | Self::PublishCheckpoint { .. }
            | Self::Skip { .. } => None,
        }
    }
}

/// The kinds of request whose failure a machine must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedEffect {
    /// [`FollowEffect::ReadVotes`].
    ReadVotes,
    /// [`FollowEffect::ReadReports`].
    ReadReports,
    /// [`FollowEffect::BuildAggregate`] or [`FollowEffect::FetchAggregate`].
    Aggregate,
    /// [`FollowEffect::Apply`]: the disk is full or refuses, and nothing was changed.
    Apply,
    /// [`FollowEffect::Restore`].
    Restore,
    /// [`MinerEffect::Seal`].
    Seal,
    /// [`MinerEffect::CommitSeal`].
    CommitSeal,
    /// [`MinerEffect::Reveal`].
    Reveal,
    /// [`ValidatorEffect::ReadSealed`], [`ValidatorEffect::Gather`] or [`ValidatorEffect::TakeCandidates`].
    Gather,
    /// [`ValidatorEffect::WriteHeld`].
    WriteHeld,
    /// [`ValidatorEffect::ReadHeld`].
    ReadHeld,
    /// [`ValidatorEffect::Judge`].
    Judge,
    /// [`ValidatorEffect::ReadVoteSeals`].
    ReadVoteSeals,
    /// [`ValidatorEffect::SealVote`] or [`ValidatorEffect::Vote`].
    Vote,
}

/// Why a node does not take part in a window.
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
    /// A quarter or more of the candidates' rated weight could be fetched neither from miners nor from mirrors.
    #[error("a quarter of the candidates could not be fetched, neither from miners nor from validators that hold them")]
    CandidatesMissing,
    /// The verdict came after the last block in which votes count.
    #[error("the verdict was not ready before the judge deadline")]
    VoteLate,
}
