//! Making what a local network needs: text, keys, ledger rules, slots and stake, genesis.

use super::children::{Children, Recipe};
use super::folder::{Folder, Settings, read_settings};
use super::plan::{self, Plan};
use super::rule::RuleName;
use crate::config::{Config, Setting};
use crate::failure::{Advise, Usage};
use crate::progress::Progress;
use crate::text;
use anyhow::Context;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use templar_base::{Genesis, Keypair, Netuid, PublicKey, RAO_PER_TAO, Rao};
use templar_bucket::{BucketLocation, KeyRing, WriteKey};
use templar_corpus::{Corpus, Source};
use templar_ledger::wallet::{Overwrite, SecretSource, Wallet};
use templar_ledger::{Call, Chain, Profile, RpcChain, RpcOptions};

/// The wallet that owns the subnet and pays for new nodes.
pub const OWNER: &str = "owner";
/// The local ledger's one subnet.
const NETUID: Netuid = Netuid(3);
/// The name of a node's only hotkey.
const HOTKEY: &str = "default";
const VOCABULARY: u32 = 4096;
/// The synthetic grammar has a few hundred words.
const SYNTHETIC_VOCABULARY: u32 = 512;
/// What each node's coldkey begins with where the ledger exists already.
const GIFT: Rao = Rao(1_000 * RAO_PER_TAO);
/// What a validator stakes.
const STAKE: Rao = Rao(500 * RAO_PER_TAO);
const LEDGER_DEADLINE: Duration = Duration::from_secs(30);
/// Blocks until the run starts: time for the nodes to come up.
const START_BLOCKS: u64 = 4;

/// What the operator asked for; it counts when the network is made.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Synthetic text of so many bytes instead of real text.
    pub synthetic_bytes: Option<u64>,
    /// Tokens of the vocabulary; by the text where it is not given.
    pub vocab_size: Option<u32>,
    /// Size of the model.
    pub preset: String,
    /// Length of a window in seconds.
    pub window_seconds: Option<u64>,
    /// How pseudo-gradients are merged and applied; this system's rule where it is not given.
    pub rule: Option<RuleName>,
    /// Number of miners.
    pub miners: Option<usize>,
    /// Number of validators.
    pub validators: Option<usize>,
}

/// A network that runs.
pub struct Network {
    /// What was decided when it was made.
    pub settings: Settings,
    /// The ledger.
    pub chain: RpcChain,
    /// The run's rules.
    pub genesis: Genesis,
    /// For people: what is trained on and under which licence.
    pub remarks: Vec<String>,
}

/// A free port, the old one if it is still free.
fn free_port(old: u16) -> anyhow::Result<u16> {
    for port in [old, 0] {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr().context("cannot find a free port")?.port());
        }
    }
    Err(anyhow::anyhow!("no port is free on 127.0.0.1")).advise("close some programs that listen, and try again")
}

