//! The decoder of aggregates: what it accepts has that one coding, and no bytes make it panic or take much memory.
//!
//! The first byte chooses: the bytes as they are, or as the one segment of an aggregate whose hashes are made to fit, so
//! that the entropy decoder is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use templar_base::Uid;
use templar_gradient::{Aggregate, ErrorFeedback, GradientLayout, MergeRule, Metadata, Payload};

static LAYOUT: LazyLock<GradientLayout> = LazyLock::new(|| {
    let tensors = [("a", 5000, 64), ("b", 3, 64), ("c", 700, 1024)];
    let layout = GradientLayout::new(tensors.map(|(name, len, kept)| (name.to_owned(), len, kept)));
    layout.and_then(|layout| layout.with_row_lengths(&[100, 3, 7])).expect("the layout is sound")
});

/// The bytes of an aggregate of three up to its segment table.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let payload = |uid: u16| -> Payload {
        let value = |i: usize| ((i * (37 + usize::from(uid)) % 101) as f32 - 50.0) * 1e-3;
        let residual = (0..LAYOUT.parameters()).map(value).collect();
        let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
        ErrorFeedback { residual }.compress(&LAYOUT, metadata).expect("the values are finite")
    };
    let payloads = [1, 2, 3].map(payload);
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let bytes = Aggregate::merge(&LAYOUT, &set, MergeRule::default()).expect("the payloads fit").encode();
    let head = 4 + 2 + 32 + 8 + 32 + 17 + 2 + 3 * 36 + 8 + 8;
    bytes[..head].to_vec()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let object = if choice % 4 == 0 {
        rest.to_vec()
    } else {
        let mut object = HEAD.clone();
        object.extend_from_slice(&1u32.to_le_bytes());
        object.extend_from_slice(&(rest.len() as u32).to_le_bytes());
        object.extend_from_slice(&blake3::derive_key("templar gradient aggregate segment v2", rest));
        let root = blake3::derive_key("templar gradient aggregate root v2", &object);
        object.extend_from_slice(&root);
        object.extend_from_slice(rest);
        object
    };
    if let Ok(aggregate) = Aggregate::decode(&object, &LAYOUT) {
        assert_eq!(aggregate.encode(), object, "an aggregate has one coding");
        aggregate.for_each(|index, value| assert!(index < LAYOUT.parameters() && value.is_finite()));
    }
});
