//! A gateway over a small model, and a client that speaks plain HTTP.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use templar_corpus::Tokenizer;
use templar_engine::{initial_parameters, preset};
use templar_gateway::{Admission, Gateway, GatewayOptions, Identity, Served};
use templar_gradient::OuterState;
use templar_record::write_model_files;
use tokio::runtime::Runtime;

/// Longest wait for anything; far over what is needed, since machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Looks again until something holds.
#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to hold");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A model of random parameters from a seed.
pub fn model(name: &str, seed: u8) -> Arc<Served> {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(name);
    write_model(&path, seed);
    Arc::new(Served::open(&path, Identity::of_folder(&path), 1).unwrap())
}

pub fn write_model(path: &Path, seed: u8) {
    let words = ["the people of the states and the union of the people, every year of it"; 8];
    let tokenizer = Tokenizer::train_up_to(&words, 280).unwrap();
    let config = preset("nano", 280).unwrap();
    let outer = OuterState { params: initial_parameters(&config, [seed; 32]), momentum: Vec::new() };
    std::fs::create_dir_all(path).unwrap();
    write_model_files(&config, &outer, tokenizer.to_json(), tokenizer.end_of_text(), path).unwrap();
}

/// A gateway with threads of its own.
pub struct Service {
    pub runtime: Runtime,
    pub gateway: Gateway,
}

impl Service {
    pub fn start(options: GatewayOptions, admission: Admission) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gateway = runtime.block_on(Gateway::start("127.0.0.1:0".parse().unwrap(), options, admission)).unwrap();
        Self { runtime, gateway }
    }

    /// An open gateway over a model.
    pub fn open() -> Self {
        let service = Self::start(GatewayOptions::default(), Admission::Open);
        service.gateway.serve(model("tiny", 3));
        service
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub fn get(&self, path: &str) -> Answer {
        ask(self.address(), "GET", path, None, b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        ask(self.address(), "POST", path, None, body.to_string().as_bytes())
    }

    pub fn post_with(&self, key: &str, path: &str, body: &Value) -> Answer {
        ask(self.address(), "POST", path, Some(key), body.to_string().as_bytes())
    }
}

/// An answer, its body without the chunks' frames.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The error object, which must have OpenAI's form.
    #[track_caller]
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        let error = self.json()["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        assert!(error.get("param").is_some() && error.get("code").is_some(), "{error}");
        error
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The events of a stream that was sent to its end.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert!(self.header("content-type").unwrap().starts_with("text/event-stream"));
        let text = std::str::from_utf8(&self.body).unwrap();
        let mut events: Vec<&str> = text.split_terminator("\n\n").map(|event| &event["data: ".len()..]).collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

/// Sends a request, and leaves the connection open.
pub fn send(address: SocketAddr, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {key}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A request that is refused by its head is not read to its end.
    let _ = stream.write_all(body);
    stream
}

/// Sends a request and reads its answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> Answer {
    read(send(address, method, path, key, body), b"")
}

/// Sends the rest of a request and reads its answer.
pub fn read(mut stream: TcpStream, rest: &[u8]) -> Answer {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(rest).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let place = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(bytes[..place].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[place + 4..].to_vec();
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, head, body: if is_chunked { without_frames(&body) } else { body } }
}

fn without_frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a frame has a length");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 4 + length..];
    }
}
