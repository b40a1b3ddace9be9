//! Decoders of foreign bytes against what fuzzing began with and what it found.

mod targets;

use templar_testing::{CountingAllocator, Decoder, replay};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What the search begins with is of the present formats. `RENEW_SEEDS=1` writes it again.
fn check_seeds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, bytes) in targets::seeds() {
        let path = folder.join(name);
        if std::env::var_os("RENEW_SEEDS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(found == bytes, "{name} is of another format: run this test with RENEW_SEEDS=1");
    }
}

#[test]
fn every_file_of_the_corpora_decodes_without_a_panic_and_within_bounds() {
    check_seeds();
    let of = |name, decode| Decoder { name, decode, most_bytes: 1 << 20, most_bytes_per_byte: 32 };
    let decoders = [of("rpc", targets::rpc), of("block", targets::block)];
    replay(env!("CARGO_MANIFEST_DIR"), &decoders);
}
