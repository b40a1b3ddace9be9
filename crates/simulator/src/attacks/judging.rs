//! How payloads are judged, merged and paid: ours, and what it is compared with.

mod admission;
mod mean;
mod original;
mod ours;

use super::ground::Ground;
use crate::model::ModelError;
use std::collections::BTreeMap;
use templar_base::{PublicKey, Uid, Window};
use templar_engine::Engine;
use templar_gauntlet::Entry;
use templar_gradient::Aggregate;
use templar_trainer::SharedState;

/// A judging of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgingName {
    /// `templar_gauntlet`, with the defaults of a genesis.
    Ours,
    /// The plain mean of all that pass the admission checks, in equal pay.
    Mean,
    /// What the dormant first templar did.
    Original,
}

impl JudgingName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Mean, Self::Original];

    /// Its name, for `--judging` and the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Mean => "mean",
            Self::Original => "original",
        }
    }

    pub(super) fn judge(self) -> Box<dyn Judge> {
        match self {
            Self::Ours => Box::<ours::Ours>::default(),
            Self::Mean => Box::<mean::PlainMean>::default(),
            Self::Original => Box::<original::Original>::default(),
        }
    }
}

/// A window before the judge.
pub(super) struct Hearing<'a> {
    pub ground: &'a Ground,
    pub window: Window,
    pub shared: &'a SharedState,
    /// By uid.
    pub entries: &'a [Entry],
    pub registered: &'a BTreeMap<Uid, PublicKey>,
}

/// What a judge comes to.
pub(super) struct Ruling {
    /// `merged`, `admitted`, `not_admitted`, `harmful`, or the name of a rejection, for each key that sent something.
    pub standings: BTreeMap<Uid, String>,
    /// Parts of the window's pay, which add up to 1, or to nothing.
    pub pay: BTreeMap<Uid, f64>,
    /// Whose error feedback is worth nothing from here on.
    pub forgets: Vec<Uid>,
    /// What is merged; none in a null window.
    pub aggregate: Option<Aggregate>,
}

/// A judge with what it carries from window to window.
pub(super) trait Judge {
    fn rule(&mut self, hearing: &Hearing<'_>, engine: &mut dyn Engine) -> Result<Ruling, ModelError>;
}

/// Pay in proportion to these parts.
fn normalised(parts: BTreeMap<Uid, f64>) -> BTreeMap<Uid, f64> {
    let sum: f64 = parts.values().sum();
    parts.into_iter().filter(|_| sum > 0.0).map(|(uid, part)| (uid, part / sum)).collect()
}
