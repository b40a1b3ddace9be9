//! `templar wallet`.

mod history;

use crate::config::{Config, HotkeyFlag, WalletFlags};
use crate::failure::{Advise, Usage};
use crate::keys;
use crate::output::Output;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use templar_screen::{check_output, facts_table, wallets};
use templar_wallet::{KeyName, Overwrite, PasswordCost, SecretSource, Wallet as Files, publicly_known};
use zeroize::Zeroizing;

/// Manage keys, in files that Bittensor's tools read and write too.
///
/// A wallet has a coldkey, which holds funds, and hotkeys, each an identity in the subnet.
///
/// Example: templar wallet new --wallet alice --hotkey miner
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Wallet {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(New),
    List(List),
    Show(Show),
    Import(Import),
    Export(Export),
    History(history::History),
}

/// Create a coldkey and a hotkey, and show their phrases once.
///
/// The coldkey is encrypted with a password, which is asked for, or read from TEMPLAR_WALLET_PASSWORD. Write the phrases
/// down: a phrase is the key, and without it a lost file cannot be restored.
///
/// Example: templar wallet new --wallet alice --hotkey miner
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct New {
    /// Create a further hotkey for an existing wallet
    #[arg(long)]
    hotkey_only: bool,
    /// Replace keys that exist, or a watched address; dated copies are kept in the wallet's folder `replaced`
    #[arg(long)]
    overwrite: bool,
    /// Leave the coldkey unencrypted
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
}

/// List the wallets and their hotkeys.
///
/// Example: templar wallet list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    wallet: WalletFlags,
}

/// Show the addresses and files of a wallet; no secrets.
///
/// Example: templar wallet show --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Show {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    wallet: WalletFlags,
}

/// Create a key from an existing secret: a phrase, a seed, or a key file of Bittensor's tools, encrypted or not.
///
/// The secret (12 to 24 words with or without derivation steps, or 0x and 64 hexadecimal digits) is asked for without
/// being shown, or read from stdin. The password of an encrypted file is asked for, or read from TEMPLAR_WALLET_PASSWORD.
/// Keys that the whole world has, such as //Alice, are rejected unless --development is given.
///
/// Example: templar wallet import hotkey --wallet alice --hotkey miner < phrase.txt
/// Example: templar wallet import coldkey --wallet alice --file ~/.bittensor/wallets/default/coldkey
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Import {
    /// Key to create
    key: Which,
    /// Read the secret from this key file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Replace a key that exists, or a watched address; a dated copy is kept in the wallet's folder `replaced`
    #[arg(long)]
    overwrite: bool,
    /// Accept a key that the whole world has, such as //Alice, for a development ledger
    #[arg(long)]
    development: bool,
    /// Leave the coldkey unencrypted
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
}

/// Print the secret of a key.
///
/// Example: templar wallet export hotkey --wallet alice --hotkey miner --show-secret
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Export {
    /// Which key
    key: Which,
    /// Confirm that the secret is printed: anyone who sees it has the key
    #[arg(long)]
    show_secret: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The key that holds funds
    Coldkey,
    /// The identity in the subnet
    Hotkey,
}

impl Wallet {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::New(new) => new.run(config),
            Action::List(list) => list.run(config),
            Action::Show(show) => show.run(config),
            Action::Import(import) => import.run(config),
            Action::Export(export) => export.run(config),
            Action::History(history) => history.run(config),
        }
    }
}

impl New {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet).with(&self.hotkey);
        let wallet = keys::wallet(&config)?;
        let hotkey = config.hotkey();
        // Everything is checked before a password is asked for, and before anything is written.
        wallet.hotkey_path(hotkey)?;
        if !self.overwrite {
            if !self.hotkey_only {
                let advice = "add --hotkey-only for a further hotkey, or choose another name with --wallet";
                wallet.check_free(KeyName::Coldkey(None), None).advise(advice)?;
            }
            wallet.check_free(KeyName::Hotkey(hotkey), None).advise("choose another name with --hotkey")?;
        }
        check_output().advise("print to a terminal or into a file: the phrases are shown once")?;
        let password = if self.hotkey_only || self.no_password { None } else { keys::new_password()? };
        let with_coldkey = (!self.hotkey_only).then(|| with_cost(password.as_ref()));
        let made = wallet.generate(with_coldkey, hotkey, overwrite(self.overwrite))?;
        let facts = made.keys.iter().map(|key| {
            (key.kind.to_owned(), json!({"address": key.address, "phrase": key.phrase.as_str(), "file": key.file}))
        });
        let mut facts: Map<String, Value> = facts.collect();
        facts.insert("wallet".to_owned(), json!(config.wallet()));
        facts.insert("kept".to_owned(), json!(made.kept));
        self.output.facts(&facts, |paint| wallets::generated(paint, &made))?;
        wallets::check_seen(&made).advise("see them with `templar wallet export`")
    }
}

