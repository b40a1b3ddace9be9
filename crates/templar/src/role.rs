//! What `templar miner` and `templar validator` have in common: from settings to a running node.

use crate::config::{
    Config, DataFlag, EngineFlags, HotkeyFlag, LedgerFlag, Origin, Setting, ThreadsFlag, WalletFlags, engine,
};
use crate::failure::{Advise, Usage, advice};
use crate::metrics::{self, MetricsFlag};
use crate::output::Output;
use crate::{interrupt, keys};
use anyhow::Context;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use templar_base::{Genesis, Netuid, PublicKey};
use templar_bucket::{Bucket, Reach};
use templar_chain::{Bank, Chain, RpcChain, RpcOptions};
use templar_corpus::Corpus;
use templar_localnet::{Joined, Node, Place, SetupError, read_settings};
use templar_node::doctor::{NAME_IT, is_reached};
use templar_node::{
    Balances, Data, JournalEntry, Network, NodeMetrics, NodeOptions, bucket_options, check_numerics, read_status,
    run_miner, run_validator,
};
use templar_record::{MemoryOutlook, Rules};
use templar_round::Role;
use templar_screen::node::{self, Pay};
use templar_screen::{Progress, say};

/// What a node's journal tells.
type Heard = tokio::sync::mpsc::Receiver<JournalEntry>;

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
    metrics: MetricsFlag,
    #[command(flatten)]
    output: Output,
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
    #[command(flatten)]
    engine: EngineFlags,
}

