//! Creates what a local network needs: keys, ledger rules, slots and stake, genesis; and starts its processes.

use crate::nodes::{HOTKEY, NETUID, make_wallet, open_bucket, register, wallet};
use crate::plan::{self, Plan};
use crate::{Children, Folder, FolderError, Node, Recipe, RuleName, Settings, SetupError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;
use templar_base::Genesis;
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_corpus::{BuildProgress, Corpus, CorpusBuilder, MANIFEST_FILE};
use templar_ledger::Profile;

/// The wallet that owns the subnet and pays for new nodes.
pub const OWNER: &str = "owner";
const LEDGER_DEADLINE: Duration = Duration::from_secs(30);
/// Blocks until the run starts: time for the nodes to come up.
const START_BLOCKS: u64 = 4;
/// The variable of a node's process that holds the public half of its bucket's write key.
pub const ACCESS_KEY_VARIABLE: &str = "TEMPLAR_BUCKET_ACCESS_KEY";
/// The variable with the secret half.
pub const SECRET_KEY_VARIABLE: &str = "TEMPLAR_BUCKET_SECRET_KEY";

/// What the operator asks for; it counts when the network is made.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Size of the model.
    pub preset: String,
    /// Length of a window in seconds; chosen by the measured speed where it is not given.
    pub window_seconds: Option<u64>,
    /// How pseudo-gradients are merged and applied; this system's rule where it is not given.
    pub rule: Option<RuleName>,
    /// Number of miners.
    pub miners: Option<usize>,
    /// Number of validators.
    pub validators: Option<usize>,
}

/// What is in progress while a network comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The speed of this machine is measured.
    Measuring,
    /// Ledger and bucket server start.
    Services,
    /// The nodes get slots and stake.
    Registering,
}

/// A network that runs.
pub struct Network {
    /// What was decided when it was made.
    pub settings: Settings,
    /// The ledger.
    pub chain: RpcChain,
    /// The run's rules.
    pub genesis: Genesis,
}

impl Folder {
    /// The network's genesis; none before it was made.
    pub fn genesis(&self) -> Result<Option<Genesis>, SetupError> {
        let path = self.path().join("genesis.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::File { action: "read", path, source }.into()),
        };
        Genesis::from_json(&bytes).map(Some).map_err(|source| SetupError::Genesis { path, source })
    }

    /// Whether the network has its text already.
    pub fn has_corpus(&self) -> bool {
        self.path().join("corpus").join(MANIFEST_FILE).is_file()
    }

    /// Builds the network's text.
    pub fn build_corpus(&self, builder: CorpusBuilder, progress: impl FnMut(BuildProgress)) -> Result<(), SetupError> {
        builder.build(&self.path().join("corpus"), progress)?;
        Ok(())
    }

    /// The network's text.
    pub fn corpus(&self) -> Result<Corpus, SetupError> {
        Ok(Corpus::open(&self.path().join("corpus"))?)
    }

    /// Fails where the network was made with another rule than this one: it keeps its rule.
    pub fn check_rule(&self, wanted: Option<RuleName>) -> Result<(), SetupError> {
        let (Some(wanted), Some(genesis)) = (wanted, self.genesis()?) else { return Ok(()) };
        match RuleName::of(&genesis.outer) {
            Some(rule) if rule == wanted => Ok(()),
            rule => Err(SetupError::OtherRule { root: self.path().to_owned(), rule }),
        }
    }
}

/// A free port, the old one if it is still free.
fn free_port(old: u16) -> Result<u16, SetupError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let address = bind(old).or_else(|_| bind(0)).map_err(SetupError::NoPort)?;
    Ok(address.port())
}

/// Creates what is missing and starts all processes. The folder has its corpus already.
pub async fn bring_up(
    folder: &Folder,
    options: &NetworkOptions,
    children: &mut Children,
    report: &mut dyn FnMut(Stage),
) -> Result<Network, SetupError> {
    let mut settings = grown(folder.settings()?, options);
    folder.check_rule(options.rule)?;
    for node in settings.nodes() {
        make_wallet(folder.path(), &node.name)?;
    }
    make_wallet(folder.path(), OWNER)?;
    settings.ledger_port = free_port(settings.ledger_port)?;
    settings.bucket_port = free_port(settings.bucket_port)?;
    let genesis = folder.genesis()?;
    let plan = match &genesis {
        Some(_) => None,
        None => {
            report(Stage::Measuring);
            Some(make_plan(&folder.corpus()?, options, &settings)?)
        }
    };
    if let Some(plan) = &plan {
        make_profile(folder, &settings, plan)?;
    }
    // Only now is everything there that a later start relies on.
    folder.save(&settings)?;
    report(Stage::Services);
    start_services(folder, &settings, children)?;
    let chain = connect(&settings).await?;
    report(Stage::Registering);
    for node in settings.nodes() {
        register(folder.path(), &node, &chain).await?;
    }
    let genesis = match (genesis, &plan) {
        (None, Some(plan)) => make_genesis(folder, &chain, plan).await?,
        (Some(genesis), _) => genesis,
        (None, None) => unreachable!("a folder without a genesis gets a plan above"),
    };
    start_nodes(folder, &settings, children)?;
    Ok(Network { settings, chain, genesis })
}

/// The settings of a new network, or of one that may grow: it keeps the nodes that it has.
fn grown(old: Option<Settings>, options: &NetworkOptions) -> Settings {
    let (miners, validators) = (options.miners, options.validators);
    match old {
        None => Settings::new(validators.unwrap_or(2).max(1), miners.unwrap_or(4).max(1)),
        Some(old) => Settings {
            miners: miners.unwrap_or(0).max(old.miners),
            validators: validators.unwrap_or(0).max(old.validators),
            ..old
        },
    }
}

