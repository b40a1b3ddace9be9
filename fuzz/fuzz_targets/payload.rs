//! The decoder of payloads: what it accepts has that one coding, and no bytes make it panic or take much memory.
//!
//! The first byte chooses: the bytes as they are, or as the one segment of a payload whose hashes are made to fit, so
//! that the decoder of chunks is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use templar_gradient::{ErrorFeedback, GradientLayout, Metadata, Payload};

static LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024), ("d", 63, 4096)];
    GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept))).expect("the layout is sound")
});

/// The bytes of a payload up to its segment table.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let residual = (0..LAYOUT.parameters()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
    let payload = ErrorFeedback { residual }.compress(&LAYOUT, Metadata::default()).expect("the values are finite");
    let bytes = payload.encode();
    // What follows the head: segment count, one row of length and leaf, root, the segment.
    let metadata = 4 + 2 + 32 + 8 + 2 + 32 + 32 + 8 + 4 * 4 + 1 + 32 + 32;
    bytes[..metadata + 8 + 4 + 5 * LAYOUT.tensors().len()].to_vec()
});

fn with_hashes(head: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&(segment.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&blake3::derive_key("templar gradient payload segment v2", segment));
    let root = blake3::derive_key("templar gradient payload root v2", &bytes);
    bytes.extend_from_slice(&root);
    bytes.extend_from_slice(segment);
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let object = match choice % 3 {
        0 => rest.to_vec(),
        1 => with_hashes(&HEAD, rest),
        _ => {
            // The tensor table, too, is the fuzzer's: it begins behind the counts.
            let table = 5 * LAYOUT.tensors().len();
            let Some((rows, segment)) = rest.split_at_checked(table) else { return };
            let mut head = HEAD.clone();
            let start = head.len() - table;
            head[start..].copy_from_slice(rows);
            with_hashes(&head, segment)
        }
    };
    if let Ok(payload) = Payload::decode(&object, &LAYOUT) {
        assert_eq!(payload.encode(), object, "a payload has one coding");
        assert!(payload.kept() <= LAYOUT.kept());
    }
});
