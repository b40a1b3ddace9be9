//! One more node for a network that runs.

use crate::nodes::{HOTKEY, make_wallet, open_bucket, register, wallet};
use crate::setup::OWNER;
use crate::{Node, Role, Settings, SetupError, read_settings};
use std::path::{Path, PathBuf};
use templar_bucket::{BucketLocation, WriteKey};
use templar_chain::{RpcChain, RpcOptions};
use templar_node::DataFolder;

/// What a node that joined starts with.
pub struct Joined {
    /// Its data folder.
    pub data: PathBuf,
    /// Address of the ledger.
    pub ledger: String,
    /// The folder of all wallets.
    pub wallet_folder: PathBuf,
    /// Name of its wallet.
    pub wallet: String,
    /// Name of its hotkey.
    pub hotkey: &'static str,
    /// Its bucket.
    pub bucket: BucketLocation,
    /// The write key of its bucket.
    pub key: WriteKey,
}

/// A place in the network that runs in a folder, found free and not taken yet: looking for it changes nothing.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    node: Node,
    settings: Settings,
}

/// Names that processes and keys of the network itself have.
const RESERVED: [&str; 3] = [OWNER, "ledger", "bucket"];

impl Place {
    /// Looks for the place of one more node, or of one that joined before. Fails where the network is not there, the
    /// name belongs to another node, or the node runs.
    pub fn find(root: &Path, node: Node) -> Result<Self, SetupError> {
        let settings = read_settings(root)?.ok_or_else(|| SetupError::NoNetwork { root: root.to_owned() })?;
        wallet(root, &node.name)?;
        let taken = |by: String| Err(SetupError::NameTaken { name: node.name.clone(), by });
        if RESERVED.contains(&node.name.as_str()) {
            return taken(format!("the network's own {}", node.name));
        }
        if let Some(namesake) = namesake(root, &node) {
            return taken(format!("the {} {namesake}", Node::role_of(&namesake)));
        }
        let place = Self { root: root.to_owned(), node, settings };
        place.check_idle()?;
        Ok(place)
    }

    /// Fails where another process runs this node. Its lock is let go again, for the node itself to take.
    fn check_idle(&self) -> Result<(), SetupError> {
        match DataFolder::is_in_use(&self.data()) {
            true => Err(SetupError::NodeRuns { name: self.node.name.clone() }),
            false => Ok(()),
        }
    }

    fn data(&self) -> PathBuf {
        self.root.join("nodes").join(&self.node.name)
    }

    /// The run's genesis document.
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis.json")
    }

    /// The run's corpus.
    pub fn corpus(&self) -> PathBuf {
        self.root.join("corpus")
    }

    /// Creates what the node lacks: keys, slot, stake and bucket. The ledger is asked before anything is created.
    pub async fn take(self) -> Result<Joined, SetupError> {
        let ledger = self.settings.ledger_url();
        let chain = RpcChain::connect(&ledger, RpcOptions::default()).await.map_err(SetupError::NotRunning)?;
        self.check_idle()?;
        make_wallet(&self.root, &self.node.name)?;
        register(&self.root, &self.node, &chain).await?;
        let (bucket, key) = open_bucket(&self.root, &self.settings, &self.node.name)?;
        Ok(Joined {
            data: self.data(),
            ledger,
            wallet_folder: self.root.join("wallets"),
            wallet: self.node.name.clone(),
            hotkey: HOTKEY,
            bucket,
            key,
        })
    }
}

/// The node of the other role that was asked for by the same name: `judge` beside `validator-judge`.
fn namesake(root: &Path, node: &Node) -> Option<String> {
    let asked = node.name.strip_prefix(&format!("{}-", node.role)).unwrap_or(&node.name);
    let other = if node.role == Role::Miner { Role::Validator } else { Role::Miner };
    let candidates = [Node::new(other, asked).name, format!("{other}-{asked}"), asked.to_owned()];
    let exists = |name: &String| wallet(root, name).is_ok_and(|wallet| wallet.coldkey_path().is_file());
    let of_other = |name: &&String| *name != &node.name && Node::role_of(name) == other;
    // The numbered nodes of the network itself have one number for each role.
    let is_number = asked.bytes().all(|byte| byte.is_ascii_digit());
    candidates.iter().filter(of_other).find(|name| !is_number && exists(name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::RunId;

    fn network() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let settings = serde_json::to_vec(&Settings::new(1, 2)).unwrap();
        std::fs::write(root.path().join("network.json"), settings).unwrap();
        root
    }

    #[test]
    fn a_running_node_a_namesake_and_a_name_of_the_network_are_rejected_and_nothing_is_made() {
        let network = network();
        let root = network.path();
        let find = |role, name: &str| Place::find(root, Node::new(role, name));
        let listed = || std::fs::read_dir(root).unwrap().count();
        assert!(find(Role::Miner, "guest").is_ok());
        for name in ["owner", "ledger", "bucket"] {
            assert!(matches!(find(Role::Miner, name), Err(SetupError::NameTaken { .. })), "{name}");
        }
        assert!(matches!(find(Role::Miner, "../x"), Err(SetupError::Wallet(_))));
        assert_eq!(listed(), 1, "looking for a place made something");

        make_wallet(root, "validator-judge").unwrap();
        make_wallet(root, "guest").unwrap();
        assert!(matches!(find(Role::Miner, "judge"), Err(SetupError::NameTaken { .. })));
        assert!(matches!(find(Role::Validator, "guest"), Err(SetupError::NameTaken { .. })));
        assert!(find(Role::Validator, "judge").is_ok() && find(Role::Miner, "guest").is_ok());
        for name in ["miner-0", "validator-0"] {
            make_wallet(root, name).unwrap();
        }
        assert!(find(Role::Miner, "miner-0").is_ok() && find(Role::Validator, "validator-0").is_ok());
        assert!(matches!(find(Role::Miner, "validator-judge"), Err(SetupError::NameTaken { .. })));

        let data = root.join("nodes").join("guest");
        let running = DataFolder::open(&data, RunId::new([1; 32]), Role::Miner).unwrap();
        assert!(matches!(find(Role::Miner, "guest"), Err(SetupError::NodeRuns { .. })));
        drop(running);
        assert!(find(Role::Miner, "guest").is_ok());
    }

    #[test]
    fn a_node_that_starts_again_keeps_its_write_key() {
        let network = network();
        make_wallet(network.path(), "guest").unwrap();
        let open = || open_bucket(network.path(), &Settings::new(1, 2), "guest").unwrap().1;
        assert_eq!(open().secret_key, open().secret_key);
    }
}