fn make_plan(corpus: &Corpus, options: &NetworkOptions, settings: &Settings) -> Result<Plan, SetupError> {
    let vocab_size = corpus.manifest().vocab_size as usize;
    let model = templar_engine::preset(&options.preset, vocab_size)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(SetupError::Random)?;
    Plan::new(&plan::Inputs {
        model,
        corpus,
        seed,
        miners: settings.miners,
        validators: settings.validators,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        rule: options.rule.unwrap_or_default(),
        window_seconds: options.window_seconds,
    })
}

fn make_profile(folder: &Folder, settings: &Settings, plan: &Plan) -> Result<(), SetupError> {
    let path = folder.path().join("ledger.json");
    if path.is_file() {
        return Ok(());
    }
    let address = |name: &str| wallet(folder.path(), name)?.coldkey_address();
    let funded = settings.nodes().iter().map(|node| address(&node.name)).collect::<Result<Vec<_>, _>>()?;
    let mut profile = Profile::local(address(OWNER)?, &funded);
    profile.block_time_ms = plan::BLOCK_TIME_MS;
    profile.commitment_retention_blocks = profile.commitment_retention_blocks.max(plan.retention_blocks());
    profile.history_blocks = profile.history_blocks.max(2 * plan.retention_blocks());
    profile.yuma.activity_cutoff_blocks = profile.yuma.activity_cutoff_blocks.max(plan.activity_cutoff_blocks());
    profile.check()?;
    Ok(folder.write_json("ledger.json", &profile)?)
}

pub(crate) fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn start_services(folder: &Folder, settings: &Settings, children: &mut Children) -> Result<(), SetupError> {
    let data = text_of(folder.path());
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let profile = text_of(&folder.path().join("ledger.json"));
    let ledger = ["ledger", "--data", &data, "--listen", &listen(settings.ledger_port), "--profile", &profile];
    let bucket = ["bucket", "--data", &data, "--listen", &listen(settings.bucket_port)];
    for (name, arguments) in [("ledger", ledger.as_slice()), ("bucket", bucket.as_slice())] {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        children.start(folder, Recipe { name: name.to_owned(), arguments, variables: Vec::new() })?;
    }
    Ok(())
}

async fn connect(settings: &Settings) -> Result<RpcChain, SetupError> {
    let url = settings.ledger_url();
    let begun = tokio::time::Instant::now();
    loop {
        match RpcChain::connect(&url, RpcOptions::default()).await {
            Ok(chain) => return Ok(chain),
            Err(error) if begun.elapsed() > LEDGER_DEADLINE => {
                return Err(SetupError::LedgerDown(error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn make_genesis(folder: &Folder, chain: &RpcChain, plan: &Plan) -> Result<Genesis, SetupError> {
    let ledger = chain.genesis().await?;
    let start = chain.head().await?.number.plus(START_BLOCKS);
    let genesis = plan.genesis(ledger, NETUID, start);
    genesis.check()?;
    folder.write("genesis.json", genesis.to_json().as_bytes())?;
    Ok(genesis)
}

fn start_nodes(folder: &Folder, settings: &Settings, children: &mut Children) -> Result<(), SetupError> {
    let nodes = settings.nodes();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / nodes.len()).max(1).to_string();
    for Node { name, role } in nodes {
        let (location, key) = open_bucket(folder.path(), settings, &name)?;
        let in_folder = |entry: &str| text_of(&folder.path().join(entry));
        let arguments = [
            ("--genesis", in_folder("genesis.json")),
            ("--corpus", in_folder("corpus")),
            ("--ledger", settings.ledger_url()),
            ("--data", text_of(&folder.node(&name))),
            ("--wallet-folder", in_folder("wallets")),
            ("--wallet", name.clone()),
            ("--hotkey", HOTKEY.to_owned()),
            ("--threads", threads.clone()),
            ("--bucket", location.to_string()),
        ];
        let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let arguments = std::iter::once(role.name().to_owned()).chain(arguments).collect();
        let variables = vec![
            (ACCESS_KEY_VARIABLE.to_owned(), key.access_key.clone()),
            (SECRET_KEY_VARIABLE.to_owned(), key.secret_key.clone()),
        ];
        children.start(folder, Recipe { name, arguments, variables })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_keeps_the_rule_that_it_was_made_with() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("up"), false).unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base/tests/corpus/genesis/demo");
        folder.check_rule(Some(RuleName::Krum)).unwrap();
        folder.write("genesis.json", &std::fs::read(demo).unwrap()).unwrap();
        folder.check_rule(None).unwrap();
        folder.check_rule(Some(RuleName::Demo)).unwrap();
        let rejected = folder.check_rule(Some(RuleName::Krum)).unwrap_err();
        assert!(rejected.to_string().contains("has the rule demo"), "{rejected}");
    }

    #[test]
    fn a_network_of_an_earlier_version_is_rejected_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("up"), false).unwrap();
        let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base/tests/corpus/genesis/local-v1");
        folder.write("genesis.json", &std::fs::read(old).unwrap()).unwrap();
        let Err(SetupError::Genesis { source, .. }) = folder.genesis() else { panic!("an old network is taken") };
        let text = source.to_string();
        assert!(text.contains("version 1") && text.contains("templar up --fresh"), "{text}");
    }
}
