//! `templar gateway`.

use super::checkpoint::Shared;
use crate::config::{Config, HotkeyFlag, ThreadsFlag, WalletFlags};
use crate::failure::{Advise, Usage};
use crate::metrics::{self, MetricsFlag};
use crate::{interrupt, keys, role};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::{Keypair, Netuid};
use templar_disk::Folder;
use templar_gateway::{Billing, Follower, GatewayOptions, Identity, Operation, Origin, Served, Serving, Source};
use templar_localnet::listen_address;
use templar_screen::say;

/// Serve the trained model with OpenAI's API, as its clients know it.
///
/// It serves a model folder, or follows a run, named as for `templar checkpoint fetch`, and takes each agreed
/// checkpoint as it comes. Clients need keys of prepaid accounts (`templar access key new`), and what they read and
/// write is charged on the ledger, where the wallet's hotkey is the gateway's address. With --open everybody may ask
/// and nothing is charged.
///
/// Example: templar gateway --open
/// Example: templar gateway --open --model first --listen 127.0.0.1:8000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Gateway {
    /// Model folder or .gguf file, instead of a run
    #[arg(long, value_name = "FOLDER", conflicts_with = "genesis")]
    model: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000", value_parser = listen_address)]
    listen: SocketAddr,
    /// Serve everybody who reaches the address, without keys and without charges
    #[arg(long)]
    open: bool,
    /// Page whose scripts may ask, such as http://127.0.0.1:9090; several may be named
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,
    #[command(flatten)]
    metrics: MetricsFlag,
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Gateway {
    /// Serves until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data).with(&self.threads);
        let config = config.with(&self.wallet).with(&self.hotkey);
        let threads = config.threads()?;
        let hotkey = (!self.open).then(|| keys::hotkey(&config)).transpose();
        let hotkey = hotkey.advise("name the gateway's wallet with --wallet, or serve everybody with --open")?;
        let folder = config.data_folder().join("gateway");
        Folder::new(&folder).create()?;
        let lock = Folder::new(&folder).lock("lock");
        let _lock = lock.advise("stop the gateway that runs there, or name another folder with --data")?;
        let metrics = self.metrics.bind()?;
        let model = self.model.as_ref().map(|path| Served::open(path, Identity::of_folder(path), threads));
        let model = model.transpose().context("cannot serve the model")?;
        interrupt::runtime(4)?.block_on(async {
            let asked_to_stop = interrupt::asked_to_stop()?;
            // The record of a stopped network is there as long as this is held.
            let run = if model.is_none() { Some(self.shared.open(&config).await?) } else { None };
            let (source, netuid) = match (model, &run) {
                (Some(model), _) => (Source::Model(Box::new(model)), config.netuid()?),
                (None, Some(open)) => {
                    let follower = Follower::new(open.run.clone(), open.record.clone(), folder.clone(), threads);
                    (Source::Run(Box::new(follower)), open.run.genesis.netuid)
                }
                (None, None) => return Err(Usage("there is nothing to serve".to_owned()).into()),
            };
            let billing = match hotkey {
                Some(hotkey) => Some(billing(&config, &folder, hotkey, netuid).await?),
                None => None,
            };
            let options = GatewayOptions { origins: self.allow_origin.clone(), ..GatewayOptions::default() };
            let address = self.listen;
            let operation = Operation { address, options, folder, source, billing };
            if !config.is_quiet {
                say(&format!("listening on {address}; Ctrl-C stops it"));
            }
            let running = operation.start().await?;
            let own = running.metrics();
            let _served = metrics::serve(metrics, self.shared.output, move || own.text())?;
            running.run(|serving| self.tell(serving), asked_to_stop).await.map_err(Into::into)
        })
    }

    fn tell(&self, serving: &Serving) {
        let Serving { address, model, fingerprint, window, is_open } = serving;
        let facts = json!({
            "event": "serving", "address": address, "model": model, "window": window, "fingerprint": fingerprint,
            "is_open": is_open,
        });
        // A reader that has gone ends no service.
        let _ = self.shared.output.event(&facts, |_| format!("serving {model} ({fingerprint}) at {address}"));
    }
}

/// The meter, and the ledger that it settles on.
async fn billing(config: &Config, folder: &Path, hotkey: Keypair, netuid: Netuid) -> anyhow::Result<Billing> {
    let chain = role::connect(config).await;
    let chain = chain.advise("name the ledger with --ledger, or serve everybody with --open")?;
    let genesis = chain.genesis().await?;
    Ok(Billing::open(&folder.join("meter.redb"), hotkey, Arc::new(chain), (genesis, netuid))?)
}
