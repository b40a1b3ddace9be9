//! Aggregates: exact in any order, undone exactly, coded in one way, applied to the bit.

mod drifts;

use drifts::{drift, layout, payload};
use proptest::prelude::*;
use std::collections::BTreeMap;
use templar_base::{ContentHash, MergeMethod, ScaleRule, StepShare, Window};
use templar_gradient::{
    Aggregate, AggregateError, AggregateSlice, Aggregator, GradientLayout, MAX_TOTAL_WEIGHT, MergeError, MergeRule,
    Merged, Metadata, Payload, ScaleLimits, SliceError, UNIT_EXPONENT, outer_step, shares_dot,
};

fn peers(layout: &GradientLayout, count: u16) -> Vec<Payload> {
    let size = |uid: u16| 1e-3 * (1.0 + f32::from(uid % 7));
    (1..=count).map(|uid| payload(layout, uid, &drift(layout.parameters(), u64::from(uid), size(uid)))).collect()
}

fn weighted(payloads: &[Payload]) -> Vec<(&Payload, u32)> {
    payloads.iter().map(|payload| (payload, 1)).collect()
}

fn small_layout() -> GradientLayout {
    layout(&[(5000, 64), (3, 64), (4096, 512), (63, 4096)])
}

/// The merge as the rule reads, one coordinate at a time.
fn oracle(payloads: &[(&Payload, u32)], rule: MergeRule) -> BTreeMap<usize, (i64, u32)> {
    let layout = payloads[0].0.layout();
    let median_of = |chunk: usize| {
        let mut scales: Vec<i64> = payloads.iter().map(|(p, _)| p.scales()[chunk].units()).collect();
        scales.retain(|scale| *scale > 0 || rule.scales == ScaleRule::Equal);
        scales.sort_unstable();
        scales.get(scales.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    };
    let medians: Vec<i64> = (0..layout.chunk_count()).map(median_of).collect();
    let mut sums = BTreeMap::new();
    for (payload, weight) in payloads {
        payload.for_each_chunk(|part| {
            let median = medians[part.chunk];
            for (index, units) in part.units() {
                let counted = match rule.scales {
                    ScaleRule::Own => units,
                    ScaleRule::Clipped { times } => units.clamp(-median * i64::from(times), median * i64::from(times)),
                    ScaleRule::Equal if median == 0 => return,
                    ScaleRule::Equal => median * units.signum(),
                };
                let entry = sums.entry(part.start + index).or_insert((0i64, 0u32));
                entry.0 += counted * i64::from(*weight);
                entry.1 += weight;
            }
        });
    }
    sums
}

#[test]
fn merging_is_the_rule_coordinate_by_coordinate() {
    let layout = small_layout();
    let payloads = peers(&layout, 9);
    let set: Vec<(&Payload, u32)> = payloads.iter().zip([1, 2, 1, 1, 3, 1, 1, 7, 1]).collect();
    for rule in [
        MergeRule::default(),
        MergeRule { kappa_threshold: 5, scales: ScaleRule::Clipped { times: 1 }, ..MergeRule::default() },
        MergeRule { scales: ScaleRule::Equal, step: StepShare::Half, ..MergeRule::default() },
        MergeRule { kappa_threshold: 0, scales: ScaleRule::Own, ..MergeRule::default() },
    ] {
        let aggregate = Aggregate::merge(&layout, &set, rule).unwrap();
        let expected = oracle(&set, rule);
        assert_eq!(aggregate.entries(), expected.len());
        let kappa = if rule.kappa_threshold < 9 { 2 } else { 1 };
        assert_eq!(aggregate.floor(), kappa);
        let mut visited = Vec::new();
        aggregate.for_each(|index, value| visited.push((index, value)));
        for ((index, value), (place, (sum, count))) in visited.iter().zip(&expected) {
            let value_again = *sum as f32 / (*count).max(kappa) as f32 * (UNIT_EXPONENT as f32).exp2();
            assert_eq!((index, value.to_bits()), (place, value_again.to_bits()));
        }
        // One by one it decodes a segment each time.
        for (index, value) in visited.iter().step_by(97) {
            assert_eq!(aggregate.value(*index).to_bits(), value.to_bits());
        }
        let silent = (0..layout.parameters()).find(|j| !expected.contains_key(j)).unwrap();
        assert_eq!(aggregate.value(silent), 0.0);
    }
}

#[test]
fn a_scale_far_over_the_median_is_clipped() {
    let layout = layout(&[(4096, 64)]);
    let mut payloads = peers(&layout, 4);
    payloads.push(payload(&layout, 9, &drift(4096, 9, 10.0)));
    let loudest = |scales| {
        let rule = MergeRule { scales, ..MergeRule::default() };
        let mut loudest = 0f32;
        Aggregate::merge(&layout, &weighted(&payloads), rule)
            .unwrap()
            .for_each(|_, value| loudest = loudest.max(value.abs()));
        loudest
    };
    let (own, clipped) = (loudest(ScaleRule::Own), loudest(ScaleRule::Clipped { times: 4 }));
    assert!(own > 10.0 * clipped, "{own} {clipped}");
    let equal = loudest(ScaleRule::Equal);
    assert!(clipped > 3.0 * equal, "{clipped} {equal}");
    // Scaling earns nothing at all: the merge is the same without it.
    let quiet: Vec<Payload> = (0..5).map(|uid| payload(&layout, uid, &drift(4096, uid.into(), 1.0))).collect();
    let mut loud = quiet.clone();
    loud[4] = payload(&layout, 4, &drift(4096, 4, 1e3));
    let equal = MergeRule { scales: ScaleRule::Equal, ..MergeRule::default() };
    let values = |payloads: &[Payload]| {
        let mut values = Vec::new();
        Aggregate::merge(&layout, &weighted(payloads), equal)
            .unwrap()
            .for_each(|place, value| values.push((place, value)));
        values
    };
    assert_eq!(values(&loud), values(&quiet));
}

#[test]
fn a_lone_sender_in_a_silent_chunk_moves_nothing_where_scales_are_equal() {
    let layout = layout(&[(4096, 64), (4096, 64)]);
    let half = |uid: u16, from: usize| {
        let mut values = drift(8192, uid.into(), 1.0);
        values[from..from + 4096].fill(0.0);
        payload(&layout, uid, &values)
    };
    let payloads = [half(0, 4096), half(1, 4096), half(2, 4096), half(3, 0)];
    let sent_of = |scales| {
        let rule = MergeRule { scales, ..MergeRule::default() };
        let mut places = Vec::new();
        Aggregate::merge(&layout, &weighted(&payloads), rule).unwrap().for_each(|place, _| places.push(place));
        places
    };
    assert!(sent_of(ScaleRule::Clipped { times: 2 }).iter().any(|place| *place >= 4096));
    let equal = sent_of(ScaleRule::Equal);
    assert!(!equal.is_empty() && equal.iter().all(|place| *place < 4096));
}

#[test]
fn the_part_of_the_step_is_in_the_aggregate_and_is_what_is_taken() {
    let layout = small_layout();
    let payloads = peers(&layout, 3);
    let mut moved = Vec::new();
    for step in StepShare::ALL {
        let aggregate =
            Aggregate::merge(&layout, &weighted(&payloads), MergeRule { step, ..MergeRule::default() }).unwrap();
        let read = Aggregate::decode(&aggregate.encode(), &layout).unwrap();
        assert_eq!(read.rule().step, step);
        let mut params = vec![0f32; layout.parameters()];
        outer_step(&mut params, &read, 1.0).unwrap();
        moved.push(params);
    }
    for (quarter, whole) in moved[0].iter().zip(&moved[2]) {
        assert_eq!(quarter * 4.0, *whole);
    }
}

#[test]
fn leaving_undoes_entering() {
    let layout = small_layout();
    let payloads = peers(&layout, 6);
    let all: Vec<&Payload> = payloads.iter().collect();
    let limits = ScaleLimits::of(&layout, &all, MergeRule::default().scales);
    let mut aggregator = Aggregator::new(&layout, limits.clone());
    for payload in &payloads {
        aggregator.add(payload, 2).unwrap();
    }
    assert_eq!(aggregator.finish(MergeRule::default()).unwrap().hash(), {
        let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 2)).collect();
        Aggregate::merge(&layout, &set, MergeRule::default()).unwrap().hash()
    });
    assert_eq!(aggregator.add(&payloads[0], 1), Err(MergeError::Duplicate { uid: payloads[0].metadata().uid }));
    aggregator.remove(&payloads[0]).unwrap();
    aggregator.remove(&payloads[4]).unwrap();
    assert!(matches!(aggregator.remove(&payloads[4]), Err(MergeError::NotMerged { .. })));
    let mut without = Aggregator::new(&layout, limits);
    for place in [5, 1, 3, 2] {
        without.add(&payloads[place], 2).unwrap();
    }
    assert_eq!(aggregator.finish(MergeRule::default()), without.finish(MergeRule::default()));
}

