//! What the windows of one run of a network come to.

use crate::{View, WindowEvent};
use serde::Serialize;
use templar_base::Window;

/// The result of one run of a network.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Always `summary`.
    pub event: &'static str,
    /// Held-out loss before the first window of this command.
    pub first_heldout_loss: Option<f64>,
    /// Held-out loss after the last one.
    pub last_heldout_loss: Option<f64>,
    /// Windows that ended.
    pub windows: u64,
    /// Those without an outer step.
    pub null_windows: u64,
    /// Why windows were null, each with how often, the most frequent first.
    pub null_reasons: Vec<(String, usize)>,
    /// Tokens of the merged payloads.
    pub tokens: u64,
    /// Wall time.
    pub seconds: f64,
    /// Part of the time that the miners spent in inner steps.
    pub utilisation: Option<f64>,
    /// Windows after which not all nodes that reported their state had the same one.
    pub windows_out_of_sync: u64,
}

/// Counts windows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Windows that ended.
    pub windows: u64,
    out_of_sync: u64,
}

impl Tally {
    /// Counts a window that ended.
    pub fn count(&mut self, event: &WindowEvent) {
        self.windows += 1;
        self.out_of_sync += u64::from(event.nodes_in_sync != event.nodes);
    }

    /// The summary of the windows so far, with the held-out losses at their starts and why windows were null.
    pub fn summary(&self, losses: &[(Window, f64)], null_reasons: Vec<(String, usize)>, view: &View) -> Summary {
        Summary {
            event: "summary",
            first_heldout_loss: losses.first().map(|(_, loss)| *loss),
            last_heldout_loss: losses.last().map(|(_, loss)| *loss),
            windows: self.windows,
            null_windows: view.null_windows,
            null_reasons,
            tokens: view.tokens,
            seconds: view.seconds,
            utilisation: view.utilisation,
            windows_out_of_sync: self.out_of_sync,
        }
    }
}