/// Makes what is missing and starts everything.
pub async fn bring_up(
    folder: &Folder,
    config: &Config,
    wishes: &Wishes,
    children: &mut Children,
    progress: &mut Progress,
) -> anyhow::Result<Network> {
    let old = folder.settings()?;
    let is_new = old.is_none();
    let mut settings = old.unwrap_or_else(|| Settings::new(wishes.validators.unwrap_or(2), wishes.miners.unwrap_or(4)));
    // A network can grow; it does not forget nodes that it has.
    settings.miners = wishes.miners.unwrap_or(settings.miners).max(if is_new { 1 } else { settings.miners });
    settings.validators =
        wishes.validators.unwrap_or(settings.validators).max(if is_new { 1 } else { settings.validators });
    check_rule(folder, wishes.rule)?;
    let (corpus, mut remarks) = open_corpus(folder, config, wishes, progress)?;
    for name in settings.node_names().iter().map(String::as_str).chain([OWNER]) {
        make_wallet(folder.path(), name)?;
    }
    settings.ledger_port = free_port(settings.ledger_port)?;
    settings.bucket_port = free_port(settings.bucket_port)?;
    let plan = match folder.path().join("genesis.json").is_file() {
        true => None,
        false => {
            progress.say("measuring this machine");
            Some(make_plan(&corpus, wishes, &settings)?)
        }
    };
    if let Some(plan) = &plan {
        make_profile(folder, &settings, plan)?;
    }
    // Only now is everything there that a later start relies on.
    folder.save(&settings)?;
    progress.say("starting the ledger and the bucket server");
    start_services(folder, &settings, children)?;
    let chain = connect(&settings).await?;
    progress.say("registering the nodes");
    for name in settings.node_names() {
        register(folder.path(), &name, &chain).await?;
    }
    let genesis = match &plan {
        Some(plan) => make_genesis(folder, &chain, plan).await?,
        None => crate::role::read_genesis(&folder.path().join("genesis.json"))?,
    };
    let rule = RuleName::of(&genesis.outer);
    remarks.extend(rule.filter(|rule| *rule != RuleName::default()).map(|rule| format!("rule: {rule}")));
    start_nodes(folder, &settings, children)?;
    Ok(Network { settings, chain, genesis, remarks })
}

/// A network keeps the rule that it was made with.
fn check_rule(folder: &Folder, wished: Option<RuleName>) -> anyhow::Result<()> {
    let path = folder.path().join("genesis.json");
    let Some(wished) = wished.filter(|_| path.is_file()) else { return Ok(()) };
    match RuleName::of(&crate::role::read_genesis(&path)?.outer) {
        Some(rule) if rule == wished => Ok(()),
        rule => {
            let rule = rule.map_or("a rule of its own".to_owned(), |rule| format!("the rule {rule}"));
            Err(Usage(format!("the network in {} has {rule}", folder.path().display())))
                .advise("leave --rule out to go on with it, or start over with --fresh")
        }
    }
}

fn open_corpus(
    folder: &Folder,
    config: &Config,
    wishes: &Wishes,
    progress: &mut Progress,
) -> anyhow::Result<(Corpus, Vec<String>)> {
    let path = folder.path().join("corpus");
    let mut remarks = Vec::new();
    if !path.join(templar_corpus::MANIFEST_FILE).is_file() {
        let chosen = text::choose(config, wishes.synthetic_bytes, None, progress)?;
        remarks = chosen.remarks.clone();
        let is_synthetic = chosen.sources.iter().all(|(source, _, _)| matches!(source, Source::Synthetic { .. }));
        let vocab_size = wishes.vocab_size.unwrap_or(if is_synthetic { SYNTHETIC_VOCABULARY } else { VOCABULARY });
        let builder = chosen.builder().vocab_size(vocab_size);
        builder.build(&path, |news| text::show_build(progress, news)).context("cannot prepare the text")?;
    }
    let corpus = Corpus::open(&path).context("cannot use the prepared text").advise("start over with --fresh")?;
    if remarks.is_empty() {
        let sources = &corpus.manifest().sources;
        remarks = sources.iter().map(|source| format!("text: {}; {}", source.name, source.licence)).collect();
    }
    Ok((corpus, remarks))
}

fn wallet(root: &Path, name: &str) -> anyhow::Result<Wallet> {
    Ok(Wallet::new(&root.join("wallets"), name)?)
}

/// Makes the keys that are not there. They are plain files: this network is worth nothing outside this machine.
fn make_wallet(root: &Path, name: &str) -> anyhow::Result<()> {
    let wallet = wallet(root, name)?;
    if !wallet.coldkey_path().is_file() {
        wallet.write_coldkey(&SecretSource::generate()?.0, None, Overwrite::Refuse)?;
    }
    if name != OWNER && !wallet.hotkey_path(HOTKEY)?.is_file() {
        wallet.write_hotkey(HOTKEY, &SecretSource::generate()?.0, Overwrite::Refuse)?;
    }
    Ok(())
}

