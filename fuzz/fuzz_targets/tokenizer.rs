//! The reader of tokenizers: what it accepts turns a text into tokens and back without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use templar_corpus::Tokenizer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(bytes) else { return };
    if let Ok(tokens) = tokenizer.encode("a text, ünd another") {
        let _ = tokenizer.decode(&tokens);
    }
});
