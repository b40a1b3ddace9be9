//! `templar record`.

use super::checkpoint::Shared;
use crate::bounds;
use crate::config::Config;
use crate::failure::Advise;
use crate::interrupt;
use crate::output::{Output, print};
use clap::{Args, Subcommand};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use templar_dashboard::{Dashboard, Listener, Options, Source};
use templar_disk::Existing;
use templar_localnet::listen_address;
use templar_record::{PackOptions, PackedRecord, pack, recompute};
use templar_screen::{Progress, record};

/// Pack the public record of a run into one file, and look at such a file without network or ledger.
///
/// Example: templar record pack --out run.record
/// Example: templar record open run.record
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Record {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Pack(Pack),
    Open(Open),
}

/// Write everything public of a run into one compressed file: commitments, votes, verdicts, reports, slots, market.
///
/// Needs no key. What ledger and buckets no longer keep is named in the output and in the file. Without --genesis it is
/// about the network of `templar up` on this machine, also when that is stopped.
///
/// Example: templar record pack --out run.record
/// Example: templar record pack --genesis genesis.json --ledger ws://203.0.113.7:9944 --with-objects --out run.record
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Pack {
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of windows, newest first
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = bounds::packed_windows())]
    last: u64,
    /// Add payloads, aggregates and evidence, as far as buckets still hold them
    #[arg(long)]
    with_objects: bool,
    /// Replace a file of that name
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Serve the page of a packed record, as `templar dashboard` does for a live one.
///
/// Every object is checked against its hash, and the ratings are recomputed from the votes. Nothing outside of the file is
/// contacted.
///
/// Example: templar record open run.record
/// Example: templar record open run.record --listen 127.0.0.1:9090
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Open {
    /// The packed record
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = listen_address)]
    listen: SocketAddr,
    #[command(flatten)]
    output: Output,
}

impl Record {
    /// Packs or opens.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Pack(pack) => pack.run(config),
            Action::Open(open) => open.run(),
        }
    }
}

impl Pack {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        let existing = if self.overwrite { Existing::Replace } else { Existing::Keep };
        let replace = "choose another name, or replace the file with --overwrite";
        if !self.overwrite && self.out.exists() {
            return Err(anyhow::anyhow!("{} exists already", self.out.display())).advise(replace);
        }
        let options = PackOptions { windows: self.last, with_objects: self.with_objects };
        let mut progress = Progress::new(config.is_quiet || self.shared.output.is_json());
        let packed = interrupt::runtime(2)?.block_on(async {
            let open = self.shared.open(&config).await?;
            let mut report = |stage| record::show(&mut progress, stage);
            let packed = pack(&open.run, &open.record, &open.chain, options, &mut report).await;
            packed.advise("see whether the ledger answers with `templar status`")
        })?;
        drop(progress);
        let saved = packed.save(&self.out, existing);
        let is_in_the_way = !self.overwrite && self.out.exists();
        let bytes = if is_in_the_way { saved.advise(replace)? } else { saved? };
        // Read back from the disk, so that what is printed holds for the file.
        let packed = PackedRecord::open(&self.out).advise("pack it again")?;
        let facts = record::facts(&self.out, bytes, &packed);
        self.shared.output.facts(&facts, |paint| record::text(paint, &self.out, bytes, &packed))
    }
}

impl Open {
    fn run(self) -> anyhow::Result<()> {
        let listener = Listener::bind(self.listen).advise("choose another one with --listen")?;
        let packed = PackedRecord::open(&self.file);
        let packed = packed.map_err(|error| anyhow::Error::from(error).context(record::unusable(&self.file)))?;
        interrupt::runtime(2)?.block_on(async {
            let asked_to_stop = interrupt::asked_to_stop()?;
            let recomputed = recompute(&packed).await?;
            let options = Options { windows: packed.windows().max(1), ..Options::default() };
            let page = Dashboard::start(listener, Source::of_file(&packed), options)?;
            let url = page.url();
            let listening = json!({
                "event": "listening", "url": url, "run": packed.run().id, "record": packed.root(),
                "windows": packed.windows(), "recomputed": record::sums(&recomputed), "gaps": packed.facts().gaps,
            });
            self.output.event(&listening, |paint| record::opened(paint, url, &packed, &recomputed))?;
            asked_to_stop.await;
            if self.output.is_json() { print(r#"{"event":"stopped"}"#) } else { print("stopped") }
        })
    }
}
