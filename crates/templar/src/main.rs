//! The `templar` program: commands, configuration and terminal output over the crates that do the work.
//!
//! A command is a file in `commands/`: its arguments as a clap type, and a `run`. Exit codes: 0 done, 1 failed, 2 wrong
//! usage.

mod commands;
mod config;
mod failure;
mod interrupt;
mod keys;
mod logging;
mod output;
mod role;
mod text;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Prints help and usage errors by itself, and leaves with 0 or 2.
    let cli = commands::Cli::parse();
    logging::start(cli.verbosity());
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