fn make_plan(corpus: &Corpus, wishes: &Wishes, settings: &Settings) -> anyhow::Result<Plan> {
    let vocab_size = corpus.manifest().vocab_size as usize;
    let model = templar_engine::preset(&wishes.preset, vocab_size)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
    Plan::new(&plan::Inputs {
        model,
        corpus,
        seed,
        miners: settings.miners,
        validators: settings.validators,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        rule: wishes.rule.unwrap_or_default(),
        window_seconds: wishes.window_seconds,
    })
}

fn make_profile(folder: &Folder, settings: &Settings, plan: &Plan) -> anyhow::Result<()> {
    let path = folder.path().join("ledger.json");
    if path.is_file() {
        return Ok(());
    }
    let address = |name: &str| anyhow::Ok(wallet(folder.path(), name)?.coldkey_address()?);
    let funded = settings.node_names().iter().map(|name| address(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut profile = Profile::local(address(OWNER)?, &funded);
    profile.block_time_ms = plan::BLOCK_TIME_MS;
    profile.commitment_retention_blocks = profile.commitment_retention_blocks.max(plan.retention_blocks());
    profile.history_blocks = profile.history_blocks.max(2 * plan.retention_blocks());
    profile.yuma.activity_cutoff_blocks = profile.yuma.activity_cutoff_blocks.max(plan.activity_cutoff_blocks());
    profile.check()?;
    folder.write("ledger.json", &serde_json::to_vec_pretty(&profile)?)
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn start_services(folder: &Folder, settings: &Settings, children: &mut Children) -> anyhow::Result<()> {
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

async fn connect(settings: &Settings) -> anyhow::Result<RpcChain> {
    let url = settings.ledger_url();
    let begun = tokio::time::Instant::now();
    loop {
        match RpcChain::connect(&url, RpcOptions::default()).await {
            Ok(chain) => return Ok(chain),
            Err(error) if begun.elapsed() > LEDGER_DEADLINE => {
                return Err(error).context("the ledger does not come up").advise("look at logs/ledger.log");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Gives a node its slot, and a validator its stake. What is there already stays as it is.
async fn register(root: &Path, name: &str, chain: &RpcChain) -> anyhow::Result<()> {
    let owner = wallet(root, OWNER)?.coldkey(None)?;
    let wallet = wallet(root, name)?;
    let (coldkey, hotkey) = (wallet.coldkey(None)?, wallet.hotkey(HOTKEY)?.public());
    let metagraph = chain.metagraph(NETUID, None).await?;
    if metagraph.neuron(&hotkey).is_none() {
        fund(chain, &owner, coldkey.public()).await?;
        let call = Call::Register { netuid: NETUID, hotkey, max_price: None };
        accept(chain, &coldkey, call).await.with_context(|| format!("cannot register {name}"))?;
    }
    // What is bought is a little less than what is paid, for the fee and the price it moves.
    if name.starts_with("validator") && chain.stake(&hotkey, &coldkey.public()).await?.0 < STAKE.0 / 2 {
        let call = Call::AddStake { hotkey, netuid: NETUID, amount: STAKE };
        accept(chain, &coldkey, call).await.with_context(|| format!("cannot stake on {name}"))?;
    }
    Ok(())
}

async fn fund(chain: &RpcChain, owner: &Keypair, to: PublicKey) -> anyhow::Result<()> {
    if chain.account(&to).await?.balance < GIFT {
        accept(chain, owner, Call::Transfer { to, amount: GIFT }).await.context("cannot fund a new node")?;
    }
    Ok(())
}

async fn accept(chain: &RpcChain, signer: &Keypair, call: Call) -> anyhow::Result<()> {
    chain.submit(signer, call).await?;
    Ok(())
}

async fn make_genesis(folder: &Folder, chain: &RpcChain, plan: &Plan) -> anyhow::Result<Genesis> {
    let ledger = chain.genesis().await?;
    let start = chain.head().await?.number.plus(START_BLOCKS);
    let genesis = plan.genesis(ledger, NETUID, start);
    genesis.check()?;
    folder.write("genesis.json", genesis.to_json().as_bytes())?;
    Ok(genesis)
}

/// A node's own bucket: a new write key at every start, so that nothing needs to remember it.
fn open_bucket(root: &Path, settings: &Settings, name: &str) -> anyhow::Result<(BucketLocation, WriteKey)> {
    let hotkey = wallet(root, name)?.hotkey(HOTKEY)?.public();
    let bucket = format!("templar-{}", hex::encode(&hotkey.as_bytes()[..12]));
    let mut secret = [0; 20];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
    let key = WriteKey::new(&bucket, hex::encode(secret), &bucket);
    KeyRing::from_file(root.join("bucket-keys.json"))?.register(key.clone())?;
    let location = BucketLocation::s3(&bucket, &format!("http://127.0.0.1:{}", settings.bucket_port), None)?;
    Ok((location, key))
}

fn start_nodes(folder: &Folder, settings: &Settings, children: &mut Children) -> anyhow::Result<()> {
    let names = settings.node_names();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / names.len()).max(1).to_string();
    for name in names {
        let (location, key) = open_bucket(folder.path(), settings, &name)?;
        let role = if name.starts_with("miner") { "miner" } else { "validator" };
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
        let arguments = std::iter::once(role.to_owned()).chain(arguments).collect();
        let variables = vec![
            (Setting::BucketAccessKey.variable(), key.access_key.clone()),
            (Setting::BucketSecretKey.variable(), key.secret_key.clone()),
        ];
        children.start(folder, Recipe { name, arguments, variables })?;
    }
    Ok(())
}

/// Makes keys, slot and bucket for one more node of the network that runs in `root`, and gives the configuration and
/// the files that the node starts with.
pub async fn join(root: &Path, name: &str, config: &Config) -> anyhow::Result<(Config, PathBuf, PathBuf)> {
    let settings = read_settings(root)?;
    let settings = settings.ok_or_else(|| anyhow::anyhow!("there is no local network in {}", root.display()));
    let settings = settings.advise("start one with `templar up` in another terminal")?;
    make_wallet(root, name)?;
    let chain = RpcChain::connect(&settings.ledger_url(), RpcOptions::default()).await;
    let chain = chain.context("the local network does not run").advise("start it with `templar up`")?;
    register(root, name, &chain).await?;
    let (location, key) = open_bucket(root, &settings, name)?;
    let mut config = config.clone();
    for (setting, value) in [
        (Setting::DataFolder, text_of(&root.join("nodes").join(name))),
        (Setting::Ledger, settings.ledger_url()),
        (Setting::WalletFolder, text_of(&root.join("wallets"))),
        (Setting::Wallet, name.to_owned()),
        (Setting::Hotkey, HOTKEY.to_owned()),
        (Setting::Bucket, location.to_string()),
        (Setting::BucketAccessKey, key.access_key),
        (Setting::BucketSecretKey, key.secret_key),
    ] {
        config.set(setting, "--local", Some(value));
    }
    Ok((config, root.join("genesis.json"), root.join("corpus")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_keeps_the_rule_that_it_was_made_with() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("up"), false).unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base/tests/corpus/genesis/demo");
        check_rule(&folder, Some(RuleName::Krum)).unwrap();
        folder.write("genesis.json", &std::fs::read(demo).unwrap()).unwrap();
        check_rule(&folder, None).unwrap();
        check_rule(&folder, Some(RuleName::Demo)).unwrap();
        let refused = check_rule(&folder, Some(RuleName::Krum)).unwrap_err();
        assert!(format!("{refused:#}").contains("has the rule demo"), "{refused:#}");
    }
}
