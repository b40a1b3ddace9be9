//! Metrics of a process, and nothing else, under the same bounds as the page.

use super::answers::Answer;
use super::site::{Body, problem, whole};
use super::{Listener, Site, accept_all};
use crate::{DashboardError, Options};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};
use templar_base::EXPOSITION_TYPE;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What makes the text of the metrics; it is called for each request.
type Text = dyn Fn() -> String + Send + Sync;

/// Serves the metrics of a process at `/metrics`, or writes them into a file. It ends when it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    url: String,
    working: JoinHandle<()>,
    /// Removed at the end.
    file: Option<PathBuf>,
}

struct MetricsSite(Box<Text>);

impl fmt::Debug for MetricsSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsSite")
    }
}

impl Site for MetricsSite {
    async fn answer(&self, _: IpAddr, head: &Parts) -> Response<Body> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return problem(head, StatusCode::METHOD_NOT_ALLOWED, "this server only answers GET and HEAD");
        }
        match head.uri.path() {
            "/metrics" => whole(head, Answer::new(EXPOSITION_TYPE, (self.0)())),
            _ => problem(head, StatusCode::NOT_FOUND, "there is nothing at this address; the metrics are at /metrics"),
        }
    }

    fn turned_away(&self) {}
}

impl MetricsServer {
    /// Serves what `text` gives. Must be called within a tokio runtime.
    pub fn start(
        listener: Listener,
        options: Options,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<Self, DashboardError> {
        let (url, address) = (format!("{}metrics", listener.url()), listener.address);
        let failed = |source| DashboardError::Listen { address, source };
        let listener = TcpListener::from_std(listener.listener).map_err(failed)?;
        let working = tokio::spawn(accept_all(listener, Arc::new(MetricsSite(Box::new(text))), options));
        Ok(Self { url, working, file: None })
    }

    /// The task that writes them into a file.
    pub(super) fn of_file(path: PathBuf, working: JoinHandle<()>) -> Self {
        Self { url: format!("file:{}", path.display()), working, file: Some(path) }
    }

    /// The address of the metrics.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.working.abort();
        if let Some(file) = &self.file {
            // Whoever reads it sees its age.
            let _ = fs::remove_file(file);
        }
    }
}
