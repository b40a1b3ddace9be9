//! One wallet: a coldkey and its hotkeys, in a folder.

use crate::encryption::{self, PasswordCost, is_encrypted};
use crate::error::WalletError;
use crate::key_file::{self, decode_keyfile, encode_keyfile, encode_public_keyfile};
use crate::secret::{SecretBytes, SecretSource, fill_random, zeroizing};
use std::io::Write;
use std::path::{Path, PathBuf};
use templar_base::{Keypair, PublicKey};

/// A key file is a few hundred bytes; more is not a key file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What to do where a key exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep it and fail.
    Refuse,
    /// Replace it; the old key is lost.
    Replace,
}

/// One wallet: a coldkey and its hotkeys, in a folder.
#[derive(Debug, Clone)]
pub struct Wallet {
    folder: PathBuf,
}

impl Wallet {
    /// The wallet `name` under `root` (Bittensor's default is `~/.bittensor/wallets`). Nothing is read or written yet.
    pub fn new(root: &Path, name: &str) -> Result<Self, WalletError> {
        check_name(name)?;
        Ok(Self { folder: root.join(name) })
    }

    /// Names of the wallets under `root`, sorted; none where the folder does not exist.
    pub fn list(root: &Path) -> Result<Vec<String>, WalletError> {
        let mut names = names_in(root)?;
        names.retain(|name| root.join(name).is_dir());
        Ok(names)
    }

    /// Names of this wallet's hotkeys, sorted.
    pub fn hotkeys(&self) -> Result<Vec<String>, WalletError> {
        let mut names = names_in(&self.folder.join("hotkeys"))?;
        names.retain(|name| !name.ends_with("pub.txt"));
        Ok(names)
    }

    /// Path of the coldkey.
    pub fn coldkey_path(&self) -> PathBuf {
        self.folder.join("coldkey")
    }

    /// Path of the coldkey's public half.
    pub fn coldkeypub_path(&self) -> PathBuf {
        self.folder.join("coldkeypub.txt")
    }

    /// Path of a hotkey.
    pub fn hotkey_path(&self, hotkey: &str) -> Result<PathBuf, WalletError> {
        check_name(hotkey)?;
        Ok(self.folder.join("hotkeys").join(hotkey))
    }

    /// Writes a hotkey, plain.
    pub fn write_hotkey(
        &self,
        hotkey: &str,
        secret: &SecretSource,
        overwrite: Overwrite,
    ) -> Result<Keypair, WalletError> {
        let path = self.hotkey_path(hotkey)?;
        let pair = secret.keypair()?;
        write_secret(&path, &encode_keyfile(&pair, secret), overwrite)?;
        Ok(pair)
    }

    /// Writes the coldkey, encrypted where there is a password, and its public half.
    pub fn write_coldkey(
        &self,
        secret: &SecretSource,
        password: Option<(&str, PasswordCost)>,
        overwrite: Overwrite,
    ) -> Result<Keypair, WalletError> {
        let pair = secret.keypair()?;
        let mut bytes = encode_keyfile(&pair, secret);
        if let Some((password, cost)) = password {
            bytes = zeroizing(encryption::encrypt(&bytes, password, cost)?);
        }
        write_secret(&self.coldkey_path(), &bytes, overwrite)?;
        // The public half is a copy: it follows the coldkey, whatever was there.
        write_secret(&self.coldkeypub_path(), &encode_public_keyfile(&pair.public()), Overwrite::Replace)?;
        Ok(pair)
    }

    /// Reads a hotkey.
    pub fn hotkey(&self, hotkey: &str) -> Result<Keypair, WalletError> {
        let path = self.hotkey_path(hotkey)?;
        decode_keyfile(&path, &read_secret(&path)?)
    }

    /// Reads the coldkey; an encrypted one needs its password, and 512 MiB of memory for a second or so.
    pub fn coldkey(&self, password: Option<&str>) -> Result<Keypair, WalletError> {
        self.coldkey_with_cost(password, PasswordCost::BITTENSOR)
    }

    /// Reads a coldkey that was encrypted at another cost.
    pub fn coldkey_with_cost(&self, password: Option<&str>, cost: PasswordCost) -> Result<Keypair, WalletError> {
        let path = self.coldkey_path();
        decode_keyfile(&path, &read_plain(&path, password, cost)?)
    }

    /// Whether the coldkey needs a password.
    pub fn is_coldkey_encrypted(&self) -> Result<bool, WalletError> {
        Ok(is_encrypted(&read_secret(&self.coldkey_path())?))
    }

    /// The coldkey's address, without its secret.
    pub fn coldkey_address(&self) -> Result<PublicKey, WalletError> {
        let path = self.coldkeypub_path();
        key_file::decode_address(&path, &read_secret(&path)?)
    }
}

/// Whether the key file at `path` needs a password.
pub fn is_key_file_encrypted(path: &Path) -> Result<bool, WalletError> {
    Ok(is_encrypted(&read_secret(path)?))
}

/// The secret in the key file at `path`: a file of this program or of Bittensor's tools, encrypted or not.
pub fn read_key_file(path: &Path, password: Option<&str>) -> Result<SecretSource, WalletError> {
    read_key_file_with_cost(path, password, PasswordCost::BITTENSOR)
}

/// Reads a key file that was encrypted at another cost.
pub fn read_key_file_with_cost(
    path: &Path,
    password: Option<&str>,
    cost: PasswordCost,
) -> Result<SecretSource, WalletError> {
    key_file::decode_source(path, &read_plain(path, password, cost)?)
}

