//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use std::sync::LazyLock;
use templar_bucket::{BucketLocation, PartIndex};

const PART_BYTES: usize = 64 << 10;

/// The hash of an object of three parts and a bit.
static HASH: LazyLock<[u8; 32]> = LazyLock::new(|| *blake3::hash(&vec![7; 3 * PART_BYTES + 5]).as_bytes());

/// What is read as the index of an object is its index, and its parts lie side by side.
pub fn part_index(bytes: &[u8]) {
    let Some(index) = PartIndex::parse(bytes, &HASH, u64::MAX) else { return };
    assert_eq!(index.to_bytes(), bytes, "an index has one form");
    let ranges: Vec<_> = (0..index.parts()).map(|part| index.range(part)).collect();
    assert!(ranges[0].start == 0 && ranges[ranges.len() - 1].end == index.size());
    assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[1].is_empty()));
    assert!(!index.holds(0, &[]));
}

/// What is read as the location of a bucket, as nodes announce it on the ledger, is written and read again as itself.
pub fn location(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(location) = text.parse::<BucketLocation>() else { return };
    let again = location.to_string().parse::<BucketLocation>().expect("a sound location is read again");
    assert_eq!(again, location);
}
