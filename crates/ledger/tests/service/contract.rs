//! What every `Chain` must do, run over each implementation; and what a client must survive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use templar_base::{Alpha, BlockNumber, Keypair, Netuid, RAO_PER_TAO, Rao, Uid};
use templar_chain::{Bank, Call, Chain, ChainError, Explain, RpcChain, RpcOptions};
use templar_ledger::{
    ClientLimits, Ledger, LedgerHandle, LedgerServer, LocalChain, Profile, ServerError, ServerOptions,
};
use templar_testing::chain_contract::keeps_the_contract;

const NETUID: Netuid = Netuid(3);

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

fn profile() -> Profile {
    let funded: Vec<_> = ["Bob", "Charlie"].map(|name| key(name).public()).into();
    Profile { block_time_ms: 20, commit_reveal: false, ..Profile::local(key("Alice").public(), &funded) }
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn serve(ledger: Ledger) -> (LedgerHandle, RpcChain) {
    let handle = LedgerServer::start(ledger, ServerOptions::new(anywhere())).await.unwrap();
    let chain = RpcChain::connect(&handle.url(), RpcOptions::default()).await.unwrap();
    (handle, chain)
}

#[tokio::test]
async fn the_local_chain_keeps_the_contract() {
    let chain = LocalChain::in_memory(&profile()).unwrap();
    let advancing = chain.clone();
    let ticker = tokio::spawn(async move {
        loop {
            advancing.advance(1).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    keeps_the_contract(Arc::new(chain), NETUID).await;
    ticker.abort();
}

#[tokio::test]
async fn the_rpc_chain_keeps_the_contract() {
    let (handle, chain) = serve(Ledger::in_memory(&profile(), [7; 32]).unwrap()).await;
    keeps_the_contract(Arc::new(chain.clone()), NETUID).await;
    // The miner's pay is explained, and the explanation is what was paid.
    let explanation = chain.explain(NETUID, Uid(1), None).await.unwrap();
    assert!(explanation.agrees() && explanation.payout.incentive > Alpha::ZERO, "{explanation:#?}");
    assert_eq!(explanation.as_miner.len(), 1);
    let nobody = chain.explain(NETUID, Uid(99), None).await;
    assert!(matches!(nobody, Err(ChainError::NoSuchSlot { .. })));
    let early = chain.explain(NETUID, Uid(1), Some(BlockNumber(1))).await;
    assert!(matches!(early, Err(ChainError::NoSuchEpoch { .. })));
    handle.shutdown().await;
}

#[tokio::test]
async fn a_call_submitted_across_a_restart_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (key("Alice"), key("Bob"));
    let ledger = Ledger::open(folder.path(), &profile(), [7; 32]).unwrap();
    // This server makes no blocks: the call waits in its queue, which dies with it.
    let options = ServerOptions { makes_blocks: false, ..ServerOptions::new(anywhere()) };
    let first = LedgerServer::start(ledger, options).await.unwrap();
    let chain = RpcChain::connect(&first.url(), RpcOptions::default()).await.unwrap();
    let mut heads = chain.subscribe_heads().await.unwrap();
    assert_eq!(heads.next().await.unwrap().number, BlockNumber(0));
    let submitting = {
        let chain = chain.clone();
        let call = Call::Transfer { to: bob.public(), amount: Rao::from_rao(5) };
        tokio::spawn(async move { chain.submit(&alice, call).await })
    };
    while chain.next_nonce(&key("Alice").public()).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let address = first.address();
    first.shutdown().await;
    let ledger = reopen(folder.path()).await;
    let second = LedgerServer::start(ledger, ServerOptions::new(address)).await.unwrap();
    submitting.await.unwrap().unwrap();
    let balance = chain.account(&bob.public()).await.unwrap().balance;
    assert_eq!(balance, Rao::from_rao(10_000 * RAO_PER_TAO + 5));
    assert_eq!(heads.next().await.unwrap().number, BlockNumber(1), "the stream goes on where it was");
    second.shutdown().await;
}

/// Connections that are just closing may hold the folder for another moment.
async fn reopen(folder: &std::path::Path) -> Ledger {
    loop {
        match Ledger::reopen(folder) {
            Ok(ledger) => return ledger,
            Err(templar_ledger::StoreError::Locked(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_taken_address_and_an_absent_ledger_are_named() {
    let (handle, _chain) = serve(Ledger::in_memory(&profile(), [7; 32]).unwrap()).await;
    let options = ServerOptions::new(handle.address());
    let second = LedgerServer::start(Ledger::in_memory(&profile(), [7; 32]).unwrap(), options).await;
    assert!(matches!(second, Err(ServerError::Bind { .. })));
    let url = handle.url();
    handle.shutdown().await;
    let attempt = RpcChain::connect(&url, RpcOptions::default()).await;
    assert!(matches!(attempt.err(), Some(ChainError::Unreachable { .. })));
}

#[tokio::test]
async fn a_block_fetched_over_the_network_replays() {
    let (handle, chain) = serve(Ledger::in_memory(&profile(), [7; 32]).unwrap()).await;
    let receipt = chain
        .submit(&key("Alice"), Call::Transfer { to: key("Bob").public(), amount: Rao::from_rao(1) })
        .await
        .unwrap();
    let mut state = templar_ledger::State::genesis(chain.profile().await.unwrap()).unwrap();
    let mut parent = chain.block(BlockNumber(0)).await.unwrap().block.header;
    for number in 1..=receipt.block.0 {
        let block = chain.block(BlockNumber(number)).await.unwrap().block;
        templar_ledger::replay(&mut state, &parent, &block).unwrap();
        parent = block.header;
    }
    assert_eq!(state.root(), chain.header(receipt.block).await.unwrap().state_root);
    handle.shutdown().await;
}

/// One client that asks as fast as it can is told to slow down, and the others are served meanwhile.
#[tokio::test]
async fn one_client_cannot_starve_the_others() {
    let limits = ClientLimits { requests_per_second: 20, burst: 50, ..ClientLimits::default() };
    let options = ServerOptions { limits, ..ServerOptions::new(anywhere()) };
    let ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let handle = LedgerServer::start(ledger, options).await.unwrap();
    let hasty = RpcOptions { call_timeout: Duration::from_millis(1), ..RpcOptions::default() };
    let greedy = RpcChain::connect(&handle.url(), hasty).await.unwrap();
    let mut refused = 0;
    for _ in 0..300 {
        match greedy.head().await {
            Err(ChainError::TooManyRequests { per_second: 20 }) => refused += 1,
            answer => drop(answer.unwrap()),
        }
    }
    assert!(refused > 100, "only {refused} of 300 were refused");
    let modest = RpcChain::connect(&handle.url(), RpcOptions::default()).await.unwrap();
    for _ in 0..30 {
        modest.head().await.unwrap();
    }
    // Who is patient gets its answer all the same: the client waits and asks again.
    let patient = RpcChain::connect(&handle.url(), RpcOptions::default()).await.unwrap();
    for _ in 0..60 {
        patient.head().await.unwrap();
    }
    handle.shutdown().await;
}

/// Too large, too many at once, too many connections: refused, and the ledger goes on.
#[tokio::test]
async fn oversized_requests_and_crowds_are_turned_away() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let options = ServerOptions { max_connections: 4, ..ServerOptions::new(anywhere()) };
    let ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let handle = LedgerServer::start(ledger, options).await.unwrap();
    let ask = async |body: String| {
        let mut socket = tokio::net::TcpStream::connect(handle.address()).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // A server that has had enough may close before it has read everything.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"ledger_head","params":[]}"#;
    assert!(ask(call.to_owned()).await.contains("state_root"));
    let huge = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ledger_submit","params":["{}"]}}"#, "0".repeat(1 << 20));
    assert!(!ask(huge).await.contains("result"));
    let batch = format!("[{}]", vec![call; 100].join(","));
    assert!(!ask(batch).await.contains("state_root"), "a batch over the limit was answered");

    // Whoever comes when all places are taken is closed at once.
    let mut held = Vec::new();
    let impatient = RpcOptions {
        attempt_timeout: Duration::from_millis(200),
        call_timeout: Duration::from_millis(200),
        ..RpcOptions::default()
    };
    while RpcChain::connect(&handle.url(), impatient.clone()).await.is_ok() {
        held.push(tokio::net::TcpStream::connect(handle.address()).await.unwrap());
    }
    drop(held);
    while RpcChain::connect(&handle.url(), impatient.clone()).await.is_err() {}
    handle.shutdown().await;
}
