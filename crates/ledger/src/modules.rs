//! Modules beside the chain's rules: each has its own tables in the state's root and its own calls, events and refusals.

pub(crate) mod access;
pub(crate) mod governance;
pub(crate) mod market;
