//! The ratings of a record made again from its votes, and compared with what most of the stake reported.

use super::PackedRecord;
use crate::checkpoint::ratings_at;
use crate::{RecordError, finished_at};
use serde::Serialize;
use templar_base::{ContentHash, Window};
use templar_gauntlet::Ratings;
use templar_round::applied_majority;

/// A window's ratings, as recomputed and as reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecomputedWindow {
    /// The window.
    pub window: Window,
    /// The root of the ratings after it, as recomputed.
    pub root: ContentHash,
    /// The root that most of the stake reported; none where there is no such majority.
    pub agreed: Option<ContentHash>,
}

impl RecomputedWindow {
    /// Whether both are the same; none where nothing is agreed.
    pub fn agrees(&self) -> Option<bool> {
        self.agreed.map(|agreed| agreed == self.root)
    }
}

/// Folds the votes of all finished windows into ratings, from the start of the run, or where that is not in the record
/// from its oldest checkpoint. None where it has neither.
pub async fn recompute(packed: &PackedRecord) -> Result<Vec<RecomputedWindow>, RecordError> {
    let (run, record) = (packed.run(), packed.record());
    let Some((from, mut ratings)) = first_ratings(packed).await else { return Ok(Vec::new()) };
    record.note_ratings(run, from, &ratings);
    let mut recomputed = Vec::new();
    for window in from.until(packed.facts().last.unwrap_or(from).next()) {
        if finished_at(&run.phases, window) > packed.facts().head {
            break;
        }
        let agreed = record.agreed(run, window).await?;
        record.settle(run, window, &agreed, &mut ratings).await?;
        let electors = record.electors(run, window).await?;
        let majority = applied_majority(&electors, &record.reports(window).await?);
        let agreed = majority.map(|majority| majority.applied.record);
        recomputed.push(RecomputedWindow { window, root: ratings.root(), agreed });
    }
    Ok(recomputed)
}

/// The ratings that the record begins with, and the window at whose start they hold.
async fn first_ratings(packed: &PackedRecord) -> Option<(Window, Ratings)> {
    let (first, last) = (packed.facts().first?, packed.facts().last?);
    if first == Window::ZERO {
        return Some((first, Ratings::default()));
    }
    let (run, record) = (packed.run(), packed.record());
    for window in first.until(last.next()).filter(|window| run.phases.is_checkpoint(*window)) {
        if let Ok(ratings) = ratings_at(run, &record, window).await {
            return Some((window, ratings));
        }
    }
    None
}
