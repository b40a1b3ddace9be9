//! The book of ratings that most of the stake agreed on last, on this node's disk.

use crate::{DataFolder, NodeError};
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, PublicKey, Window};
use templar_gauntlet::Book;
use templar_record::{PublicRecord, Rules, fetch_verdict};
use templar_round::agreed_verdict;

const FILE: &str = "book.json";

/// The agreed book, and the own verdict that may be agreed next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BookKeeper {
    /// The window whose verdict the book comes from.
    window: Option<Window>,
    book: Book,
    #[serde(skip)]
    own: Option<(Window, ContentHash, Book)>,
}

impl BookKeeper {
    /// What was agreed before a restart; a damaged file counts as none.
    pub(crate) fn load(folder: &DataFolder) -> Result<Self, NodeError> {
        Ok(folder.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// The agreed book.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Remembers the own verdict on a window.
    pub(crate) fn note_own(&mut self, window: Window, hash: ContentHash, book: Book) {
        self.own = Some((window, hash, book));
    }

    /// Takes the book of the verdict with this hash: the own one, or one of those who voted for it.
    pub(crate) async fn adopt(
        &mut self,
        run: &Rules,
        record: &PublicRecord,
        folder: &DataFolder,
        window: Window,
        hash: ContentHash,
        from: &[PublicKey],
    ) -> Result<(), NodeError> {
        if self.window.is_some_and(|known| known >= window) {
            return Ok(());
        }
        let own = self.own.take().filter(|(own, own_hash, _)| *own == window && *own_hash == hash);
        let book = match own {
            Some((_, _, book)) => book,
            None => fetch_verdict(run, record, window, hash, from).await?.book,
        };
        (self.window, self.book) = (Some(window), book);
        let bytes = serde_json::to_vec(self).map_err(templar_round::SignedError::from)?;
        Ok(folder.write(FILE, &[&bytes])?)
    }

    /// After a checkpoint: the newest agreed book of a window before `next`, as far back as votes are kept.
    pub(crate) async fn adopt_latest(
        &mut self,
        run: &Rules,
        record: &PublicRecord,
        folder: &DataFolder,
        next: Window,
    ) -> Result<(), NodeError> {
        let oldest = run.phases.oldest_kept(next);
        let mut window = next;
        while let Some(before) = window.previous().filter(|before| *before >= oldest) {
            window = before;
            let electors = record.electors(&run.phases, window).await?;
            let (_, votes) = record.votes(window).await?;
            if let Some((hash, from)) = agreed_verdict(&electors, &votes, run.phases.judge(window)) {
                return self.adopt(run, record, folder, window, hash, &from).await;
            }
        }
        Ok(())
    }
}
