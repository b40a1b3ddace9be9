//! Files that people take for key files of Bittensor's tools, and what they are.

use crate::secret::SecretSource;
use serde_json::{Map, Value};

/// What bytes are that are surely no JSON.
pub(crate) fn instead_of_json(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    match () {
        () if bytes.is_empty() => Some("empty: restore it from a copy, or import the phrase"),
        () if bytes.starts_with(b"$ANSIBLE_VAULT") || text.starts_with("gAAAAA") => Some(
            "encrypted in an old way of Bittensor's tools: update it with them, or import its phrase on the standard input",
        ),
        () if text.starts_with("-----BEGIN") || text.starts_with("ssh-") => {
            Some("a key of another program, not a key file of Bittensor's tools")
        }
        () if SecretSource::read(text).is_ok() => {
            Some("a phrase or a seed, not a key file: leave --file out, and give it on the standard input with `<`")
        }
        () => None,
    }
}

/// What a JSON file is that has none of the secrets of Bittensor's key files.
pub(crate) fn instead_of_secret(bytes: &[u8]) -> Option<&'static str> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let has = |name: &str| fields.contains_key(name);
    match () {
        () if has("encoded") && has("encoding") => {
            Some("an account of polkadot.js, encrypted in its own way: import its phrase on the standard input")
        }
        () if has("crypto") || has("Crypto") => Some("a keystore of Ethereum, whose keys are of another kind"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        let phrase = templar_base::DEVELOPMENT_PHRASE;
        let what = |text: &str| instead_of_json(text.as_bytes()).unwrap_or_default();
        assert!(what("").contains("empty"));
        assert!(what("$ANSIBLE_VAULT;1.1;AES256\n31").contains("old way"));
        assert!(what("gAAAAABkc2Fs").contains("old way"));
        assert!(what("-----BEGIN PRIVATE KEY-----").contains("another program"));
        assert!(what(&format!("{phrase}\n")).contains("standard input"));
        assert!(what(&format!("0x{}", "5".repeat(64))).contains("standard input"));
        assert_eq!(what("{\"secretSeed\": 1}"), "");
        let what = |text: &str| instead_of_secret(text.as_bytes()).unwrap_or_default();
        assert!(what("{\"encoded\": \"x\", \"encoding\": {}}").contains("polkadot.js"));
        assert!(what("{\"crypto\": {}, \"version\": 3}").contains("Ethereum"));
        assert_eq!(what("{\"ss58Address\": \"5\"}"), "");
    }
}
