//! What the tests of payloads and aggregates share.
#![allow(dead_code, reason = "each test binary uses its part")]

use proptest::sample::Index;
use templar_base::random::Stream;
use templar_base::{Uid, Window};
use templar_gradient::{ErrorFeedback, GradientLayout, Metadata, Payload};

/// A layout of tensors (values, kept of 4096).
pub fn layout(tensors: &[(usize, u16)]) -> GradientLayout {
    GradientLayout::new(tensors.iter().enumerate().map(|(i, (len, kept))| (format!("t{i}"), *len, *kept))).unwrap()
}

/// Seeded values of both signs about zero, peaked, of the given size.
pub fn drift(len: usize, seed: u64, size: f32) -> Vec<f32> {
    let mut stream = Stream::new([3; 32], "drift", seed);
    let mut uniform = || stream.unit_f32() - 0.5;
    (0..len).map(|_| (uniform() + uniform() + uniform()) * size).collect()
}

pub fn metadata(uid: u16) -> Metadata {
    Metadata {
        window: Window(7),
        uid: Uid(uid),
        tokens_trained: 1 << 20,
        inner_steps: 30,
        numerics: "cpu-strict-1".to_owned(),
        ..Metadata::default()
    }
}

/// The payload of a miner whose first drift this is.
pub fn payload(layout: &GradientLayout, uid: u16, drift: &[f32]) -> Payload {
    let mut feedback = ErrorFeedback::new(layout);
    feedback.accumulate(drift, 0.95).unwrap();
    feedback.compress(layout, metadata(uid)).unwrap()
}

/// The digest of values one after the other, as the state hash was before it went by segments: it shows that no value has
/// changed with it.
pub fn flat_digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    blake3::Hash::from(blake3::derive_key("templar shared parameters v1", &bytes)).to_string()
}

/// Changes the segment of a payload of one segment, and repairs length, leaf and root.
pub fn forge_payload(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    forge(bytes, "templar gradient payload root v5", "templar gradient payload segment v5", change)
}

/// Changes the segment of an aggregate of one segment, and repairs length, leaf and root.
pub fn forge_aggregate(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    forge(bytes, "templar gradient aggregate root v5", "templar gradient aggregate segment v5", change)
}

/// Flips bits of the bytes at these places.
pub fn flip(body: &mut [u8], changes: &[(Index, u8)]) {
    for (place, value) in changes {
        body[place.index(body.len())] ^= value;
    }
}

fn forge(bytes: &[u8], root: &str, leaf: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // The head's end is where the root matches.
    let is_head = |end: &usize| blake3::derive_key(root, &bytes[..*end]) == bytes[*end..*end + 32];
    let end = (36..bytes.len() - 31).find(is_head).expect("a sound object");
    let mut body = bytes[end + 32..].to_vec();
    change(&mut body);
    let mut forged = bytes[..end - 36].to_vec();
    forged.extend_from_slice(&(body.len() as u32).to_le_bytes());
    forged.extend_from_slice(&blake3::derive_key(leaf, &body));
    let root = blake3::derive_key(root, &forged);
    forged.extend_from_slice(&root);
    forged.extend_from_slice(&body);
    forged
}
