//! The agreed ratings: what the votes on a window come to, and the ratings that a checkpoint carries.

use crate::model_files::ModelFile;
use crate::{PublicRecord, RecordError, Rules};
use std::path::Path;
use templar_base::{AgreedFindings, Window};
use templar_disk::Folder;
use templar_gauntlet::Ratings;
use templar_round::{Outcome, agreed_findings, tally};

/// The ratings at a checkpoint's window.
pub(crate) const RATINGS_FILE: &str = "ratings.json";
/// Ratings of 1024 miners are under 300 kB.
pub(crate) const MAX_RATINGS_BYTES: u64 = 4 << 20;

impl PublicRecord {
    /// What is agreed of a window's candidates, of whom `limit` are merged at most. Fails with
    /// [`RecordError::NotYet`] while votes can still change it.
    pub async fn agreed(&self, run: &Rules, window: Window, limit: usize) -> Result<AgreedFindings, RecordError> {
        let phases = &run.phases;
        let electors = self.electors(phases, window).await?;
        let (head, votes) = self.votes(run, window, &electors).await?;
        let deadline = phases.open(window);
        match tally(&electors, &votes, deadline, head, limit) {
            Outcome::Open => Err(RecordError::NotYet { window, current: phases.window_of(head) }),
            _ => Ok(agreed_findings(&electors, &votes, deadline, limit)),
        }
    }
}

/// Writes the ratings as a file of a checkpoint. Its hash is [`Ratings::root`].
pub fn write_ratings(ratings: &Ratings, folder: &Path) -> Result<ModelFile, RecordError> {
    let json = ratings.to_json();
    Folder::new(folder).write(RATINGS_FILE, &[&json])?;
    Ok(ModelFile { name: RATINGS_FILE, bytes: json.len() as u64 })
}
