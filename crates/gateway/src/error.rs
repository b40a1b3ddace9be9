//! Failures in the form that OpenAI's clients read.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// A request that is not answered as asked: status, and OpenAI's error object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Status of the answer.
    pub(crate) status: StatusCode,
    /// What is wrong and what to do.
    pub(crate) message: String,
    /// OpenAI's `type`.
    pub(crate) kind: &'static str,
    /// The field at fault.
    pub(crate) param: Option<String>,
    /// OpenAI's `code`.
    pub(crate) code: Option<&'static str>,
    /// When to come back.
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code, retry_after: None }
    }

    /// A field has a wrong value, or is missing.
    pub(crate) fn field(name: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message);
        error.param = Some(name.into());
        error
    }

    /// A field asks for what this server does not do.
    pub(crate) fn unsupported(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::field(name, message) }
    }

    /// The body as a whole is wrong.
    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message)
    }

    /// The prompt does not fit into the model.
    pub(crate) fn too_long(tokens: usize, positions: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {positions} tokens, and the prompt alone has {tokens}. Please \
             reduce its length."
        );
        Self { code: Some("context_length_exceeded"), ..Self::body(message) }
    }

    /// There is nothing at this address.
    pub(crate) fn no_such_url(method: &http::Method, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", None, message)
    }

    /// The address takes another method.
    pub(crate) fn method(method: &http::Method, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {path}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", None, message)
    }

    /// The model is another than the one that is served.
    pub(crate) fn no_such_model(asked: &str, served: &str) -> Self {
        let message = format!("The model `{asked}` does not exist here; this gateway serves `{served}`.");
        let mut error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found"), message);
        error.param = Some("model".to_owned());
        error
    }

    /// The body is larger than what is read.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("The request's body has more than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", None, message)
    }

    /// The client sends its body too slowly.
    pub(crate) fn too_slow() -> Self {
        let message = "The request's body came too slowly.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", None, message)
    }

    /// No key, or one that is unknown here.
    pub(crate) fn key(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", Some("invalid_api_key"), message)
    }

    /// A grant of a key that is not the account holder's.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", None, message)
    }

    /// Too many texts wait already.
    pub(crate) fn busy(message: &str, retry_after: Duration) -> Self {
        let code = Some("rate_limit_exceeded");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", code, message);
        error.retry_after = Some(retry_after);
        error
    }

    /// The account does not cover the request.
    pub(crate) fn quota(message: impl Into<String>) -> Self {
        let code = "insufficient_quota";
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, Some(code), message)
    }

    /// There is no model yet, no answer of the ledger, or the server stops.
    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", None, message);
        error.retry_after = Some(retry_after);
        error
    }

    /// The fault is this server's.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message)
    }

    /// What became of the request, in a word.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not found",
            StatusCode::REQUEST_TIMEOUT => "too slow",
            StatusCode::TOO_MANY_REQUESTS if self.kind == "insufficient_quota" => "quota",
            StatusCode::TOO_MANY_REQUESTS => "busy",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            StatusCode::INTERNAL_SERVER_ERROR => "failed",
            _ => "invalid",
        }
    }

    /// OpenAI's error object.
    pub(crate) fn to_json(&self) -> Value {
        let Self { message, kind, param, code, .. } = self;
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    }
}
