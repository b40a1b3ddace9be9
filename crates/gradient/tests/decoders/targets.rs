//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.
//! `seeds` makes what a search begins with.
//!
//! The first byte chooses: the bytes as they are, or as the one segment of an object whose hashes are made to fit, so
//! that the decoders behind them are reached. Its highest bit is for payloads of rounded values.

use std::sync::LazyLock;
use templar_base::{MergeMethod, Uid, ValueCoding};
use templar_gradient::{Aggregate, ErrorFeedback, GradientLayout, MergeRule, Merged, Metadata, Payload};

static PAYLOAD_LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024), ("d", 63, 4096)];
    GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept))).expect("the layout is sound")
});

/// Dense and sparse rounded values.
static ROUNDED_LAYOUT: LazyLock<GradientLayout> =
    LazyLock::new(|| PAYLOAD_LAYOUT.clone().with_values(ROUNDED).expect("the bits are in range"));
const ROUNDED: ValueCoding = ValueCoding::Rounded { bits: 9 };
const OF_ROUNDED: u8 = 0x80;

/// What follows the head of either object: segment count, one row of length and leaf, root.
const TABLE_BYTES: usize = 4 + 36 + 32;
/// Bytes of the payload's tensor table.
const PAYLOAD_ROWS: usize = 5 * 4;
/// Bytes of a payload up to its segment table.
const PAYLOAD_HEAD_BYTES: usize = 4 + 2 + METADATA_BYTES + 8 + 4 + PAYLOAD_ROWS;
/// Bytes of metadata with an empty numerics id.
const METADATA_BYTES: usize = 32 + 8 + 2 + 32 + 32 + 8 + 4 * 4 + 1 + 64 + 32 + 1 + 64 + 32 + 32;
/// Bytes of an aggregate of three up to its segment table.
const AGGREGATE_HEAD_BYTES: usize = 4 + 2 + 32 + 8 + 32 + 19 + 2 + 3 * 36 + 8 + 8;

/// A payload of values of which about every `rare`th is large.
fn payload_of(layout: &GradientLayout, uid: u16, rare: usize) -> Payload {
    let value = |i: usize| {
        let (own, shared) = (i * (37 + usize::from(uid)) % 101, i * 7 % 13);
        let small = (own as f32 - 50.0 + 8.0 * (shared as f32 - 6.0)) * 1e-3 * (1.0 + f32::from(uid % 3));
        if (i + own).is_multiple_of(rare) { 30.0 * small } else { small }
    };
    let residual: Vec<f32> = (0..layout.parameters()).map(value).collect();
    let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
    ErrorFeedback::from(residual).compress(layout, metadata).expect("the values are finite")
}

/// The bytes of a payload up to its segment table, of signs and of rounded values.
static PAYLOAD_HEADS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let head = |layout| payload_of(layout, 1, usize::MAX).encode()[..PAYLOAD_HEAD_BYTES].to_vec();
    [head(&PAYLOAD_LAYOUT), head(&ROUNDED_LAYOUT)]
});

/// A payload with this one segment.
fn with_hashes(head: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&(segment.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&blake3::derive_key("templar gradient payload segment v5", segment));
    let root = blake3::derive_key("templar gradient payload root v5", &bytes);
    bytes.extend_from_slice(&root);
    bytes.extend_from_slice(segment);
    bytes
}

/// The object that is to be decoded, and of which layout.
fn payload_object(bytes: &[u8]) -> Option<(Vec<u8>, &'static GradientLayout)> {
    let (choice, rest) = bytes.split_first()?;
    let is_rounded = choice & OF_ROUNDED != 0;
    let layout = if is_rounded { &*ROUNDED_LAYOUT } else { &*PAYLOAD_LAYOUT };
    let head = &PAYLOAD_HEADS[usize::from(is_rounded)];
    let object = match (choice & !OF_ROUNDED) % 3 {
        0 => rest.to_vec(),
        1 => with_hashes(head, rest),
        _ => {
            // The tensor table, too, is the fuzzer's: it begins behind the counts.
            let (rows, segment) = rest.split_at_checked(PAYLOAD_ROWS)?;
            let mut head = head.clone();
            head[PAYLOAD_HEAD_BYTES - PAYLOAD_ROWS..].copy_from_slice(rows);
            with_hashes(&head, segment)
        }
    };
    Some((object, layout))
}

/// What is read as a payload has that one coding.
pub fn payload(bytes: &[u8]) {
    let Some((object, layout)) = payload_object(bytes) else { return };
    if let Ok(payload) = Payload::decode(&object, layout) {
        assert_eq!(payload.encode(), object, "a payload has one coding");
        assert!(payload.kept() <= layout.kept());
        payload.for_each_value(|index, value| assert!(index < layout.parameters() && value.abs() <= 8.0));
    }
}

static AGGREGATE_LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024)];
    let layout = GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept)));
    layout.and_then(|layout| layout.with_row_lengths(&[100, 3, 7])).expect("the layout is sound")
});