/// The bytes of a key file, decrypted where they are not plain.
fn read_plain(path: &Path, password: Option<&str>, cost: PasswordCost) -> Result<SecretBytes, WalletError> {
    let bytes = read_secret(path)?;
    if !is_encrypted(&bytes) {
        return Ok(bytes);
    }
    let password = password.ok_or_else(|| WalletError::Locked(path.to_owned()))?;
    let plain = encryption::decrypt(&bytes, password, cost)?;
    plain.map(zeroizing).ok_or_else(|| WalletError::WrongPassword(path.to_owned()))
}

/// A name must stay inside its folder.
fn check_name(name: &str) -> Result<(), WalletError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(WalletError::Name(name.chars().take(128).collect()));
    }
    Ok(())
}

fn names_in(folder: &Path) -> Result<Vec<String>, WalletError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| disk(folder, error))?.file_name();
        names.extend(name.to_str().filter(|name| check_name(name).is_ok()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn read_secret(path: &Path) -> Result<SecretBytes, WalletError> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(WalletError::Missing(path.to_owned()));
        }
        Err(error) => return Err(disk(path, error)),
    };
    if length > MAX_FILE_BYTES {
        return Err(WalletError::Malformed { path: path.to_owned(), reason: format!("it has {length} bytes") });
    }
    Ok(zeroizing(std::fs::read(path).map_err(|error| disk(path, error))?))
}

/// Writes a file of permission 0600 that appears whole or not at all.
fn write_secret(path: &Path, bytes: &[u8], overwrite: Overwrite) -> Result<(), WalletError> {
    let failed = |error: std::io::Error| disk(path, error);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut nonce = [0; 8];
    fill_random(&mut nonce)?;
    let draft = folder.join(format!(".{}.new", hex::encode(nonce)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| match overwrite {
        Overwrite::Replace => std::fs::rename(&draft, path),
        // A hard link fails where the name exists, so that two processes cannot both make the key.
        Overwrite::Refuse => std::fs::hard_link(&draft, path).and_then(|()| std::fs::remove_file(&draft)),
    });
    match placed {
        Ok(()) => Ok(()),
        Err(error) => {
            // What is left of the draft holds a secret; the first error is the one to report.
            let _ = std::fs::remove_file(&draft);
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Err(WalletError::Exists(path.to_owned()));
            }
            Err(failed(error))
        }
    }
}

fn disk(path: &Path, source: std::io::Error) -> WalletError {
    WalletError::Disk { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet() -> (tempfile::TempDir, Wallet) {
        let root = tempfile::tempdir().unwrap();
        let wallet = Wallet::new(root.path(), "default").unwrap();
        (root, wallet)
    }

    #[test]
    fn keys_are_read_back_and_never_overwritten_by_accident() {
        let (root, wallet) = wallet();
        let (secret, _) = SecretSource::generate().unwrap();
        let made = wallet.write_hotkey("miner", &secret, Overwrite::Refuse).unwrap();
        assert_eq!(wallet.hotkey("miner").unwrap().public(), made.public());
        let other = SecretSource::uri("//Bob");
        assert!(matches!(wallet.write_hotkey("miner", &other, Overwrite::Refuse), Err(WalletError::Exists(_))));
        assert_eq!(wallet.hotkey("miner").unwrap().public(), made.public());
        wallet.write_hotkey("miner", &other, Overwrite::Replace).unwrap();
        assert_ne!(wallet.hotkey("miner").unwrap().public(), made.public());
        wallet.write_coldkey(&other, None, Overwrite::Refuse).unwrap();
        assert_eq!(wallet.coldkey_address().unwrap(), wallet.coldkey(None).unwrap().public());
        assert_eq!(Wallet::list(root.path()).unwrap(), ["default"]);
        assert_eq!(wallet.hotkeys().unwrap(), ["miner"]);
        assert!(matches!(wallet.hotkey("none"), Err(WalletError::Missing(_))));
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, wallet) = wallet();
        wallet.write_hotkey("miner", &SecretSource::uri("//Alice"), Overwrite::Refuse).unwrap();
        let path = wallet.hotkey_path("miner").unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_encrypted_coldkey_needs_its_password() {
        let (_root, wallet) = wallet();
        let cost = PasswordCost { iterations: 1, memory_kib: 64 };
        let secret = SecretSource::uri("//Alice");
        let made = wallet.write_coldkey(&secret, Some(("correct horse", cost)), Overwrite::Refuse).unwrap();
        assert!(wallet.is_coldkey_encrypted().unwrap());
        assert!(matches!(wallet.coldkey_with_cost(None, cost), Err(WalletError::Locked(_))));
        assert!(matches!(wallet.coldkey_with_cost(Some("wrong"), cost), Err(WalletError::WrongPassword(_))));
        let opened = wallet.coldkey_with_cost(Some("correct horse"), cost).unwrap();
        assert_eq!(opened.public(), made.public());
        assert_eq!(wallet.coldkey_address().unwrap(), made.public());
        let path = wallet.coldkey_path();
        assert!(is_key_file_encrypted(&path).unwrap());
        assert!(matches!(read_key_file_with_cost(&path, Some("wrong"), cost), Err(WalletError::WrongPassword(_))));
        let source = read_key_file_with_cost(&path, Some("correct horse"), cost).unwrap();
        assert_eq!(source.keypair().unwrap().public(), made.public());
    }

    #[test]
    fn names_stay_in_their_folder() {
        let (root, wallet) = wallet();
        for wrong in ["", "..", "../x", "a/b", ".hidden", "a\0b"] {
            assert!(matches!(Wallet::new(root.path(), wrong), Err(WalletError::Name(_))), "{wrong:?}");
            assert!(wallet.hotkey_path(wrong).is_err());
        }
    }
}
