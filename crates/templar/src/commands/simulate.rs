//! `templar simulate`.

use crate::failure::Advise;
use crate::output::{Output, print};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use templar_simulator::{ASSUMPTIONS, check, scale, scale_text, simulate};

/// Simulate whole networks, their links and their faults, under a virtual clock.
///
/// The protocol is that of the nodes; a scenario file says who takes part and what goes wrong. docs/simulator.md has its
/// fields, the folder `scenarios` has examples. Equal seeds give equal results.
///
/// Example: templar simulate run scenarios/partition.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Simulate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a scenario file and list every problem, with the field and what it has to be.
    ///
    /// Example: templar simulate check scenarios/honest.toml
    Check { file: PathBuf },
    /// Run a scenario; exits with 1 where an invariant of the protocol fails.
    ///
    /// Example: templar simulate run scenarios/honest.toml --seed 7
    Run {
        /// The scenario file
        file: PathBuf,
        /// Seed, instead of the scenario's
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Simulate 1 and 72 billion parameters with up to 1000 miners, beside the published rule.
    ///
    /// Example: templar simulate scale
    Scale {
        #[command(flatten)]
        output: Output,
    },
}

impl Simulate {
    /// Checks or simulates.
    pub fn run(self) -> anyhow::Result<()> {
        let words = |error: anyhow::Error| error.to_string();
        match self.action {
            Action::Check { file } => {
                check(&file, |line| print(line).map_err(words)).advise("docs/simulator.md explains each field")
            }
            Action::Run { file, seed, output } => {
                let summary = simulate(&file, seed, |window| output.event(window, |_| window.text()).map_err(words))?;
                output.event(&summary, |_| summary.text())
            }
            Action::Scale { output } => {
                scale(|row| output.event(row, |_| scale_text(row)).map_err(words)).map_err(|error| anyhow!(error))?;
                output.event(&json!({ "event": "assumptions", "assumptions": ASSUMPTIONS }), |_| {
                    format!("assumed: {}", ASSUMPTIONS.join("\n  "))
                })
            }
        }
    }
}
