//! Wallets: what is here of them, and what was made.

use crate::{Paint, is_output_lost, table};
use std::path::{Path, PathBuf};
use templar_wallet::{Custody, Generated, Inventory, KeyFacts};

/// The keys of a wallet, a line each.
pub fn inventory(paint: Paint, inventory: &Inventory) -> String {
    let row = |name: String, facts: &KeyFacts| vec![name, address(facts), state(facts)];
    let mut rows = vec![row("coldkey".to_owned(), &inventory.coldkey)];
    rows.extend(inventory.hotkeys.iter().map(|key| row(format!("hotkey {}", key.name), &key.facts)));
    table(paint, Some(&["key", "address", "file"]), &rows)
}

/// A wallet: its name, its coldkey, and the names of its hotkeys or why they cannot be listed.
pub type Listed = (String, KeyFacts, Result<Vec<String>, String>);

/// Wallets with their coldkeys and the names of their hotkeys, as far as they can be read.
pub fn list(paint: Paint, folder: &Path, wallets: &[Listed]) -> String {
    if wallets.is_empty() {
        return format!("no wallets in {}; create one with `templar wallet new`", folder.display());
    }
    let rows: Vec<Vec<String>> = wallets
        .iter()
        .map(|(name, coldkey, hotkeys)| {
            let hotkeys = hotkeys.as_ref().map_or_else(Clone::clone, |names| names.join(", "));
            vec![name.clone(), address(coldkey), hotkeys]
        })
        .collect();
    table(paint, Some(&["wallet", "coldkey", "hotkeys"]), &rows)
}

fn address(facts: &KeyFacts) -> String {
    match (facts.address, &facts.fault, facts.custody) {
        (Some(address), ..) => address.to_string(),
        (None, Some(_), _) => "damaged".to_owned(),
        (None, None, Custody::Encrypted) => "unknown without its password".to_owned(),
        (None, None, _) => "not here".to_owned(),
    }
}

fn state(facts: &KeyFacts) -> String {
    let state = match facts.custody {
        Custody::Encrypted => "encrypted",
        Custody::Plain => "not encrypted",
        Custody::Elsewhere if facts.address.is_some() => "public half only",
        Custody::Elsewhere => "not here",
    };
    let fault = facts.fault.as_ref().map(|fault| format!("; {fault}")).unwrap_or_default();
    format!("{} ({state}){fault}", facts.path.display())
}

/// New keys whose phrases could not be shown; standard output is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("made {}, but the phrases were not shown: standard output takes no more", files.join(" and "))]
pub struct UnseenError {
    /// The keys' files.
    pub files: Vec<String>,
}

/// Fails where what was printed of new keys is lost.
pub fn check_seen(generated: &Generated) -> Result<(), UnseenError> {
    match is_output_lost() {
        true => Err(UnseenError { files: generated.keys.iter().map(|key| key.file.display().to_string()).collect() }),
        false => Ok(()),
    }
}

/// New keys with their phrases.
pub fn generated(paint: Paint, generated: &Generated) -> String {
    let mut text = String::new();
    for key in &generated.keys {
        text += &format!("{}\n  address  {}\n", paint.bold(key.kind), key.address);
        text += &format!("  file     {}\n  phrase   {}\n", key.file.display(), paint.yellow(&key.phrase));
    }
    text += &kept(&generated.kept);
    text + &paint.dim("Write the phrases down and keep them secret: they are not shown again.")
}

/// A line for each copy of what was replaced.
pub fn kept(kept: &[PathBuf]) -> String {
    kept.iter().map(|path| format!("the old file is kept in {}\n", path.display())).collect()
}
