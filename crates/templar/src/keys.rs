//! The operator's keys: the wallet of the configuration, opened, with a password where it needs one.

use crate::config::Config;
use crate::failure::Usage;
use anyhow::Context;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use templar_base::{Keypair, PublicKey};
use templar_wallet::{SecretSource, Wallet, WalletError, is_key_file_encrypted, read_key_file};
use zeroize::Zeroizing;

/// The variable that holds the password where there is no terminal to ask on.
pub const PASSWORD_VARIABLE: &str = "TEMPLAR_WALLET_PASSWORD";

/// The wallet of the configuration.
pub fn wallet(config: &Config) -> Result<Wallet, WalletError> {
    Wallet::new(&config.wallet_folder(), config.wallet())
}

/// The coldkey; asks for its password if it has one.
pub fn coldkey(config: &Config) -> anyhow::Result<Keypair> {
    let wallet = wallet(config)?;
    let password = match wallet.is_coldkey_encrypted()? {
        true => Some(password(&format!("Password of wallet {}: ", config.wallet()))?),
        false => None,
    };
    Ok(wallet.coldkey(password.as_ref().map(|password| password.as_str()))?)
}

/// What the key in a file is made of; asks for the file's password if it has one.
pub fn key_file(path: &Path) -> anyhow::Result<SecretSource> {
    let password = match is_key_file_encrypted(path)? {
        true => Some(password(&format!("Password of {}: ", path.display()))?),
        false => None,
    };
    Ok(read_key_file(path, password.as_ref().map(|password| password.as_str()))?)
}

/// The hotkey; asks for its password if it has one.
pub fn hotkey(config: &Config) -> anyhow::Result<Keypair> {
    let (wallet, hotkey) = (wallet(config)?, config.hotkey());
    let password = match wallet.is_hotkey_encrypted(hotkey)? {
        true => Some(password(&format!("Password of hotkey {hotkey} of wallet {}: ", config.wallet()))?),
        false => None,
    };
    Ok(wallet.hotkey_with(hotkey, password.as_ref().map(|password| password.as_str()))?)
}

/// The hotkey's address; asks for a password only where nothing else states it.
pub fn hotkey_address(config: &Config) -> anyhow::Result<PublicKey> {
    match wallet(config)?.hotkey_address(config.hotkey()) {
        Err(WalletError::Locked(_)) => Ok(hotkey(config)?.public()),
        known => Ok(known?),
    }
}

/// A password for a new key, asked for twice; none if it is empty.
pub fn new_password() -> anyhow::Result<Option<Zeroizing<String>>> {
    if let Some(password) = password_variable() {
        return Ok(Some(password));
    }
    let password = ask("New password for the coldkey (empty for none): ")?;
    if password.is_empty() {
        return Ok(None);
    }
    if ask("The same again: ")? != password {
        return Err(Usage("the two passwords differ".to_owned()).into());
    }
    Ok(Some(password))
}

/// A secret phrase or seed: from the terminal without showing it, else all of stdin.
pub fn secret(prompt: &str) -> anyhow::Result<SecretSource> {
    /// More than the longest phrase in the widest spacing.
    const MOST_BYTES: u64 = 64 << 10;
    let text = match io::stdin().is_terminal() {
        true => ask(prompt)?,
        false => {
            let mut bytes = Zeroizing::new(Vec::new());
            io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes).context("cannot read the phrase from stdin")?;
            let text = std::str::from_utf8(&bytes).map_err(|_| Usage("stdin is not a phrase in UTF-8".to_owned()))?;
            Zeroizing::new(text.to_owned())
        }
    };
    Ok(SecretSource::read(&text).map_err(|error| Usage(error.to_string()))?)
}

fn password(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    password_variable().map_or_else(|| ask(prompt), Ok)
}

fn password_variable() -> Option<Zeroizing<String>> {
    std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()).map(Zeroizing::new)
}

fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let none = || format!("there is no terminal to ask for a password; set {PASSWORD_VARIABLE}, or run on a terminal");
    templar_screen::ask_hidden(prompt).with_context(none)
}
