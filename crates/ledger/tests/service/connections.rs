//! Connections that are held for nothing are closed; those that are used stay.

use std::time::{Duration, Instant};
use templar_base::Keypair;
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_ledger::{ConnectionTimeouts, Ledger, LedgerHandle, LedgerServer, Profile, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ledger_head","params":[]}"#;

async fn serve() -> LedgerHandle {
    let ledger = Ledger::in_memory(&Profile::local(Keypair::from_seed([1; 32]).public(), &[]), [1; 32]).unwrap();
    let milliseconds = Duration::from_millis;
    let timeouts = ConnectionTimeouts {
        handshake: milliseconds(300),
        idle: milliseconds(600),
        ping_interval: milliseconds(100),
        pong: milliseconds(400),
    };
    let options = ServerOptions { timeouts, ..ServerOptions::new("127.0.0.1:0".parse().unwrap()) };
    LedgerServer::start(ledger, options).await.unwrap()
}

/// Reads until the server closes; how long that took.
async fn until_closed(socket: &mut TcpStream, from: Instant) -> Duration {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is still open");
    from.elapsed()
}

#[tokio::test]
async fn who_says_nothing_is_closed_at_the_handshake_deadline() {
    let handle = serve().await;
    let from = Instant::now();
    let mut silent = TcpStream::connect(handle.address()).await.unwrap();
    let mut slow = TcpStream::connect(handle.address()).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    assert!(until_closed(&mut silent, from).await >= Duration::from_millis(250));
    until_closed(&mut slow, from).await;
    handle.shutdown().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let handle = serve().await;
    let mut socket = TcpStream::connect(handle.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{REQUEST}", REQUEST.len());
    let mut answer = [0; 4096];
    // Longer than the handshake and the idle limit together, with a request now and then.
    for _ in 0..5 {
        socket.write_all(request.as_bytes()).await.unwrap();
        assert!(socket.read(&mut answer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    until_closed(&mut socket, Instant::now()).await;
    handle.shutdown().await;
}

#[tokio::test]
async fn a_websocket_that_answers_no_ping_is_closed_and_a_node_is_not() {
    let handle = serve().await;
    let node = RpcChain::connect(&handle.url(), RpcOptions::default()).await.unwrap();
    node.head().await.unwrap();
    let mut dead = TcpStream::connect(handle.address()).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\
                   \r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    dead.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = dead.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains("101 Switching Protocols"));
    // It reads the pings and says nothing.
    let closed = until_closed(&mut dead, Instant::now()).await;
    assert!(closed >= Duration::from_millis(300), "{closed:?}");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    node.head().await.unwrap();
    handle.shutdown().await;
}
