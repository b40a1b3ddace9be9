//! What must hold at every moment, one function each.

use std::fmt;
use templar_base::{AgreedFindings, BlockNumber, ContentHash, StateHash, Window};
use templar_round::{Outcome, Position};

/// The promises that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Same aggregates, same parameters, on every node.
    OneState,
    /// All nodes take a window for the same outcome, and for the ledger's.
    OneOutcome,
    /// Payloads are fixed before their keys are out.
    SealedFirst,
    /// A miner sends from the agreed parameters, for the window that it is in, once.
    HonestSeal,
    /// A validator votes once, in time, on what it has gathered.
    HonestVote,
    /// Windows are applied in turn: no node skips one, whoever is silent.
    NoSkippedWindow,
    /// What a node acts on is on its disk, so that a kill at any moment loses nothing.
    KillSafe,
    /// A checkpoint that most of the stake published is the run's.
    TrueCheckpoint,
    /// The rules of a window are fixed when it begins.
    FixedRules,
    /// No node asks for ever within a block.
    Settles,
    /// The model computes.
    ModelWorks,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneState => "one state",
            Self::OneOutcome => "one outcome",
            Self::SealedFirst => "sealed first",
            Self::HonestSeal => "honest seal",
            Self::HonestVote => "honest vote",
            Self::NoSkippedWindow => "no skipped window",
            Self::KillSafe => "kill-safe",
            Self::TrueCheckpoint => "true checkpoint",
            Self::FixedRules => "fixed rules",
            Self::Settles => "settles",
            Self::ModelWorks => "the model works",
        })
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the invariant `{invariant}` fails with seed {seed} in block {block}: {what}")]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The world's seed.
    pub seed: u64,
    /// When.
    pub block: u64,
    /// What was found.
    pub what: String,
}

/// What a check finds: nothing, or the fault in words.
pub type Finding = Result<(), String>;

fn require(holds: bool, fault: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(fault()) }
}

/// The parameters that start a window are those that every other node has.
pub fn one_state(node: usize, window: Window, known: StateHash, own: StateHash) -> Finding {
    require(known == own, || {
        format!("node {node} starts window {window} with {}, others with {}", own.short(), known.short())
    })
}

/// Two nodes take the same into their ratings.
pub fn one_agreement(node: usize, window: Window, known: &AgreedFindings, own: &AgreedFindings) -> Finding {
    require(known == own, || format!("node {node} takes window {window} for {own:?}, another for {known:?}"))
}

/// Two nodes take a window for the same outcome.
pub fn one_decision(node: usize, window: Window, known: Option<ContentHash>, own: Option<ContentHash>) -> Finding {
    require(known == own, || format!("node {node} decides window {window} as {own:?}, others as {known:?}"))
}

/// What nodes decided is what a reader of the whole ledger finds.
pub fn decided_as_the_ledger(window: Window, outcome: &Outcome, decided: Option<ContentHash>) -> Finding {
    require((*outcome == Outcome::Null) == decided.is_none(), || {
        format!("nodes decided window {window} as {decided:?}, the ledger says {outcome:?}")
    })
}

/// A null window leaves the parameters as they were.
pub fn null_moves_nothing(
    window: Window,
    decided: Option<ContentHash>,
    before: StateHash,
    after: StateHash,
) -> Finding {
    require(decided.is_some() || before == after, || format!("the null window {window} moved the parameters"))
}

/// No key comes out before the window is over.
pub fn sealed_first(node: usize, window: Window, head: BlockNumber, end: BlockNumber) -> Finding {
    require(head >= end, || format!("node {node} reveals window {window} in block {head}, before its end {end}"))
}

/// A payload is made once in a life, in its own window.
pub fn seals_its_window_once(node: usize, window: Window, is_first: bool, own: Option<Window>) -> Finding {
    require(is_first, || format!("node {node} seals window {window} twice"))?;
    require(own == Some(window), || format!("node {node} seals window {window} in {own:?}"))
}

/// A payload starts from the agreed parameters.
pub fn seals_from_the_agreed_state(
    node: usize,
    window: Window,
    agreed: Option<StateHash>,
    start: StateHash,
) -> Finding {
    require(agreed == Some(start), || format!("node {node} sends from a stray state in window {window}"))
}

/// A validator votes once in a life, before the deadline.
pub fn votes_once_in_time(
    node: usize,
    window: Window,
    is_first: bool,
    head: BlockNumber,
    deadline: BlockNumber,
) -> Finding {
    require(is_first, || format!("node {node} votes twice on window {window}"))?;
    require(head < deadline, || {
        format!("node {node} votes on window {window} in block {head}, too late for {deadline}")
    })
}

/// Where it is agreed on which payloads are held, only those are judged.
pub fn judges_candidates(node: usize, window: Window, are_candidates: bool) -> Finding {
    require(are_candidates, || format!("node {node} judges a payload of window {window} that is nobody's candidate"))
}

/// A step is applied to the parameters of its own window.
pub fn applies_in_turn(node: usize, window: Window, disk: Position) -> Finding {
    require(disk.next == window, || format!("node {node} applies window {window} to the start of {}", disk.next))
}

/// The machine's position is that of the disk, or the one before a step whose answer is still under way.
pub fn kill_safe(node: usize, machine: Position, disk: Position) -> Finding {
    require(machine.next <= disk.next, || {
        format!("node {node} acts from window {}, its disk has {}", machine.next, disk.next)
    })?;
    require(machine.next != disk.next || machine.state == disk.state, || {
        format!("node {node} acts from parameters that are not on its disk")
    })?;
    require(machine.next.next() >= disk.next, || {
        format!("node {node} has window {} on disk and acts from {}", disk.next, machine.next)
    })
}

/// The checkpoint that most of the stake published.
pub fn true_checkpoint(window: Window, known: Option<StateHash>, published: StateHash) -> Finding {
    require(known == Some(published), || format!("most of the stake published a wrong checkpoint of window {window}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_lets_what_is_right_pass_and_names_what_is_not() {
        let (one, other) = (StateHash::new([1; 32]), StateHash::new([2; 32]));
        let at = |next, state| Position { next: Window(next), state };
        assert_eq!(one_state(3, Window(1), one, one), Ok(()));
        assert!(one_state(3, Window(1), one, other).unwrap_err().contains("node 3 starts window 1"));
        assert_eq!(kill_safe(0, at(4, one), at(4, one)), Ok(()));
        assert_eq!(kill_safe(0, at(3, one), at(4, other)), Ok(()));
        assert!(kill_safe(0, at(5, one), at(4, one)).is_err());
        assert!(kill_safe(0, at(4, one), at(4, other)).is_err());
        assert!(kill_safe(0, at(2, one), at(4, other)).is_err());
        assert!(sealed_first(0, Window(0), BlockNumber(31), BlockNumber(32)).is_err());
        assert!(votes_once_in_time(0, Window(0), true, BlockNumber(43), BlockNumber(43)).is_err());
        assert!(judges_candidates(1, Window(0), false).is_err());
        assert!(seals_its_window_once(0, Window(2), true, Some(Window(3))).is_err());
        assert!(applies_in_turn(0, Window(2), at(3, one)).is_err());
        assert_eq!(null_moves_nothing(Window(0), None, one, one), Ok(()));
        assert!(null_moves_nothing(Window(0), None, one, other).is_err());
        assert!(decided_as_the_ledger(Window(0), &Outcome::Null, Some(ContentHash::default())).is_err());
    }
}
