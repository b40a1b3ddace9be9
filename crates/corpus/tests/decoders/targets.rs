//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use templar_corpus::{Manifest, Tokenizer, read_shard};

/// What is read as a manifest has the same hash when it is written and read again.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let again = Manifest::parse(&manifest.to_json()).expect("a sound manifest is read again");
    assert_eq!(again.hash(), manifest.hash());
    assert_eq!(manifest.objects().len(), 1 + manifest.train.len() + manifest.held_out.len());
}

/// What is read as a shard holds tokens of the vocabulary, as many as its bytes can hold. The first byte chooses the
/// vocabulary.
pub fn shard(bytes: &[u8]) {
    let Some((choice, shard)) = bytes.split_first() else { return };
    let vocab_size = if choice % 2 == 0 { 300 } else { 100_000 };
    let Ok(tokens) = read_shard(shard, vocab_size) else { return };
    assert!(tokens.iter().all(|token| *token < vocab_size) && tokens.len() * 2 <= shard.len());
}

/// What is read as a tokenizer turns a text into tokens of its vocabulary and these into a text.
pub fn tokenizer(bytes: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_json(bytes) else { return };
    if let Ok(tokens) = tokenizer.encode("a text, ünd another") {
        assert!(tokens.iter().all(|token| *token < tokenizer.vocab_size()));
        let _ = tokenizer.decode(&tokens);
    }
}
