//! The network that a folder holds: whether all parts are there and belong together, and what it may become.

use crate::nodes::{HOTKEY, wallet};
use crate::setup::OWNER;
use crate::wishes::{self, NetworkOptions};
use crate::{Folder, FolderError, Role, Settings, SetupError, memory};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use templar_base::{Genesis, PublicKey, RAO_PER_TAO, Rao, Uid};
use templar_corpus::{Corpus, SourceEntry, TextSources};
use templar_ledger::{Ledger, StoreError};

/// How long the ledger of a network that was just killed may take to end.
const LEDGER_ENDS: Duration = Duration::from_secs(20);
/// What the owner pays for one more node: the node's first funds, and a fee.
const COST_OF_NODE: Rao = Rao::from_rao(1_001 * RAO_PER_TAO);

/// A network in a folder, with all parts that it needs.
pub(crate) struct Existing {
    pub root: PathBuf,
    pub settings: Settings,
    /// Its genesis; the planned one before its first start was over.
    pub genesis: Genesis,
    pub corpus: Corpus,
    /// What its ledger holds; none before the first start.
    ledger: Option<LedgerFacts>,
    is_started: bool,
}

/// What the start of a network needs to know of its ledger.
struct LedgerFacts {
    uids: BTreeMap<PublicKey, Uid>,
    funds: Rao,
}

/// A network in a folder that may be started.
#[derive(Debug)]
pub struct Checked {
    /// Its settings, with the nodes that it is to have.
    pub settings: Settings,
    /// For people: what is not as it was asked for, or not as it should be.
    pub remarks: Vec<String>,
    /// What it trains on.
    pub sources: Vec<SourceEntry>,
}

impl Folder {
    /// Checks the network in the folder, if there is one, and what is asked of it. Nothing is written, and nothing runs.
    /// `text` is the text that is asked for, if there is one.
    pub fn check(&self, options: &NetworkOptions, text: Option<&TextSources>) -> Result<Option<Checked>, SetupError> {
        let Some(mut existing) = Existing::open(self)? else { return Ok(None) };
        let mut remarks = existing.heal()?;
        remarks.extend(wishes::compare(&existing, options, text)?);
        let settings = existing.grown(options)?;
        memory::check(
            &wishes::name_of(&existing.genesis.model),
            &existing.genesis,
            settings.miners,
            settings.validators,
        )?;
        remarks.extend(existing.lost_wallets()?);
        Ok(Some(Checked { settings, remarks, sources: existing.corpus.manifest().sources.clone() }))
    }

    /// Whether the folder holds a network, sound or not.
    pub fn has_network(&self) -> bool {
        let here = |name: &str| self.path().join(name).exists();
        here("network.json") || here("genesis.json") || has_entries(&self.path().join("nodes")) || here(LEDGER_FILE)
    }
}

const LEDGER_FILE: &str = "ledger/ledger.redb";

