//! Decoders of foreign bytes against what fuzzing began with and what it found.

mod targets;

use templar_testing::{CountingAllocator, Decoder, replay};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn every_file_of_the_corpora_decodes_without_a_panic_and_within_bounds() {
    let of = |name, decode| Decoder { name, decode, most_bytes: 64 << 10, most_bytes_per_byte: 64 };
    // A decompressor takes its window before the first byte comes.
    let file = Decoder { most_bytes: 24 << 20, ..of("record_file", targets::record_file) };
    // The rules that evaluations are read by are made once.
    std::sync::LazyLock::force(&targets::TASKS);
    let (checkpoint, verdict) = (of("checkpoint", targets::checkpoint), of("verdict", targets::verdict));
    let decoders = [file, checkpoint, verdict, of("evaluations", targets::evaluations)];
    replay(env!("CARGO_MANIFEST_DIR"), &decoders);
}
