//! Audits in operation: what a miner keeps and answers, and what an auditor does. All of it is off where the genesis says
//! no rate.

mod answering;
mod auditing;
mod draw;
mod job;
mod kept;
mod others;
mod shared_states;
mod store;
mod verifying;
mod watching;

pub(crate) use answering::answer;
pub(crate) use auditing::{Auditing, audit};
pub(crate) use job::{AuditJob, EvidenceRequest};
pub(crate) use kept::KeptForAudits;
pub(crate) use others::take_up;
pub(crate) use shared_states::SharedStates;
pub use store::AuditStore;
pub use verifying::{EvidenceError, verify_evidence};
pub(crate) use watching::watch;
