//! By segments: the streamed ways give the bytes of the whole ones, for any layout and any number of threads.

mod drifts;

use drifts::{drift, layout, metadata, payload};
use proptest::prelude::*;
use templar_base::{Domain, FeedbackValues, MergeMethod, StepRule, ValueCoding};
use templar_gradient::{
    Accumulation, Aggregate, ErrorFeedback, FeedbackError, GradientLayout, LengthMismatch, Merge, MergeError,
    MergeRule, Merged, OuterState, OuterStep, Payload, PayloadError, Shares, agreements, linear_factor, shares_dot,
};

/// Three segments, whose ends are within tensors and between them.
fn long_layout() -> GradientLayout {
    layout(&[(300 * 4096 + 17, 64), (5000, 512), (250 * 4096, 16), (3, 64)])
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Payload and residual by the whole drift in memory.
fn whole(feedback: &ErrorFeedback, layout: &GradientLayout, rules: Accumulation, delta: &[f32]) -> (Payload, Vec<f32>) {
    let mut delta = delta.to_vec();
    let step = OuterStep { domain: rules.domain, rule: StepRule::Descent, alpha: 1.0 };
    step.to_domain(layout, &mut delta).unwrap();
    let mut feedback = feedback.clone();
    feedback.accumulate(&delta, rules.decay).unwrap();
    (feedback.compress(layout, metadata(3)).unwrap(), feedback.into_values())
}

/// The same, segment by segment.
fn streamed(
    feedback: &ErrorFeedback,
    layout: &GradientLayout,
    rules: Accumulation,
    delta: &[f32],
) -> (Payload, Vec<f32>) {
    let read = |range: std::ops::Range<usize>, out: &mut [f32]| {
        out.copy_from_slice(&delta[range]);
        Ok::<(), FeedbackError>(())
    };
    let payload = feedback.prepare(layout, rules, metadata(3), read).unwrap();
    let mut after = feedback.clone();
    after.commit(&payload, rules, read).unwrap();
    (payload, after.into_values())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_streamed_seal_is_the_whole_one_for_any_thread_count() {
    let layout = long_layout();
    let before = ErrorFeedback::from(drift(layout.parameters(), 8, 1e-3));
    let delta = drift(layout.parameters(), 9, 1e-3);
    let rules = Accumulation::with_decay(0.8);
    let (expected, residual) = whole(&before, &layout, rules, &delta);
    for threads in [1, 3] {
        let (payload, after) = with_threads(threads, || streamed(&before, &layout, rules, &delta));
        assert_eq!(payload.root(), expected.root());
        assert!(payload.bytes() == expected.bytes() && bits(&after) == bits(&residual));
        assert_eq!(Payload::from_bytes(payload.into_bytes(), &layout).unwrap(), expected);
    }
    assert_eq!(expected.metadata().error_feedback_root, ErrorFeedback::from(residual).root(&layout));
}

#[test]
fn a_drift_that_fails_or_diverges_leaves_the_feedback_as_it_was() {
    let layout = layout(&[(5000, 64)]);
    let feedback = ErrorFeedback::from(vec![0.25; 5000]);
    let rules = Accumulation::with_decay(0.8);
    #[derive(Debug, PartialEq)]
    enum Failure {
        Device,
        Feedback(FeedbackError),
    }
    impl From<FeedbackError> for Failure {
        fn from(error: FeedbackError) -> Self {
            Self::Feedback(error)
        }
    }
    let failing = |_: std::ops::Range<usize>, _: &mut [f32]| Err(Failure::Device);
    assert_eq!(feedback.prepare(&layout, rules, metadata(1), failing), Err(Failure::Device));
    let diverged = |_: std::ops::Range<usize>, out: &mut [f32]| {
        out.fill(0.0);
        out[4097] = f32::INFINITY;
        Ok(())
    };
    let refused = feedback.prepare(&layout, rules, metadata(1), diverged);
    assert!(matches!(refused, Err(Failure::Feedback(FeedbackError::NotFinite { index: 4097, .. }))));
    let short = ErrorFeedback::from(vec![0.0; 4999]);
    assert!(matches!(short.prepare(&layout, rules, metadata(1), failing), Err(Failure::Feedback(_))));
}

#[test]
fn a_feedback_in_bf16_sends_the_same_and_leaves_the_nearest() {
    let layout = layout(&[(70_000, 64), (63, 64)]);
    let exactly = Accumulation::with_decay(0.8);
    let rules = Accumulation { held_as: FeedbackValues::Bf16, ..exactly };
    let mut feedback = ErrorFeedback::empty(&layout, FeedbackValues::Bf16);
    for window in 0..3 {
        let delta = drift(layout.parameters(), 11 + window, 1e-3);
        let single = ErrorFeedback::from(feedback.values());
        let (wanted, rest) = streamed(&single, &layout, exactly, &delta);
        // How what waits is held in memory is nobody's matter; how it is rounded is agreed on.
        let (same, same_after) = streamed(&single, &layout, rules, &delta);
        let (payload, after) = streamed(&feedback, &layout, rules, &delta);
        assert!(payload.bytes() == same.bytes() && bits(&after) == bits(&same_after));
        assert_eq!(sent(&payload), sent(&wanted));
        let next = ErrorFeedback::of_values(rest, FeedbackValues::Bf16);
        assert_eq!(bits(&after), bits(&next.values()));
        assert_eq!(payload.metadata().error_feedback_root, next.root(&layout));
        // What waits is its own rounding, and lies in half the memory.
        let mut restored = next.clone();
        restored.restore(&payload).unwrap();
        let mut segments = Vec::new();
        for segment in 0..layout.segment_count() {
            let mut out = vec![0.0; layout.segment_range(segment).len()];
            next.restored(&payload, segment, &mut out).unwrap();
            segments.extend(out);
        }
        assert_eq!(bits(&segments), bits(&restored.values()));
        feedback = next;
    }
}

/// All values that a payload sends: place, value.
fn sent(payload: &Payload) -> Vec<(usize, f32)> {
    let mut all = Vec::new();
    payload.for_each_value(|index, value| all.push((index, value)));
    all
}

/// All entries of a merge: place, sum, count.
fn entries(merged: &impl Merged) -> Vec<(usize, i64, u16)> {
    let mut all = Vec::new();
    for segment in 0..merged.head().layout.segment_count() {
        let mut chunks = merged.head().layout.segment_chunks(segment);
        merged.visit_segment(segment, &mut |chunk| {
            assert_eq!(Some(chunk.chunk), chunks.next());
            all.extend(chunk.entries().map(|(index, sum, count)| (chunk.start + index, sum, count)));
        });
        assert_eq!(chunks.next(), None);
    }
    merged.visit_segment(merged.head().layout.segment_count(), &mut |_| panic!("there is no such segment"));
    all
}

#[test]
fn what_is_merged_as_it_is_read_is_the_aggregate_for_any_thread_count() {
    let layout = long_layout();
    let payloads: Vec<Payload> =
        (1..=4).map(|uid| payload(&layout, uid, &drift(layout.parameters(), u64::from(uid), 1e-3))).collect();
    let set: Vec<(&Payload, u32)> = payloads.iter().zip([1, 2, 1, 1]).collect();
    let all: Vec<&Payload> = payloads.iter().collect();
    let gradient = drift(layout.parameters(), 77, 1.0);
    for method in [
        MergeMethod::MeanOfSenders,
        MergeMethod::CentredClipping { radius_percent: 80, iterations: 2 },
        MergeMethod::Krum { faulty: 1, chosen: 2 },
        MergeMethod::TrimmedMean { trimmed: 1 },
    ] {
        let rule = MergeRule { method, ..MergeRule::default() };
        let results = [1, 3].map(|threads| {
            with_threads(threads, || {
                let merge = Merge::new(&layout, &set, rule).unwrap();
                let aggregate = Aggregate::of(&merge);
                assert_eq!(merge.head(), aggregate.head());
                assert!(entries(&merge) == entries(&aggregate), "{method:?}");
                assert_eq!(entries(&merge).len(), aggregate.entries());
                let step = OuterStep { domain: Domain::Parameters, rule: StepRule::Descent, alpha: 0.65 };
                let mut states = [OuterState::new(gradient.clone()), OuterState::new(gradient.clone())];
                step.apply(&mut states[0], &merge).unwrap();
                step.apply(&mut states[1], &aggregate).unwrap();
                assert!(bits(&states[0].params) == bits(&states[1].params), "{method:?}");
                let (start, mut stepped) = (OuterState::new(gradient.clone()), Vec::new());
                let visited = step.visit_stepped(&start, &merge, |first, params| {
                    assert_eq!(first, stepped.len());
                    stepped.extend_from_slice(params);
                    Ok::<_, LengthMismatch>(())
                });
                assert_eq!(visited, Ok(()));
                assert!(bits(&states[0].params) == bits(&stepped), "{method:?}");
                let shares = shares_dot(&merge, &all, &gradient).unwrap();
                assert_eq!(shares, shares_dot(&aggregate, &all, &gradient).unwrap());
                let streamed = Shares::new(&merge, &all).unwrap().dot(|segment, out| {
                    out.copy_from_slice(&gradient[layout.segment_range(segment)]);
                    Ok::<_, MergeError>(())
                });
                assert_eq!(streamed.unwrap(), shares);
                let factor = linear_factor(&merge, &all).unwrap();
                assert_eq!(factor, linear_factor(&aggregate, &all).unwrap());
                (aggregate.hash(), states[0].hash(), shares, factor)
            })
        });
        assert_eq!(results[0], results[1], "{method:?}");
    }
}

#[test]
fn agreements_of_many_are_those_of_pairs() {
    let layout = long_layout();
    let payloads: Vec<Payload> =
        (1..=4).map(|uid| payload(&layout, uid, &drift(layout.parameters(), u64::from(uid / 2), 1e-3))).collect();
    let other = payload(&drifts::layout(&[(100, 64)]), 9, &drift(100, 1, 1e-3));
    let mut all: Vec<&Payload> = payloads.iter().collect();
    for _ in 0..2 {
        let of_pairs: Vec<f64> = (0..all.len())
            .flat_map(|own| (0..own).map(move |other| (own, other)))
            .map(|(a, b)| all[a].agreement(all[b]))
            .collect();
        assert_eq!(agreements(&all), of_pairs);
        // A payload of another model has nothing in common with any.
        all.insert(2, &other);
    }
    assert_eq!(payloads[2].agreement(&payloads[1]), 1.0);
    assert_eq!((agreements(&[]), agreements(&all[..1])), (Vec::new(), Vec::new()));
}

fn any_layout() -> impl Strategy<Value = GradientLayout> {
    let len = prop_oneof![1usize..200, prop::sample::select(vec![63, 4095, 4096, 4097]), 8000usize..9000];
    let values = prop_oneof![Just(ValueCoding::Signs), (2u8..=24).prop_map(|bits| ValueCoding::Rounded { bits })];
    (prop::collection::vec((len, 1u16..=4096), 1..4), values)
        .prop_map(|(tensors, values)| layout(&tensors).with_values(values).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streaming_changes_no_byte(
        layout in any_layout(), seed: u64, decay in 0f32..1.0, of_frequencies: bool, size in -20i32..4,
    ) {
        let domain = if of_frequencies { Domain::Frequencies } else { Domain::Parameters };
        let rules = Accumulation { domain, ..Accumulation::with_decay(decay) };
        let size = (size as f32).exp2();
        let before = ErrorFeedback::from(drift(layout.parameters(), seed, size));
        let delta = drift(layout.parameters(), seed ^ 1, size);
        let (expected, residual) = whole(&before, &layout, rules, &delta);
        let (payload, after) = streamed(&before, &layout, rules, &delta);
        prop_assert_eq!(payload.bytes(), expected.bytes());
        prop_assert_eq!(bits(&after), bits(&residual));
        prop_assert_eq!(payload.kept(), Payload::decode(payload.bytes(), &layout).unwrap().kept());
    }

    /// What a decoder accepts reads the same as often as it is read, and is one content.
    #[test]
    fn hostile_segments_are_rejected_or_read_as_they_are(
        layout in any_layout(), seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let honest = payload(&layout, 1, &drift(layout.parameters(), seed, 1e-3));
        let forged = drifts::forge_payload(honest.bytes(), |body| {
            if !body.is_empty() {
                drifts::flip(body, &changes);
            }
        });
        match Payload::decode(&forged, &layout) {
            Ok(read) => {
                let mut values = Vec::new();
                let mut chunks = 0;
                read.for_each_chunk(|chunk| {
                    assert_eq!(chunk.chunk, chunks);
                    chunks += 1;
                    values.extend(chunk.units().map(|(index, units)| (chunk.start + index, units)));
                });
                prop_assert_eq!((chunks, values.len()), (layout.chunk_count(), read.kept()));
                prop_assert!(values.windows(2).all(|pair| pair[0].0 < pair[1].0));
                prop_assert!(values.iter().all(|(place, units)| *place < layout.parameters() && *units != 0));
            }
            Err(PayloadError::Frame(error)) => prop_assert!(false, "the frame was repaired: {error}"),
            Err(_) => {}
        }
    }
}
