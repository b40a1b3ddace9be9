//! `templar bench bucket`.

use crate::config::{Config, DataFlag};
use crate::interrupt;
use crate::output::{Output, sections};
use crate::progress::Progress;
use clap::Args;
use templar_bench::bucket::BucketBench;

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
    /// Size of all large objects together
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65536))]
    mebibytes: u32,
    /// Small objects
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: u32,
    /// Turns of each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Leave SeaweedFS out
    #[arg(long)]
    alone: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
}

impl BucketCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let folder = config.data_folder().join(format!("bench-bucket-{}", std::process::id()));
        let Self { mebibytes, objects, parallel, rounds, alone: is_alone, .. } = self;
        let bench = BucketBench { mebibytes, objects, parallel, rounds, is_alone };
        let mut progress = Progress::new(config.is_quiet);
        let report = interrupt::runtime(4)?.block_on(bench.run(&folder, &mut progress))?;
        drop(progress);
        Output::new(self.json).facts(&report, |paint| sections(paint, &[report.section()]))
    }
}
