//! `templar wallet`.

mod history;

use crate::config::{Config, HotkeyFlag, WalletFlags};
use crate::failure::{Advise, Usage};
use crate::keys;
use crate::output::Output;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use templar_base::Keypair;
use templar_screen::{facts_table, table};
use templar_wallet::{Overwrite, PasswordCost, SecretSource, Wallet as Files};
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
/// The phrase (12 to 24 words, //Alice, or 0x and 64 hexadecimal digits) is asked for without being shown, or is the
/// first line of stdin. The password of an encrypted file is asked for, or read from TEMPLAR_WALLET_PASSWORD.
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
    /// Replace a key that exists; the old one is lost
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
        // Both names are checked before anything is written, so that no half of a wallet is left behind.
        let hotkey_path = wallet.hotkey_path(hotkey)?;
        if !self.hotkey_only && wallet.coldkey_path().exists() {
            return Err(anyhow::anyhow!("wallet {} has a coldkey already: it is left as it is", config.wallet()))
                .advise("add --hotkey-only for a further hotkey, or choose another name with --wallet");
        }
        if hotkey_path.exists() {
            return Err(anyhow::anyhow!(
                "wallet {} has a hotkey {hotkey} already: it is left as it is",
                config.wallet()
            ))
            .advise("choose another name with --hotkey");
        }
        let mut made = Vec::new();
        if !self.hotkey_only {
            let password = if self.no_password { None } else { keys::new_password()? };
            let (secret, phrase) = SecretSource::generate()?;
            let pair = write_coldkey(&wallet, &secret, password, Overwrite::Refuse)?;
            made.push(("coldkey", pair, phrase, wallet.coldkey_path()));
        }
        let (secret, phrase) = SecretSource::generate()?;
        let pair = wallet.write_hotkey(hotkey, &secret, Overwrite::Refuse)?;
        made.push(("hotkey", pair, phrase, hotkey_path));

        let facts = made.iter().map(|(name, pair, phrase, path)| {
            ((*name).to_owned(), json!({"address": pair.public(), "phrase": phrase.as_str(), "file": path}))
        });
        let mut facts: Map<String, Value> = facts.collect();
        facts.insert("wallet".to_owned(), json!(config.wallet()));
        self.output.facts(&facts, |paint| {
            let mut text = String::new();
            for (name, pair, phrase, path) in &made {
                text += &format!("{}\n", paint.bold(name));
                text += &format!("  address  {}\n  file     {}\n", pair.public(), path.display());
                text += &format!("  phrase   {}\n", paint.yellow(phrase));
            }
            text + &paint.dim("Write the phrases down and keep them secret: they are not shown again.")
        })
    }
}

fn write_coldkey(
    wallet: &Files,
    secret: &SecretSource,
    password: Option<Zeroizing<String>>,
    overwrite: Overwrite,
) -> anyhow::Result<Keypair> {
    let password = password.as_ref().map(|password| (password.as_str(), PasswordCost::BITTENSOR));
    Ok(wallet.write_coldkey(secret, password, overwrite)?)
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet);
        let folder = config.wallet_folder();
        let mut facts = Vec::new();
        let mut rows = Vec::new();
        for name in Files::list(&folder)? {
            let wallet = Files::new(&folder, &name)?;
            let coldkey = wallet.coldkey_address().ok();
            let hotkeys = wallet.hotkeys()?;
            let address = coldkey.map_or("-".to_owned(), |address| address.to_string());
            rows.push(vec![name.clone(), address, hotkeys.join(", ")]);
            facts.push(json!({"wallet": name, "coldkey": coldkey, "hotkeys": hotkeys}));
        }
        self.output.facts(&facts, |paint| match rows.is_empty() {
            true => format!("no wallets in {}; create one with `templar wallet new`", folder.display()),
            false => table(paint, Some(&["wallet", "coldkey", "hotkeys"]), &rows),
        })
    }
}

impl Show {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet);
        let wallet = keys::wallet(&config)?;
        let coldkey = wallet.coldkey_address()?;
        // A wallet that only watches has no secret half here.
        let is_encrypted = wallet.is_coldkey_encrypted().ok();
        let mut hotkeys = Vec::new();
        for name in wallet.hotkeys()? {
            let pair = wallet.hotkey(&name)?;
            hotkeys.push((name.clone(), pair.public(), wallet.hotkey_path(&name)?));
        }
        let listed =
            hotkeys.iter().map(|(name, address, path)| json!({"name": name, "address": address, "file": path}));
        let facts = json!({
            "wallet": config.wallet(),
            "coldkey": {"address": coldkey, "file": wallet.coldkey_path(), "encrypted": is_encrypted},
            "hotkeys": listed.collect::<Vec<_>>(),
        });
        self.output.facts(&facts, |paint| {
            let state = match is_encrypted {
                Some(true) => "encrypted",
                Some(false) => "not encrypted",
                None => "public half only",
            };
            let path = wallet.coldkey_path().display().to_string();
            let mut rows = vec![vec!["coldkey".to_owned(), coldkey.to_string(), format!("{path} ({state})")]];
            rows.extend(hotkeys.iter().map(|(name, address, path)| {
                vec![format!("hotkey {name}"), address.to_string(), path.display().to_string()]
            }));
            table(paint, Some(&["key", "address", "file"]), &rows)
        })
    }
}

impl Import {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.wallet).with(&self.hotkey);
        let wallet = keys::wallet(&config)?;
        let secret = match &self.file {
            Some(path) => keys::key_file(path)?,
            None => parse_secret(&keys::phrase("Phrase or seed: ")?)?,
        };
        // Checked before a password is asked for.
        secret.keypair()?;
        let overwrite = if self.overwrite { Overwrite::Replace } else { Overwrite::Refuse };
        let (name, pair, path) = match self.key {
            Which::Coldkey => {
                let password = if self.no_password { None } else { keys::new_password()? };
                ("coldkey", write_coldkey(&wallet, &secret, password, overwrite)?, wallet.coldkey_path())
            }
            Which::Hotkey => {
                let hotkey = config.hotkey();
                ("hotkey", wallet.write_hotkey(hotkey, &secret, overwrite)?, wallet.hotkey_path(hotkey)?)
            }
        };
        let facts = json!({"wallet": config.wallet(), "key": name, "address": pair.public(), "file": path});
        self.output.facts(&facts, |_| format!("imported {name} {} into {}", pair.public(), path.display()))
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

/// A seed in hexadecimal, or a phrase.
fn parse_secret(text: &str) -> anyhow::Result<SecretSource> {
    let text = text.trim();
    let Some(digits) = text.strip_prefix("0x") else { return Ok(SecretSource::uri(text)) };
    let mut seed = Zeroizing::new([0; 32]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Ok(SecretSource::seed(*seed)),
        Err(_) => Err(Usage("a seed is 0x and 64 hexadecimal digits".to_owned()).into()),
    }
}
