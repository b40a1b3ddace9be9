//! Starts the processes of a prepared network: services, slots and stake, the first block of the run, nodes.

use crate::nodes::{HOTKEY, make_wallet, open_bucket, register};
use crate::share::share;
use crate::{Children, Folder, Node, Recipe, Settings, SetupError};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use templar_base::Genesis;
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_dashboard::{Dashboard, GatewayUrl, Listener, Options, ProcessMetrics, Source};
use templar_record::Rules;

/// The wallet that owns the subnet and pays for new nodes.
pub const OWNER: &str = "owner";
const LEDGER_DEADLINE: Duration = Duration::from_secs(30);
/// Blocks until the run starts: time for the nodes to come up.
const START_BLOCKS: u64 = 4;
/// The variable of a node's process that holds the public half of its bucket's write key.
pub const ACCESS_KEY_VARIABLE: &str = "TEMPLAR_BUCKET_ACCESS_KEY";
/// The variable with the secret half.
pub const SECRET_KEY_VARIABLE: &str = "TEMPLAR_BUCKET_SECRET_KEY";

/// What is in progress while a network comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Ledger and bucket server start.
    Services,
    /// The nodes get slots and stake.
    Registering,
    /// Genesis document and corpus go to where others can fetch them.
    Sharing,
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

impl Network {
    /// Serves its public record as a page, where somebody wants one, with the metrics of its processes; `gateway` answers with
    /// its model, where one runs.
    pub fn serve(
        &self,
        folder: &Folder,
        listener: Option<Listener>,
        gateway: Option<GatewayUrl>,
    ) -> Result<Option<Dashboard>, SetupError> {
        let Some(listener) = listener else { return Ok(None) };
        let run = Rules::new(self.genesis.clone())?;
        let processes = Some(ProcessMetrics::of(folder.all_metrics()));
        let source = Source { gateway, processes, ..Source::new(run, Arc::new(self.chain.clone())) };
        Ok(Some(Dashboard::start(listener, source, Options::default())?))
    }
}

/// A free port, the old one if it is still free.
pub(crate) fn free_port(host: IpAddr, old: u16) -> Result<u16, SetupError> {
    let bind = |port| TcpListener::bind((host, port)).and_then(|listener| listener.local_addr());
    let address = bind(old).or_else(|_| bind(0)).map_err(|source| SetupError::NoPort { host, source })?;
    Ok(address.port())
}

/// Starts the processes of the network in the folder, which was prepared or checked: `wanted` has the nodes that it is to
/// have. New ones get their keys, slots and stake.
pub async fn bring_up(
    folder: &Folder,
    wanted: Settings,
    children: &mut Children,
    report: &mut dyn FnMut(Stage),
) -> Result<Network, SetupError> {
    let mut settings = wanted;
    settings.ledger_port = free_port(settings.host(), settings.ledger_port)?;
    settings.bucket_port = free_port(settings.host(), settings.bucket_port)?;
    let genesis = folder.genesis()?;
    // Nodes count once they have their slots; the ports are there for whoever looks at the network.
    let old = folder.settings()?.unwrap_or_else(|| settings.clone());
    folder.save(&Settings { miners: old.miners, validators: old.validators, ..settings.clone() })?;
    for node in settings.nodes() {
        make_wallet(folder.path(), &node.name)?;
    }
    make_wallet(folder.path(), OWNER)?;
    report(Stage::Services);
    start_services(folder, &settings, children)?;
    let chain = connect(folder, &settings, children).await?;
    report(Stage::Registering);
    for node in settings.nodes() {
        register(folder.path(), &node, &chain).await?;
    }
    let genesis = match genesis {
        Some(genesis) => genesis,
        None => make_genesis(folder, &chain).await?,
    };
    settings.run = Some(genesis.run_id());
    folder.save(&settings)?;
    if settings.listen.is_some() {
        report(Stage::Sharing);
        share(folder.path(), &settings, &genesis).await?;
    }
    start_nodes(folder, &settings, children)?;
    Ok(Network { settings, chain, genesis })
}

pub(crate) fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn start_services(folder: &Folder, settings: &Settings, children: &mut Children) -> Result<(), SetupError> {
    let data = text_of(folder.path());
    let listen = |port: u16| SocketAddr::new(settings.host(), port).to_string();
    let profile = text_of(&folder.path().join("ledger.json"));
    let (ledger_address, bucket_address) = (listen(settings.ledger_port), listen(settings.bucket_port));
    let mut ledger = vec!["ledger", "--data", &data, "--listen", &ledger_address];
    // A ledger that exists has its rules in its own file.
    if !folder.path().join("ledger").join("ledger.redb").is_file() {
        ledger.extend(["--profile", &profile]);
    }
    let bucket = vec!["bucket", "--data", &data, "--listen", &bucket_address];
    for (name, arguments) in [("ledger", ledger), ("bucket", bucket)] {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        children.start(folder, Recipe { name: name.to_owned(), arguments, variables: Vec::new() })?;
    }
    Ok(())
}

async fn connect(folder: &Folder, settings: &Settings, children: &mut Children) -> Result<RpcChain, SetupError> {
    let url = settings.ledger_url();
    let begun = tokio::time::Instant::now();
    loop {
        match RpcChain::connect(&url, RpcOptions::default()).await {
            Ok(chain) => return Ok(chain),
            Err(error) if begun.elapsed() > LEDGER_DEADLINE => return Err(SetupError::LedgerDown(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        for name in ["ledger", "bucket"] {
            if let Some(reason) = children.end_of(folder, name)? {
                return Err(SetupError::Ended { name: name.to_owned(), reason, log: folder.log(name) });
            }
        }
    }
}

async fn make_genesis(folder: &Folder, chain: &RpcChain) -> Result<Genesis, SetupError> {
    let mut genesis = folder.plan()?.ok_or_else(|| SetupError::NoNetwork { root: folder.path().to_owned() })?;
    genesis.ledger = chain.genesis().await?;
    genesis.clock.start_block = chain.head().await?.number.plus(START_BLOCKS);
    genesis.check()?;
    folder.write("genesis.json", genesis.to_json().as_bytes())?;
    folder.remove_file("plan.json")?;
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
        let arguments = std::iter::once(role.name().to_owned()).chain(arguments);
        let arguments = arguments.chain(settings.node_flags.iter().cloned()).collect();
        let variables = vec![
            (ACCESS_KEY_VARIABLE.to_owned(), key.access_key.clone()),
            (SECRET_KEY_VARIABLE.to_owned(), key.secret_key.clone()),
        ];
        children.start(folder, Recipe { name, arguments, variables })?;
    }
    Ok(())
}