fn has_entries(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

impl Existing {
    fn open(folder: &Folder) -> Result<Option<Self>, SetupError> {
        if !folder.has_network() {
            return Ok(None);
        }
        let root = folder.path().to_owned();
        let lost = |what: String| SetupError::Lost { root: folder.path().to_owned(), what };
        let settings = folder.settings()?;
        let (is_started, genesis) = match (folder.genesis()?, folder.plan()?) {
            (Some(genesis), _) => (true, genesis),
            (None, Some(plan)) if !has_entries(&root.join("nodes")) => (false, plan),
            (None, _) => return Err(lost("its genesis.json is missing".to_owned())),
        };
        let settings = match settings {
            Some(settings) => settings,
            None => settings_of_nodes(&root).ok_or_else(|| lost("its network.json is missing".to_owned()))?,
        };
        if is_started && settings.run.is_some_and(|run| run != genesis.run_id()) {
            return Err(lost("its genesis.json is that of another run".to_owned()));
        }
        let corpus = folder.corpus()?;
        if corpus.check_names(genesis.data.manifest, genesis.data.tokenizer).is_err() {
            return Err(lost("its corpus is that of another run".to_owned()));
        }
        let ledger = match root.join(LEDGER_FILE).is_file() {
            true => Some(LedgerFacts::read(&root, &genesis)?),
            false if is_started => return Err(lost(format!("its ledger ({LEDGER_FILE}) is missing"))),
            false => None,
        };
        Ok(Some(Self { root, settings, genesis, corpus, ledger, is_started }))
    }

    /// The uid of a node; none where it has no key or no slot.
    fn uid(&self, name: &str) -> Result<Option<Uid>, SetupError> {
        let wallet = wallet(&self.root, name)?;
        if !wallet.hotkey_path(HOTKEY)?.is_file() {
            return Ok(None);
        }
        let key = wallet.hotkey(HOTKEY)?.public();
        Ok(self.ledger.as_ref().and_then(|ledger| ledger.uids.get(&key).copied()))
    }

    /// Whether a file of its wallet is missing though the node has run.
    fn has_lost(&self, name: &str, file: impl FnOnce(PathBuf) -> PathBuf) -> bool {
        let is_missing = !file(self.root.join("wallets").join(name)).is_file();
        is_missing && self.root.join("nodes").join(name).is_dir()
    }

    /// How many nodes of these settings have no slot yet.
    fn without_slot(&self, settings: &Settings) -> Result<usize, SetupError> {
        let mut count = 0;
        for node in settings.nodes() {
            count += usize::from(self.uid(&node.name)?.is_none());
        }
        Ok(count)
    }

    /// Settings that name nodes which can never get a slot are cut to those that have one.
    fn heal(&mut self) -> Result<Vec<String>, SetupError> {
        let Some(ledger) = self.ledger.as_ref().filter(|_| self.is_started) else { return Ok(Vec::new()) };
        if self.without_slot(&self.settings)? <= ledger.room() {
            return Ok(Vec::new());
        }
        let (mut whole, mut is_broken) = (0, false);
        for number in 0..self.settings.miners {
            let name = format!("miner-{number}");
            let has_slot = self.uid(&name)?.is_some();
            is_broken |= !(has_slot || self.has_lost(&name, |path| path.join("hotkeys").join(HOTKEY)));
            whole += usize::from(!is_broken);
        }
        if whole == 0 {
            return Ok(Vec::new());
        }
        let named = std::mem::replace(&mut self.settings.miners, whole);
        let mut remarks = Vec::new();
        if named != whole {
            remarks.push(format!("{named} miners were asked for once; {whole} have a slot and run"));
        }
        while self.settings.validators > 1 && self.without_slot(&self.settings)? > ledger.room() {
            self.settings.validators -= 1;
        }
        Ok(remarks)
    }

    /// The settings with the nodes that are asked for, if there is room for them.
    fn grown(&self, options: &NetworkOptions) -> Result<Settings, SetupError> {
        let old = &self.settings;
        let grown = Settings {
            miners: options.miners.unwrap_or(0).max(old.miners),
            validators: options.validators.unwrap_or(0).max(old.validators),
            ..old.clone()
        };
        let Some(ledger) = self.ledger.as_ref() else {
            // Before its first start it has the nodes that it was planned for.
            return match grown == *old {
                true => Ok(grown),
                false => Err(SetupError::NoRoom { root: self.root.clone(), nodes: 0 }),
            };
        };
        if grown == *old || self.without_slot(&grown)? <= ledger.room() {
            return Ok(grown);
        }
        let nodes = ledger.room().saturating_sub(self.without_slot(old)?);
        Err(SetupError::NoRoom { root: self.root.clone(), nodes })
    }

    /// What is to be said of nodes whose keys are gone; it fails where there is no room for new ones.
    fn lost_wallets(&self) -> Result<Vec<String>, SetupError> {
        let Some(ledger) = self.ledger.as_ref().filter(|_| self.is_started) else { return Ok(Vec::new()) };
        let mut remarks = Vec::new();
        let mut lost = 0;
        for node in self.settings.nodes() {
            let name = &node.name;
            if self.has_lost(name, |wallet| wallet.join("hotkeys").join(HOTKEY)) {
                lost += 1;
                remarks.push(format!(
                    "the hotkey of {name} is missing from wallets/{name}: it gets a new key and a new slot; the old slot \
                     and its stake stay with the lost key"
                ));
            } else if self.has_lost(name, |wallet| wallet.join("coldkey")) {
                remarks.push(format!(
                    "the coldkey of {name} is missing from wallets/{name}: it gets a new one, which does not own what \
                     the node has earned"
                ));
            }
        }
        if !wallet(&self.root, OWNER)?.coldkey_path().is_file() {
            remarks.push("the coldkey of the owner is missing from wallets/owner: this network cannot grow".to_owned());
        }
        if lost > ledger.room() {
            let what = format!("{}; there is no room for a new slot", remarks.join("; "));
            return Err(SetupError::Lost { root: self.root.clone(), what });
        }
        Ok(remarks)
    }
}

impl LedgerFacts {
    /// How many more nodes the owner can pay for.
    fn room(&self) -> usize {
        (self.funds.as_rao() / COST_OF_NODE.as_rao()) as usize
    }

    fn read(root: &Path, genesis: &Genesis) -> Result<Self, SetupError> {
        let begun = Instant::now();
        let ledger = loop {
            match Ledger::reopen(&root.join("ledger")) {
                Err(StoreError::Locked(_)) if begun.elapsed() < LEDGER_ENDS => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                opened => break opened?,
            }
        };
        if ledger.state().genesis_hash() != genesis.ledger {
            let what = "its ledger is that of another run".to_owned();
            return Err(SetupError::Lost { root: root.to_owned(), what });
        }
        let owner = wallet(root, OWNER)?;
        let funds = match owner.coldkey_path().is_file() {
            true => ledger.account(&owner.coldkey_address()?).balance,
            false => Rao::ZERO,
        };
        let metagraph = ledger.metagraph(genesis.netuid, None).map_err(SetupError::Chain)?;
        let uids = metagraph.neurons.iter().map(|neuron| (neuron.hotkey, neuron.uid)).collect();
        Ok(Self { uids, funds })
    }
}

/// The settings of a network by the folders of its nodes, where the file is missing.
fn settings_of_nodes(root: &Path) -> Option<Settings> {
    let count =
        |role: Role| (0..).take_while(|number| root.join("nodes").join(format!("{role}-{number}")).is_dir()).count();
    let (validators, miners) = (count(Role::Validator), count(Role::Miner));
    (validators > 0 && miners > 0).then(|| Settings::new(validators, miners))
}

impl Folder {
    /// The network's genesis; none before its first start is over.
    pub fn genesis(&self) -> Result<Option<Genesis>, SetupError> {
        self.document("genesis.json")
    }

    /// The genesis that a new network is to have, but for its first block; none once it has one.
    pub(crate) fn plan(&self) -> Result<Option<Genesis>, SetupError> {
        self.document("plan.json")
    }

    fn document(&self, name: &str) -> Result<Option<Genesis>, SetupError> {
        let path = self.path().join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::File { action: "read", path, source }.into()),
        };
        Genesis::from_json(&bytes).map(Some).map_err(|source| SetupError::Genesis { path, source })
    }

    /// The network's text.
    pub fn corpus(&self) -> Result<Corpus, SetupError> {
        Ok(Corpus::open(&self.path().join("corpus"))?)
    }
}
