//! What a server says of a failure: its code, its words, its headers; and what follows from them.

use http::{HeaderMap, StatusCode};

use crate::BucketError;
use crate::error::shorten;

/// A failure as the server tells of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub(crate) struct ServerFailure {
    pub(crate) status: StatusCode,
    /// S3's name of the failure; empty where the server gives none, as in answers without a body.
    pub(crate) code: String,
    /// The server's own words.
    pub(crate) message: String,
    /// Where the bucket is, if the server says so.
    pub(crate) region: Option<String>,
    /// The endpoint that the server points to.
    pub(crate) endpoint: Option<String>,
}

impl ServerFailure {
    /// Reads the head and the body of an answer.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let code = element(&body, "Code").filter(|code| is_name(code)).unwrap_or_default();
        let message = match element(&body, "Message") {
            Some(message) => shorten(&message),
            None if code.is_empty() => shorten(body.trim()),
            None => String::new(),
        };
        let header = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok().map(str::to_owned));
        let region = header.or_else(|| element(&body, "Region")).filter(|region| is_name(region));
        let endpoint = element(&body, "Endpoint").map(|endpoint| shorten(&endpoint));
        Self { status, code, message, region, endpoint }
    }

    /// The code first, which is never cut off, then the status and the server's words.
    fn text(&self) -> String {
        let name = match self.code.is_empty() {
            true => format!("the server answered {}", self.status),
            false => format!("{} ({})", self.code, self.status.as_u16()),
        };
        if self.message.is_empty() { name } else { format!("{name}: {}", self.message) }
    }

    /// Whether a request for an object, or for a whole bucket, failed because the bucket is not there.
    pub(crate) fn is_missing_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Sorts the failure into whose it is.
    pub(crate) fn sort(&self, operation: &'static str, key: &str) -> BucketError {
        let (status, reason) = (self.status, self.to_string());
        let code = self.code.as_str();
        if let Some(region) = self.other_region() {
            let endpoint = self.endpoint.as_ref().map(|host| format!(" and the endpoint {host}")).unwrap_or_default();
            return BucketError::WrongRegion { operation, region, endpoint };
        }
        if self.is_missing_bucket() && !matches!(operation, "get" | "get range" | "head" | "list") {
            return BucketError::NoBucket { operation, reason };
        }
        if status == StatusCode::NOT_FOUND {
            return BucketError::NotFound { key: key.to_owned() };
        }
        if let Some(advice) = advice(code, status) {
            return BucketError::Refused { operation, reason, advice: advice.to_owned() };
        }
        if status == StatusCode::INSUFFICIENT_STORAGE || code == "QuotaExceeded" {
            return BucketError::Full { operation, reason };
        }
        // 409 is what AWS answers to the loser of a race that is not decided yet.
        let passes = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT];
        let will_pass = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        if will_pass || passes.contains(&status) || matches!(code, "RequestTimeout" | "SlowDown") {
            return BucketError::Unreachable { operation, reason };
        }
        if status.is_redirection() {
            let reason = format!("{reason}: redirects are not followed; check the endpoint and the region");
            return BucketError::Misbehaved { operation, reason };
        }
        BucketError::Failed { operation, reason }
    }

    /// The region where the bucket is, of an answer that says that it is not in ours.
    fn other_region(&self) -> Option<String> {
        let wrong_region = [
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "AuthorizationQueryParametersError",
            "IllegalLocationConstraintException",
        ];
        let is_other = self.status.is_redirection() || wrong_region.contains(&self.code.as_str());
        self.region.clone().filter(|_| is_other)
    }
}

/// What the operator can do about a server that refuses, by what it says.
fn advice(code: &str, status: StatusCode) -> Option<&'static str> {
    Some(match code {
        "RequestTimeTooSkewed" | "RequestExpired" => "set this machine's clock (NTP), which differs from the server's",
        "SignatureDoesNotMatch" => {
            "check the secret key: it does not belong to this access key, or a proxy changes the request"
        }
        "InvalidAccessKeyId" | "InvalidClientTokenId" => {
            "check the access key, which the server does not know; on our own server `templar bucket key add` creates one"
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "renew the session token",
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
            "use the access key of this very bucket, and let it read, write, list and delete (docs/buckets.md)"
        }
        _ if status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED => {
            "open the bucket as its writer, with the access key of this very bucket"
        }
        _ => return None,
    })
}

/// The text of the first element of this name. Bodies are a few hundred bytes of flat XML; whatever else comes gives
/// nothing, or some text that is shortened before it is shown.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim();
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(plain.iter().fold(text.to_owned(), |text, (escape, char)| text.replace(escape, char)))
        .filter(|it| !it.is_empty())
}

/// Whether a text can be a code or a region.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::AtFault;

    fn sorted(status: u16, body: &str, region: Option<&str>) -> BucketError {
        let mut headers = HeaderMap::new();
        if let Some(region) = region {
            headers.insert("x-amz-bucket-region", region.parse().unwrap());
        }
        ServerFailure::read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()).sort("put", "a")
    }

    fn error(code: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is &amp; not else</Message></Error>")
    }

    #[test]
    fn each_cause_has_its_own_message_with_the_servers_code_first() {
        let mut said = Vec::new();
        for (status, code, advice) in [
            (403, "RequestTimeTooSkewed", "clock"),
            (403, "SignatureDoesNotMatch", "secret key"),
            (403, "InvalidAccessKeyId", "does not know"),
            (400, "ExpiredToken", "session token"),
            (403, "AccessDenied", "docs/buckets.md"),
            (403, "SomethingNew", "as its writer"),
            (404, "NoSuchBucket", "create it"),
            (507, "InsufficientStorage", "full"),
            (503, "SlowDown", "later"),
            (400, "RequestTimeout", "later"),
            (501, "NotImplemented", "failed"),
        ] {
            let text = sorted(status, &error(code), None).to_string();
            assert!(text.contains(code) && text.contains(advice), "{code}: {text}");
            assert!(text.contains("so it is & not else"), "{text}");
            said.push(text);
        }
        assert!(sorted(503, &error("SlowDown"), None).is_retryable());
        assert!(!sorted(501, &error("NotImplemented"), None).is_retryable());
        said.sort();
        said.dedup();
        assert_eq!(said.len(), 11);
    }

    #[test]
    fn a_bucket_elsewhere_is_named_with_its_region() {
        let moved = sorted(301, &error("PermanentRedirect"), Some("eu-central-1")).to_string();
        assert!(
            moved.contains("is in eu-central-1 (the server says so)") && moved.contains("&region=eu-central-1"),
            "{moved}"
        );
        let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>";
        assert!(sorted(400, malformed, None).to_string().contains("&region=us-west-2"));
        let silent = sorted(307, "", None);
        assert!(matches!(silent, BucketError::Misbehaved { .. }), "{silent}");
        assert!(!sorted(301, "", Some("x y<z>")).to_string().contains("says so"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_answer_is_sorted_and_shown_without_control_characters(
            status in 300u16..600,
            body in "(\\PC|\\x1b|<Code>|</Code>|<Message>|</Message>|<Region>|</Region>|&amp;){0,80}",
        ) {
            let text = sorted(status, &body, None).to_string();
            prop_assert!(!text.chars().any(char::is_control) && text.chars().count() < 800, "{}", text);
        }
    }
}
