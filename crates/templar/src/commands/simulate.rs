//! `templar simulate`.

use crate::failure::Advise;
use crate::output::{Output, print};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use templar_screen::{bounds, say};
use templar_simulator::{
    ASSUMPTIONS, ATTACK_HEADS, AttackOptions, Row, check, run_attacks, scale, scale_text, simulate,
};

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
        #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = bounds::seed)]
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
    /// Let attackers meet honest miners of small real models, under our judging and others, and print what came of it.
    ///
    /// Example: templar simulate attacks --attack noise --attack sign-flip
    Attacks {
        /// Seeds of each attack and judging, up to 1000
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        seeds: u64,
        /// Windows of each run, 8 to 100000 [default: 40, with --full 240]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(8..=100_000))]
        windows: Option<u64>,
        /// An attack; may be repeated [default: all]
        #[arg(long, value_name = "NAME")]
        attack: Vec<String>,
        /// A judging: ours, mean or original; may be repeated [default: ours and original]
        #[arg(long, value_name = "NAME")]
        judging: Vec<String>,
        /// Larger models and longer runs: a night instead of an hour
        #[arg(long)]
        full: bool,
        /// Folder for finished runs, from which an interrupted suite resumes
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
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
            Action::Attacks { seeds, windows, attack, judging, full, out, output } => {
                let mut options =
                    AttackOptions { seeds, attacks: attack, judgings: judging, out, ..AttackOptions::new(full) };
                options.sizes.windows = windows.unwrap_or(options.sizes.windows);
                if !output.is_json() {
                    print(ATTACK_HEADS)?;
                }
                let row = |row: &Row| output.event(row, |_| row.text()).map_err(words);
                run_attacks(&options, |run| say(&run.text()), row).advise("docs/attacks.md describes the attacks")
            }
        }
    }
}
