//! Rounded values and the steps that go with them: what DiLoCo and DeMo need of payloads, merges and outer steps.

mod drifts;

use drifts::{drift, flat_digest, forge_payload, layout, metadata, payload};
use proptest::prelude::*;
use templar_base::{Domain, MergeMethod, ScaleRule, StepRule, ValueCoding};
use templar_gradient::{
    Aggregate, Aggregator, ErrorFeedback, GradientLayout, MergeRule, Merged, Mode, OuterState, OuterStep, Payload,
    PayloadError, ScaleLimits, UNIT_EXPONENT, linear_factor, shares_dot,
};

/// Dense, sparse, and short tensors.
const TENSORS: [(usize, u16); 5] = [(4096 + 700, 4096), (5000, 64), (63, 4096), (3, 64), (1, 1)];

fn rounded(tensors: &[(usize, u16)], bits: u8) -> GradientLayout {
    layout(tensors).with_values(ValueCoding::Rounded { bits }).unwrap()
}

fn mean_of_all() -> MergeRule {
    MergeRule { method: MergeMethod::MeanOfAll, scales: ScaleRule::Own, ..MergeRule::default() }
}

fn merged(layout: &GradientLayout, payloads: &[Payload], rule: MergeRule) -> Aggregate {
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    Aggregate::merge(layout, &set, rule).unwrap()
}

#[test]
fn values_are_sent_to_half_a_step_and_the_rest_waits() {
    for bits in [2, 3, 8, 16, 24] {
        let layout = rounded(&TENSORS, bits);
        let drift = drift(layout.parameters(), u64::from(bits), 1e-2);
        let mut feedback = ErrorFeedback::new(&layout);
        feedback.accumulate(&drift, 1.0).unwrap();
        let sent = feedback.compress(&layout, metadata(1)).unwrap();
        let bytes = sent.encode();
        assert!(bytes.len() <= layout.max_payload_bytes());
        assert_eq!(Payload::decode(&bytes, &layout).unwrap(), sent, "{bits} bits");
        let mut remains = drift.clone();
        sent.for_each_value(|index, value| remains[index] -= value);
        assert_eq!(remains, feedback.values(), "{bits} bits");
        sent.for_each_chunk(|chunk| {
            for (index, _) in chunk.values() {
                assert!(remains[chunk.start + index].abs() <= 0.5001 * chunk.scale.value(), "{bits} bits");
            }
        });
        feedback.restore(&sent).unwrap();
        assert!(drift.iter().zip(&feedback.values()).all(|(a, b)| (a - b).abs() < 1e-8));
    }
}

#[test]
fn a_dense_value_takes_its_bits_and_nothing_for_its_place() {
    let layout = rounded(&[(64 * 4096, 4096)], 16);
    let bytes = payload(&layout, 1, &drift(layout.parameters(), 1, 1e-3)).encode();
    let bits = 8.0 * bytes.len() as f64 / layout.parameters() as f64;
    assert!((16.0..16.02).contains(&bits), "{bits}");
}

#[test]
fn a_tensor_that_says_nothing_has_mode_zero_and_no_other_mode_says_anything() {
    let dense = rounded(&[(700, 4096), (5000, 64)], 16);
    let mut values = drift(5700, 1, 1e-3);
    values[..700].fill(0.0);
    let sent = payload(&dense, 1, &values);
    assert_eq!(sent.modes(), [Mode::Sign, Mode::Rounded]);
    assert_eq!(Payload::decode(&sent.encode(), &dense).unwrap(), sent);
    // What is coded for signs is refused where values are rounded, and the other way round.
    let signs = payload(&layout(&[(5000, 64)]), 1, &drift(5000, 1, 1e-3));
    assert_eq!(signs.modes(), [Mode::Sign]);
    let refused = Payload::decode(&signs.encode(), &rounded(&[(5000, 64)], 16));
    assert!(matches!(refused, Err(PayloadError::BaseExponent { .. })));
    let refused = Payload::decode(&sent.encode(), &layout(&[(700, 4096), (5000, 64)]));
    assert!(matches!(refused, Err(PayloadError::TensorRow { mode: 2, .. })));
    assert!(Payload::decode(&sent.encode(), &rounded(&[(700, 4096), (5000, 64)], 15)).is_err());
}

