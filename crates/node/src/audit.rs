//! Audits in operation: what a miner keeps and answers, and what an auditor does. All of it is off where the genesis says
//! no rate.

mod answering;
mod auditing;
mod draw;
mod job;
mod kept;
mod shared_states;
mod store;
mod verifying;

pub(crate) use answering::answer;
pub(crate) use auditing::{Auditing, audit};
pub(crate) use job::AuditJob;
pub(crate) use kept::KeptForAudits;
pub(crate) use shared_states::SharedStates;
pub use store::AuditStore;
pub use verifying::{EvidenceError, verify_evidence};
