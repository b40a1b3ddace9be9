//! One wallet: a coldkey and its hotkeys, in a folder.

use crate::encryption::{self, PasswordCost, is_encrypted};
use crate::error::WalletError;
use crate::facts::{Generated, GeneratedKey, Inventory, KeyFacts, NamedKey, read_address};
use crate::files::{self, NewFile, disk};
use crate::key_file::{self, decode_keyfile, encode_keyfile, encode_public_keyfile};
use crate::secret::{SecretBytes, SecretSource, zeroizing};
use std::path::{Path, PathBuf};
use templar_base::{Keypair, PublicKey};

/// What the names of public halves end in.
const PUBLIC_END: &str = "pub.txt";

/// What to do where a key, or the public half of one, exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep it and fail.
    Refuse,
    /// Replace it; a dated copy is kept in the wallet's folder `replaced`.
    Replace,
}

/// Which key of a wallet.
#[derive(Debug, Clone, Copy)]
pub enum KeyName<'a> {
    /// The one that holds funds; encrypted where there is a password.
    Coldkey(Option<(&'a str, PasswordCost)>),
    /// An identity in the subnet, by its name; plain.
    Hotkey(&'a str),
}

/// One wallet: a coldkey and its hotkeys, in a folder.
#[derive(Debug, Clone)]
pub struct Wallet {
    root: PathBuf,
    name: String,
}

impl Wallet {
    /// The wallet `name` under `root` (Bittensor's default is `~/.bittensor/wallets`). Nothing is read or written yet.
    pub fn new(root: &Path, name: &str) -> Result<Self, WalletError> {
        check_name(name)?;
        Ok(Self { root: root.to_owned(), name: name.to_owned() })
    }

    /// Names of the wallets under `root`, sorted; none where the folder does not exist. A folder without a key is none.
    pub fn list(root: &Path) -> Result<Vec<String>, WalletError> {
        let mut names = names_in(root)?;
        // One that cannot be looked into may have keys.
        let may_have_keys =
            |name: &String| Self { root: root.to_owned(), name: name.clone() }.has_keys().unwrap_or(true);
        names.retain(|name| root.join(name).is_dir() && may_have_keys(name));
        Ok(names)
    }

    /// Whether there is any key of it.
    fn has_keys(&self) -> Result<bool, WalletError> {
        let found = |path: PathBuf| path.try_exists().map_err(|error| disk(&path, error));
        Ok(found(self.coldkey_path())? || found(self.coldkeypub_path())? || !self.hotkeys()?.is_empty())
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Names of this wallet's hotkeys, sorted, those of which only the public half is here included.
    pub fn hotkeys(&self) -> Result<Vec<String>, WalletError> {
        let folder = self.folder().join("hotkeys");
        let mut names = names_in(&folder)?;
        names.retain(|name| folder.join(name).is_file());
        for name in &mut names {
            name.truncate(name.strip_suffix(PUBLIC_END).map_or(name.len(), str::len));
        }
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Path of the coldkey.
    pub fn coldkey_path(&self) -> PathBuf {
        self.folder().join("coldkey")
    }

    /// Path of the coldkey's public half.
    pub fn coldkeypub_path(&self) -> PathBuf {
        self.folder().join("coldkeypub.txt")
    }

    /// Path of a hotkey.
    pub fn hotkey_path(&self, hotkey: &str) -> Result<PathBuf, WalletError> {
        check_name(hotkey)?;
        if hotkey.ends_with(PUBLIC_END) {
            return Err(WalletError::PublicName(hotkey.to_owned()));
        }
        Ok(self.folder().join("hotkeys").join(hotkey))
    }

    /// Path of a hotkey's public half.
    pub fn hotkeypub_path(&self, hotkey: &str) -> Result<PathBuf, WalletError> {
        Ok(self.hotkey_path(hotkey)?.with_file_name(format!("{hotkey}{PUBLIC_END}")))
    }

    fn paths(&self, key: KeyName<'_>) -> Result<(PathBuf, PathBuf), WalletError> {
        match key {
            KeyName::Coldkey(_) => Ok((self.coldkey_path(), self.coldkeypub_path())),
            KeyName::Hotkey(name) => Ok((self.hotkey_path(name)?, self.hotkeypub_path(name)?)),
        }
    }

    /// Fails where a key cannot be written without replacing another one, or the public half of one whose secret is
    /// elsewhere. `address` is that of the new key, if it is known: a key may join its own public half.
    pub fn check_free(&self, key: KeyName<'_>, address: Option<&PublicKey>) -> Result<(), WalletError> {
        let (secret, public) = self.paths(key)?;
        if secret.symlink_metadata().is_ok() {
            return Err(WalletError::Exists(secret));
        }
        match read_address(&public) {
            Ok(None) => Ok(()),
            Ok(Some(stated)) if Some(&stated) == address => Ok(()),
            Ok(Some(stated)) => Err(WalletError::Watched { path: public, address: stated }),
            Err(error) => {
                let reason = match error {
                    WalletError::Malformed { reason, .. } => reason,
                    other => other.to_string(),
                };
                Err(WalletError::DamagedPublic { path: public, reason })
            }
        }
    }

    /// Writes keys with their public halves: all, or where anything fails none. Gives the copies of what was replaced.
    pub fn write(
        &self,
        keys: &[(KeyName<'_>, &SecretSource)],
        overwrite: Overwrite,
    ) -> Result<Vec<PathBuf>, WalletError> {
        let replace = overwrite == Overwrite::Replace;
        let mut files = Vec::new();
        for (key, secret) in keys {
            let pair = secret.keypair()?;
            let (secret_path, public_path) = self.paths(*key)?;
            if !replace {
                self.check_free(*key, Some(&pair.public()))?;
            }
            let mut bytes = encode_keyfile(&pair, secret);
            if let KeyName::Coldkey(Some((password, cost))) = key {
                bytes = zeroizing(encryption::encrypt(&bytes, password, *cost)?);
            }
            files.push(NewFile { path: secret_path, bytes, replace });
            // One that is there already states the same address.
            if replace || !public_path.exists() {
                files.push(NewFile { path: public_path, bytes: encode_public_keyfile(&pair.public()), replace });
            }
        }
        files::write_all(&self.folder(), &files)
    }

    /// Writes a hotkey, plain, and its public half.
    pub fn write_hotkey(
        &self,
        hotkey: &str,
        secret: &SecretSource,
        overwrite: Overwrite,
    ) -> Result<Keypair, WalletError> {
        self.write(&[(KeyName::Hotkey(hotkey), secret)], overwrite)?;
        Ok(secret.keypair()?)
    }

    /// Writes the coldkey, encrypted where there is a password, and its public half.
    pub fn write_coldkey(
        &self,
        secret: &SecretSource,
        password: Option<(&str, PasswordCost)>,
        overwrite: Overwrite,
    ) -> Result<Keypair, WalletError> {
        self.write(&[(KeyName::Coldkey(password), secret)], overwrite)?;
        Ok(secret.keypair()?)
    }

    /// Reads a hotkey that is not encrypted.
    pub fn hotkey(&self, hotkey: &str) -> Result<Keypair, WalletError> {
        self.hotkey_with(hotkey, None)
    }

    /// Reads a hotkey; an encrypted one needs its password, and 512 MiB of memory for a second or so.
    pub fn hotkey_with(&self, hotkey: &str, password: Option<&str>) -> Result<Keypair, WalletError> {
        let path = self.hotkey_path(hotkey)?;
        match files::read(&path)? {
            Some(bytes) => {
                let pair = decode_keyfile(&path, &plain(&path, bytes, password, PasswordCost::BITTENSOR)?)?;
                check_stated(&self.hotkeypub_path(hotkey)?, pair)
            }
            None => Err(self.no_hotkey(hotkey)),
        }
    }

    /// Reads the coldkey; an encrypted one needs its password, and 512 MiB of memory for a second or so.
    pub fn coldkey(&self, password: Option<&str>) -> Result<Keypair, WalletError> {
        self.coldkey_with_cost(password, PasswordCost::BITTENSOR)
    }

    /// Reads a coldkey that was encrypted at another cost.
    pub fn coldkey_with_cost(&self, password: Option<&str>, cost: PasswordCost) -> Result<Keypair, WalletError> {
        let path = self.coldkey_path();
        match files::read(&path)? {
            Some(bytes) => {
                let pair = decode_keyfile(&path, &plain(&path, bytes, password, cost)?)?;
                check_stated(&self.coldkeypub_path(), pair)
            }
            None => Err(self.no_coldkey()),
        }
    }

    /// Whether the coldkey needs a password.
    pub fn is_coldkey_encrypted(&self) -> Result<bool, WalletError> {
        Ok(is_encrypted(&files::read(&self.coldkey_path())?.ok_or_else(|| self.no_coldkey())?))
    }

    /// Whether a hotkey needs a password.
    pub fn is_hotkey_encrypted(&self, hotkey: &str) -> Result<bool, WalletError> {
        Ok(is_encrypted(&files::read(&self.hotkey_path(hotkey)?)?.ok_or_else(|| self.no_hotkey(hotkey))?))
    }

    /// The coldkey's address, without its secret where the public half is here.
    pub fn coldkey_address(&self) -> Result<PublicKey, WalletError> {
        self.coldkey_facts().into_address(|| self.no_coldkey())
    }

    /// A hotkey's address, without its secret where the public half is here; [`WalletError::Locked`] where the key is
    /// encrypted and alone.
    pub fn hotkey_address(&self, hotkey: &str) -> Result<PublicKey, WalletError> {
        self.hotkey_facts(hotkey)?.into_address(|| self.no_hotkey(hotkey))
    }

    /// What is here of the wallet, damaged keys beside good ones.
    pub fn inventory(&self) -> Result<Inventory, WalletError> {
        self.check_exists()?;
        let hotkey = |name: String| Ok(NamedKey { facts: self.hotkey_facts(&name)?, name });
        let hotkeys = self.hotkeys()?.into_iter().map(hotkey).collect::<Result<Vec<_>, WalletError>>()?;
        Ok(Inventory { wallet: self.name.clone(), coldkey: self.coldkey_facts(), hotkeys })
    }

    /// Makes new keys and writes them: a hotkey, and unless `coldkey` is none a coldkey with its password.
    pub fn generate(
        &self,
        coldkey: Option<Option<(&str, PasswordCost)>>,
        hotkey: &str,
        overwrite: Overwrite,
    ) -> Result<Generated, WalletError> {
        let (cold, cold_phrase) = SecretSource::generate()?;
        let (hot, hot_phrase) = SecretSource::generate()?;
        let mut keys = vec![(KeyName::Hotkey(hotkey), &hot)];
        let mut made = vec![GeneratedKey::new("hotkey", &hot, hot_phrase, self.hotkey_path(hotkey)?)?];
        if let Some(password) = coldkey {
            keys.insert(0, (KeyName::Coldkey(password), &cold));
            made.insert(0, GeneratedKey::new("coldkey", &cold, cold_phrase, self.coldkey_path())?);
        }
        let kept = self.write(&keys, overwrite)?;
        Ok(Generated { keys: made, kept })
    }

    /// What is known of the coldkey.
    pub fn coldkey_facts(&self) -> KeyFacts {
        KeyFacts::of(self.coldkey_path(), &self.coldkeypub_path())
    }

    /// What is known of a hotkey.
    pub fn hotkey_facts(&self, hotkey: &str) -> Result<KeyFacts, WalletError> {
        Ok(KeyFacts::of(self.hotkey_path(hotkey)?, &self.hotkeypub_path(hotkey)?))
    }

    /// Fails where the wallet has no key at all.
    pub fn check_exists(&self) -> Result<(), WalletError> {
        match self.has_keys()? {
            true => Ok(()),
            false => Err(WalletError::NoWallet { wallet: self.name.clone(), root: self.root.clone() }),
        }
    }

    /// Why there is no coldkey.
    fn no_coldkey(&self) -> WalletError {
        let wallet = self.name.clone();
        match (self.check_exists(), read_address(&self.coldkeypub_path())) {
            (Err(none), _) => none,
            (Ok(()), Ok(Some(address))) => WalletError::WatchOnly { wallet, address },
            (Ok(()), _) => WalletError::NoColdkey { wallet },
        }
    }

    /// Why there is no such hotkey.
    fn no_hotkey(&self, hotkey: &str) -> WalletError {
        let (wallet, hotkey) = (self.name.clone(), hotkey.to_owned());
        match self.check_exists() {
            Err(none) => none,
            Ok(()) => WalletError::NoHotkey { wallet, hotkey, existing: self.hotkeys().unwrap_or_default() },
        }
    }
}

/// Whether the key file at `path` needs a password.
pub fn is_key_file_encrypted(path: &Path) -> Result<bool, WalletError> {
    Ok(is_encrypted(&read_existing(path)?))
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
    key_file::decode_source(path, &plain(path, read_existing(path)?, password, cost)?)
}

fn read_existing(path: &Path) -> Result<SecretBytes, WalletError> {
    files::read(path)?.ok_or_else(|| WalletError::Missing(path.to_owned()))
}

/// The key, unless its public half, where there is one that can be read, is another key's: what a command showed and
/// what it signs with must be the same.
fn check_stated(public: &Path, pair: Keypair) -> Result<Keypair, WalletError> {
    match read_address(public) {
        Ok(Some(stated)) if stated != pair.public() => Err(WalletError::AddressMismatch {
            path: public.to_owned(),
            stated: stated.to_string(),
            actual: pair.public(),
        }),
        _ => Ok(pair),
    }
}

/// The bytes of a key file, decrypted where they are not plain.
fn plain(
    path: &Path,
    bytes: SecretBytes,
    password: Option<&str>,
    cost: PasswordCost,
) -> Result<SecretBytes, WalletError> {
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
        return Err(WalletError::Name(
            name.chars().take(128).map(|it| if it.is_control() { ' ' } else { it }).collect(),
        ));
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
        assert!(matches!(wallet.hotkey("none"), Err(WalletError::NoHotkey { .. })));
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

    #[test]
    fn a_watched_address_gives_way_to_its_own_key_or_to_an_explicit_word() {
        let (_root, wallet) = wallet();
        let watched = SecretSource::uri("//Alice");
        wallet.write_coldkey(&watched, None, Overwrite::Refuse).unwrap();
        std::fs::remove_file(wallet.coldkey_path()).unwrap();
        assert!(matches!(wallet.coldkey(None), Err(WalletError::WatchOnly { .. })));
        let other = SecretSource::uri("//Bob");
        let refused = wallet.write_coldkey(&other, None, Overwrite::Refuse);
        assert!(matches!(refused, Err(WalletError::Watched { .. })), "{refused:?}");
        wallet.write_coldkey(&watched, None, Overwrite::Refuse).unwrap();

        std::fs::remove_file(wallet.coldkey_path()).unwrap();
        let kept = wallet.write(&[(KeyName::Coldkey(None), &other)], Overwrite::Replace).unwrap();
        let copies: Vec<_> = kept.iter().map(|path| read_address(path).unwrap().unwrap()).collect();
        assert_eq!(copies, [watched.keypair().unwrap().public()]);
        let kept = wallet.write(&[(KeyName::Coldkey(None), &watched)], Overwrite::Replace).unwrap();
        assert_eq!(kept.len(), 2, "{kept:?}");
        let source = read_key_file(&kept[0], None).unwrap();
        assert_eq!(source.keypair().unwrap().public(), other.keypair().unwrap().public());

        std::fs::remove_file(wallet.coldkey_path()).unwrap();
        std::fs::write(wallet.coldkeypub_path(), "{").unwrap();
        let refused = wallet.write_coldkey(&watched, None, Overwrite::Refuse);
        assert!(matches!(refused, Err(WalletError::DamagedPublic { .. })), "{refused:?}");
        assert_eq!(std::fs::read(wallet.coldkeypub_path()).unwrap(), b"{");
    }

    #[test]
    fn a_change_that_fails_leaves_nothing() {
        let (root, wallet) = wallet();
        let (secret, _) = SecretSource::generate().unwrap();
        // The second file of the change cannot be written: a folder has its name.
        std::fs::create_dir_all(wallet.hotkey_path("x").unwrap()).unwrap();
        let keys = [(KeyName::Coldkey(None), &secret), (KeyName::Hotkey("x"), &secret)];
        assert!(wallet.write(&keys, Overwrite::Replace).is_err());
        assert!(!wallet.coldkey_path().exists() && !wallet.coldkeypub_path().exists());
        assert_eq!(Wallet::list(root.path()).unwrap(), Vec::<String>::new());
        let fresh = Wallet::new(root.path(), "fresh").unwrap();
        std::fs::write(root.path().join("fresh"), "a file").unwrap();
        assert!(fresh.write_hotkey("x", &secret, Overwrite::Refuse).is_err());
        let other = Wallet::new(&root.path().join("deep/er"), "w").unwrap();
        std::fs::create_dir_all(other.folder()).unwrap();
        std::fs::write(other.folder().join("hotkeys"), "a file").unwrap();
        let keys = [(KeyName::Coldkey(None), &secret), (KeyName::Hotkey("x"), &secret)];
        assert!(other.write(&keys, Overwrite::Refuse).is_err());
        assert_eq!(std::fs::read_dir(other.folder()).unwrap().count(), 1, "drafts or keys are left");
    }

    #[test]
    fn each_key_is_known_by_what_is_here_of_it() {
        let (_root, wallet) = wallet();
        let secret = SecretSource::uri("//Alice");
        let address = secret.keypair().unwrap().public();
        assert!(matches!(wallet.coldkey_address(), Err(WalletError::NoWallet { .. })));
        for name in ["plain", "public", "locked"] {
            wallet.write_hotkey(name, &secret, Overwrite::Refuse).unwrap();
        }
        assert!(matches!(wallet.coldkey_address(), Err(WalletError::NoColdkey { .. })));
        std::fs::remove_file(wallet.hotkeypub_path("plain").unwrap()).unwrap();
        std::fs::remove_file(wallet.hotkey_path("public").unwrap()).unwrap();
        std::fs::write(wallet.hotkey_path("locked").unwrap(), b"$NACLxyz").unwrap();
        assert_eq!(wallet.hotkeys().unwrap(), ["locked", "plain", "public"]);
        for name in ["plain", "public", "locked"] {
            assert_eq!(wallet.hotkey_address(name).unwrap(), address, "{name}");
        }
        assert!(matches!(wallet.hotkey("locked"), Err(WalletError::Locked(_))));
        std::fs::remove_file(wallet.hotkeypub_path("locked").unwrap()).unwrap();
        assert!(matches!(wallet.hotkey_address("locked"), Err(WalletError::Locked(_))));
        assert!(matches!(wallet.hotkey_path("xpub.txt"), Err(WalletError::PublicName(_))));
        std::fs::write(wallet.hotkeypub_path("plain").unwrap(), encode_public_keyfile(&PublicKey::new([3; 32])))
            .unwrap();
        assert!(matches!(wallet.hotkey_address("plain"), Err(WalletError::AddressMismatch { .. })));
    }
}
