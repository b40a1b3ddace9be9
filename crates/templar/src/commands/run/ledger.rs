//! What `templar run new` and `templar run check` ask the ledger.

use crate::config::Config;
use crate::{interrupt, role};
use templar_base::BlockNumber;
use templar_chain::{Chain, Hyperparameters};

/// What a ledger says about itself and the subnet.
pub struct LedgerFacts {
    /// Its newest block.
    pub head: BlockNumber,
    /// Its rules.
    pub rules: Hyperparameters,
}

/// Asks the ledger of the configuration.
pub fn ledger_facts(config: &Config) -> anyhow::Result<LedgerFacts> {
    interrupt::runtime(1)?.block_on(async {
        let chain = role::connect(config).await;
        let chain = crate::failure::Advise::advise(
            chain,
            "start one with `templar ledger`, name another with --ledger, or give --ledger-genesis and --start-block",
        )?;
        let rules = chain.hyperparameters(config.netuid()?).await?;
        Ok(LedgerFacts { head: chain.head().await?.number, rules })
    })
}
