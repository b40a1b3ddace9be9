//! Pages of other servers: whose scripts may ask, by CORS.
//!
//! A browser lets every page send requests to this machine, and a gateway that asks for no keys would work for all of
//! them. So a request that a page sends ([`http::header::ORIGIN`]) is answered where its origin was named, and rejected
//! otherwise; programs send no origin.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    HeaderMap, ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderValue, Uri};

use crate::ApiError;

/// Where a page is from: scheme, host and port, such as `http://127.0.0.1:9090`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text that is no origin; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the origin of a page; write scheme, host and port, as in http://127.0.0.1:9090")]
pub struct OriginError(String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError(text.to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map(Authority::as_str).filter(|authority| !authority.contains('@'));
        let has_path = !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("" | "/"));
        let (Some(scheme), Some(authority), true, false) = (uri.scheme_str(), authority, is_web, has_path) else {
            return Err(wrong());
        };
        // Browsers write both in lower case.
        let origin = format!("{scheme}://{}", authority.to_ascii_lowercase());
        HeaderValue::from_str(&origin).map(Self).map_err(|_| wrong())
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Finds out whether a request may be answered: the origin of the page that sent it, none of a program.
pub(crate) fn admitted<'a>(allowed: &'a [Origin], headers: &HeaderMap) -> Result<Option<&'a Origin>, ApiError> {
    let Some(sent) = headers.get(ORIGIN) else { return Ok(None) };
    let known = allowed.iter().find(|origin| origin.0 == sent);
    known.map(Some).ok_or_else(|| {
        ApiError::forbidden("Pages of this origin may not ask here; the gateway's --allow-origin names those that may.")
    })
}

/// Tells a browser that a page of this origin may read the answer, and what it may send.
pub(crate) fn mark(origin: &Origin, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.0.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_scheme_host_and_port_and_nothing_else() {
        for (text, origin) in [
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090"),
            ("https://Page.example", "https://page.example"),
            ("http://[::1]:8", "http://[::1]:8"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), origin);
        }
        for wrong in
            ["", "*", "null", "page.example", "ftp://page.example", "http://page.example/a", "http://u@h", "http://a b"]
        {
            assert_eq!(wrong.parse::<Origin>(), Err(OriginError(wrong.to_owned())));
        }
    }

    #[test]
    fn programs_are_admitted_and_pages_by_their_origin() {
        let allowed = ["http://127.0.0.1:9090".parse().unwrap()];
        let mut headers = HeaderMap::new();
        assert_eq!(admitted(&allowed, &headers).unwrap(), None);
        headers.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1:9090"));
        assert_eq!(admitted(&allowed, &headers).unwrap(), Some(&allowed[0]));
        for stranger in ["null", "http://127.0.0.1:9091", "https://127.0.0.1:9090", "http://127.0.0.1:9090.example"] {
            headers.insert(ORIGIN, HeaderValue::from_str(stranger).unwrap());
            assert_eq!(admitted(&allowed, &headers).unwrap_err().status, 403);
        }
    }
}
