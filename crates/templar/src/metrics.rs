//! `--metrics`: the numbers of a process, for Prometheus.

use crate::failure::Advise;
use crate::output::Output;
use serde_json::json;
use templar_dashboard::{MetricsOutlet, MetricsPlace, MetricsServer};
use templar_localnet::metrics_place;

/// Where a process gives its metrics.
#[derive(Debug, clap::Args)]
pub struct MetricsFlag {
    /// Address to serve the metrics of this process on for Prometheus, port 0 for a free one; or file:PATH
    #[arg(long = "metrics", value_name = "ADDRESS", value_parser = metrics_place)]
    place: Option<MetricsPlace>,
}

impl MetricsFlag {
    /// Takes the place, so that a wrong one is known before anything is started.
    pub fn bind(&self) -> anyhow::Result<Option<MetricsOutlet>> {
        self.place.as_ref().map(MetricsOutlet::bind).transpose().advise("choose another place with --metrics")
    }
}

/// Serves metrics where they are wanted, and says where. They end when this is dropped.
pub fn serve(
    at: Option<MetricsOutlet>,
    output: Output,
    text: impl Fn() -> String + Send + Sync + 'static,
) -> anyhow::Result<Option<MetricsServer>> {
    let server = at.map(|at| at.serve(text)).transpose()?;
    if let Some(url) = server.as_ref().map(MetricsServer::url) {
        output.event(&json!({"event": "metrics", "url": url}), |_| format!("metrics at {url}"))?;
    }
    Ok(server)
}
