//! Addresses of ledgers, as people write them.

use crate::ChainError;

/// The URL to connect to. A host and a port alone are taken for `ws://`.
pub(super) fn ledger_url(text: &str) -> Result<String, ChainError> {
    let text = text.trim();
    let shown: String = text.chars().take(200).map(|char| if char.is_control() { ' ' } else { char }).collect();
    let wrong = |reason: String| Err(ChainError::Address { address: shown.clone(), reason });
    if text.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return wrong("it has a space or a control character".to_owned());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
    let example = if rest.is_empty() { "127.0.0.1:9944" } else { rest };
    match scheme.to_ascii_lowercase().as_str() {
        scheme @ ("ws" | "wss") => {
            let host = rest.split('/').next().unwrap_or_default();
            let is_port = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit());
            if host.is_empty() || (host.starts_with(':') && !host.starts_with("::")) || is_port {
                let port = host.trim_start_matches(':');
                let port = if port.is_empty() { "9944" } else { port };
                return wrong(format!("it names no host; write ws://127.0.0.1:{port}"));
            }
            if let Some(reason) = wrong_host(scheme, host) {
                return wrong(reason);
            }
            Ok(format!("{scheme}://{rest}"))
        }
        "http" => wrong(format!("a ledger speaks ws://, not http://; write ws://{example}")),
        "https" => wrong(format!("a ledger speaks wss://, not https://; write wss://{example}")),
        _ => wrong(format!("its scheme is neither ws nor wss; write ws://{example}")),
    }
}

/// What is wrong with a host and its port.
fn wrong_host(scheme: &str, host: &str) -> Option<String> {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let behind = match host.rsplit_once(']') {
        Some((_, behind)) => behind,
        None if host.matches(':').count() > 1 => {
            return Some(format!("an IPv6 address is written in brackets: {scheme}://[::1]:9944"));
        }
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let port = behind.strip_prefix(':')?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => None,
        _ => Some(format!("`{port}` is not a port: a port is a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::AtFault;

    #[test]
    fn a_ledgers_address_is_read_with_and_without_its_scheme() {
        for (text, url) in [
            ("ws://127.0.0.1:9944", "ws://127.0.0.1:9944"),
            ("WSS://ledger.example.org/rpc\n", "wss://ledger.example.org/rpc"),
            ("localhost:9944", "ws://localhost:9944"),
            ("ws://[::1]:9944", "ws://[::1]:9944"),
            ("ws://user:word@127.0.0.1:9944/x", "ws://user:word@127.0.0.1:9944/x"),
        ] {
            assert_eq!(ledger_url(text).unwrap(), url);
        }
        for (text, part) in [
            ("http://127.0.0.1:9944", "write ws://127.0.0.1:9944"),
            ("https://x", "write wss://x"),
            ("ftp://x", "neither ws nor wss"),
            (":9944", "write ws://127.0.0.1:9944"),
            ("9945", "write ws://127.0.0.1:9945"),
            ("", "write ws://127.0.0.1:9944"),
            ("ws://", "write ws://127.0.0.1:9944"),
            ("ws://a\u{1}b", "control character"),
            ("ws://::1:9944", "in brackets: ws://[::1]:9944"),
            ("ws://127.0.0.1:70000", "`70000` is not a port"),
            ("ws://localhost:0", "`0` is not a port"),
        ] {
            let error = ledger_url(text).unwrap_err();
            assert!(!error.is_retryable() && error.to_string().contains(part), "{text:?}: {error}");
        }
    }
}
