//! Where a bucket is, as a short text that a node commits on the ledger.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::BucketError;
use crate::error::shorten;

/// Longest location in bytes, so that it fits in a ledger commitment of 512 bytes beside other fields.
pub const MAX_LOCATION_BYTES: usize = 200;

/// Where a bucket is. Text form: `file:///path`, `memory://name`, or
/// `s3://bucket?endpoint=http://host:9000&region=us-east-1`.
///
/// A location read from the ledger was written by a stranger: look at [`BucketLocation::kind`] before opening it, and
/// take only [`LocationKind::S3`] from the public.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketLocation(Place);

/// What sort of place a location names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocationKind {
    /// A folder of this machine.
    Folder,
    /// The memory of this process.
    Memory,
    /// An S3-compatible server.
    S3,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    Folder(PathBuf),
    Memory(String),
    S3 { bucket: String, endpoint: String, region: String },
}

/// From where the host of an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Perhaps from anywhere: a name, or an address of a network.
    Network,
    /// From its own machine only: loopback, such as 127.0.0.1 and localhost.
    ThisMachine,
    /// Nowhere: `0.0.0.0` and `[::]` mean all addresses of a listener, and are none to connect to.
    Nowhere,
}

impl Reach {
    /// The reach of a URL such as `http://127.0.0.1:9000` or `ws://ledger.example.org`.
    pub fn of_url(url: &str) -> Self {
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            return Self::ThisMachine;
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) if ip.is_loopback() => Self::ThisMachine,
            Ok(ip) if ip.is_unspecified() => Self::Nowhere,
            _ => Self::Network,
        }
    }
}

/// The region where none is given; S3-compatible servers other than AWS ignore it.
const DEFAULT_REGION: &str = "us-east-1";

