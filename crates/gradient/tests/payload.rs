//! Payloads: what is sent, its only coding, and what a decoder refuses.

mod drifts;

use drifts::{drift, layout, metadata, payload};
use proptest::prelude::*;
use templar_gradient::{
    ErrorFeedback, FeedbackError, FrameError, GradientLayout, Metadata, MetadataError, Mode, Payload, PayloadError,
    Scale,
};

const ODD_LENGTHS: [usize; 6] = [1, 2, 63, 4095, 4096, 4097];

#[test]
fn odd_lengths_come_back_whole() {
    for len in ODD_LENGTHS {
        let layout = layout(&[(len, 64)]);
        let sent = payload(&layout, 1, &drift(len, 1, 1e-3));
        assert_eq!(sent.kept(), layout.kept(), "{len} values");
        let bytes = sent.encode();
        assert!(bytes.len() <= layout.max_payload_bytes());
        assert_eq!(Payload::decode(&bytes, &layout).unwrap(), sent);
    }
}

#[test]
fn what_is_sent_and_what_remains_make_the_drift() {
    let layout = layout(&[(5000, 64), (100, 512), (20_000, 16)]);
    let drift = drift(layout.parameters(), 3, 1e-2);
    let mut feedback = ErrorFeedback::new(&layout);
    feedback.accumulate(&drift, 0.95).unwrap();
    let sent = feedback.compress(&layout, metadata(1)).unwrap();
    assert_eq!(sent.metadata().error_feedback_root, feedback.root(&layout));
    let mut remains = drift.clone();
    sent.for_each_value(|index, value| remains[index] -= value);
    assert_eq!(remains, feedback.values());
    // Every kept magnitude is at least every other of its chunk.
    sent.for_each_chunk(|chunk| {
        let range = layout.chunk_range(chunk.chunk).unwrap();
        let kept: Vec<usize> = chunk.values().map(|(index, _)| chunk.start + index).collect();
        let least = kept.iter().map(|j| drift[*j].abs()).fold(f32::MAX, f32::min);
        assert!(range.filter(|j| !kept.contains(j)).all(|j| drift[j].abs() <= least));
        assert!(chunk.values().all(|(index, minus)| minus == (drift[chunk.start + index] < 0.0)));
        let mean = kept.iter().map(|j| f64::from(drift[*j].abs())).sum::<f64>() / kept.len() as f64;
        assert_eq!(chunk.scale, Scale::nearest(mean));
    });
    feedback.restore(&sent).unwrap();
    let furthest = drift.iter().zip(&feedback.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest < 1e-8, "{furthest}");
}

