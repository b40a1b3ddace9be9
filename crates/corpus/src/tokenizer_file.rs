//! What a `tokenizer.json` may hold that must not reach a text: limits of another use, chance, and missing bytes.

use crate::tokenizer::TokenizerError;
use tokenizers::models::ModelWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model, Tokenizer as Inner};

/// The mark that some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The library's tokenizer of these bytes, without truncation, padding and dropout: the same text always becomes the same
/// tokens, all of them.
pub(crate) fn parse(json: &[u8]) -> Result<Inner, TokenizerError> {
    let malformed = |reason: String| TokenizerError::Malformed { reason };
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    if let Some(what) = instead_of_json(json) {
        return Err(malformed(what.to_owned()));
    }
    // The library panics on some files that are no JSON, so that is found out before; by a whole reading, as one that
    // skips values does not look into strings and numbers.
    serde_json::from_slice::<serde_json::Value>(json).map_err(|error| malformed(error.to_string()))?;
    let mut inner = Inner::from_bytes(json).map_err(|error| malformed(error.to_string()))?;
    // Some files carry the limits of the model they came with; a text is never cut or padded here.
    inner.with_truncation(None).map_err(|error| malformed(error.to_string()))?;
    inner.with_padding(None);
    // Left over from a training that drew other merges for each reading.
    if let ModelWrapper::BPE(model) = inner.get_model()
        && model.dropout.is_some()
    {
        let mut model = model.clone();
        model.dropout = None;
        inner.with_model(model);
    }
    // A document that spells out the end of text must not end there.
    inner.set_encode_special_tokens(true);
    Ok(inner)
}

/// What the bytes are, where they are surely no JSON.
fn instead_of_json(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    match () {
        () if start.is_empty() => Some("it is empty: fetch it again"),
        () if start.starts_with(b"GGUF") => {
            Some("it is a GGUF file: `templar model import FILE --out FOLDER` writes its tokenizer.json")
        }
        () if start.starts_with(b"<") => {
            Some("it is a web page: what was downloaded is an answer of the server, not the file")
        }
        // A message of protobuf: the field 1, with a piece of the vocabulary.
        () if bytes.starts_with(b"\n") && bytes.contains(&0) => Some(
            "it is a SentencePiece model: write it as tokenizer.json with `transformers`, by \
             `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`",
        ),
        () => None,
    }
}

/// The bytes of a text that would vanish without a token: those that a byte-level vocabulary lacks where it has no token
/// for what is unknown either. Empty for nearly all tokenizers.
pub(crate) fn missing_bytes(inner: &Inner) -> Vec<u8> {
    let ModelWrapper::BPE(model) = inner.get_model() else { return Vec::new() };
    let is_complete = model.unk_token.is_some() || model.byte_fallback || inner.get_normalizer().is_some();
    if is_complete || !inner.get_pre_tokenizer().is_some_and(has_byte_level) {
        return Vec::new();
    }
    (0..=u8::MAX).filter(|byte| model.token_to_id(letter_of(*byte).encode_utf8(&mut [0; 4])).is_none()).collect()
}

fn has_byte_level(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(parts) => parts.as_ref().iter().any(has_byte_level),
        _ => false,
    }
}

/// The letter that stands for a byte in a byte-level vocabulary: itself where it can be printed, else one from U+0100 on,
/// in the order of the bytes.
fn letter_of(byte: u8) -> char {
    let is_printed = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match is_printed(byte) {
        true => char::from(byte),
        // At most 68 bytes are not printed, so that the number is a letter's.
        false => {
            let place = (0..byte).filter(|before| !is_printed(*before)).count() as u32;
            char::from_u32(0x100 + place).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use serde_json::{Value, json};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    fn trained() -> Value {
        let text = crate::synthetic_document(3, 1).repeat(20);
        serde_json::from_slice(Tokenizer::train(&[text], 300).unwrap().to_json()).unwrap()
    }

    #[test]
    fn the_letters_of_the_bytes_are_the_librarys() {
        let letters: std::collections::BTreeSet<char> = (0..=u8::MAX).map(letter_of).collect();
        assert_eq!(letters, ByteLevel::alphabet().into_iter().collect());
        assert_eq!((letter_of(b' '), letter_of(b'\n'), letter_of(b'a'), letter_of(0xad)), ('Ġ', 'Ċ', 'a', 'Ń'));
    }

    #[test]
    fn dropout_left_in_a_file_changes_no_token() {
        let text = crate::synthetic_document(3, 2);
        let mut json = trained();
        let ids = |json: &Value| Tokenizer::from_json(json.to_string().as_bytes()).unwrap().encode(&text).unwrap();
        let wanted = ids(&json);
        json["model"]["dropout"] = json!(0.5);
        assert!((0..4).all(|_| ids(&json) == wanted));
    }

    #[test]
    fn a_byte_without_a_token_is_an_error_and_not_lost() {
        let mut json = trained();
        json["model"]["vocab"].as_object_mut().unwrap().remove("%").unwrap();
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.decode(&tokenizer.encode("half of it").unwrap()).unwrap(), "half of it");
        for encoded in [tokenizer.encode("50% of it"), tokenizer.encode_prompt("50% of it", true)] {
            assert!(encoded.unwrap_err().to_string().contains("no token for the byte 0x25"));
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_fault_and_other_files_are_named() {
        let json = [BYTE_ORDER_MARK, trained().to_string().as_bytes()].concat();
        Tokenizer::from_json(&json).unwrap();
        let reason = |bytes: &[u8]| Tokenizer::from_json(bytes).unwrap_err().to_string();
        assert!(reason(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02").contains("SentencePiece"));
        assert!(reason(b"GGUF\x03").contains("templar model import"));
        assert!(reason(b"<!DOCTYPE html>").contains("web page"));
        assert!(reason(b" \n").contains("it is empty"));
    }
}
