//! Secrets as people write and paste them.

use crate::secret::SecretSource;
use templar_base::{KeyError, Keypair, PublicKey};
use zeroize::Zeroizing;

/// A text that is not a secret. No variant repeats it: most of it may be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretTextError {
    /// White space and nothing else.
    #[error("no phrase or seed was given: the input is empty")]
    Empty,
    /// Quotation marks around it.
    #[error("the phrase is in quotation marks; leave them out")]
    Quoted,
    /// `1. bottom 2. drive`.
    #[error("the phrase has numbers between its words; leave them out")]
    Numbered,
    /// Commas, dots and the like.
    #[error("word {0} of the phrase has a character that is not a letter; separate the words by spaces alone")]
    NotALetter(usize),
    /// Digits of a seed without their prefix.
    #[error("these are hexadecimal digits without a prefix; write a seed as 0x and 64 digits")]
    BareHexadecimal,
    /// A seed of the wrong length, or with another character in it.
    #[error("a seed is 0x and 64 hexadecimal digits; this has {0} characters after 0x")]
    Seed(usize),
    /// The expanded secret, which has two forms that look alike.
    #[error("128 hexadecimal digits are a private key, not a seed; import its key file with --file")]
    PrivateKey,
    /// A public key.
    #[error("this is an address, which is public, not a phrase or a seed")]
    Address,
    /// The content of a key file.
    #[error("this is the content of a key file; import the file with --file")]
    KeyFile,
    /// Two phrases below each other.
    #[error("the input holds {0} phrases, one a line; give one")]
    Several(usize),
    /// White space or a control character inside a derivation path or a seed.
    #[error("there is white space or a control character behind the first `/`; a path such as //miner//1 has none")]
    PathSpace,
    /// `0x` and 40 digits.
    #[error("this is an address of Ethereum, which is public, not a phrase or a seed")]
    Ethereum,
    /// One word of base58: an address or a key of another chain.
    #[error("this is an address or a key of another network, not a phrase or a seed of this one")]
    OtherNetwork,
    /// The words or the path are wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Characters that are copied along with a text and that nobody sees.
const INVISIBLE: [char; 6] = ['\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{ad}'];
const QUOTES: [char; 9] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '«'];

impl SecretSource {
    /// Reads a phrase of 12 to 24 words in any case and with any white space between them, with derivation steps
    /// behind it if wanted; steps alone, such as `//Alice`; or a seed, 0x and 64 hexadecimal digits.
    pub fn read(text: &str) -> Result<Self, SecretTextError> {
        let cleaned = Zeroizing::new(text.chars().filter(|char| !INVISIBLE.contains(char)).collect::<String>());
        let text = cleaned.trim();
        if text.is_empty() {
            return Err(SecretTextError::Empty);
        }
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(SecretTextError::Quoted);
        }
        if text.starts_with('{') {
            return Err(SecretTextError::KeyFile);
        }
        if PublicKey::from_ss58(text).is_ok() {
            return Err(SecretTextError::Address);
        }
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return read_seed(digits);
        }
        let is_base58 = |char: char| char.is_ascii_alphanumeric() && !matches!(char, '0' | 'O' | 'I' | 'l');
        let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
        if (32..=128).contains(&text.len()) && has_digit && text.chars().all(is_base58) && !is_hexadecimal(text) {
            return Err(SecretTextError::OtherNetwork);
        }
        if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SecretTextError::BareHexadecimal);
        }
        let (phrase, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let path = path.trim_end();
        if path.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(SecretTextError::PathSpace);
        }
        let source = Self::Uri(Zeroizing::new(format!("{}{path}", read_words(phrase)?.as_str())));
        source.keypair()?;
        Ok(source)
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read_seed(digits: &str) -> Result<SecretSource, SecretTextError> {
    if digits.len() == 128 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(SecretTextError::PrivateKey);
    }
    if digits.len() == 40 && is_hexadecimal(digits) {
        return Err(SecretTextError::Ethereum);
    }
    let mut seed = Zeroizing::new([0; 32]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Ok(SecretSource::Seed(seed)),
        Err(_) => Err(SecretTextError::Seed(digits.chars().count())),
    }
}

