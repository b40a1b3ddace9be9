//! `templar run join`.

use crate::config::{Config, DataFlag};
use crate::failure::{Usage, advice};
use crate::interrupt;
use crate::output::Output;
use clap::Args;
use templar_localnet::{RunAddress, ShareError};
use templar_screen::{Progress, run};

/// Fetch a run's genesis document and corpus from the address that `templar up --listen` prints, checked by hash.
///
/// It prints the commands that take part in the run; docs/machines.md leads through them.
///
/// Example: templar run join http://192.168.1.5:9000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Join {
    /// Address of the run, with the run's name after a # to have it checked
    address: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
}

impl Join {
    /// Fetches the run, and prints what to do next.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let address: RunAddress = self.address.parse().map_err(|error: ShareError| Usage(error.to_string()))?;
        let runs = std::path::absolute(config.data_folder())?.join("runs");
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let mut show = |done: usize, all: usize| {
            progress.show(done as f64 / all.max(1) as f64, &format!("fetching the corpus: {done} of {all} files"));
        };
        let fetched = interrupt::runtime(2)?.block_on(address.fetch(&runs, &mut show));
        let fetched = fetched.map_err(|error| match error {
            ShareError::Bucket { .. } => advice(error, "check the address, and that `templar up --listen` runs there"),
            ShareError::Wrong { .. } => advice(error, "ask the run's owner for its address"),
            error => error.into(),
        })?;
        drop(progress);
        self.output.facts(&fetched, |paint| run::join_steps(&fetched, paint))
    }
}
