//! The `templar` program: commands, configuration and terminal output over the crates that do the work.
//!
//! A command is a file in `commands/`: its arguments as a clap type, and a `run`. Exit codes: 0 done, 1 failed, 2 wrong
//! usage, 101 a fault of the program.

mod commands;
mod config;
mod failure;
mod keys;
mod metrics;
mod output;
mod role;
mod text;

use clap::{CommandFactory, FromArgMatches};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use templar_localnet::interrupt;
use templar_screen::{arguments, bounds, log};

fn main() -> ExitCode {
    failure::watch_panics();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let words: Vec<_> = std::env::args_os().collect();
        if arguments::asks_for_json(&words) {
            failure::tell_programs();
        }
        let matches = arguments::parse(commands::Cli::command(), &words);
        let cli = match matches.and_then(|matches| commands::Cli::from_arg_matches(&matches)) {
            Ok(cli) => cli,
            Err(error) => return failure::of_words(&error),
        };
        log::start(cli.verbosity());
        match cli.run().and_then(|()| output::whole()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure::report(&error),
        }
    }));
    // The panic was told when it happened.
    ended.unwrap_or_else(|_| failure::of_panic())
}
