//! What the genesis allows votes to do, and how they decide.

use crate::state::{Bounds, GovernanceRule};
use templar_base::{Alpha, RunSetting};
use templar_chain::governance::{Action, GovernanceRefusal, Proposal, Status};

impl Bounds {
    fn check(self, what: &str, value: u64) -> Result<(), GovernanceRefusal> {
        let Self { least, most } = self;
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(GovernanceRefusal::OutOfBounds { what: what.to_owned(), value, least, most })
    }
}

impl GovernanceRule {
    /// How `proposal` would be decided as the votes stand.
    pub fn outcome(&self, proposal: &Proposal) -> Status {
        if proposal.electorate == Alpha::ZERO
            || proposal.voted() * 1000 < u128::from(proposal.electorate.as_rao()) * u128::from(self.quorum_per_mille)
        {
            return Status::NoQuorum;
        }
        let decisive = u128::from(proposal.yes.as_rao()) + u128::from(proposal.no.as_rao());
        if u128::from(proposal.yes.as_rao()) * 1000 > decisive * u128::from(self.majority_per_mille) {
            Status::Adopted
        } else {
            Status::NoMajority
        }
    }

    /// Checks an action against the genesis.
    pub(crate) fn check(&self, action: &Action) -> Result<(), GovernanceRefusal> {
        match action {
            Action::Setting(setting) => {
                let bounds = match setting {
                    RunSetting::LearningRateFactor(_) => self.learning_rate_factor,
                    RunSetting::OuterAlpha(_) => self.outer_alpha,
                    RunSetting::InnerSteps(_) => self.inner_steps,
                    RunSetting::Selected(_) => self.selected,
                };
                bounds.check(setting.name(), setting.value())
            }
            Action::Revenue { burned_per_mille, treasury_per_mille } => {
                let (burned, treasury) = (u64::from(*burned_per_mille), u64::from(*treasury_per_mille));
                self.burned_per_mille.check("the burned part of revenue", burned)?;
                self.treasury_per_mille.check("the treasury's part of revenue", treasury)?;
                Bounds::new(0, 1_000).check("the sum of both parts", burned + treasury)
            }
            Action::Price { per_thousand, .. } => self.price_per_thousand.check("the price", per_thousand.as_rao()),
            Action::Spend { amount, .. } => Bounds::new(1, u64::MAX).check("the amount", amount.as_rao()),
        }
    }
}
