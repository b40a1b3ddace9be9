//! From a request to its answer.

use super::Site;
use super::answers::{Answer, Answers};
use super::clients::Clients;
use super::events::events;
use super::route::{Route, View};
use crate::follower::Shared;
use crate::state::{RunFacts, Snapshot};
use crate::{Options, Source, api, metrics, pages};
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use templar_base::{EXPOSITION_TYPE, PublicKey, Uid};
use templar_chain::EventRecord;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// Nothing but what this server sends itself may be loaded, run, framed or sent to.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Readings of a key's history at a time, and how long each may take.
const HISTORIES: usize = 4;
const HISTORY_DEADLINE: Duration = Duration::from_secs(3);
/// Events of a key's history that are shown.
const HISTORY_EVENTS: u32 = 64;

/// What was asked and turned away, for the metrics.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    turned_away: AtomicU64,
}

impl Counters {
    fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were answered, and connections and streams for which there was no place.
    fn read(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.turned_away.load(Ordering::Relaxed))
    }
}

/// Everything that answers are made of.
pub(super) struct RecordSite {
    source: Source,
    shared: Arc<Shared>,
    facts: RunFacts,
    answers: Answers,
    streams: Arc<Clients>,
    counters: Counters,
    histories: Semaphore,
}

impl RecordSite {
    pub(super) fn new(source: Source, shared: Arc<Shared>, options: &Options) -> Self {
        Self {
            facts: facts(&source),
            source,
            shared,
            answers: Answers::default(),
            streams: Arc::new(Clients::new(options.max_streams, options.max_streams_per_address)),
            counters: Counters::default(),
            histories: Semaphore::new(HISTORIES),
        }
    }

    /// Answers a request from its head.
    async fn respond(&self, client: IpAddr, head: &Parts) -> Response<Body> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut response = problem(head, StatusCode::METHOD_NOT_ALLOWED, "this server only answers GET and HEAD");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Some(route) = Route::of(head.uri.path(), head.uri.query().unwrap_or_default()) else {
            return problem(head, StatusCode::NOT_FOUND, "there is nothing at this address");
        };
        if route == Route::Events {
            return self.stream(client, head);
        }
        let answer = match fixed(&route) {
            Some(answer) => Some(answer),
            None => self.rendered(&route).await,
        };
        match answer {
            Some(answer) if route == Route::Metrics => whole(head, self.with_processes(answer).await),
            Some(answer) if route == Route::Page(View::Try) => self.with_gateway(whole(head, answer)),
            Some(answer) => whole(head, answer),
            None => problem(head, StatusCode::NOT_FOUND, "the record that is kept has nothing of that number"),
        }
    }

    /// Lets the scripts of a page talk to the gateway too.
    fn with_gateway(&self, mut response: Response<Body>) -> Response<Body> {
        let connect = self.source.gateway.as_ref().map(|gateway| format!("connect-src 'self' {}", gateway.origin()));
        let policy = connect.map(|connect| POLICY.replace("connect-src 'self'", &connect));
        if let Some(Ok(policy)) = policy.map(HeaderValue::try_from) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// The run's metrics with those of its processes on this machine.
    async fn with_processes(&self, answer: Answer) -> Answer {
        let Some(processes) = &self.source.processes else { return answer };
        Answer::new(answer.kind, [&answer.body, processes.text().await.as_bytes()].concat())
    }

    fn stream(&self, client: IpAddr, head: &Parts) -> Response<Body> {
        let Some(counted) = self.streams.admit(client) else {
            self.counters.turned_away();
            let mut response = problem(head, StatusCode::TOO_MANY_REQUESTS, "too many live streams are open");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
            return response;
        };
        if head.method == Method::HEAD {
            return response(StatusCode::OK, "text/event-stream", Bytes::new());
        }
        let body = StreamBody::new(events(Arc::clone(&self.shared), counted)).boxed_unsync();
        framed(StatusCode::OK, "text/event-stream", body)
    }

    /// The answer of the newest snapshot, rendered once for all readers.
    async fn rendered(&self, route: &Route) -> Option<Answer> {
        let snapshot = self.shared.fresh().await;
        let key = route.cache_key();
        if let Some(answer) = key.as_ref().and_then(|key| self.answers.find(snapshot.generation, key)) {
            return Some(answer);
        }
        let history = match route {
            Route::Page(View::Miner(uid)) | Route::Api(View::Miner(uid)) => self.history(&snapshot, *uid).await,
            _ => None,
        };
        let answer = self.render(route, &snapshot, history.as_deref())?;
        if let Some(key) = key {
            self.answers.keep(snapshot.generation, key, answer.clone());
        }
        Some(answer)
    }

    fn render(&self, route: &Route, snapshot: &Snapshot, history: Option<&[EventRecord]>) -> Option<Answer> {
        let facts = &self.facts;
        let html = |page: pages::Page| Answer::new(HTML, page.into_string(facts, snapshot));
        let json = |value: serde_json::Value| Answer::new(JSON, value.to_string());
        Some(match route {
            Route::Page(view) => match view {
                View::Run => html(pages::run(facts, snapshot)),
                View::Windows => html(pages::windows(snapshot)),
                View::Window(window) => html(pages::window(snapshot, *window)?),
                View::Miners(order) => html(pages::miners(snapshot, order)),
                View::Miner(uid) => html(pages::miner(snapshot, *uid, history)?),
                View::Market => html(pages::market(snapshot)),
                View::Governance => html(pages::governance(snapshot)),
                View::Evidence => html(pages::evidence(facts, snapshot)),
                View::Evaluations => return None,
                View::Try => html(pages::try_it(self.source.gateway.as_ref())),
            },
            Route::Api(view) => json(match view {
                View::Run => api::run(facts, snapshot),
                View::Windows => api::windows(snapshot),
                View::Window(window) => api::window(snapshot, *window)?,
                View::Miners(order) => api::miners(snapshot, order),
                View::Miner(uid) => api::miner(snapshot, *uid, history)?,
                View::Market => api::market(snapshot),
                View::Governance => api::governance(snapshot),
                View::Evidence => api::evidence(snapshot),
                View::Evaluations => api::evaluations(snapshot),
                View::Try => return None,
            }),
            Route::Metrics => {
                let text = metrics::text(facts, snapshot, self.counters.read(), self.streams.count());
                Answer::new(EXPOSITION_TYPE, text)
            }
            Route::OpenApi | Route::Events | Route::Style | Route::Script | Route::TryScript | Route::Icon => {
                return None;
            }
        })
    }

    /// What happened to the key that holds a slot; none where the ledger does not answer in time.
    async fn history(&self, snapshot: &Snapshot, uid: Uid) -> Option<Vec<EventRecord>> {
        let hotkey: PublicKey = snapshot.slot(uid)?.hotkey;
        let asked = async {
            // The semaphore is never closed.
            let _held = self.histories.acquire().await.ok()?;
            self.source.chain.history(&hotkey, None, HISTORY_EVENTS).await.ok()
        };
        timeout(HISTORY_DEADLINE, asked).await.ok()?
    }
}

