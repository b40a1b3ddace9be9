//! What is wrong with a payload, with the states that show it.

use crate::links::LinkFault;
use crate::states::{SharedPoint, WorkerState};
use parity_scale_codec::{Decode, Encode};
use std::fmt;
use templar_base::ContentHash;

/// A contradiction between what a payload states and what follows from it.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Fault {
    /// The first or the last leaf of the trajectory is not that of the stated start or end.
    Ends(EndsFault),
    /// A step leads from one bound state to another than the next one.
    Step(Box<StepFault>),
    /// The values sent are not those that the drift and the error feedback give.
    Selection(Box<SelectionFault>),
    /// The start is neither where the key's last payload ended nor a fresh one.
    Link(Box<LinkFault>),
}

/// A leaf at an end of the trajectory that is not the stated one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EndsFault {
    /// Whether it is the last leaf; else the first.
    pub is_last: bool,
    /// The leaf.
    pub leaf: ContentHash,
    /// Its proof.
    pub proof: Vec<ContentHash>,
}

/// A transition that leads elsewhere.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct StepFault {
    /// Number of the transition: it leads from the leaf of this number to the next one.
    pub number: u32,
    /// The state before.
    pub before: WorkerState,
    /// The proof of its leaf.
    pub before_proof: Vec<ContentHash>,
    /// The leaf that the payload has after it.
    pub claimed: ContentHash,
    /// The proof of that leaf.
    pub claimed_proof: Vec<ContentHash>,
    /// The points of a rebase, where the transition is one.
    pub rebase: Option<RebasePoints>,
}

/// What a rebase moves from and onto.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RebasePoints {
    /// The parameters that the payload's steps began at.
    pub from: Vec<f32>,
    /// The shared parameters of the window.
    pub shared: SharedPoint,
}

/// What a selection is made of.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct SelectionFault {
    /// The worker's parameters after the last step.
    pub end: Vec<f32>,
    /// The shared parameters of the window.
    pub shared: SharedPoint,
    /// The error feedback before the drift was added.
    pub feedback: Vec<f32>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends(EndsFault { is_last: true, .. }) => f.write_str("the last state is not the stated end"),
            Self::Ends(_) => f.write_str("the first state is not the stated start"),
            Self::Step(step) if step.rebase.is_some() => f.write_str("the rebase leads to another state"),
            Self::Step(step) => write!(f, "transition {} leads to another state", step.number),
            Self::Selection(_) => f.write_str("the values sent are not those of the drift and the error feedback"),
            Self::Link(_) => f.write_str("the start is neither the end of the key's last payload nor a fresh one"),
        }
    }
}
