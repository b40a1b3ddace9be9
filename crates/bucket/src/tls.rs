//! Whose certificates the S3 client trusts.

use std::sync::{Arc, OnceLock};

use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;

/// The variables that name certificates instead of the system's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What this machine trusts: the certificates that `SSL_CERT_FILE` or `SSL_CERT_DIR` names, else those of the system,
/// else, where it has none, a copy of Mozilla's. They are read once. Fails, with the reason, where a variable names
/// nothing that can be read: another choice than the operator's would be worse.
pub fn client_config() -> Result<ClientConfig, String> {
    static CONFIG: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    CONFIG.get_or_init(read).clone()
}

fn read() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    // The library would pass over a name of nothing.
    for name in VARIABLES.iter().filter(is_set) {
        let path = std::env::var_os(name).unwrap_or_default();
        std::fs::metadata(&path).map_err(|error| format!("{name} names no certificate that can be read ({error})"))?;
    }
    match (builder.clone().with_native_roots(), VARIABLES.iter().find(is_set)) {
        (Ok(builder), _) => Ok(builder.with_no_client_auth()),
        (Err(error), Some(name)) => Err(format!("{name} names no certificate that can be read ({error})")),
        (Err(_), None) => Ok(builder.with_webpki_roots().with_no_client_auth()),
    }
}

/// A configuration for endpoints without TLS, which trusts nobody.
pub(crate) fn unused() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// What to do about a certificate that was not accepted, by rustls' words; nothing where they speak of something else.
pub(crate) fn advice(reason: &str) -> Option<&'static str> {
    let (_, what) = reason.split_once("invalid peer certificate")?;
    Some(match what {
        what if what.contains("UnknownIssuer") || what.contains("CaUsedAsEndEntity") => {
            "if the authority behind its certificate is yours, name the authority's certificate in the variable \
             SSL_CERT_FILE, or add it to the system's"
        }
        what if what.contains("NotValidForName") => "write the endpoint with a name that its certificate has",
        what if what.to_ascii_lowercase().contains("expired") || what.contains("NotValidYet") => {
            "renew its certificate, or set this machine's clock"
        }
        _ => "replace its certificate",
    })
}