#[test]
fn zeros_send_nothing_and_few_values_send_few() {
    let layout = layout(&[(3 * 4096, 64)]);
    let mut drift = vec![0.0; layout.parameters()];
    assert_eq!(payload(&layout, 1, &drift).kept(), 0);
    drift[4100] = 0.5;
    drift[4200] = -0.5;
    let sent = payload(&layout, 1, &drift);
    assert_eq!(sent.kept(), 2);
    assert_eq!(sent.scales().iter().map(|scale| scale.is_empty()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(Payload::decode(&sent.encode(), &layout).unwrap(), sent);
    let mut values = Vec::new();
    sent.for_each_value(|index, value| values.push((index, value)));
    assert_eq!(values, [(4100, 0.5), (4200, -0.5)]);
}

#[test]
fn a_diverged_training_sends_nothing_and_keeps_its_residual() {
    let layout = layout(&[(100, 64)]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut feedback = ErrorFeedback::new(&layout);
        feedback.accumulate(&[0.5; 100], 0.95).unwrap();
        let before = feedback.clone();
        let mut drift = vec![0.1; 100];
        drift[77] = bad;
        assert!(matches!(feedback.accumulate(&drift, 0.95), Err(FeedbackError::NotFinite { index: 77, .. })));
        assert_eq!(feedback, before);
        let mut values = feedback.into_values();
        values[5] = bad;
        let mut feedback = ErrorFeedback::from(values);
        assert!(matches!(feedback.compress(&layout, metadata(1)), Err(FeedbackError::NotFinite { index: 5, .. })));
    }
    let mut feedback = ErrorFeedback::new(&layout);
    feedback.accumulate(&[f32::MAX; 100], 1.0).unwrap();
    assert!(matches!(feedback.accumulate(&[f32::MAX; 100], 1.0), Err(FeedbackError::NotFinite { index: 0, .. })));
}

#[test]
fn huge_values_saturate_and_faint_ones_wait() {
    let layout = layout(&[(2 * 4096, 64)]);
    let mut drift = vec![f32::from_bits(1); layout.parameters()];
    assert_eq!(payload(&layout, 1, &drift).kept(), 0);
    drift[..4096].fill(f32::MAX);
    let sent = payload(&layout, 1, &drift);
    assert_eq!(sent.scales(), [Scale::MAX, Scale::EMPTY]);
    // A second chunk within the unit's range, but too far under the first one for the tensor's byte.
    drift[4096..].fill(1e-10);
    assert_eq!(payload(&layout, 1, &drift).scales(), [Scale::MAX, Scale::EMPTY]);
    drift[4096..].fill(1e-7);
    let sent = payload(&layout, 1, &drift);
    assert_eq!(sent.kept(), 128);
    assert_eq!(Payload::decode(&sent.encode(), &layout).unwrap(), sent);
}

#[test]
fn metadata_is_covered_and_bounded() {
    let layout = layout(&[(1000, 64)]);
    let sent = payload(&layout, 1, &drift(1000, 1, 1.0));
    let other = sent.clone().with_metadata(Metadata { inner_steps: 31, ..sent.metadata().clone() }).unwrap();
    assert_ne!(other.root(), sent.root());
    assert_eq!(Payload::decode(&other.encode(), &layout).unwrap().metadata().inner_steps, 31);
    let long = Metadata { numerics: "x".repeat(33), ..Metadata::default() };
    assert_eq!(sent.clone().with_metadata(long), Err(MetadataError::Numerics { bytes: 33 }));
    let spaced = Metadata { numerics: "a b".to_owned(), ..Metadata::default() };
    assert_eq!(sent.with_metadata(spaced), Err(MetadataError::Numerics { bytes: 3 }));
}

#[test]
fn agreement_is_of_the_later_payloads_own_coordinates() {
    let layout = layout(&[(40 * 4096, 64)]);
    let first = payload(&layout, 1, &drift(layout.parameters(), 1, 1e-3));
    let second = payload(&layout, 2, &drift(layout.parameters(), 2, 1e-3));
    let flipped: Vec<f32> = drift(layout.parameters(), 1, 1e-3).iter().map(|value| -value).collect();
    let flipped = payload(&layout, 3, &flipped);
    let mut few = vec![0.0; layout.parameters()];
    first.for_each_value(|index, value| few[index] = if index < 4096 { value } else { 0.0 });
    let few = payload(&layout, 4, &few);
    assert_eq!(first.agreement(&first), 1.0);
    assert_eq!(first.agreement(&flipped), 0.0);
    assert!(first.agreement(&second) < 0.03);
    assert_eq!(few.agreement(&first), 1.0);
    assert_eq!(first.agreement(&few), 1.0 / 40.0);
}

#[test]
fn every_changed_byte_is_refused() {
    let layout = layout(&[(300, 512), (40, 64)]);
    let bytes = payload(&layout, 1, &drift(340, 9, 1e-3)).encode();
    for position in 0..bytes.len() {
        for change in [1u8, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= change;
            assert!(Payload::decode(&changed, &layout).is_err(), "byte {position} ^ {change}");
        }
        assert!(Payload::decode(&bytes[..position], &layout).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Payload::decode(&longer, &layout).is_err());
}

#[test]
fn a_payload_of_another_layout_or_version_says_so() {
    let small = layout(&[(5000, 64)]);
    let bytes = payload(&small, 1, &drift(5000, 9, 1e-3)).encode();
    let wider = layout(&[(5001, 64)]);
    assert!(matches!(Payload::decode(&bytes, &wider), Err(PayloadError::WrongModel { parameters: 5000, tensors: 1 })));
    let denser = layout(&[(5000, 65)]);
    assert!(matches!(Payload::decode(&bytes, &denser), Err(PayloadError::TensorRow { tensor: 0, kept: 64, .. })));
    let mut newer = bytes.clone();
    newer[4] = 6;
    let refused = Payload::decode(&newer, &small).unwrap_err();
    assert_eq!(refused, PayloadError::Frame(FrameError::UnknownVersion { found: 6, known: 5 }));
    let huge = vec![0; small.max_payload_bytes() + 1];
    assert!(matches!(Payload::decode(&huge, &small), Err(PayloadError::Frame(FrameError::TooLarge { .. }))));
}

#[test]
fn the_worst_selection_fits_the_size_bound() {
    // All kept values at the end of each chunk: the longest quotients.
    for kept in [1u16, 3, 64, 700, 4096] {
        let layout = layout(&[(3 * 4096, kept), (77, kept)]);
        let ramp: Vec<f32> = (0..layout.parameters()).map(|i| 1e-3 + i as f32 * 1e-6).collect();
        let sent = payload(&layout, 1, &ramp);
        let bytes = sent.encode();
        assert!(bytes.len() <= layout.max_payload_bytes());
        assert_eq!(Payload::decode(&bytes, &layout).unwrap(), sent);
    }
}

fn any_layout() -> impl Strategy<Value = GradientLayout> {
    let len = prop_oneof![1usize..200, prop::sample::select(ODD_LENGTHS.to_vec()), 8000usize..9000];
    prop::collection::vec((len, 1u16..=4096), 1..4).prop_map(|tensors| layout(&tensors))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn payloads_come_back_and_have_one_coding(layout in any_layout(), seed: u64, zeros in 0u32..4) {
        let mut drift = drift(layout.parameters(), seed, 1e-3);
        for (i, value) in drift.iter_mut().enumerate() {
            if (i as u32).is_multiple_of(zeros + 1) && zeros > 0 {
                *value = 0.0;
            }
        }
        let sent = payload(&layout, 1, &drift);
        let bytes = sent.encode();
        prop_assert!(bytes.len() <= layout.max_payload_bytes());
        let back = Payload::decode(&bytes, &layout).unwrap();
        prop_assert_eq!(&back, &sent);
        prop_assert_eq!(back.encode(), bytes);
    }

    /// A forger who repairs all hashes: either refused, or the bytes are again the content's only coding.
    #[test]
    fn forged_segments_are_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sparse: bool,
    ) {
        let layout = layout(&[(700, 300), (900, 64), (5, 4096)]);
        let mut drift = drift(layout.parameters(), 4, 1e-3);
        if sparse {
            drift.iter_mut().enumerate().filter(|(i, _)| !i.is_multiple_of(90)).for_each(|(_, value)| *value = 0.0);
        }
        let bytes = payload(&layout, 1, &drift).encode();
        let forged = drifts::forge_payload(&bytes, |body| drifts::flip(body, &changes));
        if let Ok(payload) = Payload::decode(&forged, &layout) {
            prop_assert_eq!(payload.encode(), forged);
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Payload::decode(&bytes, &layout(&[(5000, 64)])).is_err());
    }

    /// Garbage behind a sound head.
    #[test]
    fn garbage_segments_never_panic(body in prop::collection::vec(any::<u8>(), 0..120)) {
        let layout = layout(&[(700, 300), (900, 64), (5, 4096)]);
        let bytes = payload(&layout, 1, &drift(layout.parameters(), 4, 1e-3)).encode();
        let forged = drifts::forge_payload(&bytes, |segment| *segment = body.clone());
        if let Ok(payload) = Payload::decode(&forged, &layout) {
            prop_assert_eq!(payload.encode(), forged);
        }
    }
}

#[test]
fn a_tensor_of_unequal_magnitudes_is_sent_with_two_scales() {
    let layout = layout(&[(3 * 4096, 64), (3 * 4096, 64)]);
    // In the first tensor what is kept is near to equal; in the second every other value is three times as large.
    let size = |j: usize| if j < 3 * 4096 || j.is_multiple_of(128) { 3e-3 } else { 1e-3 };
    let value = |j: usize| if j.is_multiple_of(64) { size(j) * (1.0 + (j % 11) as f32 * 0.01) } else { 1e-5 };
    let drift: Vec<f32> =
        (0..layout.parameters()).map(|j| value(j) * if j.is_multiple_of(3) { -1.0 } else { 1.0 }).collect();
    let mut feedback = ErrorFeedback::new(&layout);
    feedback.accumulate(&drift, 0.95).unwrap();
    let sent = feedback.compress(&layout, metadata(1)).unwrap();
    assert_eq!(sent.modes(), [Mode::Sign, Mode::Magnitude]);
    let bytes = sent.encode();
    assert!(bytes.len() <= layout.max_payload_bytes());
    assert_eq!(Payload::decode(&bytes, &layout).unwrap(), sent);
    // Each value is sent as the nearest power of two, and the rest waits.
    sent.for_each_value(|index, value| assert!((value - drift[index]).abs() < 0.34 * drift[index].abs()));
    let mut remains = drift.clone();
    sent.for_each_value(|index, value| remains[index] -= value);
    assert_eq!(remains, feedback.values());
    let mut larger = Vec::new();
    sent.for_each_chunk(|chunk| larger.push(chunk.larger_scale > chunk.scale));
    assert!(larger[4] && !larger[0]);
    feedback.restore(&sent).unwrap();
    assert!(drift.iter().zip(&feedback.values()).all(|(a, b)| (a - b).abs() < 1e-8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn forged_magnitudes_are_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let layout = layout(&[(700, 300), (63, 4096)]);
        let value = |j: usize| if j.is_multiple_of(2) { 3e-3 } else { 1e-3 };
        let sent = payload(&layout, 1, &(0..layout.parameters()).map(value).collect::<Vec<f32>>());
        prop_assert_eq!(sent.modes()[1], Mode::Magnitude);
        let forged = drifts::forge_payload(&sent.encode(), |body| drifts::flip(body, &changes));
        if let Ok(payload) = Payload::decode(&forged, &layout) {
            prop_assert_eq!(payload.encode(), forged);
        }
    }
}
