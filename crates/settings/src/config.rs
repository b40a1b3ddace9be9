//! The values in force, and where each comes from.
//!
//! One mechanism for all commands: the default, overridden by `templar.toml`, overridden by a `TEMPLAR_*` variable,
//! overridden by a flag. A command flattens the flag groups that it needs ([`crate::DataFlag`], [`crate::LedgerFlag`], ...),
//! puts them into the [`Config`] and asks it for values.

use crate::{FILE_NAME, Kind, Origin, Setting, SettingFlags, SettingsError, resolve, user_file};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use templar_base::Netuid;
use templar_bucket::{BucketLocation, Credentials};
use templar_corpus::ReadOptions;
use templar_engine::{DeviceName, MAX_THREADS};

/// The effective settings. Secrets never appear in `Debug`.
#[derive(Clone)]
pub struct Config {
    values: BTreeMap<Setting, (String, Origin)>,
    /// The paths of [`Setting::Text`]; its value is what is shown of them.
    text_paths: Vec<PathBuf>,
    unknown_variables: Vec<String>,
    /// Whether `-q` was given: no progress.
    pub is_quiet: bool,
}

impl Config {
    /// The defaults, the file and the variables. `file` is what `--config` names, `others` are variables that begin with
    /// `TEMPLAR_` and are read elsewhere.
    pub fn load(file: Option<&Path>, others: &[&str], is_quiet: bool) -> Result<Self, SettingsError> {
        let mut config =
            Self { values: BTreeMap::new(), text_paths: Vec::new(), unknown_variables: Vec::new(), is_quiet };
        for &setting in Setting::ALL {
            if let Some(value) = setting.default() {
                config.values.insert(setting, (value, Origin::Default));
            }
        }
        let found = [PathBuf::from(FILE_NAME), user_file()].into_iter().find(|path| path.is_file());
        if let Some(path) = file.map(Path::to_path_buf).or(found) {
            let unreadable = |source| SettingsError::Unreadable { path: path.clone(), source };
            let text = std::fs::read_to_string(&path).map_err(unreadable)?;
            config.read_file(&path, &text)?;
        }
        // Other variables may be anything.
        let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        config.read_variables(std::env::vars_os().filter_map(texts), others)?;
        Ok(config)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let refuse = |what: String| SettingsError::File { path: path.clone(), what };
        let table: toml::Table = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for (name, value) in table {
            let Some(setting) = Setting::find(|setting| setting.name() == name) else {
                let names = Setting::ALL.iter().map(|setting| setting.name()).collect::<Vec<_>>().join(", ");
                return Err(refuse(format!("there is no setting `{name}`; the settings are {names}")));
            };
            let wrong = || refuse(format!("`{name}` must be text, a number or, for `text`, a list of paths"));
            let origin = Origin::File(path.clone());
            let value = match (setting.kind(), value) {
                (Kind::Paths, toml::Value::String(path)) => {
                    self.set_text(vec![resolve(&path, folder)], origin);
                    continue;
                }
                (Kind::Paths, toml::Value::Array(items)) => {
                    let items = items.iter().map(|item| item.as_str().map(|path| resolve(path, folder)));
                    self.set_text(items.collect::<Option<Vec<_>>>().ok_or_else(wrong)?, origin);
                    continue;
                }
                (Kind::Path, toml::Value::String(path)) => resolve(&path, folder).to_string_lossy().into_owned(),
                (Kind::Text | Kind::Secret, toml::Value::String(text)) => text,
                (Kind::Text | Kind::Secret, toml::Value::Integer(number)) => number.to_string(),
                _ => return Err(wrong()),
            };
            self.insert(setting, value, origin)?;
        }
        Ok(())
    }

    /// Takes a value from a file or a variable. White space at its ends was copied along, as by files with Windows' line
    /// ends; a control character inside cannot be meant, and would go into headers, file names and the terminal. The
    /// bucket's settings are checked where they are used, so that `templar doctor` can tell.
    fn insert(&mut self, setting: Setting, value: String, origin: Origin) -> Result<(), SettingsError> {
        let value = match setting.kind() {
            Kind::Text | Kind::Secret => value.trim(),
            Kind::Path | Kind::Paths => value.trim_matches(['\r', '\n', '\t']),
        };
        let is_checked_later = [Setting::Bucket, Setting::BucketAccessKey, Setting::BucketSecretKey].contains(&setting);
        if value.chars().any(char::is_control) && !is_checked_later {
            return Err(SettingsError::ControlCharacter { setting, origin });
        }
        self.values.insert(setting, (value.to_owned(), origin));
        Ok(())
    }

