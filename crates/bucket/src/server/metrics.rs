//! Numbers of the server, for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, StatusCode};
use templar_base::MetricKind::{Counter, Gauge};
use templar_base::{Exposition, Tally};

use super::connections::Connections;
use super::quota::Quota;
use super::slots::Slots;
use super::uploads::Uploads;

/// What is counted as requests are served.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: Tally<2>,
    received: AtomicU64,
    sent: AtomicU64,
    rejected_connections: AtomicU64,
}

impl Counts {
    pub(super) fn answered(&self, operation: &'static str, status: StatusCode) {
        self.requests.add([operation, label_of(status)], 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn rejected_connection(&self) {
        self.rejected_connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a request asks for, by its method and the names in its query: a few words, whatever a client sends.
pub(super) fn operation_of<B>(request: &http::Request<B>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_object =
        request.uri().path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    match *request.method() {
        _ if has("uploads") || has("uploadId") => "multipart",
        Method::GET if is_object => "get",
        Method::GET => "list",
        Method::HEAD => "head",
        Method::PUT if request.headers().contains_key("x-amz-copy-source") => "copy",
        Method::PUT if is_object => "put",
        Method::DELETE => "delete",
        Method::POST if has("delete") => "delete",
        _ => "other",
    }
}

fn label_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        204 => "204",
        206 => "206",
        304 => "304",
        400 => "400",
        403 => "403",
        404 => "404",
        408 => "408",
        409 => "409",
        412 => "412",
        413 => "413",
        416 => "416",
        500 => "500",
        501 => "501",
        503 => "503",
        507 => "507",
        _ if status.is_client_error() => "other 4xx",
        _ if status.is_server_error() => "other 5xx",
        _ => "other",
    }
}

/// The metrics of a server.
#[derive(Clone)]
pub struct BucketMetrics {
    pub(super) counts: Arc<Counts>,
    pub(super) quota: Arc<Quota>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) slots: Arc<Slots>,
    pub(super) connections: Arc<Connections>,
}

impl fmt::Debug for BucketMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BucketMetrics")
    }
}

impl BucketMetrics {
    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut all = Exposition::default();
        let counts = &self.counts;
        let help = "Requests by operation and HTTP status.";
        counts.requests.write(&mut all, "templar_bucket_requests_total", help, ["operation", "status"]);
        let moved = [("received", &counts.received), ("sent", &counts.sent)];
        let moved = moved.map(|(direction, sum)| (direction.to_owned(), sum.load(Ordering::Relaxed) as f64));
        let help = "Bytes on all connections, heads and bodies, by direction.";
        all.labelled("templar_bucket_bytes_total", Counter, help, "direction", moved);
        let rejected = counts.rejected_connections.load(Ordering::Relaxed) as f64;
        let help = "Connections for which there was no place.";
        all.one("templar_bucket_rejected_connections_total", Counter, help, Some(rejected));
        let help = "Writes that found no room in their bucket's quota.";
        let rejected = self.quota.rejections() as f64;
        all.one("templar_bucket_quota_rejections_total", Counter, help, Some(rejected));
        let (stored, reserved) = self.quota.stored();
        let (held, waiting) = self.slots.load();
        let mut gauge = |name: &str, help: &str, value: u64| all.one(name, Gauge, help, Some(value as f64));
        gauge("templar_bucket_buckets", "Buckets that hold objects.", stored.buckets);
        gauge("templar_bucket_objects", "Objects in all buckets.", stored.objects);
        gauge("templar_bucket_stored_bytes", "Bytes of these objects.", stored.bytes);
        let help = "Bytes of the fullest bucket, which its quota limits.";
        gauge("templar_bucket_largest_bytes", help, stored.largest);
        gauge("templar_bucket_quota_bytes", "Bytes that each bucket may hold.", self.quota.limit());
        let help = "Bytes on their way and of unfinished uploads, which count against quotas.";
        gauge("templar_bucket_reserved_bytes", help, reserved);
        gauge("templar_bucket_uploads", "Unfinished multipart uploads.", self.uploads.count() as u64);
        gauge("templar_bucket_connections", "Open connections.", self.connections.count() as u64);
        gauge("templar_bucket_running_requests", "Requests that are worked on.", held as u64);
        gauge("templar_bucket_waiting_requests", "Requests that wait for a slot.", waiting as u64);
        all.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_of_a_few_words() {
        let of = |method: &str, uri: &str| {
            operation_of(&http::Request::builder().method(method).uri(uri).body(()).unwrap()).to_owned()
        };
        for (method, uri, wanted) in [
            ("GET", "/one/a/b", "get"),
            ("GET", "/one?list-type=2&prefix=a", "list"),
            ("GET", "/", "list"),
            ("HEAD", "/one/a", "head"),
            ("PUT", "/one/a", "put"),
            ("PUT", "/one", "other"),
            ("PUT", "/one/a?partNumber=1&uploadId=x", "multipart"),
            ("POST", "/one/a?uploads", "multipart"),
            ("POST", "/one?delete", "delete"),
            ("DELETE", "/one/a", "delete"),
            ("BREW", "/one/a?x=y", "other"),
        ] {
            assert_eq!(of(method, uri), wanted, "{method} {uri}");
        }
    }

    #[test]
    fn every_status_has_one_of_a_few_labels() {
        let labels: std::collections::BTreeSet<_> =
            (100..1000).map(|code| label_of(StatusCode::from_u16(code).unwrap())).collect();
        assert!(labels.len() < 24, "{labels:?}");
        assert_eq!((label_of(StatusCode::NOT_FOUND), label_of(StatusCode::IM_A_TEAPOT)), ("404", "other 4xx"));
    }

    /// The page on metrics names each of them.
    #[test]
    fn the_page_on_metrics_holds() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
        let names = include_str!("metrics.rs").split('"').filter(|text| text.starts_with("templar_bucket_"));
        for name in names.filter(|name| *name != "templar_bucket_") {
            assert!(page.contains(&format!("`{name}`")), "docs/metrics.md lacks {name}");
        }
    }
}
