//! How requests of the S3 client reach the network.
//!
//! `object_store` leaves this part to its user. Ours is hyper with rustls, and treats every server as hostile: it
//! follows no redirect (a server could send us to a host inside our own network), reads no more of an answer than its
//! kind may hold, and turns a status that the client above has no word for into a [`ServerFailure`], which the callers
//! sort into retryable or not.

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};

use crate::BucketOptions;
use crate::answer::ServerFailure;
use crate::tls;

/// Most bytes of an answer that is no object: a thousand keys of 1 KiB and their XML are 2 MiB at most.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The endpoint sent more than its answer may hold.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {MAX_ANSWER_BYTES} bytes")]
pub(crate) struct AnswerTooLong;

/// The endpoint sends an object and does not say how long it is. No honest one does so; it may never end.
#[derive(Debug, thiserror::Error)]
#[error("the object comes without its length")]
pub(crate) struct NoLength;

/// Makes clients for one endpoint.
#[derive(Debug)]
pub(crate) struct Connector {
    service: Service,
}

#[derive(Debug, Clone)]
struct Service {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
}

impl Connector {
    /// Fails, with the reason, where the machine's certificates cannot be read.
    pub(crate) fn new(endpoint: &str, options: &BucketOptions) -> Result<Self, String> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        tcp.set_nodelay(true);
        let trust = if endpoint.starts_with("https:") { tls::client_config()? } else { tls::unused()? };
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(trust)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https);
        Ok(Self { service: Service { client } })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.service.clone()))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let holds_object = is_object_read(request.method(), request.uri(), request.headers());
        // Of listings and multipart uploads the client above passes no status on, so none has a meaning there.
        let has_query = request.uri().query().is_some();
        let response = self.client.request(request).await.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = response.into_parts();
        if holds_object && parts.status.is_success() && !parts.headers.contains_key(CONTENT_LENGTH) {
            return Err(HttpError::new(HttpErrorKind::Decode, NoLength));
        }
        if parts.status.is_success() {
            let body = match holds_object {
                // The reader of an object stops at its own limit.
                true => HttpResponseBody::new(body.map_err(interrupted)),
                false => HttpResponseBody::new(Limited::new(body, MAX_ANSWER_BYTES).map_err(answer_error)),
            };
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let body = match Limited::new(body, MAX_ERROR_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let failure = ServerFailure::read(parts.status, &parts.headers, &body);
        if !has_query && is_meaningful(parts.status) && !failure.is_missing_bucket() {
            let body = Full::new(body).map_err(|never| match never {});
            return Ok(Response::from_parts(parts, HttpResponseBody::new(body)));
        }
        Err(HttpError::new(HttpErrorKind::Unknown, failure))
    }
}

/// Whether the S3 client knows what to make of the status of a failure.
fn is_meaningful(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED)
}

/// A GET of an object has a path below the bucket and no query; a listing has a query.
fn is_object_read(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    *method == Method::GET && (uri.query().is_none() || headers.contains_key(http::header::RANGE))
}

fn interrupted(error: hyper::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, error)
}

fn answer_error(error: Box<dyn Error + Send + Sync>) -> HttpError {
    if error.is::<LengthLimitError>() {
        return HttpError::new(HttpErrorKind::Decode, AnswerTooLong);
    }
    HttpError::new_boxed(HttpErrorKind::Interrupted, error)
}