    fn read_variables(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
        others: &[&str],
    ) -> Result<(), SettingsError> {
        for (name, value) in variables.filter(|(name, value)| name.starts_with("TEMPLAR_") && !value.trim().is_empty())
        {
            match Setting::find(|setting| setting.variable() == name) {
                // A path may hold any character but this one, for all practical purposes.
                Some(setting) if setting.kind() == Kind::Paths => {
                    let paths = value.lines().filter(|line| !line.is_empty());
                    self.set_text(paths.map(|path| resolve(path, Path::new(""))).collect(), Origin::Variable(name));
                }
                Some(setting) => {
                    let value = match setting.kind() {
                        Kind::Path => resolve(&value, Path::new("")).to_string_lossy().into_owned(),
                        _ => value,
                    };
                    self.insert(setting, value, Origin::Variable(name))?;
                }
                None if others.contains(&name.as_str()) => {}
                None => self.unknown_variables.push(name),
            }
        }
        self.unknown_variables.sort();
        Ok(())
    }

    /// Sets the text to train on.
    pub(crate) fn set_text(&mut self, paths: Vec<PathBuf>, origin: Origin) {
        let shown = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        self.values.insert(Setting::Text, (shown, origin));
        self.text_paths = paths;
    }

    /// Lets a flag override a setting, if it was given.
    pub fn set(&mut self, setting: Setting, flag: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.values.insert(setting, (value.to_string(), Origin::Flag(flag)));
        }
    }

    /// Takes over the flags of a group.
    pub fn with(mut self, flags: &impl SettingFlags) -> Self {
        flags.put_into(&mut self);
        self
    }

    /// `TEMPLAR_*` variables that are not settings: probably misspelt.
    pub fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }

    /// A setting's text and origin, if it has a value.
    pub fn get(&self, setting: Setting) -> Option<(&str, &Origin)> {
        self.values.get(&setting).map(|(value, origin)| (value.as_str(), origin))
    }

    /// As [`Config::get`], for showing: a secret is hidden.
    pub fn shown(&self, setting: Setting) -> Option<(String, &Origin)> {
        let (value, origin) = self.get(setting)?;
        let is_secret = setting.kind() == Kind::Secret;
        Some((if is_secret { "(hidden)".to_owned() } else { value.to_owned() }, origin))
    }

    /// A setting's text; empty where it has none.
    fn text(&self, setting: Setting) -> &str {
        self.get(setting).map_or("", |(value, _)| value)
    }

    /// A setting as a value of a type.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&self, setting: Setting) -> Result<T, SettingsError> {
        self.parsed_by(setting, T::from_str)
    }

    /// A setting as what a function makes of its text.
    pub fn parsed_by<T, E: fmt::Display>(
        &self,
        setting: Setting,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, SettingsError> {
        let (value, _) = self.get(setting).unwrap_or(("", &Origin::Default));
        parse(value).map_err(|error| self.wrong(setting, error.to_string()))
    }

    /// Why a setting's text cannot be used.
    fn wrong(&self, setting: Setting, reason: String) -> SettingsError {
        let (value, origin) = self.get(setting).unwrap_or(("", &Origin::Default));
        let value = value.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        SettingsError::Value { setting, value, origin: origin.clone(), reason }
    }

    /// Where commands keep what they create.
    pub fn data_folder(&self) -> PathBuf {
        PathBuf::from(self.text(Setting::DataFolder))
    }

    /// The ledger's folder below the data folder.
    pub fn ledger_folder(&self) -> PathBuf {
        self.data_folder().join("ledger")
    }

    /// The ledger's address, such as `ws://127.0.0.1:9944`.
    pub fn ledger(&self) -> &str {
        self.text(Setting::Ledger)
    }

    /// Fails where the ledger's address is of another protocol than a ledger's, such as http.
    pub fn check_ledger(&self) -> Result<(), SettingsError> {
        let address = self.ledger().trim();
        let scheme = address.split_once("://").map_or("ws", |(scheme, _)| scheme);
        if ["ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Ok(());
        }
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let why = format!("an address of a ledger begins with ws:// or wss://, such as ws://{rest}");
        Err(SettingsError::LedgerAddress { address: address.to_owned(), why })
    }

    /// The subnet of the ledger that commands are about; a node takes its run's from the genesis.
    pub fn netuid(&self) -> Result<Netuid, SettingsError> {
        self.parsed(Setting::Netuid)
    }

    /// The bucket that this node writes, if there is one.
    pub fn bucket(&self) -> Result<Option<BucketLocation>, SettingsError> {
        self.get(Setting::Bucket).map(|_| self.parsed(Setting::Bucket)).transpose()
    }

    /// The write key of the bucket, if there is one; half of one is an error.
    pub fn bucket_credentials(&self) -> Result<Option<Credentials>, SettingsError> {
        match (self.get(Setting::BucketAccessKey), self.get(Setting::BucketSecretKey)) {
            (Some((access_key, _)), Some((secret_key, _))) => Ok(Some(Credentials::new(access_key, secret_key))),
            (None, None) => Ok(None),
            _ => Err(SettingsError::HalfAKey),
        }
    }

    /// The folder of all wallets.
    pub fn wallet_folder(&self) -> PathBuf {
        PathBuf::from(self.text(Setting::WalletFolder))
    }

    /// The wallet's name.
    pub fn wallet(&self) -> &str {
        self.text(Setting::Wallet)
    }

    /// The hotkey's name.
    pub fn hotkey(&self) -> &str {
        self.text(Setting::Hotkey)
    }

    /// Threads for computing; at least one.
    pub fn threads(&self) -> Result<usize, SettingsError> {
        self.count(Setting::Threads, MAX_THREADS, "the machine's cores are enough")
    }

    /// The device that models are trained and judged on.
    pub fn engine(&self) -> Result<DeviceName, SettingsError> {
        self.parsed(Setting::Engine)
    }

    /// Processes of PyTorch, at least one and at most `most`.
    pub fn ranks(&self, most: usize) -> Result<usize, SettingsError> {
        self.count(Setting::Ranks, most, "one for each GPU")
    }

    /// A setting that is a whole number from 1 to `most`.
    fn count(&self, setting: Setting, most: usize, hint: &str) -> Result<usize, SettingsError> {
        self.parsed_by(setting, |text| {
            let count = text.trim().parse().ok().filter(|count| (1..=most).contains(count));
            count.ok_or_else(|| format!("take 1 to {most}, {hint}"))
        })
    }

    /// The Python interpreter that has PyTorch, if one is named.
    pub fn python(&self) -> Option<PathBuf> {
        self.get(Setting::Python).map(|(python, _)| PathBuf::from(python))
    }

    /// Text to train on; empty for the default text.
    pub fn text_paths(&self) -> &[PathBuf] {
        &self.text_paths
    }

    /// How text is looked for.
    pub fn read_options(&self) -> Result<ReadOptions, SettingsError> {
        Ok(ReadOptions { field: self.text(Setting::Field).to_owned(), kinds: self.parsed(Setting::TextKind)? })
    }

    /// The model's size.
    pub fn preset(&self) -> &str {
        self.text(Setting::Preset)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.values.keys().filter_map(|setting| Some((setting, self.shown(*setting)?)));
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LedgerFlag;

    fn empty() -> Config {
        Config { values: BTreeMap::new(), text_paths: Vec::new(), unknown_variables: Vec::new(), is_quiet: true }
    }

    #[test]
    fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
        let mut config = empty();
        config.read_file(Path::new("/etc/t.toml"), "ledger = 'ws://file'\nthreads = 3\ndata_folder = 'd'").unwrap();
        assert_eq!(config.data_folder(), Path::new("/etc/d"));
        assert_eq!(config.threads().unwrap(), 3);
        config
            .read_variables([("TEMPLAR_LEDGER", "ws://variable"), ("TEMPLAR_LEGDER", "x")].map(own).into_iter(), &[])
            .unwrap();
        assert_eq!(config.ledger(), "ws://variable");
        assert_eq!(config.unknown_variables(), ["TEMPLAR_LEGDER"]);
        let config = config.with(&LedgerFlag { ledger: Some("ws://flag".to_owned()) });
        assert_eq!(config.get(Setting::Ledger), Some(("ws://flag", &Origin::Flag("--ledger"))));
    }

    fn own((name, value): (&str, &str)) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn text_is_a_list_of_paths() {
        let mut config = empty();
        config.read_file(Path::new("/etc/t.toml"), "text = ['a.txt', '/b']").unwrap();
        assert_eq!(config.text_paths(), [Path::new("/etc/a.txt"), Path::new("/b")]);
        assert!(empty().text_paths().is_empty());
        // A path is never taken apart.
        config.read_file(Path::new("/etc/t.toml"), "text = '12:30.txt'").unwrap();
        assert_eq!(config.text_paths(), [Path::new("/etc/12:30.txt")]);
        config.read_variables([("TEMPLAR_TEXT", "a:b, c.txt\n/d\n")].map(own).into_iter(), &[]).unwrap();
        assert_eq!(config.text_paths(), [Path::new("a:b, c.txt"), Path::new("/d")]);
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let error = |text: &str| empty().read_file(Path::new("/t.toml"), text).unwrap_err().to_string();
        assert!(error("leger = 'x'").contains("no setting `leger`; the settings are data_folder"));
        assert!(error("threads = [1]").contains("`threads` must be"));
        assert!(error("ledger = ").contains("/t.toml"));
        let mut config = empty();
        config.read_file(Path::new("/t.toml"), "threads = 0").unwrap();
        assert!(config.threads().unwrap_err().to_string().starts_with("`threads` is `0` (from /t.toml)"));
    }

    #[test]
    fn a_secret_is_hidden() {
        let mut config = empty();
        config.read_variables([("TEMPLAR_BUCKET_SECRET_KEY", "hush")].map(own).into_iter(), &[]).unwrap();
        assert_eq!(config.shown(Setting::BucketSecretKey).unwrap().0, "(hidden)");
        let debug = format!("{config:?}");
        assert!(debug.contains("BucketSecretKey") && !debug.contains("hush"), "{debug}");
    }
}
