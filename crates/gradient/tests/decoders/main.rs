//! Decoders of foreign bytes against what fuzzing began with and what it found.

mod targets;

use templar_testing::{CountingAllocator, Decoder, check_seeds, replay};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn every_file_of_the_corpora_decodes_without_a_panic_and_within_bounds() {
    let seeds = targets::seeds();
    for (name, bytes) in &seeds {
        assert!(targets::is_accepted(name, bytes), "{name} is refused");
    }
    check_seeds(env!("CARGO_MANIFEST_DIR"), seeds);
    // The layouts of the targets have 6000 parameters; see `memory.rs` for the bounds of real ones.
    let of = |name, decode| Decoder { name, decode, most_bytes: 1 << 20, most_bytes_per_byte: 8 };
    let decoders = [of("payload", targets::payload), of("aggregate", targets::aggregate)];
    replay(env!("CARGO_MANIFEST_DIR"), &decoders);
}