/// The words in lower case with one space between them; empty where there are none.
fn read_words(phrase: &str) -> Result<Zeroizing<String>, SecretTextError> {
    let words = Zeroizing::new(phrase.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
    let has_digit = |word: &&String| word.chars().any(|char| char.is_ascii_digit());
    if words.iter().any(|word| has_digit(&word)) {
        return Err(SecretTextError::Numbered);
    }
    if let Some(place) = words.iter().position(|word| !word.chars().all(char::is_alphabetic)) {
        return Err(match words[place].contains(QUOTES) {
            true => SecretTextError::Quoted,
            false => SecretTextError::NotALetter(place + 1),
        });
    }
    // Two phrases of 12 words may pass for one of 24.
    let lines = phrase.lines().filter(|line| !line.trim().is_empty());
    let is_phrase = |line: &str| Keypair::from_phrase(&Zeroizing::new(line.to_lowercase())).is_ok();
    if lines.clone().count() > 1 && lines.clone().all(is_phrase) {
        return Err(SecretTextError::Several(lines.count()));
    }
    Ok(Zeroizing::new(words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::DEVELOPMENT_PHRASE;

    const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";

    fn address(text: &str) -> Result<String, SecretTextError> {
        Ok(SecretSource::read(text)?.keypair()?.public().to_string())
    }

    #[test]
    fn a_phrase_is_read_however_it_is_spaced_and_capitalised() {
        let phrase = DEVELOPMENT_PHRASE;
        for spelling in [
            phrase.to_owned(),
            phrase.to_uppercase(),
            phrase.replace(' ', "  "),
            phrase.replace(' ', "\u{a0}"),
            phrase.replace(' ', "\r\n"),
            format!("\n\n\u{feff}{}\t\r\n", phrase.replace(' ', "\t\u{200b}")),
        ] {
            assert_eq!(address(&spelling).unwrap(), ADDRESS, "{spelling:?}");
        }
        let derived = address(&format!("{}//Alice\n", phrase.to_uppercase())).unwrap();
        assert_eq!(derived, address("//Alice").unwrap());
        assert_ne!(address("//alice").unwrap(), derived, "a path keeps its case");
        assert_eq!(address(&format!("{phrase} //Alice")).unwrap(), derived);
    }

    #[test]
    fn what_is_not_a_phrase_is_named_for_what_it_is() {
        use SecretTextError as E;
        let phrase = DEVELOPMENT_PHRASE;
        let digits = "398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89";
        let numbered = phrase.split(' ').enumerate().map(|(n, word)| format!("{}. {word}", n + 1));
        for (text, error) in [
            (String::new(), E::Empty),
            (" \n\u{feff}\t".to_owned(), E::Empty),
            (format!("\"{phrase}\""), E::Quoted),
            (format!("‘{phrase}’"), E::Quoted),
            (numbered.collect::<Vec<_>>().join("\n"), E::Numbered),
            (phrase.replace(' ', ", "), E::NotALetter(1)),
            (digits.to_owned(), E::BareHexadecimal),
            (format!("0x{}", &digits[1..]), E::Seed(63)),
            (format!("0x{digits}{digits}"), E::PrivateKey),
            (ADDRESS.to_owned(), E::Address),
            ("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5".to_owned(), E::OtherNetwork),
            ("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ".to_owned(), E::OtherNetwork),
            (format!("0x{}", &digits[..40]), E::Ethereum),
            ("{\"secretPhrase\": 1}".to_owned(), E::KeyFile),
            (format!("{phrase}\n{phrase}"), E::Several(2)),
            ("//Alice\n//Bob".to_owned(), E::PathSpace),
            ("//Alice///secret".to_owned(), E::Key(KeyError::Path)),
        ] {
            assert_eq!(SecretSource::read(&text).unwrap_err(), error, "{text:?}");
        }
        let misspelt = SecretSource::read(&phrase.replace("obey", "obay")).unwrap_err().to_string();
        assert!(misspelt.contains("word 3 is not in the English list"), "{misspelt}");
        let short = SecretSource::read("bottom drive").unwrap_err().to_string();
        assert!(short.contains("this one has 2"), "{short}");
        let swapped = SecretSource::read(&phrase.replace("bottom drive", "drive bottom")).unwrap_err().to_string();
        assert!(swapped.contains("checksum"), "{swapped}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_is_read_without_a_panic_or_an_echo(text in "\\PC{0,40}( [a-z]{3,8}){0,13}(//?[\\PC]{0,5}){0,2}") {
            if let Err(error) = SecretSource::read(&text) {
                let said = error.to_string();
                prop_assert!(text.split_whitespace().filter(|word| word.len() > 9).all(|word| !said.contains(word)));
            }
        }
    }
}
