//! Which request is answered how.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use templar_base::PublicKey;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::answer::Heading;
use crate::billing::Billing;
use crate::body::AnswerBody;
use crate::client::{Client, Source};
use crate::connection::Places;
use crate::keys::{KeyGrant, KeyStore, KeysError};
use crate::metrics::{Counts, Watch, operation_of};
use crate::request::{Kind, Request};
use crate::scheduler::{Load, Refused, Scheduler};
use crate::served::unix_seconds;
use crate::server::GatewayOptions;
use crate::writing::{Out, Writing};
use crate::{ApiError, Served, origins};

/// Events that wait for a client that reads slowly; the texts wait in their own bounded channel.
const WAITING_EVENTS: usize = 32;
/// Of a body that is too large this many times the largest is read.
const READ_ON: usize = 4;
/// When a client whose texts find no place shall come back.
const COME_BACK: Duration = Duration::from_secs(2);
/// The same where there is no model yet.
const COME_BACK_LATER: Duration = Duration::from_secs(10);

/// Who may ask.
pub enum Admission {
    /// Everybody, without keys and without charges.
    Open,
    /// Who has a key of a prepaid account.
    Prepaid {
        /// The accounts.
        billing: Arc<Billing>,
        /// The keys.
        keys: Arc<KeyStore>,
    },
}

/// What all requests share.
pub(crate) struct State {
    pub scheduler: Scheduler,
    pub admission: Admission,
    pub options: GatewayOptions,
    /// Places for prompts that are read into tokens.
    pub reading: Semaphore,
    pub places: Arc<Places>,
    pub counts: Arc<Counts>,
    pub current: RwLock<Option<Arc<Served>>>,
}

impl State {
    pub(crate) fn current(&self) -> Option<Arc<Served>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn model(&self) -> Result<Arc<Served>, ApiError> {
        let none = "The first model of the run is not there yet; it comes with the run's first checkpoint.";
        self.current().ok_or_else(|| ApiError::unavailable(none, COME_BACK_LATER))
    }
}

/// Answers one request.
pub(crate) async fn answer(
    state: &Arc<State>,
    source: Source,
    request: http::Request<Incoming>,
) -> Response<AnswerBody> {
    match origins::admitted(&state.options.origins, request.headers()) {
        Err(error) => failure(&error),
        Ok(None) => routed(state, source, request).await,
        Ok(Some(origin)) => {
            // What a browser asks before it sends what a page wants to send.
            let mut response = match request.method() {
                &Method::OPTIONS => Response::new(AnswerBody::Document(None)),
                _ => routed(state, source, request).await,
            };
            origins::mark(origin, response.headers_mut());
            response
        }
    }
}

async fn routed(state: &Arc<State>, source: Source, request: http::Request<Incoming>) -> Response<AnswerBody> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let operation = match (&method, path.as_str()) {
        (&Method::POST, "/v1/chat/completions" | "/v1/completions") => None,
        (_, "/v1/chat/completions") => Some(operation_of(Kind::Chat)),
        (_, "/v1/completions") => Some(operation_of(Kind::Completion)),
        (_, "/health") => Some("health"),
        (_, "/v1/gateway") => Some("gateway"),
        (_, "/v1/keys") => Some("keys"),
        (_, path) if path.starts_with("/v1/models") => Some("models"),
        _ => Some("unknown"),
    };
    let answered = match (&method, path.as_str()) {
        (&Method::GET | &Method::HEAD, "/health") => Ok(health(state)),
        (&Method::GET | &Method::HEAD, "/v1/models") => models(state),
        (&Method::GET | &Method::HEAD, "/v1/gateway") => Ok(document(StatusCode::OK, &facts(state))),
        (&Method::GET | &Method::HEAD, path) if path.starts_with("/v1/models/") => model(state, path),
        (&Method::POST, "/v1/chat/completions") => texts(state, source, Kind::Chat, request).await,
        (&Method::POST, "/v1/completions") => texts(state, source, Kind::Completion, request).await,
        (&Method::POST, "/v1/keys") => put_key(state, request).await,
        (_, "/health" | "/v1/models" | "/v1/gateway" | "/v1/chat/completions" | "/v1/completions" | "/v1/keys") => {
            Err(ApiError::method(&method, &path))
        }
        _ => Err(ApiError::no_such_url(&method, &path)),
    };
    // Texts are counted where their answers end.
    if let Some(operation) = operation {
        state.counts.ended(operation, answered.as_ref().map_or_else(ApiError::outcome, |_| "answered"));
    }
    answered.unwrap_or_else(|error| failure(&error))
}

