//! Where a process gives its metrics: at an address, or in a file that others collect.

use super::Listener;
use super::plain::MetricsServer;
use crate::{DashboardError, Options};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a file of metrics is written.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// Where metrics are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsPlace {
    /// Served at this address; port 0 takes a free one.
    Address(SocketAddr),
    /// Written into this file every two seconds, whole or not at all, and removed at the end: as the textfile collector
    /// of Prometheus' node exporter reads it.
    File(PathBuf),
}

/// A place that is taken and not used yet, so that a wrong one is known before anything is started.
#[derive(Debug)]
pub struct MetricsOutlet(Taken);

#[derive(Debug)]
enum Taken {
    Address(Listener),
    File(PathBuf),
}

impl MetricsOutlet {
    /// Takes a place.
    pub fn bind(place: &MetricsPlace) -> Result<Self, DashboardError> {
        Ok(Self(match place {
            MetricsPlace::Address(address) => Taken::Address(Listener::bind(*address)?),
            MetricsPlace::File(path) => {
                write(path, "").map_err(|source| DashboardError::File { path: path.clone(), source })?;
                Taken::File(path.clone())
            }
        }))
    }

    /// Gives what `text` gives there, for as long as the server is kept. Must be called within a tokio runtime.
    pub fn serve(self, text: impl Fn() -> String + Send + Sync + 'static) -> Result<MetricsServer, DashboardError> {
        match self.0 {
            Taken::Address(listener) => MetricsServer::start(listener, Options::default(), text),
            Taken::File(path) => {
                let writing = tokio::spawn(write_always(path.clone(), Arc::new(text)));
                Ok(MetricsServer::of_file(path, writing))
            }
        }
    }
}

/// Writes the metrics every two seconds. Never ends.
async fn write_always(path: PathBuf, text: Arc<impl Fn() -> String + Send + Sync + 'static>) {
    let mut is_failing = false;
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    loop {
        ticks.tick().await;
        let (own, text) = (path.clone(), Arc::clone(&text));
        let written = tokio::task::spawn_blocking(move || write(&own, &text())).await;
        if let Ok(Err(error)) = &written
            && !is_failing
        {
            tracing::warn!(path = %path.display(), %error, "cannot write the metrics; it is tried again");
        }
        is_failing = matches!(written, Ok(Err(_)));
    }
}

/// Whole or not at all, for readers; whether it outlives a crash of the machine does not matter.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
