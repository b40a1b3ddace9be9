//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.
//!
//! The first byte chooses: the bytes as they are, or as the one segment of an object whose hashes are made to fit, so
//! that the decoders behind them are reached.

use std::sync::LazyLock;
use templar_base::Uid;
use templar_gradient::{Aggregate, ErrorFeedback, GradientLayout, MergeRule, Metadata, Payload};

static PAYLOAD_LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024), ("d", 63, 4096)];
    GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept))).expect("the layout is sound")
});

/// The bytes of a payload up to its segment table.
static PAYLOAD_HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let residual = (0..PAYLOAD_LAYOUT.parameters()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
    let payload =
        ErrorFeedback { residual }.compress(&PAYLOAD_LAYOUT, Metadata::default()).expect("the values are finite");
    let bytes = payload.encode();
    // What follows the head: segment count, one row of length and leaf, root, the segment.
    let metadata = 4 + 2 + 32 + 8 + 2 + 32 + 32 + 8 + 4 * 4 + 1 + 32 + 32;
    bytes[..metadata + 8 + 4 + 5 * PAYLOAD_LAYOUT.tensors().len()].to_vec()
});

/// A payload with this one segment.
fn with_hashes(head: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&(segment.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&blake3::derive_key("templar gradient payload segment v3", segment));
    let root = blake3::derive_key("templar gradient payload root v3", &bytes);
    bytes.extend_from_slice(&root);
    bytes.extend_from_slice(segment);
    bytes
}

/// What is read as a payload has that one coding.
pub fn payload(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let object = match choice % 3 {
        0 => rest.to_vec(),
        1 => with_hashes(&PAYLOAD_HEAD, rest),
        _ => {
            // The tensor table, too, is the fuzzer's: it begins behind the counts.
            let table = 5 * PAYLOAD_LAYOUT.tensors().len();
            let Some((rows, segment)) = rest.split_at_checked(table) else { return };
            let mut head = PAYLOAD_HEAD.clone();
            let start = head.len() - table;
            head[start..].copy_from_slice(rows);
            with_hashes(&head, segment)
        }
    };
    if let Ok(payload) = Payload::decode(&object, &PAYLOAD_LAYOUT) {
        assert_eq!(payload.encode(), object, "a payload has one coding");
        assert!(payload.kept() <= PAYLOAD_LAYOUT.kept());
    }
}

static AGGREGATE_LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024)];
    let layout = GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept)));
    layout.and_then(|layout| layout.with_row_lengths(&[100, 3, 7])).expect("the layout is sound")
});

/// The bytes of an aggregate of three up to its segment table.
static AGGREGATE_HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let payload = |uid: u16| -> Payload {
        let value = |i: usize| ((i * (37 + usize::from(uid)) % 101) as f32 - 50.0) * 1e-3;
        let residual = (0..AGGREGATE_LAYOUT.parameters()).map(value).collect();
        let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
        ErrorFeedback { residual }.compress(&AGGREGATE_LAYOUT, metadata).expect("the values are finite")
    };
    let payloads = [1, 2, 3].map(payload);
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let bytes = Aggregate::merge(&AGGREGATE_LAYOUT, &set, MergeRule::default()).expect("the payloads fit").encode();
    let head = 4 + 2 + 32 + 8 + 32 + 17 + 2 + 3 * 36 + 8 + 8;
    bytes[..head].to_vec()
});

/// What is read as an aggregate has that one coding, and finite values.
pub fn aggregate(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let object = if choice % 4 == 0 {
        rest.to_vec()
    } else {
        let mut object = AGGREGATE_HEAD.clone();
        object.extend_from_slice(&1u32.to_le_bytes());
        object.extend_from_slice(&(rest.len() as u32).to_le_bytes());
        object.extend_from_slice(&blake3::derive_key("templar gradient aggregate segment v3", rest));
        let root = blake3::derive_key("templar gradient aggregate root v3", &object);
        object.extend_from_slice(&root);
        object.extend_from_slice(rest);
        object
    };
    if let Ok(aggregate) = Aggregate::decode(&object, &AGGREGATE_LAYOUT) {
        assert_eq!(aggregate.encode(), object, "an aggregate has one coding");
        aggregate.for_each(|index, value| assert!(index < AGGREGATE_LAYOUT.parameters() && value.is_finite()));
    }
}
