//! A scenario from its first block to its last.

use crate::{Scenario, ScenarioError, Summary, Violation, WindowReport};
use std::path::{Path, PathBuf};

/// A simulation that did not come to its end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The scenario cannot be used.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario has values that cannot be used; they were reported.
    #[error("{} has {count} value(s) that cannot be used", path.display())]
    Problems {
        /// The scenario's file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// An invariant does not hold.
    #[error("{violation}; repeat it with `templar simulate run {} --seed {}`", path.display(), violation.seed)]
    Violation {
        /// The scenario's file.
        path: PathBuf,
        /// What does not hold.
        violation: Violation,
    },
    /// A report could not be delivered.
    #[error("{0}")]
    Report(String),
}

/// Checks the scenario of a file, and reports every problem, or that there is none.
pub fn check(path: &Path, mut report: impl FnMut(&str) -> Result<(), String>) -> Result<(), SimulationError> {
    let problems = Scenario::read_unchecked(path)?.problems();
    problems.iter().try_for_each(|problem| report(&problem.to_string())).map_err(SimulationError::Report)?;
    if !problems.is_empty() {
        return Err(SimulationError::Problems { path: path.to_owned(), count: problems.len() });
    }
    report(&format!("{} can be simulated", path.display())).map_err(SimulationError::Report)
}

/// Simulates the scenario of a file with a seed or its own, and reports each window when its outcome is known.
pub fn simulate(
    path: &Path,
    seed: Option<u64>,
    mut report: impl FnMut(&WindowReport) -> Result<(), String>,
) -> Result<Summary, SimulationError> {
    let scenario = Scenario::read(path)?;
    let mut world = scenario.world(seed)?;
    let failed = |violation| SimulationError::Violation { path: path.to_owned(), violation };
    let mut reported = 0;
    for block in 1..=scenario.last_block() {
        world.run_to(block).map_err(failed)?;
        for window in &world.windows()[reported..] {
            report(window).map_err(SimulationError::Report)?;
        }
        reported = world.windows().len();
    }
    world.check_history().map_err(failed)?;
    Ok(Summary::of(&world))
}