fn with_cost(password: Option<&Zeroizing<String>>) -> Option<(&str, PasswordCost)> {
    password.map(|password| (password.as_str(), PasswordCost::BITTENSOR))
}

fn overwrite(is_wanted: bool) -> Overwrite {
    if is_wanted { Overwrite::Replace } else { Overwrite::Refuse }
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet);
        let folder = config.wallet_folder();
        let listed = Files::list(&folder)?.into_iter().map(|name| {
            let wallet = Files::new(&folder, &name)?;
            Ok((name, wallet.coldkey_facts(), wallet.hotkeys().map_err(|error| error.to_string())))
        });
        let listed = listed.collect::<anyhow::Result<Vec<_>>>()?;
        let facts = listed.iter().map(|(name, coldkey, hotkeys)| {
            json!({"wallet": name, "coldkey": coldkey.address, "hotkeys": hotkeys.as_deref().unwrap_or_default()})
        });
        self.output.facts(&facts.collect::<Vec<_>>(), |paint| wallets::list(paint, &folder, &listed))
    }
}

impl Show {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let inventory = keys::wallet(&config.with(&self.wallet))?.inventory()?;
        self.output.facts(&inventory, |paint| wallets::inventory(paint, &inventory))
    }
}

impl Import {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet).with(&self.hotkey);
        let wallet = keys::wallet(&config)?;
        let secret = match &self.file {
            Some(path) => keys::key_file(path)?,
            None => keys::secret("Phrase or seed: ")?,
        };
        // Everything is checked before a password is asked for.
        let address = secret.keypair()?.public();
        if let Some(what) = publicly_known(&secret)? {
            let warning = format!("{address} is {what}: the whole world has this key, and takes what is sent to it");
            if !self.development {
                let advice = "import a secret of your own, or add --development to use it on a development ledger";
                return Err(Usage(warning)).advise(advice);
            }
            eprintln!("warning: {warning}");
        }
        let (name, key, path) = match self.key {
            Which::Coldkey => ("coldkey", KeyName::Coldkey(None), wallet.coldkey_path()),
            Which::Hotkey => ("hotkey", KeyName::Hotkey(config.hotkey()), wallet.hotkey_path(config.hotkey())?),
        };
        if !self.overwrite {
            wallet.check_free(key, Some(&address))?;
        }
        let password = match self.key {
            Which::Coldkey if !self.no_password => keys::new_password()?,
            _ => None,
        };
        let key = if self.key == Which::Coldkey { KeyName::Coldkey(with_cost(password.as_ref())) } else { key };
        let kept = wallet.write(&[(key, &secret)], overwrite(self.overwrite))?;
        let facts = json!({"wallet": config.wallet(), "key": name, "address": address, "file": path, "kept": kept});
        self.output
            .facts(&facts, |_| format!("imported {name} {address} into {}\n{}", path.display(), wallets::kept(&kept)))
    }
}

impl Export {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet).with(&self.hotkey);
        if !self.show_secret {
            let what = "this prints the secret of the key: anyone who sees it has the key";
            return Err(Usage(what.to_owned())).advise("add --show-secret if that is what you want");
        }
        let wallet = keys::wallet(&config)?;
        let (name, path) = match self.key {
            Which::Coldkey => ("coldkey", wallet.coldkey_path()),
            Which::Hotkey => ("hotkey", wallet.hotkey_path(config.hotkey())?),
        };
        let source = keys::key_file(&path)?;
        let pair = source.keypair()?;
        let (phrase, seed) = match &source {
            SecretSource::Uri(phrase) => (Some(phrase.clone()), None),
            SecretSource::Seed(seed) => (None, Some(Zeroizing::new(format!("0x{}", hex::encode(seed.as_slice()))))),
            SecretSource::Expanded(_) => (None, None),
        };
        let (phrase, seed) = (phrase.as_ref(), seed.as_ref());
        let private = Zeroizing::new(format!("0x{}", hex::encode(pair.expanded_secret_ed25519().as_slice())));
        let text = |value: Option<&Zeroizing<String>>| value.map(|value| value.as_str().to_owned());
        let facts = json!({
            "wallet": config.wallet(),
            "key": name,
            "address": pair.public(),
            "private_key": private.as_str(),
            "phrase": text(phrase),
            "seed": text(seed),
        });
        self.output.facts(&facts, |_| {
            let rows = [
                Some(("address", pair.public().to_string())),
                text(phrase).map(|phrase| ("phrase", phrase)),
                text(seed).map(|seed| ("seed", seed)),
                Some(("private key", private.as_str().to_owned())),
            ];
            facts_table(&rows.into_iter().flatten().collect::<Vec<_>>())
        })
    }
}
