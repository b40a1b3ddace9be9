//! The attack suite: honest miners and attackers with real small models, judged window by window, merged and paid.
//!
//! An [`Attack`] is a name, the keys that it takes, and an `Attacker` that makes their payloads. The arena trains the
//! honest miners with `templar_trainer`, passes all payloads through their bytes, lets a judging decide, and applies what
//! it merged. No network is simulated here: everything arrives in time. [`run_attacks`] plays every attack under
//! every judging with several seeds, and reports a [`Row`] for each pair. Equal seeds give equal results, whatever the
//! number of threads.
//!
//! docs/attacks.md describes the attacks, the judgings and the figures.

mod arena;
mod attacker;
mod catalogue;
mod copies;
mod crew;
mod ground;
mod harm;
mod idle;
mod judging;
mod lazy;
mod outcome;
mod row;
mod suite;
mod timed;

pub use catalogue::{Aim, Attack, attacks};
pub use ground::ArenaSizes;
pub use judging::JudgingName;
pub use outcome::{ArenaRun, KeyTally};
pub use row::{ATTACK_HEADS, Row, Spread};
pub use suite::{AttackError, AttackOptions, FinishedRun, run_attacks};
