//! `templar ledger`.

mod check;
mod explain;
mod follow;

use crate::config::{Config, DataFlag, GenesisFlags, Setting, WalletFlags, listen};
use crate::failure::{Advise, Usage};
use crate::interrupt;
use crate::metrics::{self, MetricsFlag};
use crate::output::{Output, print};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use templar_base::{Keypair, PublicKey};
use templar_dashboard::MetricsOutlet;
use templar_ledger::{Ledger as Authority, LedgerServer, Profile, ServerOptions, StoreError};
use templar_screen::ledger::Opened;
use templar_wallet::Wallet;

/// A profile has a line per funded account; this is room for a hundred thousand.
const MAX_PROFILE_BYTES: u64 = 16 << 20;

/// Run a local ledger: the clock, the register and the bank of a network.
///
/// It has a single block authority, this process, and no consensus protocol: for one operator's own network, for tests
/// and for study. Anyone can replay its blocks and check that it keeps the rules. Ctrl-C stops it after the current
/// block; restarted on the same folder it resumes.
///
/// Example: templar ledger --development
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Ledger {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(Init),
    Check(check::Check),
    Follow(follow::Follow),
    Verify(follow::Verify),
    Explain(explain::Explain),
}

#[derive(Debug, Args)]
struct Run {
    /// Address to listen on, 127.0.0.1:9944 by default; port 0 for a free one [setting: ledger_listen]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    metrics: MetricsFlag,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    genesis: GenesisFlags,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    wallet: WalletFlags,
}

/// Write the rules of a new ledger to a file, to edit and to use with `templar ledger --profile FILE`.
///
/// Example: templar ledger init --development --out ledger.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Init {
    /// File to write; must not exist
    #[arg(long, value_name = "FILE", default_value = "ledger.json")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    genesis: GenesisFlags,
    #[command(flatten)]
    wallet: WalletFlags,
}

impl Ledger {
    /// Runs the ledger until it is asked to stop, or writes a profile.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Some(Action::Init(init)) => init.run(config),
            Some(Action::Check(check)) => check.run(config),
            Some(Action::Follow(follow)) => follow.run(config),
            Some(Action::Verify(verify)) => verify.run(config),
            Some(Action::Explain(explain)) => explain.run(config),
            None => self.run.run(config),
        }
    }
}

impl Init {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet);
        let profile = profile(&self.genesis, &config)?;
        let text = format!("{}\n", serde_json::to_string_pretty(&profile).context("cannot write the profile")?);
        std::fs::File::create_new(&self.out)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        let facts = json!({"profile": self.out, "name": profile.name, "owner": profile.owner});
        self.output.facts(&facts, |_| {
            let out = self.out.display();
            format!(
                "wrote {out}: {} profile, owner {}\nEdit it, then: templar ledger --profile {out}",
                profile.name, profile.owner
            )
        })
    }
}

impl Run {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = config.with(&self.data).with(&self.wallet);
        config.set(Setting::LedgerListen, "--listen", self.listen.as_ref());
        let listen = listen(&config, Setting::LedgerListen)?;
        let folder = config.ledger_folder();
        let ledger = self.open(&config, &folder)?;
        let metrics = self.metrics.bind()?;
        interrupt::runtime(2)?.block_on(serve(ledger, listen, &folder, metrics, self.output))
    }

    /// The ledger in the folder, or a new one. A given profile must be that of an existing ledger.
    fn open(&self, config: &Config, folder: &Path) -> anyhow::Result<Authority> {
        let what = || format!("cannot open the ledger in {}", folder.display());
        if !is_given(&self.genesis) {
            match Authority::reopen(folder) {
                Err(StoreError::Missing(_)) => {}
                opened => return opened.with_context(what),
            }
        }
        Authority::open(folder, &profile(&self.genesis, config)?, Authority::draw_secret()?).with_context(what)
    }
}

fn is_given(flags: &GenesisFlags) -> bool {
    flags.profile.is_some() || flags.owner.is_some() || flags.development || !flags.fund.is_empty()
}

fn profile(flags: &GenesisFlags, config: &Config) -> anyhow::Result<Profile> {
    let profile = match flags.profile.as_deref() {
        None | Some("local") => Profile::local(owner(flags, config)?, &flags.fund),
        Some("mainnet-like") => {
            let owner = owner(flags, config)?;
            let funded = Profile::local(owner, &flags.fund).initial_balances;
            Profile::mainnet_like(owner, funded)
        }
        Some(file) => return read_profile(flags, Path::new(file)),
    };
    profile.check()?;
    Ok(profile)
}

/// A file has all rules; only further funds may be added.
fn read_profile(flags: &GenesisFlags, path: &Path) -> anyhow::Result<Profile> {
    let what = || format!("cannot read the profile {}", path.display());
    let length = std::fs::metadata(path)
        .with_context(what)
        .advise("name `local`, `mainnet-like` or a file; create one with `templar ledger init --out ledger.json`")?;
    if length.len() > MAX_PROFILE_BYTES {
        return Err(Usage(format!("{} is too large for a ledger profile", path.display())).into());
    }
    if flags.owner.is_some() || flags.development {
        let what = "a profile file names its owner: leave out --owner and --development, or edit the file";
        return Err(Usage(what.to_owned()).into());
    }
    let text = std::fs::read_to_string(path).with_context(what)?;
    let profile = serde_json::from_str::<Profile>(&text).with_context(what)?.with_funds(&flags.fund);
    profile.check().with_context(what)?;
    Ok(profile)
}

fn owner(flags: &GenesisFlags, config: &Config) -> anyhow::Result<PublicKey> {
    if let Some(owner) = flags.owner {
        return Ok(owner);
    }
    if flags.development {
        return Ok(Keypair::from_uri("//Alice").context("the development key")?.public());
    }
    Wallet::new(&config.wallet_folder(), config.wallet())
        .and_then(|wallet| wallet.coldkey_address())
        .context("a new ledger needs an owner")
        .advise("create a wallet with `templar wallet new`, name an address with --owner, or use --development")
}

async fn serve(
    ledger: Authority,
    listen: SocketAddr,
    folder: &Path,
    metrics: Option<MetricsOutlet>,
    output: Output,
) -> anyhow::Result<()> {
    let profile = ledger.state().profile().clone();
    let (genesis, head) = (ledger.state().genesis_hash(), ledger.head());
    let asked_to_stop = interrupt::asked_to_stop()?;
    let server = LedgerServer::start(ledger, ServerOptions::new(listen)).await?;
    let opened =
        Opened { url: server.url().to_owned(), genesis, profile, head: head.number, folder: folder.to_owned() };
    output.event(&opened.facts(), |paint| opened.text(paint))?;
    let own = server.metrics();
    let served = metrics::serve(metrics, output, move || own.text())?;
    asked_to_stop.await;
    drop(served);
    server.shutdown().await;
    if output.is_json() { print(r#"{"event":"stopped"}"#) } else { print("stopped") }
}
