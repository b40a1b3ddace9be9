//! `templar dashboard`.

use super::checkpoint::Shared;
use crate::config::Config;
use crate::failure::Advise;
use crate::{interrupt, output::print};
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use templar_dashboard::{Dashboard as Page, GatewayUrl, Listener, Options, Source};
use templar_localnet::listen_address;

/// Serve the public record of a run as a page: progress, miners, windows, market, votes, evidence.
///
/// Needs no key and no corpus, and writes nothing. Without --genesis it is about the network of `templar up` on this
/// machine, also when that is stopped. The same facts are at /api/v1/run as JSON and at /metrics for Prometheus.
///
/// Example: templar dashboard
/// Example: templar dashboard --genesis genesis.json --ledger ws://203.0.113.7:9944 --listen 0.0.0.0:9090
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Dashboard {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = listen_address)]
    listen: SocketAddr,
    /// Address of the run's gateway, for the view *Try it*; the gateway has to --allow-origin this page
    #[arg(long, value_name = "URL")]
    gateway: Option<GatewayUrl>,
    #[command(flatten)]
    shared: Shared,
}

impl Dashboard {
    /// Serves until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        let listener = Listener::bind(self.listen).advise("choose another one with --listen")?;
        let output = self.shared.output;
        interrupt::runtime(2)?.block_on(async {
            let asked_to_stop = interrupt::asked_to_stop()?;
            let open = self.shared.open(&config).await?;
            let page = Page::start(listener, Source { gateway: self.gateway, ..open.source() }, Options::default())?;
            let (url, run) = (page.url(), open.run.id);
            output.event(&json!({"event": "listening", "url": url, "run": run}), |paint| {
                format!("dashboard  {}\nrun        {run}\n\n{}", paint.bold(url), paint.dim("Ctrl-C stops it."))
            })?;
            asked_to_stop.await;
            if output.is_json() { print(r#"{"event":"stopped"}"#) } else { print("stopped") }
        })
    }
}
