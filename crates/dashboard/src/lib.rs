//! The public record of a run as a page: for whoever wants to know, in ten seconds, whether a run is alive, what it brings,
//! who earns and why.
//!
//! A [`Dashboard`] reads a run's [`Source`], its ledger and the buckets that the ledger names, and serves it as HTML that
//! works without scripts, as JSON under `/api/v1/`, as a stream of events, and as metrics. It needs no key and no corpus,
//! and writes nothing. A finished window is read once and projected once ([`WindowRecord`]); readers get the snapshot at
//! hand, rendered once for each address, so that a thousand readers cost the ledger what one costs. Connections, streams,
//! requests and waits are bounded by [`Options`]. Text of peers gets into a page escaped only, by the type of its markup.
//!
//! ```no_run
//! # async fn example(run: templar_record::Rules, chain: templar_ledger::LocalChain) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use templar_dashboard::{Dashboard, Listener, Options, Source};
//!
//! let listener = Listener::bind("127.0.0.1:0".parse()?)?;
//! let dashboard = Dashboard::start(listener, Source::new(run, Arc::new(chain)), Options::default())?;
//! println!("{}", dashboard.url());
//! # Ok(())
//! # }
//! ```

mod api;
mod chart;
mod error;
mod follower;
mod gateway_url;
mod markup;
mod metrics;
mod options;
mod pages;
mod processes;
mod server;
mod slots;
mod source;
mod state;

pub use error::DashboardError;
pub use gateway_url::{GatewayUrl, GatewayUrlError};
pub use options::Options;
pub use processes::{METRICS_SUFFIX, ProcessMetrics};
pub use server::{Dashboard, Listener, MetricsOutlet, MetricsPlace, MetricsServer};
pub use source::Source;
pub use state::{
    EvidenceItem, EvidenceView, GovernanceView, HeadView, MarketView, ProposalFacts, RecordFile, RunFacts, RunTotals,
    SettingFacts, SlotView, Snapshot,
};
pub use templar_record::{
    AgreedView, ElectorView, Measured, MinerView, SealedView, Stage, VerdictView, WindowMoment, WindowRecord,
};
