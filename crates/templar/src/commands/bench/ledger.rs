//! `templar bench ledger`.

use crate::config::Config;
use crate::output::Output;
use clap::Args;
use templar_bench::ledger::LedgerBench;
use templar_bench::sections;
use templar_screen::Progress;

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
    #[command(flatten)]
    bench: LedgerBench,
    #[command(flatten)]
    output: Output,
}

impl LedgerCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let figures = self.bench.run(&mut Progress::new(config.is_quiet))?;
        self.output.facts(&figures, |paint| sections(paint, &[figures.section()]))
    }
}
