//! `templar bench ledger`.

use crate::config::Config;
use crate::output::{Output, sections};
use crate::progress::Progress;
use clap::Args;
use templar_bench::ledger::LedgerBench;

/// Measure the ledger: signed transfers per second, an epoch, opening after a year, and growth on disk.
///
/// Transfers are signed beforehand and applied with all checks, signatures included, on one core. The epoch has 256
/// slots and 64 validators that weigh all of them. The year is one of twelve-second blocks: of it the ledger keeps a
/// week of blocks and the state, which is what is made here (256 slots, 64 validators that set weights each epoch, one
/// transfer a block) and then opened.
///
/// Example: templar bench ledger --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct LedgerCommand {
    /// Transfers to apply
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    transfers: u32,
    /// Blocks to make before opening; a week of them is all that a year's ledger keeps
    #[arg(long, value_name = "N", default_value_t = 50_400, value_parser = clap::value_parser!(u64).range(720..=1_000_000))]
    blocks: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LedgerCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let bench = LedgerBench { transfers: self.transfers, blocks: self.blocks };
        let figures = bench.run(&mut Progress::new(config.is_quiet))?;
        Output::new(self.json).facts(&figures, |paint| sections(paint, &[figures.section()]))
    }
}
