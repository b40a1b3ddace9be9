//! What a stranger can take.

use crate::client::{PATIENCE, connect, get, get_read, get_with, parse, raw};
use crate::world::World;
use std::time::Duration;
use templar_base::Window;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

#[tokio::test]
async fn malformed_and_large_requests_are_turned_away() {
    let world = World::new().await;
    let dashboard = world.serve(|options| options.header_timeout = Duration::from_millis(500));
    let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    let refused = parse(&raw(&dashboard, post.as_bytes()).await);
    assert_eq!((refused.status, refused.headers["allow"].as_str()), (405, "GET, HEAD"));
    let page = get_with(&dashboard, "/nothing/here", "accept: text/html\r\n").await;
    assert!(page.status == 404 && page.body.contains("<h1>404"), "{page:?}");
    assert_eq!(get(&dashboard, "/api/v1/nothing").await.json()["error"]["kind"], "not_found");
    assert_eq!(get(&dashboard, &format!("/{}", "a".repeat(2_000))).await.status, 404);
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", "a".repeat(100_000));
    let answer = raw(&dashboard, large.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let answer = raw(&dashboard, format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    for garbage in [&b"\x00\xff\xfe\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00"] {
        let answer = raw(&dashboard, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Who sends half a request is not waited for: the server closes.
    let answer = raw(&dashboard, b"GET / HTTP/1.1\r\nhost: x\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let head = parse(&raw(&dashboard, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_client_has_its_share_of_connections_and_gets_it_back() {
    let world = World::new().await;
    let dashboard = world.serve(|options| options.max_connections_per_address = 3);
    let held = [connect(&dashboard).await, connect(&dashboard).await, connect(&dashboard).await];
    let begun = tokio::time::Instant::now();
    // The three are counted once they were accepted; one more is then closed without an answer.
    while !raw(&dashboard, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "a fourth connection is served");
    }
    drop(held);
    while raw(&dashboard, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the places do not come back");
    }
}

#[tokio::test]
async fn streams_are_bounded_and_carry_heads_and_windows() {
    let world = World::new().await;
    world.pass(Window(0), true).await;
    let dashboard = world.serve(|options| options.max_streams_per_address = 1);
    get_read(&dashboard, 1).await;
    let mut stream = connect(&dashboard).await;
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "event: head").await;
    assert!(text.contains("content-type: text/event-stream") && text.contains("event: window"), "{text}");
    assert!(text.contains(r#""window":0"#), "{text}");
    let second = get(&dashboard, "/api/v1/events").await;
    assert_eq!((second.status, second.headers.contains_key("retry-after")), (429, true), "{second:?}");
    world.pass(Window(1), false).await;
    read_until(&mut stream, &mut text, r#""is_null":true"#).await;
    drop(stream);
    // The place comes back when the server notices.
    let begun = tokio::time::Instant::now();
    loop {
        let mut stream = connect(&dashboard).await;
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        read_until(&mut stream, &mut text, "\r\n\r\n").await;
        if text.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the stream's place does not come back: {text}");
    }
}

async fn read_until(stream: &mut tokio::net::TcpStream, text: &mut String, wanted: &str) {
    let mut bytes = [0; 4096];
    while !text.contains(wanted) {
        let read = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap_or_else(|_| panic!("no {wanted}: {text}"));
        let read = read.unwrap();
        assert!(read > 0, "the stream ended before {wanted}: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_its_remedy() {
    let taken = templar_dashboard::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.url().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let error = templar_dashboard::Listener::bind(address).unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains("port 0"), "{error}");
}

#[tokio::test]
async fn a_process_serves_its_metrics_and_nothing_else_under_the_same_bounds() {
    let listener = templar_dashboard::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let options = templar_dashboard::Options { max_connections: 2, ..Default::default() };
    let server = templar_dashboard::MetricsServer::start(listener, options, || "a 1\n".to_owned()).unwrap();
    let address = server.url().trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let ask = async |line: &str| {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server does not close");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let metrics = parse(&ask("GET /metrics").await);
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "a 1\n"));
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (missing, written) = (parse(&ask("GET /").await), parse(&ask("POST /metrics").await));
    assert!(missing.status == 404 && missing.body.contains("/metrics") && written.status == 405, "{missing:?}");
    let _held = [connect_to(&address).await, connect_to(&address).await];
    let begun = tokio::time::Instant::now();
    while !ask("GET /metrics").await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "a third connection is served");
    }
}

async fn connect_to(address: &str) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(address).await.unwrap()
}
