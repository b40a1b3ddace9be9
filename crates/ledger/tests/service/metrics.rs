//! What a ledger that is served tells Prometheus.

use std::collections::BTreeMap;
use templar_base::{Keypair, Netuid, Rao};
use templar_chain::{Bank, Call, Chain, ChainError, RpcChain, RpcOptions};
use templar_ledger::{ClientLimits, Ledger, LedgerServer, LocalChain, Profile, ServerOptions};
use templar_testing::samples_of;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// Asks over plain HTTP, and reads until the answer's end.
async fn post(address: std::net::SocketAddr, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
    socket.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_metrics_follow_blocks_transactions_requests_and_connections() {
    let (alice, bob, nobody) = (key("Alice"), key("Bob"), key("Nobody"));
    let profile = Profile { block_time_ms: 20, ..Profile::local(alice.public(), &[bob.public()]) };
    let chain = LocalChain::new(Ledger::in_memory(&profile, [7; 32]).unwrap());
    let limits = ClientLimits { burst: 15, ..ClientLimits::default() };
    let options = ServerOptions { makes_blocks: false, limits, ..ServerOptions::new("127.0.0.1:0".parse().unwrap()) };
    let handle = LedgerServer::start_shared(chain.clone(), options).await.unwrap();
    let metrics = handle.metrics();
    let read = || samples_of(&metrics.text());
    let before = read();
    assert_eq!((before["templar_ledger_block"], before["templar_ledger_blocks_total"]), (0.0, 0.0));
    assert!(!before.contains_key("templar_ledger_store_bytes"), "a ledger in memory has no file");

    // One transaction that is applied, one that is refused, one that is not even taken.
    let client = RpcChain::connect(&handle.url(), RpcOptions::default()).await.unwrap();
    chain.enqueue(&bob, Call::Transfer { to: alice.public(), amount: Rao::from_whole(1) }).unwrap();
    chain.enqueue(&bob, Call::Transfer { to: alice.public(), amount: Rao::from_whole(1_000_000) }).unwrap();
    let waiting = read();
    assert_eq!(waiting["templar_ledger_waiting_transactions{kind=\"paying\"}"], 2.0);
    assert!(waiting["templar_ledger_waiting_bytes{kind=\"paying\"}"] > 100.0);
    let stranger = client.submit(&nobody, Call::Transfer { to: bob.public(), amount: Rao::from_rao(1) }).await;
    assert!(matches!(stranger, Err(ChainError::NotQueued { .. })), "{stranger:?}");
    chain.advance(3).unwrap();
    client.account(&bob.public()).await.unwrap();
    assert!(client.metagraph(Netuid(9), None).await.is_err());
    let after = read();
    let value = |name: &str| *after.get(name).unwrap_or_else(|| panic!("{name} in {after:#?}"));
    for (name, wanted) in [
        ("templar_ledger_block", 3.0),
        ("templar_ledger_oldest_block", 0.0),
        ("templar_ledger_blocks_total", 3.0),
        ("templar_ledger_block_failures_total", 0.0),
        ("templar_ledger_queued_transactions_total", 2.0),
        ("templar_ledger_transactions_total{outcome=\"applied\"}", 1.0),
        ("templar_ledger_transactions_total{outcome=\"refused\"}", 1.0),
        ("templar_ledger_refused_transactions_total{reason=\"InsufficientBalance\"}", 1.0),
        ("templar_ledger_rejected_transactions_total{reason=\"UnknownAccount\"}", 1.0),
        ("templar_ledger_waiting_transactions{kind=\"paying\"}", 0.0),
        ("templar_ledger_requests_total{method=\"ledger_account\",outcome=\"answered\"}", 1.0),
        ("templar_ledger_requests_total{method=\"ledger_metagraph\",outcome=\"failed\"}", 1.0),
        ("templar_ledger_requests_total{method=\"ledger_submit\",outcome=\"failed\"}", 1.0),
        ("templar_ledger_connections{client=\"known\"}", 1.0),
        ("templar_ledger_connections{client=\"stranger\"}", 0.0),
        ("templar_ledger_peers", 0.0),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    assert!(value("templar_ledger_block_bytes_total") > 600.0 && value("templar_ledger_answer_bytes_total") > 100.0);

    // What a stranger makes up is one label, and a client without tokens is counted.
    let head = r#"{"jsonrpc":"2.0","id":1,"method":"ledger_head","params":[]}"#;
    let batch = format!("[{head},{}]", head.replace("ledger_head", "made_up\\n{}"));
    assert!(post(handle.address(), &head.replace("ledger_head", "anything")).await.contains("-32601"));
    assert!(post(handle.address(), &batch).await.contains("parent"));
    // Dearer than all that a client may ask at once.
    assert!(post(handle.address(), &head.replace("ledger_head", "ledger_snapshot")).await.contains("ask more slowly"));
    let last: BTreeMap<String, f64> = read();
    let requests = |method: &str, outcome: &str| {
        let name = format!("templar_ledger_requests_total{{method=\"{method}\",outcome=\"{outcome}\"}}");
        last.get(&name).copied()
    };
    assert_eq!(requests("unknown", "failed"), Some(1.0), "{last:#?}");
    assert_eq!((requests("ledger_head", "batched"), requests("unknown", "batched")), (Some(1.0), Some(1.0)));
    assert_eq!(requests("ledger_snapshot", "limited"), Some(1.0), "{last:#?}");
    assert!(!last.keys().any(|name| name.contains("made") || name.contains("anything")), "{last:#?}");
    drop(client);
    handle.shutdown().await;
}

/// The page on metrics names each of them.
#[test]
fn the_page_on_metrics_holds() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let page = std::fs::read_to_string(format!("{root}/docs/metrics.md")).unwrap();
    let sources = [
        include_str!("../../src/service/counts.rs"),
        include_str!("../../src/service/server/requests.rs"),
        include_str!("../../src/service/server/metrics.rs"),
    ];
    let names = sources.iter().flat_map(|text| text.split('"')).filter(|text| text.starts_with("templar_ledger_"));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "docs/metrics.md lacks {name}");
    }
}
