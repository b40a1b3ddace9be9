//! A node's client and a server that lies: nothing that the chain's authority did not sign is believed.

use crate::support::{NETUID, commit, key, profile, register, stake};
use jsonrpsee::RpcModule;
use jsonrpsee::server::{Server, ServerHandle, SubscriptionMessage};
use jsonrpsee::types::ErrorObjectOwned;
use parity_scale_codec::Encode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use templar_base::{BlockNumber, Netuid, PublicKey};
use templar_chain::{
    Authority, Block, BlockHeader, Chain, ChainError, Commitments, HeadStream, Hyperparameters, RpcChain, RpcOptions,
    SignedBlock, SignedHeader, Topic,
};
use templar_ledger::{Ledger, LocalChain, Profile, Replica};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lie {
    None,
    /// A head whose time is another.
    Head,
    /// A header whose beacon suits somebody.
    Beacon,
    /// Another block than was asked for, truly signed.
    OtherNumber,
    /// A head without its certificate.
    Unsigned,
    /// A block without one of its transactions.
    Block,
    /// A key of its own under the chain's name.
    Key,
    /// The name of the run's chain, for another chain.
    Name,
    /// A vote is left out, with the proof of another key in its place.
    LeftOut,
    /// A vote says something else.
    OtherVote,
    /// The votes as they were before the last one, in an old answer.
    Old,
}

/// A server that answers like a ledger, but for its lie.
#[derive(Clone)]
struct Liar {
    chain: LocalChain,
    lie: Arc<Mutex<Lie>>,
    old: Arc<Mutex<Option<String>>>,
}

/// For what comes within seconds, if at all.
const LIMIT: Duration = Duration::from_secs(60);

type Answer<T> = Result<T, ErrorObjectOwned>;

impl Liar {
    fn lie(&self) -> Lie {
        *self.lie.lock().unwrap()
    }

    fn header(&self, number: BlockNumber) -> SignedHeader {
        let of = |number| self.chain.with(|ledger| ledger.signed_header(number)).unwrap();
        let mut signed = of(number);
        match self.lie() {
            Lie::Head => signed.header.time_ms += 1,
            Lie::Beacon => signed.header.beacon = Default::default(),
            Lie::OtherNumber => signed = of(BlockNumber(number.0 - 1)),
            Lie::Unsigned => signed.certificate = None,
            _ => {}
        }
        signed
    }

    fn head(&self) -> SignedHeader {
        self.header(self.chain.with(Ledger::head).number)
    }

    fn block(&self, number: BlockNumber) -> String {
        let mut signed: SignedBlock = self.chain.with(|ledger| ledger.signed_block(number)).unwrap();
        if self.lie() == Lie::Block {
            signed.block.transactions.clear();
        }
        hex::encode(signed.encode())
    }

    fn authority(&self) -> Authority {
        let own = Profile { salt: 1, ..self.chain.with(|ledger| ledger.state().profile().clone()) };
        match self.lie() {
            Lie::Key => own.with_authority(&[9; 32]).authority(),
            _ => self.chain.with(|ledger| ledger.state().profile().authority()),
        }
    }

    fn rules(&self) -> Hyperparameters {
        let mut rules = self.chain.with(|ledger| ledger.hyperparameters(NETUID)).unwrap();
        if self.lie() == Lie::Name {
            rules.genesis = Default::default();
        }
        rules
    }

    fn records(&self, topic: Topic, index: u64, hotkeys: &[PublicKey]) -> String {
        let prove = |hotkeys: &[PublicKey]| {
            self.chain.with(|ledger| ledger.prove_records(NETUID, (topic, index), hotkeys)).unwrap()
        };
        let mut proved = prove(hotkeys);
        match self.lie() {
            Lie::LeftOut => {
                let at = hotkeys.iter().position(|hotkey| *hotkey == key("one").public()).unwrap();
                proved.proofs[at] = prove(&[key("stranger").public()]).proofs.remove(0);
            }
            Lie::OtherVote => {
                let mut bytes = proved.encode();
                // The vote's data are sevens.
                let at = bytes.windows(20).position(|part| part == [7; 20]).unwrap();
                bytes[at] = 8;
                return hex::encode(bytes);
            }
            Lie::Old => return self.old.lock().unwrap().clone().unwrap(),
            _ => *self.old.lock().unwrap() = Some(hex::encode(proved.encode())),
        }
        hex::encode(proved.encode())
    }

