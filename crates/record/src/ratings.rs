//! The agreed ratings: what the votes on a window come to, how the ratings move by that, and those that a checkpoint carries.

use crate::checkpoint::fetch_latest_ratings;
use crate::model_files::ModelFile;
use crate::{PublicRecord, RecordError, Rules};
use std::collections::BTreeMap;
use std::path::Path;
use templar_base::{AgreedFindings, Window, WindowRules};
use templar_chain::ChainError;
use templar_disk::Folder;
use templar_gauntlet::{Ratings, Settlement};
use templar_round::{Outcome, agreed_findings, tally};

/// The ratings at a checkpoint's window.
pub(crate) const RATINGS_FILE: &str = "ratings.json";
/// Ratings of 1024 miners are under 300 kB.
pub(crate) const MAX_RATINGS_BYTES: u64 = 4 << 20;

impl PublicRecord {
    /// The rules of a window that has begun: those of the genesis, with what the token's holders decided before it.
    pub async fn rules_in(&self, run: &Rules, window: Window) -> Result<WindowRules, RecordError> {
        let start = run.phases.start(window);
        self.refresh_setting_changes(start).await?;
        let known = self.known_setting_changes(start).ok_or(RecordError::RulesUnknown { window })?;
        Ok(run.genesis.rules_in(window, &known.changes))
    }

    /// What is agreed of a window's candidates. Fails with [`RecordError::Undecided`] while votes can still change it.
    pub async fn agreed(&self, run: &Rules, window: Window) -> Result<AgreedFindings, RecordError> {
        let limit = self.rules_in(run, window).await?.genesis.judging.selected;
        let electors = self.electors_or_nobody(run, window).await?;
        let (head, votes) = self.votes(run, window, &electors).await?;
        let deadline = run.phases.open(window);
        match tally(&electors, &votes, deadline, head, limit) {
            Outcome::Open => Err(RecordError::Undecided { window }),
            _ => Ok(agreed_findings(&electors, &votes, deadline, limit)),
        }
    }

    /// Moves ratings from a window's start to the next one's, by what is agreed of it.
    pub async fn settle(
        &self,
        run: &Rules,
        window: Window,
        agreed: &AgreedFindings,
        ratings: &mut Ratings,
    ) -> Result<(), RecordError> {
        let rules = self.rules_in(run, window).await?;
        let metagraph = match self.metagraph(run.phases.end(window)).await {
            // Of a window so old the ledger tells no more; who holds which uid is taken from the oldest block that it has.
            Err(RecordError::Chain(ChainError::Pruned { oldest, .. })) => self.metagraph(oldest).await?,
            read => read?,
        };
        let registered: BTreeMap<_, _> = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect();
        self.note_ratings(run, window, ratings);
        self.settle_right_votes(run, window, agreed, &registered, ratings).await?;
        ratings.fold(agreed, Settlement { rule: &rules.genesis.judging, window, registered: &registered });
        self.note_ratings(run, window.next(), ratings);
        Ok(())
    }

    /// The ratings at a window's start, made from the newest checkpoint before it, or the run's start, and the votes since;
    /// and where they were made from.
    pub async fn ratings_at_start_of(&self, run: &Rules, window: Window) -> Result<(Window, Ratings), RecordError> {
        let (from, mut ratings) = match fetch_latest_ratings(run, self, window).await {
            Ok(found) => found,
            Err(_) if run.phases.oldest_kept(window) == Window::ZERO => (Window::ZERO, Ratings::default()),
            Err(error) => return Err(error),
        };
        self.fold_until(run, (from, window), &mut ratings).await?;
        Ok((from, ratings))
    }

    /// Moves ratings from the start of one window to that of another.
    pub(crate) async fn fold_until(
        &self,
        run: &Rules,
        (from, until): (Window, Window),
        ratings: &mut Ratings,
    ) -> Result<(), RecordError> {
        self.note_ratings(run, from, ratings);
        for past in from.until(until) {
            let agreed = self.agreed(run, past).await?;
            self.settle(run, past, &agreed, ratings).await?;
        }
        Ok(())
    }
}

/// Writes the ratings as a file of a checkpoint. Its hash is [`Ratings::root`].
pub fn write_ratings(ratings: &Ratings, folder: &Path) -> Result<ModelFile, RecordError> {
    let json = ratings.to_json();
    Folder::new(folder).write(RATINGS_FILE, &[&json])?;
    Ok(ModelFile { name: RATINGS_FILE, bytes: json.len() as u64 })
}