/// The aggregate of three payloads with these weights.
fn aggregate_of(weights: [u32; 3], method: MergeMethod) -> Vec<u8> {
    let payloads = [1, 2, 3].map(|uid| payload_of(&AGGREGATE_LAYOUT, uid, 9));
    let set: Vec<(&Payload, u32)> = payloads.iter().zip(weights).collect();
    let rule = MergeRule { method, ..MergeRule::default() };
    Aggregate::merge(&AGGREGATE_LAYOUT, &set, rule).expect("the payloads fit").encode()
}

/// Weights whose sums reach beyond the counts that have estimates of their own.
const HEAVY: [u32; 3] = [1, 30, 400];

/// The heads of an aggregate of payloads with weight 1, and of heavy ones.
static AGGREGATE_HEADS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let head = |weights| aggregate_of(weights, MergeMethod::default())[..AGGREGATE_HEAD_BYTES].to_vec();
    [[1; 3], HEAVY].map(head)
});

fn aggregate_object(bytes: &[u8]) -> Option<Vec<u8>> {
    let (choice, rest) = bytes.split_first()?;
    if choice % 4 == 0 {
        return Some(rest.to_vec());
    }
    let mut object = AGGREGATE_HEADS[usize::from(choice % 4 == 2)].clone();
    object.extend_from_slice(&1u32.to_le_bytes());
    object.extend_from_slice(&(rest.len() as u32).to_le_bytes());
    object.extend_from_slice(&blake3::derive_key("templar gradient aggregate segment v5", rest));
    let root = blake3::derive_key("templar gradient aggregate root v5", &object);
    object.extend_from_slice(&root);
    object.extend_from_slice(rest);
    Some(object)
}

/// What is read as an aggregate has that one coding, and finite values.
pub fn aggregate(bytes: &[u8]) {
    let Some(object) = aggregate_object(bytes) else { return };
    if let Ok(aggregate) = Aggregate::decode(&object, &AGGREGATE_LAYOUT) {
        assert_eq!(aggregate.encode(), object, "an aggregate has one coding");
        aggregate.for_each(|index, value| assert!(index < AGGREGATE_LAYOUT.parameters() && value.is_finite()));
    }
}

/// Bytes that the decoders accept, of each kind, by the name of their file in the corpus: honest objects of the present
/// formats.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (alike, heavy_tailed) = (payload_of(&PAYLOAD_LAYOUT, 1, usize::MAX), payload_of(&PAYLOAD_LAYOUT, 1, 11));
    let silent = ErrorFeedback::from(vec![0.0; PAYLOAD_LAYOUT.parameters()])
        .compress(&PAYLOAD_LAYOUT, Metadata::default())
        .expect("zeros are finite");
    let of_payload = |choice: u8, from: usize, payload: &Payload| {
        let bytes = payload.encode();
        let rows =
            if choice & !OF_ROUNDED == 2 { &bytes[PAYLOAD_HEAD_BYTES - PAYLOAD_ROWS..PAYLOAD_HEAD_BYTES] } else { &[] };
        [&[choice], rows, &bytes[from..]].concat()
    };
    let behind = PAYLOAD_HEAD_BYTES + TABLE_BYTES;
    let rounded = payload_of(&ROUNDED_LAYOUT, 1, 11);
    let of_aggregate = |choice: u8, weights, method| {
        let bytes = aggregate_of(weights, method);
        [&[choice], &bytes[AGGREGATE_HEAD_BYTES + TABLE_BYTES..]].concat()
    };
    let clipping = MergeMethod::CentredClipping { radius_percent: 50, iterations: 1 };
    vec![
        ("payload/whole", of_payload(0, 0, &heavy_tailed)),
        ("payload/silent", of_payload(0, 0, &silent)),
        ("payload/segment", of_payload(1, behind, &alike)),
        ("payload/table_and_segment", of_payload(2, behind, &heavy_tailed)),
        ("payload/rounded_whole", of_payload(OF_ROUNDED, 0, &rounded)),
        ("payload/rounded_segment", of_payload(OF_ROUNDED | 1, behind, &payload_of(&ROUNDED_LAYOUT, 1, usize::MAX))),
        ("payload/rounded_table_and_segment", of_payload(OF_ROUNDED | 2, behind, &rounded)),
        ("aggregate/whole", [&[0], &aggregate_of([1; 3], MergeMethod::SignVote)[..]].concat()),
        ("aggregate/segment", of_aggregate(1, [1; 3], MergeMethod::default())),
        ("aggregate/heavy_segment", of_aggregate(2, HEAVY, MergeMethod::default())),
        ("aggregate/clipped_segment", of_aggregate(3, [1; 3], clipping)),
    ]
}

/// Whether the decoder of a seed accepts it, and reads something in it.
pub fn is_accepted(name: &str, bytes: &[u8]) -> bool {
    match name.split_once('/') {
        Some(("payload", _)) => {
            payload_object(bytes).is_some_and(|(object, layout)| Payload::decode(&object, layout).is_ok())
        }
        _ => aggregate_object(bytes)
            .and_then(|object| Aggregate::decode(&object, &AGGREGATE_LAYOUT).ok())
            .is_some_and(|aggregate| aggregate.entries() > 0),
    }
}
