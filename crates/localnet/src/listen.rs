//! Addresses that servers of this machine listen on, as people write them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use templar_dashboard::MetricsPlace;

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A port, or nothing, in place of an address.
    #[error("it names no address: write 127.0.0.1:{0} for this machine alone, or 0.0.0.0:{0} for all who can reach it")]
    NoAddress(String),
    /// An address without a port.
    #[error("it names no port: write {0}:9000, or {0}:0 for a free one")]
    NoPort(String),
    /// The port is not one.
    #[error("`{0}` is not a port: a port is a number from 0 to 65535, 0 for a free one")]
    Port(String),
    /// An IPv6 address whose port cannot be told apart.
    #[error("write an IPv6 address in brackets: [::1]:9000")]
    Brackets,
    /// An address to connect to.
    #[error("leave out `{0}://`: an address to listen on is written 127.0.0.1:9000")]
    Scheme(String),
    /// A port where an address alone is wanted.
    #[error("leave out the port: the address alone is wanted, such as {0}")]
    WithPort(IpAddr),
    /// A name or something else where the number of an address is wanted.
    #[error("the address of this machine is wanted as its number, such as 192.168.1.5")]
    NoNumber,
    /// `file:` without a path.
    #[error("it names no file: write file:metrics.prom")]
    NoFile,
    /// A path, a user, a space.
    #[error("an address to listen on is written 127.0.0.1:9000, localhost:9000 or [::1]:9000")]
    Malformed,
    /// The name is unknown.
    #[error("the name {host} is not known here ({reason}); write the number of an address of this machine")]
    Unknown {
        /// The name.
        host: String,
        /// What the system said.
        reason: String,
    },
}

/// Reads an address to listen on: a number or a name of this machine, and a port. A name is looked up; its IPv4 address
/// comes first, which programs try that do not know IPv6.
pub fn listen_address(text: &str) -> Result<SocketAddr, ListenError> {
    let (host, port) = split(text.trim())?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let unknown = |reason: String| ListenError::Unknown { host: host.to_owned(), reason };
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| unknown("no address".to_owned()))
}

/// Reads the address of this machine alone, without a port, as others reach it; `localhost` is 127.0.0.1.
pub fn machine_address(text: &str) -> Result<IpAddr, ListenError> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match (bare.parse(), text.parse::<SocketAddr>().ok()) {
        (Ok(address), _) => Ok(address),
        (Err(_), Some(address)) => Err(ListenError::WithPort(address.ip())),
        (Err(_), None) if text.eq_ignore_ascii_case("localhost") => Ok(IpAddr::from([127, 0, 0, 1])),
        (Err(_), None) => match text.split_once("://") {
            Some((scheme, _)) => Err(ListenError::Scheme(scheme.to_owned())),
            None => Err(ListenError::NoNumber),
        },
    }
}

/// Reads where a process gives its metrics: an address to listen on, or `file:` and a path.
pub fn metrics_place(text: &str) -> Result<MetricsPlace, ListenError> {
    match text.strip_prefix("file:") {
        Some("") => Err(ListenError::NoFile),
        Some(path) => Ok(MetricsPlace::File(path.into())),
        None => listen_address(text).map(MetricsPlace::Address),
    }
}

/// Host and port, the host without brackets.
fn split(text: &str) -> Result<(&str, u16), ListenError> {
    if let Some((scheme, _)) = text.split_once("://") {
        let is_plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return Err(if is_plain { ListenError::Scheme(scheme.to_owned()) } else { ListenError::Malformed });
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]%".contains(&byte)) {
        return Err(ListenError::Malformed);
    }
    if text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ListenError::NoAddress(if text.is_empty() { "9000".to_owned() } else { text.to_owned() }));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((_, port)) if port.ends_with(']') => return Err(ListenError::NoPort(text.to_owned())),
        Some((host, _)) if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) => {
            return Err(ListenError::Brackets);
        }
        Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), port),
        None => return Err(ListenError::NoPort(text.to_owned())),
    };
    if host.is_empty() {
        return Err(ListenError::NoAddress(port.to_owned()));
    }
    let number = port.parse().map_err(|_| ListenError::Port(port.to_owned()))?;
    Ok((host, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_machine_has_no_port() {
        for (text, address) in [("192.168.1.5", "192.168.1.5"), (" localhost ", "127.0.0.1"), ("[::1]", "::1")] {
            assert_eq!(machine_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for (text, part) in [
            ("192.168.1.5:9000", "leave out the port: the address alone is wanted, such as 192.168.1.5"),
            ("http://192.168.1.5", "leave out `http://`"),
            ("my-machine", "as its number, such as"),
            ("", "as its number, such as"),
        ] {
            let error = machine_address(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn metrics_go_to_an_address_or_into_a_file() {
        assert_eq!(metrics_place("[::1]:0"), Ok(MetricsPlace::Address("[::1]:0".parse().unwrap())));
        assert_eq!(metrics_place("file:a b/c.prom"), Ok(MetricsPlace::File("a b/c.prom".into())));
        assert_eq!(metrics_place("file:"), Err(ListenError::NoFile));
        assert!(metrics_place("metrics.prom").is_err());
    }

    #[test]
    fn numbers_and_names_are_read_and_mistakes_are_answered_with_an_example() {
        for (text, address) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:9000", "[::1]:9000"),
            (" localhost:9060\n", "127.0.0.1:9060"),
        ] {
            assert_eq!(listen_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for (text, part) in [
            (":9060", "write 127.0.0.1:9060"),
            ("9060", "write 127.0.0.1:9060"),
            ("", "127.0.0.1:9000"),
            ("localhost", "localhost:9000"),
            ("[::1]", "[::1]:9000"),
            ("::1:9000", "in brackets"),
            ("localhost:http", "`http` is not a port"),
            ("127.0.0.1:70000", "`70000` is not a port"),
            ("127.0.0.1:", "is not a port"),
            ("http://localhost:9060", "leave out `http://`"),
            ("localhost:9060/x", "is written 127.0.0.1:9000"),
            ("a b:1", "is written 127.0.0.1:9000"),
            ("no-such-host.invalid:1", "no-such-host.invalid is not known here"),
        ] {
            let error = listen_address(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
