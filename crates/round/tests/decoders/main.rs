//! Decoders of foreign bytes against what fuzzing began with and what it found.

mod targets;

use templar_testing::{CountingAllocator, Decoder, check_seeds, replay};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn every_file_of_the_corpora_decodes_without_a_panic_and_within_bounds() {
    check_seeds(env!("CARGO_MANIFEST_DIR"), targets::seeds());
    let of = |name, decode| Decoder { name, decode, most_bytes: 64 << 10, most_bytes_per_byte: 32 };
    let decoders = [
        of("sealed", targets::sealed),
        of("reveal", targets::reveal),
        of("commitment", targets::commitment),
        of("signed", targets::signed),
    ];
    replay(env!("CARGO_MANIFEST_DIR"), &decoders);
}