impl BucketLocation {
    /// A folder of this machine; the path must be absolute and valid text.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, BucketError> {
        let path = path.as_ref();
        match path.to_str() {
            Some(text) => format!("file://{text}").parse(),
            None => Err(invalid(&path.to_string_lossy(), "the path is not valid UTF-8")),
        }
    }

    /// A bucket in the memory of this process, shared by all who open the same name.
    pub fn memory(name: &str) -> Result<Self, BucketError> {
        format!("memory://{name}").parse()
    }

    /// A bucket of an S3-compatible server. `endpoint` is `http://host:port` or `https://host`, without a path.
    pub fn s3(bucket: &str, endpoint: &str, region: Option<&str>) -> Result<Self, BucketError> {
        match region {
            Some(region) => format!("s3://{bucket}?endpoint={endpoint}&region={region}").parse(),
            None => format!("s3://{bucket}?endpoint={endpoint}").parse(),
        }
    }

    /// What sort of place this is.
    pub fn kind(&self) -> LocationKind {
        match &self.0 {
            Place::Folder(_) => LocationKind::Folder,
            Place::Memory(_) => LocationKind::Memory,
            Place::S3 { .. } => LocationKind::S3,
        }
    }

    /// Why other machines cannot read this bucket; nothing where they may. A location is published on the ledger for all
    /// to read from.
    pub fn reach_warning(&self) -> Option<String> {
        let Place::S3 { endpoint, .. } = &self.0 else { return None };
        match Reach::of_url(endpoint) {
            Reach::Network => None,
            Reach::ThisMachine => Some(format!("only this machine can reach a bucket at {endpoint}")),
            Reach::Nowhere => {
                Some(format!("no machine can reach a bucket at {endpoint}, which is an address to listen on"))
            }
        }
    }

    /// From where the bucket can be reached.
    pub fn reach(&self) -> Reach {
        match &self.0 {
            Place::S3 { endpoint, .. } => Reach::of_url(endpoint),
            Place::Folder(_) | Place::Memory(_) => Reach::ThisMachine,
        }
    }

    /// Whose capacity reading this bucket uses, for limits by host; none for places of this machine that are not servers.
    /// Servers of one machine are told apart by their port, strangers' are not: one stranger can open any number. Of an
    /// IPv6 address the /64 counts.
    pub fn host(&self) -> Option<String> {
        let Place::S3 { endpoint, .. } = &self.0 else { return None };
        let uri: Uri = endpoint.parse().ok()?;
        if Reach::of_url(endpoint) == Reach::ThisMachine {
            return uri.authority().map(|authority| authority.as_str().to_owned());
        }
        let host = uri.host()?.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']');
        Some(match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(IpAddr::V6(address)) => {
                let network = u128::from(address) >> 64 << 64;
                std::net::Ipv6Addr::from(network).to_string()
            }
            Ok(address) => address.to_string(),
            Err(_) => host.to_owned(),
        })
    }

    /// Where anybody finds an object of the bucket by a browser, if it is one of S3 that everybody may read.
    pub fn object_url(&self, key: &str) -> Option<String> {
        let Place::S3 { bucket, endpoint, .. } = &self.0 else { return None };
        Some(format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

fn invalid(location: &str, reason: impl Into<String>) -> BucketError {
    BucketError::InvalidLocation { location: shorten(location), reason: reason.into() }
}

impl FromStr for BucketLocation {
    type Err = BucketError;

    fn from_str(text: &str) -> Result<Self, BucketError> {
        if text.len() > MAX_LOCATION_BYTES {
            return Err(invalid(text, "it is longer than 200 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid(text, "it has a control character"));
        }
        if let Some(path) = text.strip_prefix("file://") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(invalid(text, "the path is not absolute"));
            }
            if path.components().any(|part| matches!(part, std::path::Component::ParentDir)) {
                return Err(invalid(text, "the path has a `..`"));
            }
            // Rebuilt from its parts, so that equal folders have equal texts.
            return Ok(Self(Place::Folder(path.components().collect())));
        }
        if let Some(name) = text.strip_prefix("memory://") {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || !name.bytes().all(allowed) {
                return Err(invalid(text, "a name is made of ASCII letters, digits and -_."));
            }
            return Ok(Self(Place::Memory(name.to_owned())));
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            return parse_s3(text, rest);
        }
        Err(invalid(text, "the scheme is none of file, memory, s3"))
    }
}

fn parse_s3(text: &str, rest: &str) -> Result<BucketLocation, BucketError> {
    let (bucket, query) = rest.split_once('?').unwrap_or((rest, ""));
    let bucket = bucket.strip_suffix('/').unwrap_or(bucket);
    if !is_bucket_name(bucket) {
        return Err(invalid(text, "a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens"));
    }
    let (mut endpoint, mut region) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let slot = match pair.split_once('=') {
            Some(("endpoint", value)) => (&mut endpoint, value),
            Some(("region", value)) => (&mut region, value),
            _ => return Err(invalid(text, "the only parameters are endpoint and region")),
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(invalid(text, "a parameter is given twice"));
        }
    }
    let region = region.unwrap_or(DEFAULT_REGION);
    let region_is_plain = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if region.is_empty() || !region_is_plain {
        return Err(invalid(text, "a region is made of lower-case letters, digits and hyphens"));
    }
    let endpoint = match endpoint {
        Some(endpoint) => check_endpoint(text, endpoint)?,
        None => format!("https://s3.{region}.amazonaws.com"),
    };
    let location = BucketLocation(Place::S3 { bucket: bucket.to_owned(), endpoint, region: region.to_owned() });
    // The defaults are written out, so the canonical text can be longer than the one given.
    if location.to_string().len() > MAX_LOCATION_BYTES {
        return Err(invalid(text, "it is longer than 200 bytes with its defaults written out"));
    }
    Ok(location)
}

/// Takes `http(s)://host[:port]` and nothing more: no user, no path, no query.
fn check_endpoint(text: &str, endpoint: &str) -> Result<String, BucketError> {
    let uri: Uri = endpoint.parse().map_err(|_| invalid(text, "the endpoint is no URL"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if scheme != "http" && scheme != "https" {
        return Err(invalid(text, "the endpoint is neither http nor https"));
    }
    let Some(authority) = uri.authority() else {
        return Err(invalid(text, "the endpoint has no host"));
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(invalid(text, "the endpoint has a user name or no host"));
    }
    if !uri.path().trim_matches('/').is_empty() || uri.query().is_some() || endpoint.contains('#') {
        return Err(invalid(text, "the endpoint has a path or a query"));
    }
    Ok(format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()))
}

/// The S3 rule for bucket names, without the names that look like addresses.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !name.contains("..")
        && name.parse::<std::net::IpAddr>().is_err()
}

impl fmt::Display for BucketLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // The constructors take text only, so nothing is lost here.
            Place::Folder(path) => write!(f, "file://{}", path.display()),
            Place::Memory(name) => write!(f, "memory://{name}"),
            Place::S3 { bucket, endpoint, region } => write!(f, "s3://{bucket}?endpoint={endpoint}&region={region}"),
        }
    }
}