#[test]
fn copies_are_close_and_honest_work_is_not() {
    let layout = rounded(&[(8192, 4096)], 16);
    let (own, shared) = (|seed| drift(8192, seed, 1e-3), drift(8192, 99, 1e-3));
    let miner = |seed: u64| -> Vec<f32> { own(seed).iter().zip(&shared).map(|(a, b)| a + b).collect() };
    let (first, second) = (payload(&layout, 1, &miner(1)), payload(&layout, 2, &miner(2)));
    let blurred: Vec<f32> = miner(1).iter().zip(own(3)).map(|(value, noise)| value + 0.01 * noise).collect();
    let copy = payload(&layout, 3, &blurred);
    assert!(first.agreement(&second) < 0.2, "{}", first.agreement(&second));
    assert!(copy.agreement(&first) > 0.85, "{}", copy.agreement(&first));
    assert_eq!(first.agreement(&first), 1.0);
}

#[test]
fn every_method_that_takes_rounded_values_merges_codes_and_is_undone() {
    let layout = rounded(&TENSORS, 16);
    let payloads: Vec<Payload> =
        (1..=5).map(|uid| payload(&layout, uid, &drift(layout.parameters(), u64::from(uid), 1e-3))).collect();
    for method in [
        MergeMethod::MeanOfSenders,
        MergeMethod::MeanOfAll,
        MergeMethod::CentredClipping { radius_percent: 80, iterations: 3 },
        MergeMethod::TrimmedMean { trimmed: 1 },
        MergeMethod::Krum { faulty: 1, chosen: 3 },
    ] {
        let aggregate = merged(&layout, &payloads, MergeRule { method, ..MergeRule::default() });
        assert_eq!(Aggregate::decode(&aggregate.encode(), &layout).unwrap(), aggregate, "{method:?}");
    }
    let rule = mean_of_all();
    let all: Vec<&Payload> = payloads.iter().collect();
    let mut aggregator = Aggregator::new(&layout, ScaleLimits::of(&layout, &all, ScaleRule::Own));
    payloads.iter().for_each(|payload| aggregator.add(payload, 1).unwrap());
    assert_eq!(aggregator.finish(rule).unwrap(), merged(&layout, &payloads, rule));
    aggregator.remove(&payloads[2]).unwrap();
    let others: Vec<Payload> = [0, 1, 3, 4].map(|place: usize| payloads[place].clone()).into();
    assert_eq!(aggregator.finish(rule).unwrap(), merged(&layout, &others, rule));
}

#[test]
fn a_giant_among_rounded_values_is_clipped_to_the_median() {
    let layout = rounded(&[(4096, 4096)], 16);
    let sizes = [1.0, 1.0, 1.0, 4096.0];
    let make = |(uid, size): (u16, f32)| payload(&layout, uid, &drift(4096, u64::from(uid), size * 1e-4));
    let payloads: Vec<Payload> = (1..).zip(sizes).map(make).collect();
    let furthest = |scales| {
        let aggregate = merged(&layout, &payloads, MergeRule { scales, ..mean_of_all() });
        let mut most = 0f32;
        aggregate.for_each(|_, value| most = most.max(value.abs()));
        most
    };
    // Values stay under a power of two, of which the median is 2^-13 at most here; a quarter of four of those comes
    // out.
    let (own, clipped) = (furthest(ScaleRule::Own), furthest(ScaleRule::Clipped { times: 4 }));
    assert!(own > 0.05 && clipped < 1.1e-3, "{own} {clipped}");
}

/// The merged values by the exact sums.
fn dense(aggregate: &Aggregate) -> Vec<f32> {
    let mut values = vec![0f32; aggregate.layout().parameters()];
    aggregate.for_each(|index, value| values[index] = value);
    values
}