fn document(status: StatusCode, value: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Document(Some(Bytes::from(value.to_string()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn failure(error: &ApiError) -> Response<AnswerBody> {
    let mut response = document(error.status, &error.to_json());
    if let Some(after) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if error.status == StatusCode::TOO_MANY_REQUESTS && error.retry_after.is_none() {
        // The clients of OpenAI repeat a 429 by themselves; an empty account stays empty.
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

fn health(state: &State) -> Response<AnswerBody> {
    let served = state.current();
    let status = if served.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let Load { running, waiting, tokens, .. } = state.scheduler.load();
    let load = json!({"is_ready": served.is_some(), "running": running, "waiting": waiting, "tokens": tokens});
    document(status, &load)
}

/// What a client of this very gateway wants to know.
fn facts(state: &State) -> Value {
    let served = state.current();
    let identity = served.as_ref().map(|model| &model.identity);
    let paid = match &state.admission {
        Admission::Open => Value::Null,
        Admission::Prepaid { billing, .. } => {
            json!({"gateway": billing.gateway(), "ledger": billing.genesis(), "netuid": billing.netuid()})
        }
    };
    json!({
        "is_open": matches!(state.admission, Admission::Open),
        "prepaid": paid,
        "model": identity.map(|identity| &identity.name),
        "window": identity.and_then(|identity| identity.window),
        "fingerprint": identity.map(|identity| &identity.fingerprint),
    })
}

fn model_facts(model: &Served) -> Value {
    let identity = &model.identity;
    json!({
        "id": identity.name, "object": "model", "created": model.created, "owned_by": "templar",
        "system_fingerprint": identity.fingerprint, "window": identity.window,
        "context_length": model.positions(),
    })
}

fn models(state: &State) -> Result<Response<AnswerBody>, ApiError> {
    let data: Vec<Value> = state.current().iter().map(|model| model_facts(model)).collect();
    Ok(document(StatusCode::OK, &json!({"object": "list", "data": data})))
}

fn model(state: &State, path: &str) -> Result<Response<AnswerBody>, ApiError> {
    let (served, asked) = (state.model()?, path.trim_start_matches("/v1/models/"));
    match asked == served.identity.name {
        true => Ok(document(StatusCode::OK, &model_facts(&served))),
        false => Err(ApiError::no_such_model(asked, &served.identity.name)),
    }
}

/// The body of a request, within its limits.
async fn body_of(state: &State, request: http::Request<Incoming>) -> Result<Bytes, ApiError> {
    let (limit, deadline) = (state.options.body_bytes, state.options.body_deadline);
    let mut body = request.into_body();
    let read = async {
        let (mut bytes, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::body("The request's body broke off."))?;
            let data: &[u8] = frame.data_ref().map_or(&[], |data| &data[..]);
            length += data.len();
            match length {
                length if length <= limit => bytes.extend_from_slice(data),
                // Read on for a while: a client that is still sending would not see the answer.
                length if length <= limit.saturating_mul(READ_ON) => {}
                _ => break,
            }
        }
        if length > limit { Err(ApiError::too_large(limit)) } else { Ok(Bytes::from(bytes)) }
    };
    timeout(deadline, read).await.unwrap_or_else(|_| Err(ApiError::too_slow()))
}

/// Who asks, and which account pays.
fn client_of(
    state: &State,
    source: Source,
    request: &http::Request<Incoming>,
) -> Result<(Client, Option<PublicKey>), ApiError> {
    let Admission::Prepaid { keys, .. } = &state.admission else { return Ok((Client::Address(source), None)) };
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = header.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
    let Some(key) = key else {
        return Err(ApiError::key("You didn't provide an API key: send it as `Authorization: Bearer tk-...`."));
    };
    let unknown = "Incorrect API key provided; make one with `templar access key new`.";
    let account = keys.account(key.trim()).ok_or_else(|| ApiError::key(unknown))?;
    Ok((Client::Account(account), Some(account)))
}

/// A request whose texts are written.
struct Accepted {
    is_stream: bool,
    streamed: mpsc::Receiver<Bytes>,
    answered: oneshot::Receiver<Result<Value, ApiError>>,
}

/// Gone without a word: the task was cut off.
fn gone(_: oneshot::error::RecvError) -> ApiError {
    ApiError::unavailable("The gateway stops.", COME_BACK)
}

/// Texts: reserved, written and charged by a task of its own, which goes on where this future is dropped.
async fn texts(
    state: &Arc<State>,
    source: Source,
    kind: Kind,
    request: http::Request<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let accepted = accept(state, source, kind, request).await;
    if let Err(error) = &accepted {
        state.counts.ended(operation_of(kind), error.outcome());
    }
    let Accepted { is_stream, streamed, answered } = accepted?;
    if !is_stream {
        return Ok(document(StatusCode::OK, &answered.await.map_err(gone)??));
    }
    let mut response = Response::new(AnswerBody::Events(streamed));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

async fn accept(
    state: &Arc<State>,
    source: Source,
    kind: Kind,
    request: http::Request<Incoming>,
) -> Result<Accepted, ApiError> {
    let watch = Watch { counts: Arc::clone(&state.counts), kind, began: Instant::now(), has_token: false };
    let (client, account) = client_of(state, source, &request)?;
    let body = body_of(state, request).await?;
    let asked = Request::read(kind, &body)?;
    let model = state.model()?;
    if asked.model != model.identity.name {
        return Err(ApiError::no_such_model(&asked.model, &model.identity.name));
    }
    let (accepted, is_accepted) = oneshot::channel();
    let (events, streamed) = mpsc::channel(WAITING_EVENTS);
    let (whole, answered) = oneshot::channel();
    let is_stream = asked.is_stream;
    let out = if is_stream { Out::Stream(events) } else { Out::Whole(whole) };
    let heading = heading(kind, &model)?;
    tokio::spawn(write(Arc::clone(state), (client, account), (model, heading, asked), accepted, (out, watch)));
    is_accepted.await.map_err(gone)??;
    Ok(Accepted { is_stream, streamed, answered })
}

async fn write(
    state: Arc<State>,
    (client, account): (Client, Option<PublicKey>),
    (model, heading, asked): (Arc<Served>, Heading, Request),
    accepted: oneshot::Sender<Result<(), ApiError>>,
    (out, watch): (Out, Watch),
) {
    let taken = async {
        let patience = state.options.patience;
        // Reading a long prompt into tokens takes a core for a while: few are read at a time. It is never closed.
        let place = state.reading.acquire().await;
        let prepared = tokio::task::spawn_blocking(move || Writing::prepare(model, heading, asked, patience)).await;
        drop(place);
        let (writing, jobs, most) = prepared.map_err(|_| ApiError::internal("The prompt could not be read."))??;
        let reservation = match (&state.admission, account) {
            (Admission::Prepaid { billing, .. }, Some(account)) => Some(billing.reserve(&account, most.units).await?),
            _ => None,
        };
        match state.scheduler.submit(client, jobs) {
            Ok(()) => Ok((writing, reservation)),
            Err(refused) => {
                if let Some(reservation) = reservation {
                    reservation.release().await?;
                }
                Err(refusal(refused))
            }
        }
    };
    match taken.await {
        Ok((writing, reservation)) => {
            // Whoever left meanwhile is noticed by the writing.
            let _ = accepted.send(Ok(()));
            // The state is let go of, so that a gateway that is dropped ends.
            drop(state);
            writing.run(out, reservation, watch).await;
        }
        Err(error) => drop(accepted.send(Err(error))),
    }
}

fn refusal(refused: Refused) -> ApiError {
    match refused {
        Refused::Full => ApiError::busy("The gateway is busy: too many texts wait. Please try again.", COME_BACK),
        Refused::ClientFull => {
            ApiError::busy("Rate limit reached: too many of your texts wait. Please try again.", COME_BACK)
        }
        Refused::Stopped => ApiError::unavailable("The gateway stops.", COME_BACK),
    }
}

fn heading(kind: Kind, model: &Served) -> Result<Heading, ApiError> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    let prefix = match kind {
        Kind::Chat => "chatcmpl",
        Kind::Completion => "cmpl",
    };
    let identity = model.identity.clone();
    let id = format!("{prefix}-{}", hex::encode(random));
    let (model, fingerprint) = (identity.name, identity.fingerprint);
    Ok(Heading { kind, id, created: unix_seconds(), model, fingerprint })
}

/// Takes a key for an account, or takes it back, as the account's holder signed it.
async fn put_key(state: &State, request: http::Request<Incoming>) -> Result<Response<AnswerBody>, ApiError> {
    let Admission::Prepaid { billing, keys } = &state.admission else {
        return Err(ApiError::body("This gateway is open: it asks for no keys."));
    };
    let body = body_of(state, request).await?;
    let grant: KeyGrant = serde_json::from_slice(&body)
        .map_err(|error| ApiError::body(format!("The body is not a signed grant of a key: {error}.")))?;
    if !grant.is_authentic(&billing.genesis(), &billing.gateway()) {
        return Err(ApiError::forbidden("The account's key did not sign this for this gateway and ledger."));
    }
    if !grant.revoked && billing.account(&grant.account).await?.is_none() {
        let message = "Nothing is prepaid for this account at this gateway; open it with `templar access open`.";
        return Err(ApiError::forbidden(message));
    }
    let (keys, kept) = (Arc::clone(keys), grant.clone());
    let put = tokio::task::spawn_blocking(move || keys.put(&kept)).await;
    match put.map_err(|_| ApiError::internal("The key could not be stored."))? {
        Ok(()) => Ok(document(StatusCode::OK, &json!({"hash": grant.hash, "revoked": grant.revoked}))),
        Err(error @ (KeysError::TooMany | KeysError::OfAnother)) => Err(ApiError::forbidden(error.to_string())),
        Err(error) => {
            tracing::error!("cannot store a key: {error}");
            Err(ApiError::internal("The key could not be stored."))
        }
    }
}
