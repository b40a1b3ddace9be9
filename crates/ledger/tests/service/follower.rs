//! Following a ledger from a snapshot: the same roots as everybody's, whatever breaks, and nothing false is believed.

use crate::support::{NETUID, commit, key, register, stake, weights};
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use std::path::Path;
use std::sync::Mutex;
use templar_base::{BlockHash, BlockNumber, ContentHash, PublicKey, Rao, StateRoot};
use templar_chain::{Call, ChainError, RpcChain, RpcOptions, SignedBlock, SnapshotOffer, Topic};
use templar_ledger::{
    Ledger, LedgerServer, LocalChain, Profile, ReplayError, Replica, ReplicaError, SNAPSHOT_BLOCKS, ServerOptions,
    SnapshotSource, StoreError, fetch_snapshot,
};

/// Accounts that make the state worth several parts.
const ACCOUNTS: u32 = 12_000;

fn profile() -> Profile {
    let mut profile = Profile { history_blocks: 256, ..crate::support::profile() };
    let account = |number: u32| PublicKey::new(*ContentHash::of(&number.to_le_bytes()).as_bytes());
    profile.initial_balances.extend((0..ACCOUNTS).map(|number| (account(number), Rao::from_rao(1_000_000_000))));
    profile
}

/// A ledger with slots, stake, weights, votes and trades in its state, whose first blocks are no longer kept.
fn old_ledger() -> LocalChain {
    let chain = LocalChain::in_memory(&profile()).unwrap();
    let (alice, bob) = (key("Alice"), key("Bob"));
    let calls = [
        (&alice, register(&key("validator"))),
        (&bob, register(&key("miner"))),
        (&alice, stake(&key("validator"), 500)),
        (&bob, stake(&key("validator"), 3)),
    ];
    for (signer, call) in calls {
        chain.enqueue(signer, call).unwrap();
        chain.advance(1).unwrap();
    }
    chain.advance(4).unwrap();
    chain.enqueue(&key("validator"), weights(&[1], &[9])).unwrap();
    chain.enqueue(&key("miner"), commit(Topic::Sealed, 4, 40)).unwrap();
    chain.advance(300).unwrap();
    chain
}

/// Some life after the snapshot.
fn live_on(chain: &LocalChain, blocks: u64) {
    for _ in 0..blocks {
        let transfer = Call::Transfer { to: key("Charlie").public(), amount: Rao::from_rao(7) };
        chain.enqueue(&key("Bob"), transfer).unwrap();
        chain.advance(1).unwrap();
    }
}

/// The ledger itself as a source, with something wrong about it.
struct Source {
    chain: LocalChain,
    /// Parts that it still gives before its connection breaks.
    patience: Mutex<u32>,
    /// Parts that it gave.
    given: Mutex<Vec<u32>>,
    lie: Lie,
}

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    /// A part other than offered.
    Part,
    /// Another state, in parts with the right hashes, under the true block.
    State,
    /// Another state under a block of its own with the root of that.
    Block,
    /// More parts than any snapshot has.
    Parts,
    /// Every offer is withdrawn.
    Withdrawn,
}

impl Source {
    fn new(chain: &LocalChain, lie: Lie) -> Self {
        Self { chain: chain.clone(), patience: Mutex::new(u32::MAX), given: Mutex::default(), lie }
    }

    /// The first part with one balance changed, and its hash.
    fn false_part(&self, block: BlockNumber) -> Vec<u8> {
        let part = self.chain.snapshot_part(block, 0).unwrap();
        let mut entries = Vec::<(u8, Vec<u8>, Vec<u8>)>::decode(&mut part.as_slice()).unwrap();
        let richest = entries.iter_mut().find(|(table, ..)| *table == 1).unwrap();
        richest.2[3] ^= 1;
        entries.encode()
    }
}

#[async_trait]
impl SnapshotSource for Source {
    async fn profile(&self) -> Result<Profile, ChainError> {
        Ok(self.chain.with(|ledger| ledger.state().profile().clone()))
    }

    async fn snapshot(&self) -> Result<SnapshotOffer, ChainError> {
        let mut offer = self.chain.snapshot();
        match self.lie {
            Lie::State | Lie::Block => offer.parts[0] = ContentHash::of(&self.false_part(offer.block)),
            Lie::Parts => offer.parts = vec![offer.parts[0]; 5_000],
            _ => {}
        }
        if self.lie == Lie::Block {
            offer.hash = SnapshotSource::block(self, offer.block).await?.block.header.hash();
        }
        Ok(offer)
    }

