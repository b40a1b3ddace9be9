//! Following a network that somebody else runs: the one of this machine by its nodes' journals, any other by its public
//! record. Nothing is written.

use crate::{
    NETUID, RecordWatch, SetupError, Stakes, Summary, Tally, View, ViewSource, Watch, WindowEvent, read_settings,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use templar_base::{Genesis, RunId};
use templar_chain::{RpcChain, RpcOptions};
use templar_record::{PublicRecord, Rules};

/// A ledger that was away is reported once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Pause between two looks at a public record: a ledger answers a client only so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A network of this machine whose ledger does not answer for this long has stopped: a restart of it takes a second.
const STOPPED_AFTER: Duration = Duration::from_secs(30);

/// Why a network cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotWatched {
    /// Its folder cannot be used, or there is none.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// It does not run.
    #[error("the local network in {} does not run", root.display())]
    Stopped {
        /// Its folder.
        root: PathBuf,
    },
}

/// A network that is followed.
pub struct Follow {
    source: Source,
    begun: Instant,
    tally: Tally,
    notes: Vec<String>,
    complained: Option<Instant>,
    looked: Option<Instant>,
}

enum Source {
    Journals { genesis: Box<Genesis>, watch: Box<Watch>, stakes: Stakes, chain: RpcChain },
    Record(Box<RecordWatch>),
}

impl Follow {
    fn new(source: Source) -> Self {
        Self {
            source,
            begun: Instant::now(),
            tally: Tally::default(),
            notes: Vec::new(),
            complained: None,
            looked: None,
        }
    }

    /// The running network in `root`, by its nodes' journals; and its run.
    pub async fn local(root: &Path) -> Result<(RunId, Self), NotWatched> {
        let settings = read_settings(root).map_err(SetupError::from)?;
        let settings = settings.ok_or_else(|| SetupError::NoNetwork { root: root.to_owned() })?;
        let path = root.join("genesis.json");
        let missing = || SetupError::Lost { root: root.to_owned(), what: "its genesis.json is missing".to_owned() };
        let bytes = std::fs::read(&path).map_err(|_| missing())?;
        let genesis = Genesis::from_json(&bytes).map_err(|source| SetupError::Genesis { path, source })?;
        let stopped = |_| NotWatched::Stopped { root: root.to_owned() };
        let chain = RpcChain::connect(&settings.ledger_url(), RpcOptions::default()).await.map_err(stopped)?;
        let own = settings.nodes().into_iter().map(|node| (node.name.clone(), root.join("nodes").join(&node.name)));
        let watch = Box::new(Watch::new(own).with_guests_of(root));
        let run = genesis.run_id();
        let source = Source::Journals { genesis: Box::new(genesis), watch, stakes: Stakes::default(), chain };
        Ok((run, Self::new(source)))
    }

    /// Any run, by its public record.
    pub fn record(run: Rules, record: PublicRecord) -> Self {
        Self::new(Source::Record(Box::new(RecordWatch::new(run, record))))
    }

    /// The windows that are over now and were not at the look before. What goes wrong becomes a note.
    pub async fn news(&mut self) -> Vec<WindowEvent> {
        let news = match &mut self.source {
            Source::Journals { watch, stakes, chain, .. } => {
                stakes.refresh(chain, NETUID).await;
                watch.news()
            }
            Source::Record(_) if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) => Vec::new(),
            Source::Record(watch) => {
                let news = watch.news().await;
                self.looked = Some(Instant::now());
                match news {
                    Ok(news) => news,
                    Err(error) => {
                        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                            self.complained = Some(Instant::now());
                            self.notes.push(error.to_string());
                        }
                        Vec::new()
                    }
                }
            }
        };
        news.iter().for_each(|event| self.tally.count(event));
        news
    }

    /// Whether the network of this machine has stopped. A public record may be away and come back.
    pub fn has_stopped(&self) -> bool {
        let Source::Journals { stakes, .. } = &self.source else { return false };
        stakes.answered().unwrap_or(self.begun).elapsed() > STOPPED_AFTER
    }

    /// Windows that were over since this began.
    pub fn windows(&self) -> u64 {
        self.tally.windows
    }

    /// What an operator should know and was not told yet; for output line by line.
    pub fn take_notes(&mut self) -> Vec<String> {
        match &mut self.source {
            Source::Journals { watch, .. } => watch.take_notes(),
            Source::Record(_) => std::mem::take(&mut self.notes),
        }
    }

    /// What the screen shows.
    pub fn view(&self, remarks: &[String]) -> View {
        match &self.source {
            Source::Journals { genesis, watch, stakes, .. } => {
                View { source: ViewSource::Journals, ..watch.view_of(genesis, stakes, remarks, self.begun.elapsed()) }
            }
            Source::Record(watch) => {
                let mut view = watch.view(remarks, self.begun.elapsed());
                view.notes.extend(self.notes.iter().cloned());
                view
            }
        }
    }

    /// What the windows so far come to. Of a public record the held-out losses are not known.
    pub fn summary(&self) -> Summary {
        let view = self.view(&[]);
        match &self.source {
            Source::Journals { watch, .. } => self.tally.summary(&watch.seen_losses(), watch.null_reasons(), &view),
            Source::Record(watch) => self.tally.summary(&[], watch.null_reasons(), &view),
        }
    }
}
