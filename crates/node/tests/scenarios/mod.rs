//! What happens to the networks.

mod adversaries;
mod audits;
mod disk;
mod evaluating;
mod held;
mod honest;
mod joining;
mod outages;
mod pay;
mod restart;
mod rules;
mod storage;
mod validators;