    async fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        let mut patience = self.patience.lock().unwrap();
        if *patience == 0 {
            return Err(ChainError::Unreachable { address: "here".into(), reason: "cut".into() });
        }
        *patience -= 1;
        self.given.lock().unwrap().push(index);
        match self.lie {
            Lie::Withdrawn => Err(ChainError::NoSnapshot { block }),
            Lie::Part | Lie::State | Lie::Block if index == 0 => Ok(self.false_part(block)),
            _ => self.chain.snapshot_part(block, index),
        }
    }

    async fn block(&self, number: BlockNumber) -> Result<SignedBlock, ChainError> {
        let mut signed = self.chain.with(|ledger| ledger.signed_block(number))?;
        if self.lie == Lie::Block {
            signed.block.header.state_root = StateRoot::new([9; 32]);
        }
        Ok(signed)
    }
}

async fn fetch(source: &Source, folder: &Path) -> Result<Replica, ReplicaError> {
    fetch_snapshot(source, folder, name_of(&source.chain), &mut |_, _| {}).await
}

fn name_of(chain: &LocalChain) -> BlockHash {
    chain.with(|ledger| ledger.state().genesis_hash())
}

/// Follows to the ledger's head and compares everything that has a root.
fn follow_to_head(replica: &mut Replica, chain: &LocalChain) {
    let head = chain.with(Ledger::head);
    while replica.head().number < head.number {
        let next = chain.with(|ledger| ledger.signed_block(replica.head().number.plus(1))).unwrap();
        replica.follow(&next).unwrap();
    }
    assert_eq!((replica.head().hash(), replica.state().root()), (head.hash, head.state_root));
}

