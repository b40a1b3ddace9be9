//! A reader without a library between: what is sent and what comes back are bytes.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use templar_dashboard::Dashboard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything; far over what is needed.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub async fn connect(dashboard: &Dashboard) -> TcpStream {
    let address = dashboard.url().strip_prefix("http://").unwrap().trim_end_matches('/');
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes on a connection of their own and reads to its end; nothing where it was closed at once.
pub async fn raw(dashboard: &Dashboard, request: &[u8]) -> String {
    let mut stream = connect(dashboard).await;
    // A server that has no place closes before the request is through.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server does not close");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}

pub async fn get_with(dashboard: &Dashboard, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    parse(&raw(dashboard, request.as_bytes()).await)
}

pub async fn get(dashboard: &Dashboard, path: &str) -> Answer {
    get_with(dashboard, path, "").await
}

/// Asks until the answer is as wanted.
pub async fn get_until(dashboard: &Dashboard, path: &str, is_wanted: impl Fn(&Answer) -> bool) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = get(dashboard, path).await;
        if is_wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} stays {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until this number of finished windows is read and shown.
pub async fn get_read(dashboard: &Dashboard, windows: u64) {
    let is_read = |answer: &Answer| answer.json()["totals"]["windows"] == windows;
    get_until(dashboard, "/api/v1/run", is_read).await;
}
