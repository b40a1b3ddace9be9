//! Connections: how many, how long, and how slow they may be.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use s3s::Body;
use s3s::service::S3Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::connections::{Connections, Source};
use super::metrics::{Counts, operation_of};
use super::progress::Progress;
use super::slots::{Lane, Slots};
use super::stall_budget::{StallBudget, TimedBody};
use super::{KeyRing, ServerOptions};

/// How long running requests may go on after a shutdown was asked for.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Pause after a failed accept: mostly the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often slow transfers are looked for while others wait.
const RELIEF_EVERY: Duration = Duration::from_millis(200);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    service: S3Service,
    keys: KeyRing,
    pub(super) slots: Arc<Slots>,
    pub(super) connections: Arc<Connections>,
    pub(super) counts: Arc<Counts>,
    options: ServerOptions,
}

impl Shared {
    pub(super) fn new(service: S3Service, keys: KeyRing, options: ServerOptions) -> Self {
        let connections = Connections::new(options.max_connections, options.max_connections_per_address);
        let (slots, connections) = (Arc::new(Slots::new(&options)), Arc::new(connections));
        Self { service, keys, slots, connections, counts: Arc::default(), options }
    }
}

/// Accepts and serves until `stopped` becomes true; dropping the future closes every connection.
pub(super) async fn accept_all(listener: TcpListener, shared: Shared, mut stopped: watch::Receiver<bool>) {
    let shared = Arc::new(shared);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut relief = interval(RELIEF_EVERY);
    loop {
        let accepted = tokio::select! {
            // An error means that the handle is gone: the same as a stop.
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            _ = relief.tick() => {
                shared.slots.relieve();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok((stream, address)) => (stream, Source::of(address.ip())),
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let progress = Arc::<Progress>::default();
        // A connection for which there is no place is closed at once.
        let Some(counted) = shared.connections.admit(source, Arc::clone(&progress)) else {
            shared.counts.rejected_connection();
            continue;
        };
        // Without it answers are slower, not wrong.
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(serve(Arc::clone(&shared), stream, source, progress));
        connections.spawn(async move {
            let _held = counted;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    // What has not ended by then is cut off by dropping the set.
    let _ = timeout(LAST_REQUESTS, graceful.shutdown()).await;
}

fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    source: Source,
    progress: Arc<Progress>,
) -> impl GracefulConnection<Error = hyper::Error> {
    let budget = StallBudget::new(shared.options.stall_timeout, Arc::clone(&progress));
    let stream = StallGuard { stream, budget, progress: Arc::clone(&progress), counts: Arc::clone(&shared.counts) };
    let header_timeout = shared.options.header_timeout;
    let service = service_fn(move |request| answer(Arc::clone(&shared), source, Arc::clone(&progress), request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), service)
}

/// Answers one request. The slot is held until the body of the answer is sent or dropped.
async fn answer(
    shared: Arc<Shared>,
    source: Source,
    progress: Arc<Progress>,
    request: http::Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = bytes::Bytes, Error = s3s::StdError>>, Infallible> {
    let (lane, operation) = (Lane { source, key: named_key(&request, &shared.keys) }, operation_of(&request));
    let slot = shared.slots.admit(lane, Arc::clone(&progress)).await;
    let response = match &slot {
        None => busy(),
        Some(_) => carry_out(&shared, progress, request).await,
    };
    shared.counts.answered(operation, response.status());
    Ok(response.map(|body| {
        body.map_frame(move |frame| {
            let _held = &slot;
            frame
        })
    }))
}

async fn carry_out(shared: &Shared, progress: Arc<Progress>, request: http::Request<Incoming>) -> Response<Body> {
    if is_signed_by_version_2(&request) {
        let message = "signature version 2 is not offered; sign with version 4 (boto3: \
                       Config(signature_version='s3v4'))";
        return refusal(StatusCode::BAD_REQUEST, "InvalidRequest", message);
    }
    if let Some(region) = wrong_region(&request) {
        return region_refusal(&region);
    }
    let stall_timeout = shared.options.stall_timeout;
    let request = request.map(|body| Body::http_body(TimedBody::new(body, stall_timeout, progress)));
    match timeout(shared.options.request_timeout, shared.service.call(request)).await {
        Ok(Ok(response)) => with_message(response).await,
        Ok(Err(error)) => {
            tracing::warn!(?error, "a request failed inside the server");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the server failed")
        }
        Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}

/// The registered write key that a request names in its header. A form is signed in its body, which would have to be
/// read first.
fn named_key(request: &http::Request<Incoming>, keys: &KeyRing) -> Option<String> {
    let header = |name| request.headers().get(name)?.to_str().ok();
    if header(http::header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/")) {
        return None;
    }
    let authorization = header(http::header::AUTHORIZATION)?.strip_prefix("AWS4-HMAC-SHA256")?;
    let (_, credential) = authorization.split_once("Credential=")?;
    let (access_key, _) = credential.split_once('/')?;
    keys.find(access_key).map(|key| key.access_key)
}

/// The region that a request is signed for where no region can have that name: s3cmd signs for `US` until it is told.
fn wrong_region(request: &http::Request<Incoming>) -> Option<String> {
    let authorization = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.strip_prefix("AWS4-HMAC-SHA256")?.split_once("Credential=")?;
    let region = credential.split('/').nth(2)?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_word = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (!region.is_empty() && is_word && !region.bytes().all(is_name)).then(|| region.to_owned())
}

/// What S3 answers to a wrong region: clients take the right one from it and try again.
fn region_refusal(region: &str) -> Response<Body> {
    let message = format!("the region '{region}' is wrong; expecting '{REGION}'");
    let more = format!("<Region>{REGION}</Region>");
    failure(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", &message, &more)
}

/// Whether a request is signed in the way that S3 gave up in 2020; some clients still presign so by default.
fn is_signed_by_version_2(request: &http::Request<Incoming>) -> bool {
    let has = |name: &str| {
        let query = request.uri().query().unwrap_or_default();
        query.split('&').any(|pair| pair.split('=').next() == Some(name))
    };
    let authorization = request.headers().get(http::header::AUTHORIZATION);
    (has("AWSAccessKeyId") && has("Signature"))
        || authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS "))
}

/// The region of all buckets of this server; what clients take where none is set.
const REGION: &str = "us-east-1";

/// Most bytes of a failure's body.
const MAX_FAILURE_BYTES: usize = 64 << 10;

/// A failure with some words beside its code: the protocol's own checks give none, and clients then print "Unknown".
async fn with_message(response: Response<Body>) -> Response<Body> {
    if !response.status().is_client_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match Limited::new(body, MAX_FAILURE_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => bytes::Bytes::new(),
    };
    let text = String::from_utf8_lossy(&bytes);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let Some(code) = code.filter(|_| !text.contains("<Message>")) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let message = match code {
        "SignatureDoesNotMatch" => {
            "the signature was not made with this access key's secret, or the request was changed"
        }
        "RequestTimeTooSkewed" => "the clocks of the client and this server differ by more than 15 minutes",
        "KeyTooLongError" => "a key has at most 512 bytes",
        "AccessDenied" => "this access key may not do that",
        "InvalidRequest" | "InvalidArgument" => "the request is not well-formed",
        _ => "the request was refused before it reached the bucket",
    };
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let text = text.replacen("</Code>", &format!("</Code><Message>{message}</Message>"), 1);
    Response::from_parts(parts, Body::from(text))
}

/// A failure in S3's form.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    failure(status, code, message, "")
}

/// A failure in S3's form with more elements beside its message.
fn failure(status: StatusCode, code: &str, message: &str, more: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// There are too many requests at once.
fn busy() -> Response<Body> {
    let message = "too many requests at once, of all clients or of this address; come back in a moment";
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message);
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A stream that fails when the other side takes its bytes too slowly. Hyper has no such clock, and a reader that stops
/// reading would hold its connection and its block of the object for ever.
#[derive(Debug)]
struct StallGuard {
    stream: TcpStream,
    budget: StallBudget,
    progress: Arc<Progress>,
    counts: Arc<Counts>,
}

impl StallGuard {
    /// `moved` tells the bytes of a result.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
        moved: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &progress {
            let bytes = result.as_ref().map_or(0, moved);
            self.counts.sent(bytes);
            self.budget.progressed(bytes);
            return progress;
        }
        ready!(self.budget.poll_used_up(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let progress = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.counts.received(buffer.filled().len() - before);
        // Also an idle connection can be cut off.
        if progress.is_pending() && self.progress.is_cut_or_wakes(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        progress
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, progress, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, progress, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, progress, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, progress, |()| 0)
    }
}
