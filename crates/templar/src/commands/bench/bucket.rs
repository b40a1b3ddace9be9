//! `templar bench bucket`.

use crate::config::{Config, DataFlag};
use crate::interrupt;
use crate::output::Output;
use clap::Args;
use templar_bench::bucket::BucketBench;
use templar_bench::sections;
use templar_screen::Progress;

/// Measure storing, reading and listing objects: a folder, our own bucket server, and SeaweedFS beside it.
///
/// All take turns on this machine for some rounds, with the same number of requests at once; the figures are medians
/// over the rounds. Our server flushes every object to the disk before it answers. SeaweedFS does not, so that storing
/// shows the price of that. SeaweedFS is fetched once by pip (48 MB) and kept in the cache.
///
/// With --json the last line is one object; ratios over 1 mean that our server is faster than SeaweedFS.
///
/// Example: templar bench bucket --mebibytes 256
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BucketCommand {
    #[command(flatten)]
    bench: BucketBench,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
}

impl BucketCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let folder = config.data_folder().join(format!("bench-bucket-{}", std::process::id()));
        let mut progress = Progress::new(config.is_quiet);
        let report = interrupt::runtime(4)?.block_on(self.bench.run(&folder, &mut progress))?;
        drop(progress);
        self.output.facts(&report, |paint| sections(paint, &[report.section()]))
    }
}
