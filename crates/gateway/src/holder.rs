//! The holder's side: a key for an account at a gateway, over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use templar_base::{BlockHash, Keypair, Netuid, PublicKey};
use templar_bucket::tls_client_config;
use tokio::time::timeout;

use crate::keys::{KeyGrant, KeyHash};

/// How long a gateway may take to answer: it asks its ledger.
const DEADLINE: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A gateway that does not do what its client asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// The address is none.
    #[error("{0} is not the address of a gateway; write it as http://127.0.0.1:8000")]
    Address(String),
    /// The machine's certificates cannot be read.
    #[error("cannot use the machine's certificates: {0}")]
    Certificates(String),
    /// The gateway cannot be reached, or breaks off.
    #[error("no gateway answers at {address}: {reason}")]
    Unreachable {
        /// Its address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// What answers is no gateway.
    #[error("what answers at {0} is no gateway")]
    NoGateway(String),
    /// The gateway asks for no keys.
    #[error("the gateway at {0} is open: it asks for no keys and charges nothing")]
    Open(String),
    /// The gateway refuses.
    #[error("the gateway refuses: {0}")]
    Refused(String),
}

/// What a gateway says of the accounts that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PrepaidFacts {
    /// The gateway's address on the ledger.
    pub gateway: PublicKey,
    /// The ledger's first block.
    pub ledger: BlockHash,
    /// The subnet whose token pays.
    pub netuid: Netuid,
}

/// A gateway, as the holder of an account reaches it.
pub struct RemoteGateway {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: String,
}

impl RemoteGateway {
    /// The gateway at an address such as `http://127.0.0.1:8000`, with or without `/v1`.
    pub fn at(address: &str) -> Result<Self, HolderError> {
        let trimmed = address.trim().trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let uri: Uri = trimmed.parse().map_err(|_| HolderError::Address(address.to_owned()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(HolderError::Address(address.to_owned()));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(DEADLINE));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_client_config().map_err(HolderError::Certificates)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), address: trimmed })
    }

    /// What the gateway says of its accounts.
    pub async fn facts(&self) -> Result<PrepaidFacts, HolderError> {
        let facts = self.ask(Method::GET, "/v1/gateway", Bytes::new()).await?;
        match facts.get("is_open").and_then(Value::as_bool) {
            Some(true) => Err(HolderError::Open(self.address.clone())),
            Some(false) => serde_json::from_value(facts["prepaid"].clone()).map_err(|_| self.stranger()),
            None => Err(self.stranger()),
        }
    }

    /// Makes a key stand for the account whose key this is, or takes it back (`revoked`).
    pub async fn put(
        &self,
        facts: &PrepaidFacts,
        account: &Keypair,
        hash: KeyHash,
        revoked: bool,
    ) -> Result<(), HolderError> {
        let grant = KeyGrant::sign(account, &facts.ledger, &facts.gateway, hash, revoked);
        let body = serde_json::to_vec(&grant).map_err(|_| self.stranger())?;
        self.ask(Method::POST, "/v1/keys", body.into()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, HolderError> {
        let unreachable = |reason: String| HolderError::Unreachable { address: self.address.clone(), reason };
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.address));
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|_| HolderError::Address(self.address.clone()))?;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(reasons(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok::<_, HolderError>((status, body.map_err(|error| unreachable(error.to_string()))?.to_bytes()))
        };
        let (status, bytes) =
            timeout(DEADLINE, answer).await.map_err(|_| unreachable("no answer in time".into()))??;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        match value.pointer("/error/message").and_then(Value::as_str) {
            Some(message) => Err(HolderError::Refused(message.to_owned())),
            None if status.is_success() => Ok(value),
            None => Err(self.stranger()),
        }
    }

    fn stranger(&self) -> HolderError {
        HolderError::NoGateway(self.address.clone())
    }
}

/// An error with its causes, in one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}
