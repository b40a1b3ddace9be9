//! Where a run's model answers.

use http::Uri;
use http::uri::Authority;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::str::FromStr;

/// The base of a gateway's API, such as `http://127.0.0.1:8000/v1`. It gets into a page and into the policy of that page:
/// nothing but scheme, host, port and a plain path is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    origin: String,
    path: String,
}

/// A text that is no such address; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of a gateway; write it as http://127.0.0.1:8000/v1")]
pub struct GatewayUrlError(String);

impl FromStr for GatewayUrl {
    type Err = GatewayUrlError;

    fn from_str(text: &str) -> Result<Self, GatewayUrlError> {
        let wrong = || GatewayUrlError(text.to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(wrong)?;
        let authority = uri.authority().map(Authority::as_str).ok_or_else(wrong)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
        if !authority.bytes().all(is_host) || !uri.path().bytes().all(is_path) || uri.query().is_some() {
            return Err(wrong());
        }
        let path = uri.path().trim_end_matches('/');
        let path = if path.is_empty() { "/v1" } else { path };
        Ok(Self { origin: format!("{scheme}://{authority}"), path: path.to_owned() })
    }
}

impl Display for GatewayUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl GatewayUrl {
    /// A gateway that listens on this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { origin: format!("http://{address}"), path: "/v1".to_owned() }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_nothing_gets_into_a_policy_with_it() {
        for (text, whole, origin) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
            ("https://model.example/v1/", "https://model.example/v1", "https://model.example"),
            ("http://[::1]:80/a/v1", "http://[::1]:80/a/v1", "http://[::1]:80"),
        ] {
            let url: GatewayUrl = text.parse().unwrap();
            assert_eq!(url.to_string().parse::<GatewayUrl>().unwrap(), url);
            assert_eq!((url.to_string().as_str(), url.origin()), (whole, origin));
        }
        let local = GatewayUrl::at("127.0.0.1:8000".parse().unwrap());
        assert_eq!(local.to_string().parse(), Ok(local));
        for wrong in [
            "",
            "127.0.0.1:8000",
            "ws://a/v1",
            "http://u:p@a/v1",
            "http://a/v1?x",
            "http://a;script-src *",
            "http://a/'unsafe-inline'",
            "http://*",
        ] {
            assert!(wrong.parse::<GatewayUrl>().is_err(), "{wrong}");
        }
    }
}
