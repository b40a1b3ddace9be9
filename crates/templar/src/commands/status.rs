//! `templar status`.

use super::up::setup_advice;
use crate::config::{Config, DataFlag, SubnetFlags};
use crate::failure::Advise;
use crate::interrupt;
use crate::output::Output;
use clap::Args;
use templar_chain::Chain;
use templar_localnet::Watch;
use templar_screen::{network, slots};

/// Show the local network of this machine: what each node does or waits for, windows, losses, contributions, stakes.
///
/// Reads the nodes' status files and the ledger; needs no key and changes nothing. With --ledger, shows any network as its
/// ledger has it: slots, stakes, shares and pay.
///
/// Example: templar status
/// Example: templar status --ledger ws://203.0.113.7:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Status {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: SubnetFlags,
}

impl Status {
    /// Prints the state of the network.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger);
        if self.ledger.ledger.is_some() {
            let netuid = config.netuid()?;
            let metagraph = interrupt::runtime(1)?.block_on(async {
                let chain = crate::role::connect(&config).await?;
                anyhow::Ok(chain.metagraph(netuid, None).await?)
            })?;
            return self.output.facts(&slots::facts(&metagraph), |paint| slots::text(paint, &metagraph));
        }
        let root = config.data_folder().join("up");
        let seen = interrupt::runtime(1)?.block_on(Watch::look(&root)).map_err(setup_advice)?;
        let seen = seen.ok_or_else(|| anyhow::anyhow!("there is no local network in {}", root.display()));
        let (view, head) = seen.advise("start one with `templar up`, or name its folder with --data")?;
        self.output.facts(&network::facts(&root, &view, head), |paint| network::text(&root, &view, head, paint))
    }
}
