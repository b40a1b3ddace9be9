//! Connections: how many, how long, and how slow they may be.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
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
use hyper_util::server::graceful::GracefulShutdown;
use s3s::Body;
use s3s::service::S3Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ServerOptions;
use super::connection_counts::ConnectionCounts;
use super::stall_budget::{StallBudget, TimedBody};

/// How long running requests may go on after a shutdown was asked for.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Pause after a failed accept: mostly the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and serves until `stopped` becomes true; dropping the future closes every connection.
pub(super) async fn accept_all(
    listener: TcpListener,
    service: S3Service,
    options: ServerOptions,
    mut stopped: watch::Receiver<bool>,
) {
    let connection_slots = Arc::new(Semaphore::new(options.max_connections));
    let request_slots = Arc::new(Semaphore::new(options.max_requests));
    let counts = Arc::new(ConnectionCounts::default());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // An error means that the handle is gone: the same as a stop.
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &connection_slots) => accepted,
        };
        let (stream, address, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A connection of an address that has too many already is closed at once.
        let Some(counted) = counts.admit(address, options.max_connections_per_address) else { continue };
        let stream = StallGuard { stream, budget: StallBudget::new(options.stall_timeout) };
        let (service, request_slots) = (service.clone(), request_slots.clone());
        let times = (options.request_timeout, options.stall_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_timeout)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(service.clone(), request_slots.clone(), times, request)),
            );
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _held = (slot, counted);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    // What has not ended by then is cut off by dropping the set.
    let _ = timeout(LAST_REQUESTS, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address.ip(), slot))
}

/// Answers one request. The slot is held until the body of the answer is sent or dropped.
async fn answer(
    service: S3Service,
    slots: Arc<Semaphore>,
    (request_timeout, stall_timeout): (Duration, Duration),
    request: http::Request<Incoming>,
) -> Result<Response<impl http_body::Body<Data = bytes::Bytes, Error = s3s::StdError>>, Infallible> {
    let slot = slots.try_acquire_owned().ok();
    let response = if slot.is_none() {
        plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; come back in a moment")
    } else if is_signed_by_version_2(&request) {
        let message = "signature version 2 is not offered; sign with version 4 (boto3: \
                       Config(signature_version='s3v4'))";
        refusal(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    } else {
        let work = service.call(request.map(|body| Body::http_body(TimedBody::new(body, stall_timeout))));
        match timeout(request_timeout, work).await {
            Ok(Ok(response)) => with_message(response).await,
            Ok(Err(error)) => {
                tracing::warn!(?error, "a request failed inside the server");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the server failed")
            }
            Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
        }
    };
    Ok(response.map(|body| {
        body.map_frame(move |frame| {
            let _held = &slot;
            frame
        })
    }))
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
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
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
            self.budget.progressed(result.as_ref().map_or(0, moved));
            return progress;
        }
        ready!(self.budget.poll_used_up(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
