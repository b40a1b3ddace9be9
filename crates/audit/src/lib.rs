//! Audits by replay: was a payload made by the training that it states?
//!
//! With exact numerics a training is a function of its start, its text and its rules. A payload's metadata binds the
//! worker's state before, between and after the inner steps, and that start must be the end of the key's payload before.
//! So whoever has the start state can do the steps again and compare each one.
//!
//! - [`Lottery`]: who is audited, and by whom; a pure function of a beacon.
//! - [`EndState`], [`Answer`]: what a drawn miner publishes.
//! - [`Examination`]: the audit, one step at a time, up to the first fault.
//! - [`Evidence`]: a [`Fault`] with all that is needed to see it. [`verify`] does so with one step, one compression or a
//!   comparison of roots, and lists what the ledger must show besides.
//!
//! Nothing here reads a clock, a file, a bucket or a ledger.
//!
//! ```
//! use templar_audit::Lottery;
//! use templar_base::{AuditLots, AuditRule, Beacon, Uid};
//!
//! let lottery = Lottery::of(&AuditRule { rate_per_mille: 100, ..AuditRule::default() }, 48);
//! // The first window of a key is always audited, later ones less and less often.
//! assert!(lottery.draws(&Beacon::default(), Uid(3), 0, AuditLots::Usual));
//! let is_drawn = |uid: &u16| lottery.draws(&Beacon::default(), Uid(*uid), 500, AuditLots::Usual);
//! assert!((0..1000).filter(is_drawn).count() < 200);
//! ```

mod answer;
mod coding;
mod evidence;
mod examination;
mod fault;
mod finding;
mod links;
mod lottery;
mod published;
mod states;
mod verify;

pub use answer::{Answer, AnswerError, EndState, StateName};
pub use coding::CodingError;
pub use evidence::{Evidence, Rules};
pub use examination::{Case, Examination, Outcome};
pub use fault::{EndsFault, Fault, RebasePoints, SelectionFault, StepFault};
pub use finding::{AuditFinding, Finding};
pub use links::{LinkError, LinkFault, Links, StartState};
pub use lottery::{Auditor, Lottery};
pub use published::{DataBeacons, PublishedPayload};
pub use states::{SharedPoint, StateHashes, WorkerState};
pub use verify::{NotProven, Proof, verify};