#[test]
fn nesterovs_step_is_its_formula_bit_for_bit_and_its_momentum_is_part_of_the_state() {
    let layout = rounded(&TENSORS, 16);
    let (rule, mu, alpha) = (StepRule::Nesterov { momentum: 0.9 }, 0.9f32, 0.7f32);
    let step = OuterStep { domain: Domain::Parameters, rule, alpha };
    let mut state = OuterState::new(drift(layout.parameters(), 9, 1.0));
    assert_eq!(state.hash(), templar_gradient::state_hash(&state.params));
    let (mut theta, mut m) = (state.params.clone(), vec![0f32; layout.parameters()]);
    for window in 0..3u64 {
        let payloads: Vec<Payload> =
            (1..=3).map(|uid| payload(&layout, uid, &drift(theta.len(), u64::from(uid) + 7 * window, 1e-2))).collect();
        let aggregate = merged(&layout, &payloads, mean_of_all());
        step.apply(&mut state, &aggregate).unwrap();
        for ((theta, m), g) in theta.iter_mut().zip(&mut m).zip(dense(&aggregate)) {
            *m = mu * *m + g;
            *theta -= alpha * (g + mu * *m);
        }
        assert_eq!((&state.params, &state.momentum), (&theta, &m));
    }
    let other = OuterState { momentum: vec![0.0; theta.len()], params: state.params.clone() };
    assert_ne!(other.hash(), state.hash());
    // All of a step is shares of it and what is carried, so that along any direction both add up.
    let payloads = [payload(&layout, 1, &drift(theta.len(), 77, 1e-2))];
    let aggregate = merged(&layout, &payloads, mean_of_all());
    let direction = drift(theta.len(), 5, 1.0);
    let before = state.clone();
    step.apply(&mut state, &aggregate).unwrap();
    let moved: f64 =
        (0..theta.len()).map(|j| f64::from(before.params[j] - state.params[j]) * f64::from(direction[j])).sum();
    let shares: f64 = shares_dot(&aggregate, &[&payloads[0]], &direction).unwrap().iter().sum();
    let (own, carried) = (step.share_factor(&aggregate) * shares, step.carried(&before.momentum, &direction));
    assert!((own + carried - moved).abs() < 1e-3 * (own.abs() + carried.abs()), "{own} + {carried}, not {moved}");
    assert!(own.abs() > 0.0 && carried.abs() > 0.0);
    state.rest();
    assert_eq!(state.hash(), templar_gradient::state_hash(&state.params));
    // A payload moves the parameters by (1 + μ) times alpha; what else the step does is the momentum's.
    let aggregate = merged(&layout, &[payload(&layout, 1, &theta)], MergeRule::default());
    assert!((step.share_factor(&aggregate) - 1.33).abs() < 1e-6);
}

#[test]
fn a_step_by_the_sign_has_one_size_and_shares_that_add_up() {
    let layout = rounded(&[(5000, 64), (63, 64)], 16);
    let step = OuterStep { domain: Domain::Frequencies, rule: StepRule::Sign, alpha: 0.25 };
    let payloads: Vec<Payload> = (1..=3)
        .map(|uid| {
            let mut values = drift(layout.parameters(), u64::from(uid), 1e-2);
            step.to_domain(&layout, &mut values).unwrap();
            payload(&layout, uid, &values)
        })
        .collect();
    let aggregate = merged(&layout, &payloads, mean_of_all());
    let mut state = OuterState::new(vec![0.0; layout.parameters()]);
    step.apply(&mut state, &aggregate).unwrap();
    assert!(state.params.iter().all(|value| value.abs() == 0.25 || *value == 0.0));
    assert!(state.momentum.is_empty());
    // Against the direction of the step itself all shares together come to the linear step: α·(Σ|g|)²/Σ g².
    let mut back = OuterState::new(vec![0.0; layout.parameters()]);
    OuterStep { rule: StepRule::Descent, alpha: 1.0, ..step }.apply(&mut back, &aggregate).unwrap();
    let sizes: f64 = back.params.iter().map(|g| f64::from(g.abs())).sum();
    let squares: f64 = back.params.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let mut direction: Vec<f32> = back.params.iter().map(|g| -g.signum()).collect();
    step.to_domain(&layout, &mut direction).unwrap();
    let all: Vec<&Payload> = payloads.iter().collect();
    let shares: f64 = shares_dot(&aggregate, &all, &direction).unwrap().iter().sum();
    let (brought, expected) = (step.share_factor(&aggregate) * shares, 0.25 * sizes * sizes / squares);
    assert!((brought - expected).abs() < 1e-3 * expected, "{brought} {expected}");
}

