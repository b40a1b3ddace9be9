//! Decoders of foreign bytes against what fuzzing began with and what it found.

mod targets;

use templar_testing::{CountingAllocator, Decoder, replay};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn every_file_of_the_corpora_decodes_without_a_panic_and_within_bounds() {
    let of = |name, decode, most_bytes| Decoder { name, decode, most_bytes, most_bytes_per_byte: 32 };
    let decoders = [
        of("manifest", targets::manifest, 64 << 10),
        of("shard", targets::shard, 64 << 10),
        // Vocabulary and merges are kept in several tables.
        of("tokenizer", targets::tokenizer, 4 << 20),
    ];
    replay(env!("CARGO_MANIFEST_DIR"), &decoders);
}