#[tokio::test]
async fn a_follower_from_a_snapshot_reaches_the_same_roots_and_goes_on_after_a_restart() {
    let (chain, folder) = (old_ledger(), tempfile::tempdir().unwrap());
    let server = LedgerServer::start_shared(chain.clone(), {
        ServerOptions { makes_blocks: false, ..ServerOptions::new("127.0.0.1:0".parse().unwrap()) }
    });
    let server = server.await.unwrap();
    let rpc = RpcChain::connect(&server.url(), RpcOptions::default()).await.unwrap();
    assert!(matches!(rpc.block(BlockNumber(0)).await, Err(ChainError::Pruned { .. })));
    let offer = rpc.snapshot().await.unwrap();
    assert!(offer.parts.len() >= 3, "the state should have several parts");
    live_on(&chain, 20);
    let mut shown = Vec::new();
    let fetched = fetch_snapshot(&rpc, folder.path(), name_of(&chain), &mut |done, all| shown.push((done, all))).await;
    let mut replica = fetched.unwrap();
    assert_eq!(shown.last(), Some(&(offer.parts.len(), offer.parts.len())));
    assert_eq!(replica.head().number, offer.block);
    follow_to_head(&mut replica, &chain);
    drop(replica);
    live_on(&chain, 20);
    let mut replica = Replica::open(folder.path()).unwrap().expect("the copy is there");
    assert_eq!(replica.head().number, offer.block.plus(20));
    follow_to_head(&mut replica, &chain);
    drop(replica);
    // A copy is nobody's ledger.
    assert!(matches!(Ledger::reopen(folder.path()), Err(StoreError::Replica(_))));
    assert!(matches!(Ledger::open(folder.path(), &profile(), [1; 32]), Err(StoreError::Replica(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(Replica::open(empty.path()).unwrap().is_none());
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_and_takes_the_newest_snapshot_where_its_own_is_gone() {
    let (chain, folder) = (old_ledger(), tempfile::tempdir().unwrap());
    let source = Source::new(&chain, Lie::None);
    *source.patience.lock().unwrap() = 2;
    let error = fetch(&source, folder.path()).await.unwrap_err();
    assert!(matches!(error, ReplicaError::Chain(ChainError::Unreachable { .. })), "{error}");
    assert!(Replica::open(folder.path()).unwrap().is_none(), "half a snapshot is no copy");
    // What a power cut left of a part is fetched again, what is whole is not.
    std::fs::write(folder.path().join("snapshot").join("1"), b"cut").unwrap();
    *source.patience.lock().unwrap() = u32::MAX;
    let mut replica = fetch(&source, folder.path()).await.unwrap();
    let given = source.given.lock().unwrap().clone();
    assert_eq!(given[..4], [0, 1, 1, 2], "{given:?}");
    follow_to_head(&mut replica, &chain);
    assert!(!folder.path().join("snapshot").exists());

    let slow = tempfile::tempdir().unwrap();
    *source.patience.lock().unwrap() = 1;
    fetch(&source, slow.path()).await.unwrap_err();
    for _ in 0..2 {
        live_on(&chain, SNAPSHOT_BLOCKS);
        chain.snapshot();
    }
    *source.patience.lock().unwrap() = u32::MAX;
    let mut replica = fetch(&source, slow.path()).await.unwrap();
    follow_to_head(&mut replica, &chain);
}

#[tokio::test]
async fn a_false_snapshot_is_refused_and_leaves_nothing() {
    let chain = old_ledger();
    let head = chain.with(Ledger::head);
    for lie in [Lie::Part, Lie::State, Lie::Block, Lie::Parts, Lie::Withdrawn] {
        let (source, folder) = (Source::new(&chain, lie), tempfile::tempdir().unwrap());
        let error = fetch(&source, folder.path()).await.unwrap_err();
        let is_right = match lie {
            Lie::State => matches!(error, ReplicaError::FalseState(block) if block == head.number),
            Lie::Block => {
                matches!(error, ReplicaError::Replay(ReplayError::NotSigned(block, _)) if block == head.number)
            }
            _ => matches!(error, ReplicaError::Contradiction(_)),
        };
        assert!(is_right, "{error}");
        assert!(Replica::open(folder.path()).unwrap().is_none());
        // The same folder serves for an honest ledger.
        follow_to_head(&mut fetch(&Source::new(&chain, Lie::None), folder.path()).await.unwrap(), &chain);
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Source::new(&chain, Lie::None);
    let other = BlockHash::new([1; 32]);
    let error = fetch_snapshot(&source, folder.path(), other, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(error, ReplicaError::WrongChain { wanted, .. } if wanted == other), "{error}");
}

#[tokio::test]
async fn a_false_block_does_not_move_the_copy() {
    let (chain, folder) = (old_ledger(), tempfile::tempdir().unwrap());
    let mut replica = fetch(&Source::new(&chain, Lie::None), folder.path()).await.unwrap();
    let stood = (replica.head().clone(), replica.state().root());
    live_on(&chain, 2);
    let next = chain.with(|ledger| ledger.signed_block(stood.0.number.plus(1))).unwrap();
    let mut richer = next.clone();
    richer.block.transactions.clear();
    for block in [richer, chain.with(|ledger| ledger.signed_block(stood.0.number.plus(2))).unwrap()] {
        assert!(matches!(replica.follow(&block), Err(ReplicaError::Replay(_))));
        assert_eq!((replica.head(), replica.state().root()), (&stood.0, stood.1));
    }
    follow_to_head(&mut replica, &chain);
}

#[tokio::test]
async fn snapshots_are_made_now_and_then_and_few_are_kept() {
    let chain = old_ledger();
    let first = chain.snapshot();
    live_on(&chain, SNAPSHOT_BLOCKS - 1);
    assert_eq!(chain.snapshot(), first, "asking often makes no work");
    live_on(&chain, 1);
    let second = chain.snapshot();
    assert_eq!(second.block, chain.with(Ledger::head).number);
    assert!(chain.snapshot_part(first.block, 0).is_ok(), "a slow download may end");
    live_on(&chain, SNAPSHOT_BLOCKS);
    chain.snapshot();
    assert_eq!(chain.snapshot_part(first.block, 0), Err(ChainError::NoSnapshot { block: first.block }));
    let parts = second.parts.len() as u32;
    assert_eq!(chain.snapshot_part(second.block, parts), Err(ChainError::NoSnapshot { block: second.block }));
}

/// The market's sums are kept with the state: they are the same when they are made anew from a copy's entries.
#[tokio::test]
async fn the_market_of_a_copy_is_that_of_the_ledger() {
    let (chain, folder) = (old_ledger(), tempfile::tempdir().unwrap());
    let replica = fetch(&Source::new(&chain, Lie::None), folder.path()).await.unwrap();
    let market = chain.with(|ledger| ledger.market(NETUID)).unwrap();
    // Alice and Bob stake; what the owner earns is Alice's.
    assert_eq!(market.holders, 2);
    assert_eq!(replica.state().holders(), market.holders);
}