#[test]
fn an_object_applies_as_the_payloads_do_for_any_thread_count() {
    let layout = layout(&[(300 * 4096 + 17, 64), (5000, 512)]);
    let payloads = peers(&layout, 5);
    let start = drift(layout.parameters(), 77, 1.0);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let merged = Aggregate::merge(&layout, &weighted(&payloads), MergeRule::default()).unwrap();
            let bytes = merged.encode();
            let aggregate = Aggregate::decode(&bytes, &layout).unwrap();
            assert_eq!(aggregate, merged);
            let mut params = start.clone();
            outer_step(&mut params, &aggregate, 0.65).unwrap();
            let sent: Vec<&Payload> = payloads.iter().collect();
            let shares = shares_dot(&aggregate, &sent, &start).unwrap();
            (
                bytes,
                templar_gradient::state_hash(&params),
                shares.iter().map(|share| share.to_bits()).collect::<Vec<_>>(),
            )
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn shares_sum_to_the_dot_with_the_aggregate() {
    let layout = small_layout();
    let mut payloads = peers(&layout, 7);
    payloads.push(payload(&layout, 9, &drift(layout.parameters(), 9, 3.0)));
    let set: Vec<(&Payload, u32)> = payloads.iter().zip([1, 1, 2, 1, 1, 5, 1, 1]).collect();
    let gradient = drift(layout.parameters(), 50, 1.0);
    for kappa_threshold in [30, 3] {
        let aggregate = Aggregate::merge(&layout, &set, MergeRule { kappa_threshold, ..MergeRule::default() }).unwrap();
        let mut expected = 0f64;
        aggregate.for_each(|index, value| expected += f64::from(gradient[index]) * f64::from(value));
        let forward: Vec<&Payload> = payloads.iter().collect();
        let backward: Vec<&Payload> = payloads.iter().rev().collect();
        let shares = shares_dot(&aggregate, &forward, &gradient).unwrap();
        let mut reversed = shares_dot(&aggregate, &backward, &gradient).unwrap();
        reversed.reverse();
        assert_eq!(shares, reversed);
        let total: f64 = shares.iter().sum();
        assert!((total - expected).abs() < 1e-5 * shares.iter().map(|share| share.abs()).sum::<f64>());
        assert!(matches!(shares_dot(&aggregate, &forward[1..], &gradient), Err(MergeError::Incomplete { .. })));
        assert!(matches!(shares_dot(&aggregate, &forward, &gradient[1..]), Err(MergeError::Length(_))));
    }
}

#[test]
fn the_outer_step_is_one_product_and_one_difference() {
    let layout = small_layout();
    let aggregate = Aggregate::merge(&layout, &weighted(&peers(&layout, 3)), MergeRule::default()).unwrap();
    let before = drift(layout.parameters(), 1, 1.0);
    let mut after = before.clone();
    outer_step(&mut after, &aggregate, 0.7).unwrap();
    let mut merged = vec![0f32; before.len()];
    aggregate.for_each(|index, value| merged[index] = value);
    for (j, value) in after.iter().enumerate() {
        let product = std::hint::black_box(0.7f32 * merged[j]);
        assert_eq!(value.to_bits(), (before[j] - product).to_bits());
    }
    assert!(outer_step(&mut after[1..], &aggregate, 0.7).is_err());
}

#[test]
fn sets_that_cannot_be_merged_say_why() {
    let layout = small_layout();
    let payloads = peers(&layout, 2);
    let merge = |set: &[(&Payload, u32)]| Aggregate::merge(&layout, set, MergeRule::default()).unwrap_err();
    assert_eq!(merge(&[]), MergeError::NoContributors);
    assert_eq!(merge(&[(&payloads[0], 0)]), MergeError::NoContributors);
    assert!(matches!(merge(&[(&payloads[0], 1), (&payloads[0], 1)]), MergeError::Duplicate { .. }));
    let total = u64::from(MAX_TOTAL_WEIGHT) + 1;
    assert_eq!(merge(&[(&payloads[0], MAX_TOTAL_WEIGHT), (&payloads[1], 1)]), MergeError::TotalWeight { total });
    let other = Metadata { window: Window(8), ..payloads[1].metadata().clone() };
    let other = payloads[1].clone().with_metadata(other).unwrap();
    assert!(matches!(merge(&[(&payloads[0], 1), (&other, 1)]), MergeError::Mixed { .. }));
    let elsewhere = peers(&self::layout(&[(100, 64)]), 1);
    assert!(matches!(merge(&[(&elsewhere[0], 1)]), MergeError::WrongLayout { .. }));
}

#[test]
fn the_heaviest_merge_survives_coding() {
    let layout = layout(&[(4096, 64), (1, 1)]);
    let loud = |uid, sign: f32| payload(&layout, uid, &vec![sign * f32::MAX; layout.parameters()]);
    let payloads = [loud(1, 1.0), loud(2, 1.0), loud(3, -1.0)];
    for weights in [[MAX_TOTAL_WEIGHT - 1, 1, 0], [30_000, 0, 30_000], [1, 65_000, 500]] {
        let set: Vec<(&Payload, u32)> = payloads.iter().zip(weights).collect();
        let aggregate = Aggregate::merge(&layout, &set, MergeRule::default()).unwrap();
        let bytes = aggregate.encode();
        assert!(bytes.len() <= layout.max_aggregate_bytes(aggregate.contributors().len()));
        assert_eq!(Aggregate::decode(&bytes, &layout).unwrap(), aggregate);
    }
}

#[test]
fn more_magnitudes_than_are_listed_still_come_back() {
    let layout = layout(&[(4096, 8)]);
    let size = |uid: u16| 1e-6 * 1.09f32.powi(i32::from(uid));
    let payloads: Vec<Payload> =
        (1..=90).map(|uid| payload(&layout, uid, &drift(4096, u64::from(uid), size(uid)))).collect();
    let rule = MergeRule { scales: ScaleRule::Own, ..MergeRule::default() };
    let aggregate = Aggregate::merge(&layout, &weighted(&payloads), rule).unwrap();
    assert_eq!(Aggregate::decode(&aggregate.encode(), &layout).unwrap(), aggregate);
}

#[test]
fn every_changed_byte_of_an_aggregate_is_refused() {
    let layout = layout(&[(300, 512), (40, 64)]);
    let bytes = Aggregate::merge(&layout, &weighted(&peers(&layout, 3)), MergeRule::default()).unwrap().encode();
    for position in 0..bytes.len() {
        for change in [1u8, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= change;
            assert!(Aggregate::decode(&changed, &layout).is_err(), "byte {position} ^ {change}");
        }
        assert!(Aggregate::decode(&bytes[..position], &layout).is_err());
    }
    let zeros_behind = drifts::forge_aggregate(&bytes, |body| body.push(0));
    assert!(matches!(Aggregate::decode(&zeros_behind, &layout), Err(AggregateError::NotCanonical { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_order_matters(order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(), weights in prop::array::uniform8(0u32..4)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let layout = layout(&[(700, 300), (5, 4096)]);
        let payloads = peers(&layout, 8);
        let set: Vec<(&Payload, u32)> = payloads.iter().zip(weights).collect();
        let shuffled: Vec<(&Payload, u32)> = order.iter().map(|place| set[*place]).collect();
        let merged = Aggregate::merge(&layout, &set, MergeRule::default()).unwrap();
        let again = Aggregate::merge(&layout, &shuffled, MergeRule::default()).unwrap();
        prop_assert_eq!(merged.hash(), again.hash());
        prop_assert_eq!(&Aggregate::decode(&merged.encode(), &layout).unwrap(), &again);
    }

    #[test]
    fn forged_aggregates_are_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        count in 1u16..6,
    ) {
        let layout = layout(&[(700, 300), (900, 64), (5, 4096)]);
        let bytes = Aggregate::merge(&layout, &weighted(&peers(&layout, count)), MergeRule::default()).unwrap().encode();
        let forged = drifts::forge_aggregate(&bytes, |body| drifts::flip(body, &changes));
        if let Ok(aggregate) = Aggregate::decode(&forged, &layout) {
            prop_assert_eq!(aggregate.encode(), forged);
        }
    }

    #[test]
    fn garbage_segments_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let layout = layout(&[(700, 300), (900, 64), (5, 4096)]);
        let bytes = Aggregate::merge(&layout, &weighted(&peers(&layout, 4)), MergeRule::default()).unwrap().encode();
        let forged = drifts::forge_aggregate(&bytes, |segment| *segment = body.clone());
        if let Ok(aggregate) = Aggregate::decode(&forged, &layout) {
            prop_assert_eq!(aggregate.encode(), forged);
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Aggregate::decode(&bytes, &layout(&[(5000, 64)])).is_err());
    }
}

/// The formats are final: these digests change only together with a version.
#[test]
fn the_formats_are_as_they_were() {
    let layout = small_layout();
    let payloads = peers(&layout, 5);
    let aggregate = Aggregate::merge(&layout, &weighted(&payloads), MergeRule::default()).unwrap();
    let mut params = vec![0.25; layout.parameters()];
    outer_step(&mut params, &aggregate, 0.65).unwrap();
    let digests = [
        ContentHash::of(&payloads[0].encode()).to_string(),
        payloads[0].root().to_string(),
        aggregate.hash().to_string(),
        drifts::flat_digest(&params),
        templar_gradient::state_hash(&params).to_string(),
    ];
    let expected = [
        "74abff6d0f58015058bae7bd1866bcd880d9eaf96614c7c69f5ce21c0104df75",
        "a4443e83ccf2c525e8f7aef2e3cd7541e64414a4f922469d628a839d190f5200",
        "ad28e7a851a79c43e361a91952b1ffca11601e2be965f847f4a0d97d6faacc36",
        "601f0341bc7189be2dbdc8b942ac65ef31062c32043193cfe9770849234d0e19",
        "cbf8a4fab31105ca80ed98d7a36c4477e628b0743816a3a48d73ad16f4f0248b",
    ];
    assert_eq!(digests, expected);
}

#[test]
fn every_method_merges_codes_and_applies() {
    let layout = small_layout();
    let payloads = peers(&layout, 7);
    let set: Vec<(&Payload, u32)> = payloads.iter().zip([1, 2, 1, 1, 3, 1, 1]).collect();
    for method in [
        MergeMethod::MeanOfSenders,
        MergeMethod::MeanOfAll,
        MergeMethod::CentredClipping { radius_percent: 80, iterations: 3 },
        MergeMethod::TrimmedMean { trimmed: 1 },
        MergeMethod::Krum { faulty: 1, chosen: 3 },
        MergeMethod::SignVote,
    ] {
        let rule = MergeRule { method, ..MergeRule::default() };
        let aggregate = Aggregate::merge(&layout, &set, rule).unwrap();
        let mut reversed = set.clone();
        reversed.reverse();
        assert_eq!(Aggregate::merge(&layout, &reversed, rule).unwrap(), aggregate, "{method:?}");
        let decoded = Aggregate::decode(&aggregate.encode(), &layout).unwrap();
        assert_eq!(decoded, aggregate, "{method:?}");
        assert!(aggregate.entries() > 0, "{method:?}");
    }
}

#[test]
fn the_mean_over_all_divides_by_the_weight_of_all() {
    let layout = small_layout();
    let payloads = peers(&layout, 5);
    let set: Vec<(&Payload, u32)> = payloads.iter().zip([1, 2, 1, 1, 1]).collect();
    let rule = MergeRule { method: MergeMethod::MeanOfAll, ..MergeRule::default() };
    let aggregate = Aggregate::merge(&layout, &set, rule).unwrap();
    let unit = (UNIT_EXPONENT as f32).exp2();
    let expected = oracle(&set, rule);
    assert_eq!(aggregate.entries(), expected.len());
    aggregate.for_each(|place, value| assert_eq!(value, expected[&place].0 as f32 / 6.0 * unit));
    let all: Vec<&Payload> = payloads.iter().collect();
    let mut aggregator = Aggregator::new(&layout, ScaleLimits::of(&layout, &all, rule.scales));
    for (payload, weight) in &set {
        aggregator.add(payload, *weight).unwrap();
    }
    assert_eq!(aggregator.finish(rule).unwrap(), aggregate);
    let method = MergeMethod::SignVote;
    let vote = MergeRule { method, ..rule };
    assert_eq!(aggregator.finish(vote), Err(MergeError::NotLinear { method }));
}

/// A matrix whose rows and columns differ, as those of a model do: what is known of them must pay.
#[test]
fn rows_and_columns_make_an_aggregate_small() {
    let row = 128;
    let rows = 4 * 4096 / row;
    let hot = |j: usize| 1.0 / (1.0 + (j * 37 % 31) as f32);
    let layout = layout(&[(row * rows, 64)]);
    let payloads: Vec<Payload> = (1..=20)
        .map(|uid| {
            let own = drift(layout.parameters(), u64::from(uid), 1e-3);
            let values: Vec<f32> =
                own.iter().enumerate().map(|(j, value)| value * hot(j / row) * hot(j % row + 7)).collect();
            payload(&layout, uid, &values)
        })
        .collect();
    let bits_with_rows_of = |row: usize| {
        let layout = layout.clone().with_row_lengths(&[row]).unwrap();
        let again: Vec<Payload> = payloads.iter().map(|p| Payload::decode(&p.encode(), &layout).unwrap()).collect();
        let aggregate = Aggregate::merge(&layout, &weighted(&again), MergeRule::default()).unwrap();
        8 * aggregate.encode().len()
    };
    assert!(bits_with_rows_of(row) * 10 < bits_with_rows_of(100) * 9);
}

#[test]
fn slices_of_several_aggregators_make_the_same_object() {
    let layout = layout(&[(700 * 4096 + 17, 8), (5000, 64)]);
    assert_eq!(layout.segment_count(), 3);
    let payloads = peers(&layout, 4);
    let set = weighted(&payloads);
    let rule = MergeRule::default();
    let slice = |segments| AggregateSlice::merge(&layout, &set, rule, segments).unwrap();
    let whole = Aggregate::merge(&layout, &set, rule).unwrap().encode();
    assert_eq!(AggregateSlice::join(&layout, &[slice(1..3), slice(0..1)]).unwrap(), whole);
    assert_eq!(AggregateSlice::join(&layout, &[slice(0..9)]).unwrap(), whole);
    assert_eq!(slice(1..3).hashes()[..], slice(0..3).hashes()[1..]);
    assert_eq!(slice(0..2).disputed(&slice(1..3)), [0usize; 0]);
    // Who merges something else is found out where it differs.
    let fewer = AggregateSlice::merge(&layout, &set[..3], rule, 1..3).unwrap();
    assert_eq!(fewer.disputed(&slice(0..3)), [1, 2]);
    assert_eq!(AggregateSlice::join(&layout, &[slice(0..1), fewer]), Err(SliceError::OtherAggregate { segment: 1 }));
    for (slices, segment) in [(&[][..], 0), (&[(1, 3)], 0), (&[(0, 2)], 2), (&[(0, 2), (1, 3)], 1)] {
        let slices: Vec<AggregateSlice> = slices.iter().map(|(start, end)| slice(*start..*end)).collect();
        assert_eq!(AggregateSlice::join(&layout, &slices), Err(SliceError::Coverage { segment }));
    }
}
