//! What `templar miner` and `templar validator` have in common: from settings to a running node.

use crate::config::{Config, DataFlag, HotkeyFlag, LedgerFlag, Origin, Setting, ThreadsFlag, WalletFlags};
use crate::failure::{Advise, Usage, advice};
use crate::{interrupt, keys};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::Genesis;
use templar_bucket::{Bucket, BucketOptions};
use templar_chain::{RpcChain, RpcOptions};
use templar_corpus::Corpus;
use templar_localnet::{Joined, Node, SetupError, join, read_settings};
use templar_node::{Data, Network, NodeOptions, run_miner, run_validator};
use templar_record::Rules;
use templar_round::Role;

/// What a role needs besides the settings.
#[derive(Debug, clap::Args)]
pub struct RunFlags {
    /// Join the network of `templar up` on this machine under this name: creates keys, slot and bucket automatically
    #[arg(long, value_name = "NAME", conflicts_with_all = ["genesis", "corpus", "bucket"])]
    pub local: Option<String>,
    /// The run's genesis document
    #[arg(long, value_name = "FILE", required_unless_present = "local")]
    pub genesis: Option<PathBuf>,
    /// The run's corpus folder, made by `templar corpus build`
    #[arg(long, value_name = "FOLDER", required_unless_present = "local")]
    pub corpus: Option<PathBuf>,
    /// The bucket that this node writes, such as s3://name?endpoint=http://host:9000 [setting: bucket]
    #[arg(long, value_name = "URL")]
    pub bucket: Option<String>,
    /// The model folder that the run starts from, if its genesis needs one
    #[arg(long, value_name = "FOLDER")]
    pub first_parameters: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl RunFlags {
    fn put_into(&self, config: Config) -> Config {
        let config = config.with(&self.data).with(&self.ledger).with(&self.wallet);
        config.with(&self.hotkey).with(&self.threads)
    }
}

/// How patient a node is with buckets: a window is short, so a try that hangs must end while others can still follow.
fn bucket_options() -> BucketOptions {
    BucketOptions {
        deadline: std::time::Duration::from_secs(60),
        connect_timeout: std::time::Duration::from_secs(3),
        attempts: 80,
        first_pause: std::time::Duration::from_millis(100),
        longest_pause: std::time::Duration::from_secs(1),
        ..BucketOptions::default()
    }
}

/// Reads a genesis document.
pub fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the genesis document {}", path.display()))?;
    Genesis::from_json(&bytes).with_context(|| format!("{} is not a genesis document", path.display()))
}

/// Opens a run: its rules and its data.
fn open_run(genesis: &Path, corpus: &Path) -> anyhow::Result<(Rules, Data)> {
    let run = Rules::new(read_genesis(genesis)?)?;
    let corpus = Corpus::open(corpus).with_context(|| format!("cannot use the corpus {}", corpus.display()))?;
    let data = Data::new(&run, Arc::new(corpus))?;
    Ok((run, data))
}

/// Connects to the ledger of the configuration. Without a named one, the ledger of the local network in the data
/// folder comes first.
pub async fn connect(config: &Config) -> anyhow::Result<RpcChain> {
    let connect = |url| RpcChain::connect(url, RpcOptions::default());
    let is_named = config.get(Setting::Ledger).is_some_and(|(_, origin)| *origin != Origin::Default);
    let root = config.data_folder().join("up");
    let local = if is_named { None } else { read_settings(&root)? };
    let Some(url) = local.map(|settings| settings.ledger_url()) else {
        return connect(config.ledger()).await.with_context(|| format!("no ledger at {}", config.ledger()));
    };
    match connect(&url).await {
        Ok(chain) => {
            if !config.is_quiet {
                eprintln!("using the ledger of the local network in {}: {url}", root.display());
            }
            Ok(chain)
        }
        // The network may be stopped and a ledger of its own run.
        Err(error) => match connect(config.ledger()).await {
            Ok(chain) => Ok(chain),
            Err(_) => Err(error).with_context(|| format!("no ledger answers at {url}; is `templar up` running?")),
        },
    }
}

/// Joins the local network of the data folder, and puts what the node needs into the configuration.
fn join_local(config: &mut Config, role: Role, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let root = config.data_folder().join("up");
    let joined = interrupt::runtime(1)?.block_on(join(&root, &Node::new(role, name)));
    let Joined { data, ledger, wallet_folder, wallet, hotkey, bucket, key, genesis, corpus } =
        joined.map_err(|error| match &error {
            SetupError::NoNetwork { .. } => advice(error, "start one with `templar up` in another terminal"),
            SetupError::NotRunning(_) => advice(error, "start it with `templar up`"),
            _ => error.into(),
        })?;
    for (setting, value) in [
        (Setting::DataFolder, data.to_string_lossy().into_owned()),
        (Setting::Ledger, ledger),
        (Setting::WalletFolder, wallet_folder.to_string_lossy().into_owned()),
        (Setting::Wallet, wallet),
        (Setting::Hotkey, hotkey.to_owned()),
        (Setting::Bucket, bucket.to_string()),
        (Setting::BucketAccessKey, key.access_key),
        (Setting::BucketSecretKey, key.secret_key),
    ] {
        config.set(setting, "--local", Some(value));
    }
    Ok((genesis, corpus))
}

/// Runs a node until it is asked to stop.
pub fn run(config: Config, flags: &RunFlags, role: Role) -> anyhow::Result<()> {
    let mut config = flags.put_into(config);
    let (genesis, corpus) = match &flags.local {
        Some(name) => join_local(&mut config, role, name)?,
        None => (flags.genesis.clone().unwrap_or_default(), flags.corpus.clone().unwrap_or_default()),
    };
    let (run, data) = open_run(&genesis, &corpus)?;
    let hotkey = keys::hotkey(&config)?;
    config.set(Setting::Bucket, "--bucket", flags.bucket.as_ref());
    let location = config.bucket()?.ok_or_else(|| Usage("this node has no bucket to write to".to_owned()));
    let location = location.advise("name one with --bucket; `templar bucket` runs a server for them")?;
    let bucket = Bucket::open_writer_with(&location, config.bucket_credentials(), bucket_options())?;
    let options = NodeOptions {
        data: config.data_folder(),
        threads: config.threads()?,
        first_parameters: flags.first_parameters.clone(),
    };
    interrupt::runtime(2)?.block_on(async {
        let chain = connect(&config).await?;
        let netuid = run.genesis.netuid;
        let network = Network::new(Arc::new(chain), netuid, hotkey, bucket);
        let (stop, shutdown) = tokio::sync::watch::channel(false);
        let asked_to_stop = interrupt::asked_to_stop()?;
        let interrupted = tokio::spawn(async move {
            asked_to_stop.await;
            stop.send_replace(true);
        });
        match role {
            Role::Miner => run_miner(run, data, network, options, shutdown).await?,
            Role::Validator => run_validator(run, data, network, options, shutdown).await?,
        }
        interrupted.abort();
        Ok(())
    })
}