    fn methods(self) -> RpcModule<Self> {
        let mut module = RpcModule::new(self);
        module
            .register_method("ledger_genesis", |_, liar, _| -> Answer<_> {
                Ok(liar.chain.with(|ledger| ledger.state().genesis_hash()))
            })
            .unwrap();
        module.register_method("ledger_authority", |_, liar, _| -> Answer<_> { Ok(liar.authority()) }).unwrap();
        module.register_method("ledger_head", |_, liar, _| -> Answer<_> { Ok(liar.head()) }).unwrap();
        module.register_method("ledger_hyperparameters", |_, liar, _| -> Answer<_> { Ok(liar.rules()) }).unwrap();
        module
            .register_method("ledger_header", |params, liar, _| -> Answer<_> { Ok(liar.header(params.one()?)) })
            .unwrap();
        module
            .register_method("ledger_block", |params, liar, _| -> Answer<_> { Ok(liar.block(params.one()?)) })
            .unwrap();
        module
            .register_method("ledger_records", |params, liar, _| -> Answer<_> {
                let (_, topic, index, hotkeys): (Netuid, Topic, u64, Vec<PublicKey>) = params.parse()?;
                Ok(liar.records(topic, index, &hotkeys))
            })
            .unwrap();
        let (subscribe, item, unsubscribe) = ("ledger_subscribeHeads", "ledger_heads", "ledger_unsubscribeHeads");
        module
            .register_subscription(subscribe, item, unsubscribe, |_, pending, liar, _| async move {
                let Ok(sink) = pending.accept().await else { return };
                while !sink.is_closed() {
                    let message = serde_json::value::to_raw_value(&liar.head()).unwrap();
                    let _ = sink.send(SubscriptionMessage::from(message)).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .unwrap();
        module
    }
}

/// A ledger with the votes of two validators on window 4.
fn voted() -> LocalChain {
    let rules = Profile { commitment_bytes_per_tempo: 1 << 16, commitment_retention_blocks: 500, ..profile() };
    let chain = LocalChain::in_memory(&rules).unwrap();
    let (alice, bob) = (key("Alice"), key("Bob"));
    for (coldkey, hotkey) in [(&alice, "one"), (&bob, "two")] {
        chain.enqueue(coldkey, register(&key(hotkey))).unwrap();
        chain.enqueue(coldkey, stake(&key(hotkey), 500)).unwrap();
        chain.advance(1).unwrap();
    }
    chain.advance(8).unwrap();
    for hotkey in ["one", "two"] {
        chain.enqueue(&key(hotkey), commit(Topic::Vote, 4, 30)).unwrap();
    }
    chain.advance(1).unwrap();
    chain
}

async fn serve(chain: &LocalChain, lie: Lie) -> (Liar, ServerHandle, String) {
    let liar = Liar { chain: chain.clone(), lie: Arc::new(Mutex::new(lie)), old: Arc::default() };
    let server = Server::builder().build("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let handle = server.start(liar.clone().methods());
    (liar, handle, url)
}

async fn connect(url: &str) -> Result<RpcChain, ChainError> {
    RpcChain::connect(url, RpcOptions::default()).await
}

fn assert_rejected<T: std::fmt::Debug>(answer: Result<T, ChainError>, url: &str, lie: Lie) {
    let error = answer.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ChainError::Forged { .. }), "{lie:?}: {text}");
    assert!(text.contains(url) && text.contains("--ledger") && text.contains("not to be believed"), "{lie:?}: {text}");
}

async fn next(heads: &mut HeadStream) -> Result<BlockHeader, ChainError> {
    tokio::time::timeout(LIMIT, heads.next()).await.expect("neither a head nor an error")
}

#[tokio::test]
async fn a_server_that_forges_a_head_a_beacon_or_a_block_is_rejected() {
    let local = voted();
    let (liar, _handle, url) = serve(&local, Lie::None).await;
    let chain = connect(&url).await.unwrap();
    let number = local.with(Ledger::head).number;
    let set = |lie| *liar.lie.lock().unwrap() = lie;
    assert_eq!(chain.head().await.unwrap(), local.with(Ledger::head));
    for lie in [Lie::Head, Lie::Beacon, Lie::Unsigned] {
        set(lie);
        assert_rejected(chain.head().await, &url, lie);
        assert_rejected(chain.header(number).await, &url, lie);
        // Who follows heads is told, and goes on when the server tells the truth again.
        let mut heads = chain.subscribe_heads().await.unwrap();
        while next(&mut heads).await.is_ok() {
            // What was signed before the lie.
            local.advance(1).unwrap();
        }
        assert_rejected(heads.next().await, &url, lie);
        set(Lie::None);
        let told = tokio::time::timeout(LIMIT, async {
            loop {
                match heads.next().await {
                    Ok(head) => return head,
                    Err(error) => assert!(matches!(error, ChainError::Forged { .. }), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert_eq!(told.await.expect("no head after the lie"), local.with(Ledger::head));
    }
    set(Lie::OtherNumber);
    assert_rejected(chain.header(number).await, &url, Lie::OtherNumber);
    set(Lie::Block);
    assert_rejected(chain.block(number).await, &url, Lie::Block);
    set(Lie::Name);
    assert_rejected(chain.hyperparameters(NETUID).await, &url, Lie::Name);
    set(Lie::None);
    assert_eq!(chain.hyperparameters(NETUID).await.unwrap().genesis, chain.genesis().await.unwrap());
    let whole: Block = chain.block(number).await.unwrap().block;
    assert!(!whole.transactions.is_empty());
    // A copy that is fed by this client stands where the ledger stands.
    let first = chain.block(BlockNumber(0)).await.unwrap();
    let rules = local.with(|ledger| ledger.state().profile().clone());
    let mut replica = Replica::at_genesis(rules, &first.block).unwrap();
    for number in 1..=local.with(Ledger::head).number.0 {
        replica.follow(&chain.block(BlockNumber(number)).await.unwrap()).unwrap();
    }
    assert_eq!(replica.head().hash(), local.with(Ledger::head).hash);
}

#[tokio::test]
async fn a_server_with_a_key_of_its_own_is_rejected_at_the_door() {
    let (_, _handle, url) = serve(&voted(), Lie::Key).await;
    assert_rejected(connect(&url).await.map(|_| ()), &url, Lie::Key);
}

#[tokio::test]
async fn a_server_that_leaves_a_vote_out_or_changes_one_is_noticed() {
    let local = voted();
    let (liar, _handle, url) = serve(&local, Lie::None).await;
    let chain = connect(&url).await.unwrap();
    let electors = ["one", "two", "stranger"].map(|name| key(name).public());
    let ask = || chain.commitments_of(NETUID, Topic::Vote, 4, &electors);
    let votes = local.commitments_of(NETUID, Topic::Vote, 4, &electors).await.unwrap();
    assert_eq!((ask().await.unwrap(), votes.len()), (votes, 2));
    for lie in [Lie::LeftOut, Lie::OtherVote] {
        *liar.lie.lock().unwrap() = lie;
        assert_rejected(ask().await, &url, lie);
    }
    // What was true some blocks ago is no answer after a newer block was shown.
    local.advance(2).unwrap();
    *liar.lie.lock().unwrap() = Lie::Old;
    assert_eq!(ask().await.unwrap().len(), 2, "nothing newer was shown yet");
    let shown = chain.head().await.unwrap().number;
    let error = ask().await.unwrap_err();
    assert!(matches!(error, ChainError::Behind { shown: newest, .. } if newest == shown), "{error}");
}
