//! One more node for a network that runs.

use crate::nodes::{HOTKEY, make_wallet, open_bucket, register};
use crate::{Node, SetupError, read_settings};
use std::path::{Path, PathBuf};
use templar_bucket::{BucketLocation, WriteKey};
use templar_chain::{RpcChain, RpcOptions};

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
    /// The run's genesis document.
    pub genesis: PathBuf,
    /// The run's corpus.
    pub corpus: PathBuf,
}

/// Creates keys, slot and bucket for one more node of the network that runs in `root`.
pub async fn join(root: &Path, node: &Node) -> Result<Joined, SetupError> {
    let settings = read_settings(root)?.ok_or_else(|| SetupError::NoNetwork { root: root.to_owned() })?;
    make_wallet(root, &node.name)?;
    let ledger = settings.ledger_url();
    let chain = RpcChain::connect(&ledger, RpcOptions::default()).await.map_err(SetupError::NotRunning)?;
    register(root, node, &chain).await?;
    let (bucket, key) = open_bucket(root, &settings, &node.name)?;
    Ok(Joined {
        data: root.join("nodes").join(&node.name),
        ledger,
        wallet_folder: root.join("wallets"),
        wallet: node.name.clone(),
        hotkey: HOTKEY,
        bucket,
        key,
        genesis: root.join("genesis.json"),
        corpus: root.join("corpus"),
    })
}