impl RunFlags {
    fn put_into(&self, config: Config) -> Config {
        let config = config.with(&self.data).with(&self.ledger).with(&self.wallet);
        config.with(&self.hotkey).with(&self.threads).with(&self.engine)
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

/// Whether somebody named the ledger, rather than leaving it to the default.
pub fn is_ledger_named(config: &Config) -> bool {
    config.get(Setting::Ledger).is_some_and(|(_, origin)| *origin != Origin::Default)
}

/// Connects to the ledger of the configuration. Without a named one, the ledger of the local network in the data
/// folder comes first.
pub async fn connect(config: &Config) -> anyhow::Result<RpcChain> {
    let connect = |url| RpcChain::connect(url, RpcOptions::default());
    config.check_ledger()?;
    let root = config.data_folder().join("up");
    let local = if is_ledger_named(config) { None } else { read_settings(&root)? };
    let Some(url) = local.map(|settings| settings.ledger_url()) else {
        return connect(config.ledger()).await.with_context(|| format!("no ledger at {}", config.ledger()));
    };
    match connect(&url).await {
        Ok(chain) => {
            if !config.is_quiet {
                say(&format!("using the ledger of the local network in {}: {url}", root.display()));
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

/// What to do where a place in the local network cannot be found or taken.
fn advised(error: SetupError) -> anyhow::Error {
    match &error {
        SetupError::NoNetwork { .. } => advice(error, "start one with `templar up` in another terminal"),
        SetupError::NotRunning(_) => advice(error, "start it with `templar up`"),
        _ => error.into(),
    }
}

/// Takes the place in the local network, and puts what the node needs into the configuration.
fn join_local(config: &mut Config, place: Place) -> anyhow::Result<()> {
    let joined = interrupt::runtime(1)?.block_on(place.take()).map_err(advised)?;
    let Joined { data, ledger, wallet_folder, wallet, hotkey, bucket, key } = joined;
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
    Ok(())
}

/// What the ledger says of a node's keys, and the metrics that show it.
struct Ledger {
    chain: Arc<RpcChain>,
    netuid: Netuid,
    hotkey: PublicKey,
    metrics: Option<Arc<NodeMetrics>>,
}

impl Ledger {
    /// The node's pay; none where the ledger does not answer.
    async fn read_pay(&self) -> Option<Pay> {
        let metagraph = self.chain.metagraph(self.netuid, None).await.ok()?;
        let neuron = metagraph.neuron(&self.hotkey)?;
        if let Some(metrics) = &self.metrics {
            let free = self.chain.account(&neuron.coldkey).await.ok().map(|account| account.balance);
            metrics.set_balances(Balances { stake: neuron.stake, emission: neuron.emission, free });
        }
        Some(Pay::of(neuron, metagraph.block))
    }
}

/// Prints what a node does, until it ends: its journal, its pay after each window, and on a terminal what it does now.
async fn show(output: Output, data: PathBuf, ledger: Ledger, mut heard: Heard) {
    let is_shown = !output.is_json() && std::io::stdout().is_terminal();
    let mut progress = Progress::new(!is_shown);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut last: Option<Pay> = None;
    loop {
        let entry = tokio::select! {
            heard = heard.recv() => match heard {
                Some(entry) => entry,
                None => return,
            },
            _ = tick.tick(), if is_shown => {
                if let Some(status) = read_status(&data) {
                    progress.say(&node::status(&status));
                }
                continue;
            }
        };
        let _ = progress.aside(|| output.event(&entry, |paint| node::entry(paint, &entry)));
        if !matches!(entry, JournalEntry::Applied { .. }) {
            continue;
        }
        // A ledger that does not answer now is asked again after the next window.
        let pay = ledger.read_pay().await;
        if let Some(pay) = pay.filter(|pay| pay.is_news(last.as_ref())) {
            let _ = progress.aside(|| output.event(&pay, |_| pay.text()));
            last = Some(pay);
        }
    }
}

/// Runs a node until it is asked to stop.
pub fn run(config: Config, flags: &RunFlags, role: Role) -> anyhow::Result<()> {
    let mut config = flags.put_into(config);
    let root = config.data_folder().join("up");
    let found = flags.local.as_ref().map(|name| Place::find(&root, Node::new(role, name)));
    let place = found.transpose().map_err(advised)?;
    let (genesis, corpus) = match &place {
        Some(place) => (place.genesis(), place.corpus()),
        None => (flags.genesis.clone().unwrap_or_default(), flags.corpus.clone().unwrap_or_default()),
    };
    // All that can be checked is checked before a key, a slot or a bucket is made.
    if let Ok(genesis) = read_genesis(&genesis) {
        MemoryOutlook::of(&genesis).check(role)?;
    }
    let (run, data) = open_run(&genesis, &corpus)?;
    let (threads, source) = (config.threads()?, engine::source(&config)?);
    check_numerics(&run, &source)?;
    if let Some(place) = place {
        join_local(&mut config, place)?;
    }
    let hotkey = keys::hotkey(&config)?;
    config.set(Setting::Bucket, "--bucket", flags.bucket.as_ref());
    let location = config.bucket()?.ok_or_else(|| Usage("this node has no bucket to write to".to_owned()));
    let location = location.advise("name one with --bucket; `templar bucket` runs a server for them")?;
    let bucket = Bucket::open_writer_with(&location, config.bucket_credentials()?, bucket_options())?;
    let outlet = flags.metrics.bind()?;
    let (listener, heard) = tokio::sync::mpsc::channel(256);
    let options = NodeOptions {
        data: config.data_folder(),
        threads,
        engine: source,
        first_parameters: flags.first_parameters.clone(),
        questions: corpus,
        listener: Some(listener),
        metrics: outlet.is_some().then(Arc::default),
    };
    interrupt::runtime(2)?.block_on(async {
        let metrics = options.metrics.clone();
        let own = metrics.clone().unwrap_or_default();
        let _served = metrics::serve(outlet, flags.output, move || own.text())?;
        let chain = connect(&config).await?;
        let is_one_machine = Reach::of_url(config.ledger()) != Reach::Network;
        if let Some(warning) = location.reach_warning().filter(|_| !is_reached(&location, is_one_machine)) {
            tracing::warn!("{warning}, and the ledger publishes that address for all; {NAME_IT}");
        }
        let netuid = run.genesis.netuid;
        let (chain, public, folder) = (Arc::new(chain), hotkey.public(), options.data.clone());
        let shown = tokio::spawn(show(
            flags.output,
            folder,
            Ledger { chain: Arc::clone(&chain), netuid, hotkey: public, metrics },
            heard,
        ));
        let network = Network::new(chain, netuid, hotkey, bucket);
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
        shown.abort();
        Ok(())
    })
}