impl Site for RecordSite {
    async fn answer(&self, client: IpAddr, head: &Parts) -> Response<Body> {
        self.respond(client, head).await
    }

    fn turned_away(&self) {
        self.counters.turned_away();
    }
}

fn facts(source: &Source) -> RunFacts {
    let (run, genesis) = (&source.run, &source.run.genesis);
    RunFacts {
        run: run.id,
        name: genesis.name.chars().take(120).collect(),
        netuid: genesis.netuid.get(),
        parameters: run.layout.parameters() as u64,
        blocks_per_window: genesis.clock.blocks_per_window,
        start_block: genesis.clock.start_block,
        first_state: genesis.first_state,
        retention_windows: genesis.budget.retention_windows,
        checkpoint_windows: genesis.budget.checkpoint_windows,
        audit_rate_per_mille: genesis.audit.rate_per_mille,
        evaluation: genesis.evaluation.clone(),
        record_file: source.file.clone(),
    }
}

/// What is part of the program.
fn fixed(route: &Route) -> Option<Answer> {
    let (kind, text) = match route {
        Route::Style => ("text/css; charset=utf-8", include_str!("../assets/style.css")),
        Route::Script => ("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
        Route::TryScript => ("text/javascript; charset=utf-8", include_str!("../assets/try.js")),
        Route::Icon => ("image/svg+xml", include_str!("../assets/favicon.svg")),
        Route::OpenApi => (JSON, api::OPENAPI),
        _ => return None,
    };
    Some(Answer::new(kind, Bytes::from_static(text.as_bytes())))
}

/// A whole answer, or the word that the reader has it already.
pub(super) fn whole(head: &Parts, answer: Answer) -> Response<Body> {
    let known = head.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == answer.tag));
    let (status, body) =
        if is_known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, answer.body) };
    let mut response = response(status, answer.kind, body);
    if let Ok(tag) = HeaderValue::from_str(&answer.tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// What is wrong, as the reader likes it.
pub(super) fn problem(head: &Parts, status: StatusCode, what: &'static str) -> Response<Body> {
    let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") && !head.uri.path().starts_with("/api/") {
        return response(status, HTML, pages::problem(status.as_u16(), what).into());
    }
    let kind = status.canonical_reason().unwrap_or("problem").to_lowercase().replace(' ', "_");
    let text = serde_json::json!({"error": {"kind": kind, "message": what}}).to_string();
    response(status, JSON, text.into())
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    framed(status, kind, Full::new(body).boxed_unsync())
}

fn framed(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fixed: [(HeaderName, &'static str); 7] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Kept by the reader, and asked for again each time: it is cheap to hear that nothing changed.
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
