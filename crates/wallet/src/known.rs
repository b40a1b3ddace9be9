//! Secrets that the whole world has: whatever is sent to their addresses is taken by whoever is first.

use crate::secret::SecretSource;
use templar_base::{DEVELOPMENT_PHRASE, KeyError, Keypair, PublicKey};

/// Names under which Substrate's tools derive the development accounts, each with a `//stash` beside it.
const NAMES: [&str; 8] = ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie", "One", "Two"];

/// Words that BIP-39's own examples, and the tools of other chains, repeat: such a phrase is theirs, whatever its
/// length and its last word.
const EXAMPLES: [&str; 5] =
    ["abandon abandon abandon", "legal winner thank", "letter advice cage", "zoo zoo zoo", "test test test"];

/// Why the secret is none, as a phrase that follows "this is"; nothing where it may be one.
///
/// Known are the development phrase with and without derivation steps, the accounts that are derived from it by name
/// (in whatever form the secret is given), the examples of BIP-39, and seeds of one repeated byte or of a small number.
pub fn publicly_known(secret: &SecretSource) -> Result<Option<&'static str>, KeyError> {
    let public = secret.keypair()?.public();
    Ok(match secret {
        SecretSource::Uri(uri) => known_phrase(uri.split('/').next().unwrap_or_default().trim()),
        SecretSource::Seed(seed) => known_seed(seed),
        // The secret 0: what is sent to its address is burnt.
        SecretSource::Expanded(_) => (public.as_bytes() == &[0; 32]).then_some("a key that anyone tries"),
    }
    .or_else(|| is_development_account(&public).then_some("one of Substrate's development accounts")))
}

fn known_phrase(phrase: &str) -> Option<&'static str> {
    if phrase.is_empty() || phrase == DEVELOPMENT_PHRASE {
        return Some("derived from Substrate's development phrase");
    }
    EXAMPLES.iter().any(|example| phrase.starts_with(example)).then_some("an example phrase of BIP-39")
}

fn known_seed(seed: &[u8; 32]) -> Option<&'static str> {
    let is_repeated = seed.iter().all(|byte| *byte == seed[0]);
    let is_small = seed[..30].iter().all(|byte| *byte == 0) || seed[2..].iter().all(|byte| *byte == 0);
    (is_repeated || is_small).then_some("a seed that anyone tries")
}

fn is_development_account(public: &PublicKey) -> bool {
    let is_at =
        |path: &str| Keypair::from_uri(&format!("{DEVELOPMENT_PHRASE}{path}")).is_ok_and(|key| key.public() == *public);
    let named = |name: &str| is_at(&format!("//{name}")) || is_at(&format!("//{name}//stash"));
    is_at("") || NAMES.iter().any(|name| named(name) || named(&name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_the_whole_world_is_recognised_in_every_form() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let mut seed = [0; 32];
        hex::decode_to_slice("398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89", &mut seed).unwrap();
        let twelfth = format!("{}about", "abandon ".repeat(11));
        for secret in [
            SecretSource::uri("//Alice"),
            SecretSource::uri("//Alice//hot/7"),
            SecretSource::uri("//anything"),
            SecretSource::uri(DEVELOPMENT_PHRASE),
            SecretSource::uri(&twelfth),
            SecretSource::Expanded(alice.expanded_secret()),
            SecretSource::seed(seed),
            SecretSource::seed([0; 32]),
            SecretSource::seed([7; 32]),
        ] {
            assert!(publicly_known(&secret).unwrap().is_some(), "{:?}", secret.keypair().unwrap());
        }
        let (own, _) = SecretSource::generate().unwrap();
        assert_eq!(publicly_known(&own).unwrap(), None);
        assert_eq!(publicly_known(&SecretSource::Expanded(own.keypair().unwrap().expanded_secret())).unwrap(), None);
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(publicly_known(&SecretSource::seed(seed)).unwrap(), None);
    }
}
