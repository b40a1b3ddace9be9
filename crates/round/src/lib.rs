//! The life of a window, for each role, as pure state machines.
//!
//! A machine takes an [`Event`] (a new block, what the ledger holds, the outcome of something it asked for) and gives
//! back effects (read, fetch, judge, apply, commit), in an enum for each role: [`FollowEffect`], [`MinerEffect`],
//! [`ValidatorEffect`]. A request that gets neither answer nor failure is made again after some blocks. A machine reads
//! no clock, draws no random number and does no I/O, so that a node, a simulator and a test drive the very same code.
//! Around the machines stand the formats that the roles exchange: object keys, sealed payloads, votes, signed
//! documents; and the rule by which votes become one outcome.
//!
//! ```
//! use templar_base::{BlockNumber, Finding, Findings, Keypair, Mark, Share, StepShare, Uid};
//! use templar_round::{Elector, Outcome, Selection, Vote, VoteRecord, tally};
//!
//! let electors = vec![Elector { uid: Uid(0), hotkey: Keypair::from_uri("//V").unwrap().public(), stake: 100 }];
//! let finding = |uid, mark| Finding { uid: Uid(uid), mark, is_sure: true, share: Some(Share::new(1.0, 0.1)) };
//! let miners = vec![finding(1, Mark::Admitted), finding(2, Mark::Selected)];
//! let vote = Vote::new(Findings { miners, ..Findings::default() }, Default::default()).unwrap();
//! let votes = vec![VoteRecord { hotkey: electors[0].hotkey, block: BlockNumber(11), vote }];
//! // All the stake has voted, so the outcome stands before the deadline.
//! let selection = Selection { uids: vec![Uid(2)], step: StepShare::Whole };
//! assert_eq!(tally(&electors, &votes, BlockNumber(15), BlockNumber(11), 15), Outcome::Selected(selection));
//! ```

mod agreement;
mod applied;
mod effect;
mod electors;
mod event;
mod follower;
mod held;
mod miner;
mod object_key;
mod phase;
mod resuming;
mod role;
mod sealing;
mod signed;
mod validator;
mod vote;
mod vote_seal;
mod weights_reveal;

pub use agreement::{
    AppliedRecord, Majority, Outcome, Selection, VoteRecord, agreed_findings, applied_majority, leading_verdict,
    right_voters, tally,
};
pub use applied::Applied;
pub use effect::{FailedEffect, FollowEffect, MinerEffect, SkipReason, ValidatorEffect};
pub use electors::{ACTIVE_WINDOWS, Elector, LASTING_WINDOWS, Permitted, electors, judging_electors};
pub use event::{Event, MalformedCommitment, SealedCommitments, SealedRecord};
pub use follower::{AggregateSource, Follower, Position};
pub use held::{Candidates, Held, HeldRecord, candidates};
pub use miner::Miner;
pub use object_key::ObjectKey;
pub use phase::{Phases, SealTime};
pub use resuming::{last_majority, may_resume};
pub use role::{Role, UnknownRole};
pub use sealing::{Opened, Reveal, SealCommitment, SealError, SealKey, Sealed, open, seal};
pub use signed::{Signed, SignedError};
pub use validator::Validator;
pub use vote::Vote;
pub use vote_seal::{VoteSeal, VoteSealRecord, opened, opened_after, seals_end};
pub use weights_reveal::{first_reveal, head_before};
