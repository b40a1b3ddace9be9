//! What each node of a local network has: its wallet, its slot and stake, its bucket.

use crate::setup::OWNER;
use crate::{Node, Role, Settings, SetupError};
use std::path::Path;
use templar_base::{DEFAULT_NETUID, Keypair, Netuid, PublicKey, Rao};
use templar_bucket::{BucketLocation, KeyRing, WriteKey};
use templar_chain::{Bank, Call, Chain, ChainError, RpcChain};
use templar_wallet::{Overwrite, SecretSource, Wallet, WalletError};

/// The local ledger's one subnet.
pub const NETUID: Netuid = DEFAULT_NETUID;
/// The name of a node's only hotkey.
pub(crate) const HOTKEY: &str = "default";
/// What each node's coldkey starts with where the ledger exists already.
const GIFT: Rao = Rao::from_whole(1_000);
/// What a validator stakes.
const STAKE: Rao = Rao::from_whole(500);

pub(crate) fn wallet(root: &Path, name: &str) -> Result<Wallet, WalletError> {
    Wallet::new(&root.join("wallets"), name)
}

/// Creates the keys that are missing. They are plain files: this network is worth nothing outside this machine.
pub(crate) fn make_wallet(root: &Path, name: &str) -> Result<(), WalletError> {
    let wallet = wallet(root, name)?;
    if !wallet.coldkey_path().is_file() {
        wallet.write_coldkey(&SecretSource::generate()?.0, None, Overwrite::Refuse)?;
    }
    if name != OWNER && !wallet.hotkey_path(HOTKEY)?.is_file() {
        wallet.write_hotkey(HOTKEY, &SecretSource::generate()?.0, Overwrite::Refuse)?;
    }
    Ok(())
}

/// Gives a node its slot, and a validator its stake. A slot or a stake that exists stays as it is.
pub(crate) async fn register(root: &Path, node: &Node, chain: &RpcChain) -> Result<(), SetupError> {
    let failed = |action| {
        let node = node.name.clone();
        move |source| SetupError::Ledger { action, node, source }
    };
    let owner = wallet(root, OWNER)?.coldkey(None)?;
    let wallet = wallet(root, &node.name)?;
    let (coldkey, hotkey) = (wallet.coldkey(None)?, wallet.hotkey(HOTKEY)?.public());
    let metagraph = chain.metagraph(NETUID, None).await?;
    if metagraph.neuron(&hotkey).is_none() {
        fund(chain, &owner, coldkey.public()).await.map_err(failed("fund"))?;
        let call = Call::Register { netuid: NETUID, hotkey, max_price: None };
        chain.submit(&coldkey, call).await.map_err(failed("register"))?;
    }
    // What is bought is a little less than what is paid, for the fee and the price it moves.
    if node.role == Role::Validator
        && chain.stake(&hotkey, &coldkey.public()).await? < templar_base::Alpha::from_rao(STAKE.as_rao() / 2)
    {
        let call = Call::AddStake { hotkey, netuid: NETUID, amount: STAKE };
        chain.submit(&coldkey, call).await.map_err(failed("stake on"))?;
    }
    Ok(())
}

async fn fund(chain: &RpcChain, owner: &Keypair, to: PublicKey) -> Result<(), ChainError> {
    if chain.account(&to).await?.balance < GIFT {
        chain.submit(owner, Call::Transfer { to, amount: GIFT }).await?;
    }
    Ok(())
}

/// A node's own bucket. The write key of an earlier start stays: a process may be writing with it.
pub(crate) fn open_bucket(
    root: &Path,
    settings: &Settings,
    name: &str,
) -> Result<(BucketLocation, WriteKey), SetupError> {
    let hotkey = wallet(root, name)?.hotkey(HOTKEY)?.public();
    let bucket = format!("templar-{}", hex::encode(&hotkey.as_bytes()[..12]));
    let key = KeyRing::from_file(root.join("bucket-keys.json"))?.find_or_register(new_key(&bucket)?)?;
    let location = BucketLocation::s3(&bucket, &settings.bucket_url(), None)?;
    Ok((location, key))
}

/// A new write key of a bucket, of the bucket's name.
pub(crate) fn new_key(bucket: &str) -> Result<WriteKey, SetupError> {
    let mut secret = [0; 20];
    getrandom::fill(&mut secret).map_err(SetupError::Random)?;
    Ok(WriteKey::new(bucket, hex::encode(secret), bucket))
}
