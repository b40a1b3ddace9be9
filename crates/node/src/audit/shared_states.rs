//! The shared states at the start of the last windows, on a validator's disk: what audited trainings began at.

use crate::snapshot::{load_shared_from, save_shared_as};
use crate::{DataFolder, NodeError};
use templar_base::Window;
use templar_gradient::OuterState;
use templar_trainer::SharedView;

/// Windows whose start is kept: those audited, the ones before them, and one that is being applied.
const KEPT: u64 = 4;
const PREFIX: &str = "start";

/// Where they are.
pub(crate) struct SharedStates;

impl SharedStates {
    /// Keeps the state at the start of a window, and removes what is too old.
    pub(crate) fn keep(shared: &SharedView<'_>, folder: &DataFolder) -> Result<(), NodeError> {
        save_shared_as(&name(shared.next), shared, folder)?;
        if let Some(old) = shared.next.get().checked_sub(KEPT) {
            folder.remove(&name(Window(old)));
        }
        Ok(())
    }

    /// The state at the start of a window; none where it is not kept.
    pub(crate) fn load(
        folder: &DataFolder,
        window: Window,
        parameters: usize,
    ) -> Result<Option<OuterState>, NodeError> {
        let shared = load_shared_from(&name(window), folder, parameters)?;
        Ok(shared.filter(|shared| shared.next == window).map(|shared| shared.outer))
    }
}

fn name(window: Window) -> String {
    format!("{PREFIX}.{window}")
}
