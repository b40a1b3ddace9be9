//! Parsers against hostile bytes: an answer or a typed error, and no more memory than the bytes are worth.

use proptest::prelude::*;
use templar_audit::{Answer, DataBeacons, EndState, EndsFault, Evidence, Fault, PublishedPayload, StateName};
use templar_base::{ContentHash, PublicKey, Uid, Window};
use templar_testing::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn answer() -> Vec<u8> {
    let last = Some(StateName { window: Window(4), hash: [1; 32] });
    let leaves = (0..9u8).map(|number| ContentHash::of(&[number])).collect();
    Answer { window: Window(5), uid: Uid(2), leaves, last }.encode()
}

fn evidence() -> Vec<u8> {
    let payload =
        PublishedPayload { hotkey: PublicKey::new([3; 32]), window: Window(5), key: [1; 32], bytes: vec![7; 50] };
    let fault =
        Fault::Ends(EndsFault { is_last: true, leaf: ContentHash::of(b"x"), proof: vec![ContentHash::of(b"y")] });
    Evidence { uid: Uid(2), payload, beacons: DataBeacons::default(), fault }.encode()
}

/// Decodes with at most this much memory beside the bytes.
fn decode(bytes: &[u8]) {
    let _ = Answer::decode(bytes);
    let _ = Evidence::decode(bytes);
    let _ = EndState::read(&mut &bytes[..], 10);
}

#[test]
fn what_is_written_comes_back_and_ends_where_it_ends() {
    assert!(answer().len() as u64 <= Answer::max_bytes(9));
    for bytes in [answer(), evidence()] {
        for end in 0..bytes.len() {
            assert!(Answer::decode(&bytes[..end]).is_err() && Evidence::decode(&bytes[..end]).is_err());
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Answer::decode(&longer).is_err() && Evidence::decode(&longer).is_err());
    }
    assert!(Answer::decode(&answer()).is_ok() && Evidence::decode(&evidence()).is_ok());
    let mut newer = answer();
    newer[4] = 9;
    assert!(Answer::decode(&newer).unwrap_err().to_string().contains("version 9"));
}

#[test]
fn a_length_that_is_a_lie_takes_no_memory() {
    // A vector of 2^30 leaves in a few bytes.
    let mut huge = answer()[..16].to_vec();
    huge.extend_from_slice(&[0x03, 0, 0, 0, 0x40]);
    let peak = templar_testing::peak_bytes_of(|| assert!(Answer::decode(&huge).is_err()));
    assert!(peak < 1 << 20, "{peak} bytes");
    let mut state = b"TAES\x01\0".to_vec();
    state.extend_from_slice(&[0; 8]);
    state.extend_from_slice(&[0x03, 0, 0, 0, 0x40, 1, 2, 3]);
    let peak = templar_testing::peak_bytes_of(|| assert!(EndState::read(&mut state.as_slice(), 10).is_err()));
    assert!(peak < 1 << 20, "{peak} bytes");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode(&bytes);
        for mark in [b"TAAN\x01\0", b"TAEV\x01\0", b"TAES\x01\0"] {
            decode(&[mark.as_slice(), &bytes].concat());
        }
    }

    #[test]
    fn changed_bytes_never_panic(place in any::<prop::sample::Index>(), value: u8, of_evidence: bool) {
        let mut bytes = if of_evidence { evidence() } else { answer() };
        let place = place.index(bytes.len());
        bytes[place] = value;
        decode(&bytes);
        if let Ok(evidence) = Evidence::decode(&bytes) {
            prop_assert_eq!(Evidence::decode(&evidence.encode()).ok(), Some(evidence));
        }
    }
}
