//! What a network must keep to itself, and the search for it in everything that its processes wrote.

use serde_json::Value;
use std::path::{Path, PathBuf};
use templar_base::Keypair;

/// A secret of a network, and every form in which it might be written.
struct Secret {
    /// Whose it is.
    name: String,
    forms: Vec<String>,
}

impl Secret {
    fn of_text(name: String, text: &str) -> Self {
        let mut secret = Self::of_bytes(name, text.as_bytes());
        secret.forms.push(text.to_owned());
        secret
    }

    /// Hexadecimal, base58, base64 (of both alphabets, without the padding) and the list of numbers that `{:?}` gives
    /// and JSON.
    fn of_bytes(name: String, bytes: &[u8]) -> Self {
        let lower: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64(bytes);
        let url_safe = base64.replace('+', "-").replace('/', "_");
        let list = |separator: &str| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
        let pretty = list(",\n");
        let forms = vec![lower.to_uppercase(), lower, base58(bytes), base64, url_safe, list(", "), list(","), pretty];
        Self { name, forms }
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |place: usize| char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]);
        text.extend((0..=three.len()).map(letter));
    }
    text
}

fn base58(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Digits, the lowest first.
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            (*digit, carry) = (value % 58, value / 58);
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(LETTERS[*digit as usize])).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches("0x");
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The secrets of the network in `up`: phrase, seed and private key of each wallet, and the buckets' write keys.
fn secrets(up: &Path) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for path in files(&up.join("wallets")).iter().filter(|path| !path.ends_with("coldkeypub.txt")) {
        let key = read(path);
        let name = path.strip_prefix(up).unwrap().display().to_string();
        for field in ["secretSeed", "privateKey"] {
            let bytes = key[field].as_str().map(from_hex).unwrap_or_default();
            // A private key's halves are the scalar and what signatures are salted with: neither may get out alone.
            secrets.extend(bytes.chunks(32).map(|half| Secret::of_bytes(format!("{field} of {name}"), half)));
        }
        if let Some(phrase) = key["secretPhrase"].as_str() {
            secrets.push(Secret::of_text(format!("phrase of {name}"), phrase));
            // The same key in the form that programs compute with.
            let expanded = Keypair::from_uri(phrase).unwrap().expanded_secret();
            secrets.push(Secret::of_bytes(format!("scalar of {name}"), &expanded[..32]));
        }
    }
    let keys = read(&up.join("bucket-keys.json"));
    for key in keys["keys"].as_array().unwrap() {
        let name = format!("secret of bucket {}", key["bucket"]);
        secrets.push(Secret::of_text(name, key["secret_key"].as_str().unwrap()));
    }
    secrets
}

/// Searches logs, journals and status files of the network in `up`, and what else is given by name, for its secrets.
pub fn assert_hidden(up: &Path, others: &[(&str, String)]) {
    let secrets = secrets(up);
    assert!(secrets.len() >= 3 * 4, "the network's own secrets were not found in {}", up.display());
    let mut texts: Vec<(String, String)> =
        others.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
    let written = [up.join("logs"), up.join("nodes")].iter().flat_map(|folder| files(folder)).collect::<Vec<_>>();
    let is_text = |path: &&PathBuf| path.extension().is_some_and(|end| end == "log" || end == "json" || end == "jsonl");
    for path in written.iter().filter(is_text) {
        let bytes = std::fs::read(path).unwrap();
        texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    for name in ["ledger.log", "bucket.log", "miner-0.log", "validator-0.log", "journal.jsonl", "status.json"] {
        assert!(texts.iter().any(|(path, text)| path.ends_with(name) && !text.is_empty()), "{name} is empty");
    }
    for name in ["ledger.log", "bucket.log", "miner-0.log", "validator-0.log"] {
        let is_whole = |(path, text): &(String, String)| {
            path.ends_with(name) && (text.contains("TRACE") || text.contains("DEBUG"))
        };
        assert!(texts.iter().any(is_whole), "{name} does not hold everything that there is to log");
    }
    for (place, text) in &texts {
        for secret in &secrets {
            let is_told = secret.forms.iter().any(|form| text.contains(form.as_str()));
            assert!(!is_told, "{place} tells the {}", secret.name);
        }
    }
}

#[test]
fn the_forms_are_those_that_programs_write() {
    let secret = Secret::of_text("x".to_owned(), "hello, secret!");
    for form in ["68656c6c6f2c2073656372657421", "aGVsbG8sIHNlY3JldCE", "104, 101, 108", "hello, secret!"] {
        assert!(secret.forms.iter().any(|own| own.starts_with(form)), "{form}");
    }
    assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
}
