//! OpenAI's API as a client reads it: a stream, and when its parts came.

use super::GatewayBenchError;
use crate::error::with_causes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a request may take from its first byte to its last.
const DEADLINE: Duration = Duration::from_secs(600);
/// The most bytes of an answer that is no stream, and of one event of a stream.
const MAX_BYTES: usize = 1 << 20;

/// A server with OpenAI's API, and the model that it serves first.
pub(super) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    pub model: String,
}

/// What a client asks.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub prompt: String,
    pub tokens: u32,
    pub seed: u64,
}

/// When an answer came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    /// From the request to the first token.
    pub first: Duration,
    /// From the request to the end of the stream.
    pub whole: Duration,
    /// Tokens written.
    pub tokens: u64,
}

/// What is known of a stream so far.
#[derive(Debug, Default)]
struct Heard {
    /// The newest line, as far as it has come.
    line: Vec<u8>,
    /// When the first token came.
    first: Option<Instant>,
    /// Events with text.
    pieces: u64,
    /// Tokens, as the server counts them.
    counted: Option<u64>,
    is_done: bool,
}

impl Api {
    /// Finds out what is served at an address such as `http://127.0.0.1:8000/v1`.
    pub(super) async fn connect(base: &str) -> Result<Self, GatewayBenchError> {
        let base = base.trim().trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| GatewayBenchError::Address(base.clone()))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(GatewayBenchError::Address(base));
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut api = Self { client, base, model: String::new() };
        let response = api.send(Method::GET, "/models", Bytes::new()).await?;
        let listed = api.whole("/models", response).await?;
        let model = listed.pointer("/data/0/id").and_then(Value::as_str);
        api.model = model.ok_or_else(|| api.not_the_api("/models"))?.to_owned();
        Ok(api)
    }

    /// Asks for a text and reads its stream to the end.
    pub(super) async fn ask(&self, asked: &Asked) -> Result<Answer, GatewayBenchError> {
        let answer = timeout(DEADLINE, self.stream(asked)).await;
        answer.map_err(|_| self.unreachable(STREAM, "no answer in time"))?
    }

    async fn stream(&self, asked: &Asked) -> Result<Answer, GatewayBenchError> {
        let Asked { prompt, tokens, seed } = asked;
        let body = json!({
            "model": self.model, "prompt": prompt, "max_tokens": tokens, "seed": seed, "temperature": 1,
            "stream": true, "stream_options": {"include_usage": true},
        });
        let begun = Instant::now();
        let response = self.send(Method::POST, STREAM, body.to_string().into()).await?;
        let mut stream = response.into_body();
        let mut heard = Heard::default();
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|error| self.unreachable(STREAM, &with_causes(&error)))?;
            if !heard.take(frame.data_ref().map_or(&[], |data| &data[..])) {
                return Err(self.not_the_api(STREAM));
            }
        }
        let tokens = heard.counted.unwrap_or(heard.pieces);
        match heard.first {
            Some(first) if heard.is_done => Ok(Answer { first: first - begun, whole: begun.elapsed(), tokens }),
            _ => Err(self.unreachable(STREAM, "the stream ended early")),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, GatewayBenchError> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|_| GatewayBenchError::Address(self.base.clone()))?;
        let response = timeout(DEADLINE, self.client.request(request)).await;
        let response = response.map_err(|_| self.unreachable(path, "no answer in time"))?;
        let response = response.map_err(|error| self.unreachable(path, &with_causes(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let said = self.whole(path, response).await.unwrap_or_default();
        let message = said.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        Err(GatewayBenchError::Rejected { url: self.url(path), status, message })
    }

    async fn whole(&self, path: &str, response: Response<Incoming>) -> Result<Value, GatewayBenchError> {
        let body = timeout(DEADLINE, Limited::new(response.into_body(), MAX_BYTES).collect()).await;
        let body = body.map_err(|_| self.unreachable(path, "no answer in time"))?;
        let bytes = body.map_err(|error| self.unreachable(path, &error.to_string()))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| self.not_the_api(path))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn unreachable(&self, path: &str, reason: &str) -> GatewayBenchError {
        GatewayBenchError::Unreachable { url: self.url(path), reason: reason.to_owned() }
    }

    fn not_the_api(&self, path: &str) -> GatewayBenchError {
        GatewayBenchError::NotTheApi { url: self.url(path) }
    }
}

const STREAM: &str = "/completions";

impl Heard {
    /// Takes bytes of the stream; false where they are no stream of OpenAI's form.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > MAX_BYTES {
                return false;
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if !self.take_line(line.trim_ascii()) {
                    return false;
                }
            }
        }
        true
    }

    fn take_line(&mut self, line: &[u8]) -> bool {
        // Empty lines end events; other fields and comments have no tokens.
        let Some(data) = line.strip_prefix(b"data:") else { return true };
        if data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return true;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return false };
        let Some(choices) = event["choices"].as_array() else { return false };
        if choices.iter().any(|choice| choice["text"].as_str().is_some_and(|text| !text.is_empty())) {
            self.first.get_or_insert_with(Instant::now);
            self.pieces += 1;
        }
        self.counted = event.pointer("/usage/completion_tokens").and_then(Value::as_u64).or(self.counted);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let text = "data: {\"choices\":[{\"text\":\"\"}]}\n\ndata: {\"choices\":[{\"text\":\"a\"}]}\r\n\r\n: a remark\n\
                    data: {\"choices\":[],\"usage\":{\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";
        for size in [1, 3, 7, text.len()] {
            let mut heard = Heard::default();
            assert!(text.as_bytes().chunks(size).all(|part| heard.take(part)));
            assert_eq!((heard.pieces, heard.counted, heard.is_done), (1, Some(7), true));
            assert!(heard.first.is_some());
        }
    }

    #[test]
    fn what_is_no_stream_is_rejected() {
        assert!(!Heard::default().take(b"data: {\"error\":{\"message\":\"full\"}}\n"));
        assert!(!Heard::default().take(b"data: <html>\n"));
        assert!(!Heard::default().take(&vec![b'x'; MAX_BYTES + 1]));
    }
}