impl Serialize for BucketLocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BucketLocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_returns_to_its_text() {
        for text in [
            "file:///var/lib/templar/bucket",
            "memory://miner-1",
            "s3://miner-1?endpoint=http://127.0.0.1:9000&region=us-east-1",
            "s3://miner.one?endpoint=https://s3.example.org&region=auto",
        ] {
            let location: BucketLocation = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            let json = serde_json::to_string(&location).unwrap();
            assert_eq!(serde_json::from_str::<BucketLocation>(&json).unwrap(), location);
        }
        let short: BucketLocation = "s3://miner-1?endpoint=http://LOCALHOST:9000/".parse().unwrap();
        assert_eq!(short.to_string(), "s3://miner-1?endpoint=http://localhost:9000&region=us-east-1");
    }

    #[test]
    fn an_endpoint_that_others_cannot_reach_is_told() {
        for (host, reach) in [
            ("127.0.0.1:9000", Reach::ThisMachine),
            ("127.8.9.1", Reach::ThisMachine),
            ("LOCALHOST:1", Reach::ThisMachine),
            ("a.localhost", Reach::ThisMachine),
            ("[::1]:9000", Reach::ThisMachine),
            ("[::ffff:127.0.0.1]:9000", Reach::ThisMachine),
            ("0.0.0.0:9000", Reach::Nowhere),
            ("[::]:9000", Reach::Nowhere),
            ("192.168.0.7:9000", Reach::Network),
            ("example.org", Reach::Network),
        ] {
            let location: BucketLocation = format!("s3://abc?endpoint=http://{host}").parse().unwrap();
            assert_eq!(location.reach(), reach, "{host}");
            assert_eq!(location.reach_warning().is_none(), reach == Reach::Network);
        }
    }

    #[test]
    fn a_strangers_host_is_one_whatever_its_port_and_an_ipv6_subscriber_too() {
        for (endpoint, host) in [
            ("http://A.example.org:9000", "a.example.org"),
            ("https://a.example.org.", "a.example.org"),
            ("http://192.0.2.1:1", "192.0.2.1"),
            ("http://[::ffff:192.0.2.1]:1", "192.0.2.1"),
            ("http://[2001:db8:1:2::9]:1", "2001:db8:1:2::"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ] {
            let location: BucketLocation = format!("s3://abc?endpoint={endpoint}").parse().unwrap();
            assert_eq!(location.host().as_deref(), Some(host), "{endpoint}");
        }
        assert_eq!("memory://a".parse::<BucketLocation>().unwrap().host(), None);
    }

    #[test]
    fn hostile_locations_are_refused() {
        let long = format!("file:///{}", "x".repeat(200));
        for text in [
            "",
            "http://a",
            "file://relative",
            "file:///a/../b",
            "memory://",
            "memory://a/b",
            "s3://ab",
            "s3://Upper-case",
            "s3://127.0.0.1",
            "s3://abc?endpoint=ftp://x",
            "s3://abc?endpoint=http://user@x",
            "s3://abc?endpoint=http://x/path",
            "s3://abc?endpoint=http://x&endpoint=http://y",
            "s3://abc?secret=x",
            "s3://abc?region=",
            "s3://abc?endpoint=http://x\n",
            &long,
        ] {
            assert!(text.parse::<BucketLocation>().is_err(), "{text:?} passed");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn parsing_is_total_and_stable(text in "(file://|memory://|s3://)?[ -~]{0,60}") {
            if let Ok(location) = text.parse::<BucketLocation>() {
                prop_assert_eq!(location.to_string().parse::<BucketLocation>().unwrap(), location);
            }
        }
    }
}
