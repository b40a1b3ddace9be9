//! The commands. To add one: a file here, a line in [`Command`], a line in [`Cli::run`].

mod access;
mod audit;
mod bench;
mod bucket;
mod checkpoint;
mod completions;
mod config;
mod corpus;
mod dashboard;
mod doctor;
mod explain;
mod gateway;
mod governance;
mod ledger;
mod miner;
mod model;
mod record;
mod run;
mod simulate;
mod status;
mod token;
mod up;
mod validator;
mod wallet;
mod watch;

use clap::{ArgAction, Args, Parser, Subcommand};
use std::path::PathBuf;

/// Train language models together across the internet, without permission.
#[derive(Debug, Parser)]
#[command(
    name = "templar",
    version,
    disable_help_subcommand = true,
    after_help = "Example: templar model train --preset nano --minutes 2 --out first\n\n\
                  Settings come from templar.toml, TEMPLAR_* variables and flags: see `templar config`."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file, instead of templar.toml here or in the user's configuration folder
    #[arg(long, global = true, value_name = "FILE", help_heading = "General")]
    config: Option<PathBuf>,
    /// More output: -v logs internal steps, -vv details
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "General")]
    verbose: u8,
    /// Less output: no progress, only errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "General")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Model(model::Model),
    Up(up::Up),
    Watch(watch::Watch),
    Status(status::Status),
    Dashboard(dashboard::Dashboard),
    Record(record::Record),
    Miner(miner::Miner),
    Validator(validator::Validator),
    Corpus(corpus::Corpus),
    Run(run::Run),
    Checkpoint(checkpoint::Checkpoint),
    Gateway(gateway::Gateway),
    Explain(explain::Explain),
    Audit(audit::Audit),
    Wallet(wallet::Wallet),
    Token(token::Token),
    Governance(governance::Governance),
    Access(access::Access),
    Ledger(ledger::Ledger),
    Bucket(bucket::Bucket),
    Doctor(doctor::Doctor),
    Simulate(simulate::Simulate),
    Bench(bench::Bench),
    Config(config::ConfigCommand),
    Completions(completions::Completions),
}

impl Cli {
    /// Verbosity: 0 is normal, less is quieter.
    pub fn verbosity(&self) -> i8 {
        if self.global.quiet { -1 } else { self.global.verbose.min(9) as i8 }
    }

    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Command::Completions(completions) = self.command {
            // Needs no configuration, so that a broken file does not break the shell.
            return completions.run();
        }
        let config = crate::config::load(self.global.config.as_deref(), self.global.quiet)?;
        match self.command {
            Command::Model(model) => model.run(config),
            Command::Up(up) => up.run(config),
            Command::Watch(watch) => watch.run(config),
            Command::Status(status) => status.run(config),
            Command::Dashboard(dashboard) => dashboard.run(config),
            Command::Record(record) => record.run(config),
            Command::Miner(miner) => miner.run(config),
            Command::Validator(validator) => validator.run(config),
            Command::Corpus(corpus) => corpus.run(config),
            Command::Run(run) => run.run(config),
            Command::Checkpoint(checkpoint) => checkpoint.run(config),
            Command::Gateway(gateway) => gateway.run(config),
            Command::Explain(explain) => explain.run(config),
            Command::Audit(audit) => audit.run(config),
            Command::Wallet(wallet) => wallet.run(config),
            Command::Token(token) => token.run(config),
            Command::Governance(governance) => governance.run(config),
            Command::Access(access) => access.run(config),
            Command::Ledger(ledger) => ledger.run(config),
            Command::Bucket(bucket) => bucket.run(config),
            Command::Doctor(doctor) => doctor.run(config),
            Command::Simulate(simulate) => simulate.run(),
            Command::Bench(bench) => bench.run(config),
            Command::Config(command) => command.run(config),
            Command::Completions(completions) => completions.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_count_has_a_bound() {
        let unbounded = templar_screen::arguments::unbounded_counts(&super::Cli::command());
        assert!(unbounded.is_empty(), "{unbounded:?}");
    }
}