#[test]
fn shares_of_a_trimmed_mean_promise_no_more_than_it_brings() {
    let layout = layout(&[(3 * 4096, 64)]);
    let shared = drift(layout.parameters(), 99, 1e-2);
    let payloads: Vec<Payload> = (1..=3)
        .map(|uid| {
            let own = drift(layout.parameters(), uid, 1e-3);
            payload(&layout, uid as u16, &own.iter().zip(&shared).map(|(a, b)| a + b).collect::<Vec<f32>>())
        })
        .collect();
    let all: Vec<&Payload> = payloads.iter().collect();
    for method in [MergeMethod::TrimmedMean { trimmed: 1 }, MergeMethod::SignVote, MergeMethod::MeanOfSenders] {
        let aggregate = merged(&layout, &payloads, MergeRule { method, ..MergeRule::default() });
        // Along G itself a step of G brings |G|²; so do the shares, where what they sum to is a multiple of it.
        let direction = dense(&aggregate);
        let brought: f64 = direction.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        let shares: f64 = shares_dot(&aggregate, &all, &direction).unwrap().iter().sum();
        let factor = linear_factor(&aggregate, &all).unwrap();
        assert!((0.5..1.0001).contains(&(factor * shares / brought)), "{method:?}: {factor} {shares} {brought}");
        assert_eq!(factor == 1.0, method == MergeMethod::MeanOfSenders, "{method:?}");
    }
}

#[test]
fn steps_are_the_same_for_any_thread_count() {
    let layout = rounded(&[(300_000, 4096), (5000, 64)], 12);
    let payloads: Vec<Payload> =
        (1..=3).map(|uid| payload(&layout, uid, &drift(layout.parameters(), u64::from(uid), 1e-2))).collect();
    let hashes = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let aggregate = merged(&layout, &payloads, mean_of_all());
            let mut state = OuterState::new(vec![0.5; layout.parameters()]);
            for rule in [StepRule::Nesterov { momentum: 0.9 }, StepRule::Sign, StepRule::Descent] {
                for domain in [Domain::Parameters, Domain::Frequencies] {
                    OuterStep { domain, rule, alpha: 0.5 }.apply(&mut state, &aggregate).unwrap();
                }
            }
            (aggregate.hash(), state.hash())
        })
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn the_formats_are_as_they_were() {
    let layout = rounded(&TENSORS, 16);
    let sent = payload(&layout, 3, &drift(layout.parameters(), 5, 1e-2));
    let aggregate = merged(&layout, std::slice::from_ref(&sent), mean_of_all());
    let mut state = OuterState::new(vec![1.0; layout.parameters()]);
    let rule = StepRule::Nesterov { momentum: 0.9 };
    OuterStep { domain: Domain::Frequencies, rule, alpha: 0.7 }.apply(&mut state, &aggregate).unwrap();
    assert_eq!(UNIT_EXPONENT, -42);
    let values = [state.params.as_slice(), &state.momentum].concat();
    let digests =
        [sent.root().to_string(), aggregate.hash().to_string(), flat_digest(&values), state.hash().to_string()];
    let expected = [
        "5a508d52472953e2db2fb2849a9afbc6ff6b21d76f996f7e1df6df6274912fdb",
        "ee01aabedaa2c7a4a9cca11b2f3823e65b67b32866f1b5dd0801b15247ec8ae4",
        "43d5235fd122e42c8074ca3bb1abfe9ff4a6d999dcae322976e37e3586446e8d",
        "657ce6fc8e4eb2857ce758bef0f4fa34a9aaaecedd9585d994c770379222142f",
    ];
    assert_eq!(digests, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forged_rounded_payloads_are_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        kept in prop_oneof![Just(4096u16), Just(300)], bits in 2u8..=24,
    ) {
        let layout = rounded(&[(700, kept), (63, 64)], bits);
        let bytes = payload(&layout, 1, &drift(763, 1, 1e-2)).encode();
        let forged = forge_payload(&bytes, |body| drifts::flip(body, &changes));
        if let Ok(payload) = Payload::decode(&forged, &layout) {
            prop_assert_eq!(payload.encode(), forged);
        }
    }

    #[test]
    fn any_drift_comes_back(seed in any::<u64>(), bits in 2u8..=24, kept in 1u16..=4096, size in -40i32..12) {
        let layout = rounded(&[(4096 + 77, kept), (5, kept)], bits);
        let drift = drift(layout.parameters(), seed, (size as f32).exp2());
        let sent = payload(&layout, 1, &drift);
        let bytes = sent.encode();
        prop_assert!(bytes.len() <= layout.max_payload_bytes());
        prop_assert_eq!(Payload::decode(&bytes, &layout).unwrap(), sent);
    }
}
