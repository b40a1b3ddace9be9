//! What sealing, merging, decoding and applying take of memory beside what is there anyway, on a model of 30 million
//! parameters: at most a tenth of a copy of it, counted by the allocator.

mod drifts;

use drifts::{layout, metadata};
use std::ops::Range;
use templar_base::{Domain, StepRule};
use templar_gradient::{
    Accumulation, Aggregate, ErrorFeedback, FeedbackError, GradientLayout, Merge, MergeRule, OuterState, OuterStep,
    Payload, agreements, rebase, shares_dot,
};
use templar_testing::{CountingAllocator, peak_bytes_of};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The matrices and norms of a model of 30 million parameters.
fn layout_of_30_million() -> GradientLayout {
    let layer = [(384 * 384, 64), (384 * 384, 64), (384 * 1024, 64), (384 * 1024, 64), (384, 64)];
    let mut tensors = vec![(16_384 * 384, 64)];
    tensors.extend(layer.iter().copied().cycle().take(5 * 22));
    layout(&tensors)
}

/// A value of about a thousandth that looks random.
fn value(index: usize, seed: usize) -> f32 {
    let mixed = (index as u64 ^ (seed as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let uniform = ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    uniform * uniform * uniform * 1e-2
}

fn values(layout: &GradientLayout, seed: usize) -> Vec<f32> {
    (0..layout.parameters()).map(|index| value(index, seed)).collect()
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn a_window_takes_a_tenth_of_a_copy_beside_what_is_there() {
    let layout = layout_of_30_million();
    let copy = 4 * layout.parameters();
    assert!((118_000_000..122_000_000).contains(&copy), "{copy}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let check = |what: &str, work: &mut (dyn FnMut() + Send)| {
        let used = peak_bytes_of(|| pool.install(work));
        println!("{what}: {:.3} copies", used as f64 / copy as f64);
        assert!(used <= copy / 10, "{what} took {used} bytes beside {copy}");
    };

    let rules = Accumulation::with_decay(0.8);
    let shared = values(&layout, 0);
    let mut feedback = ErrorFeedback::new(&layout);
    let mut payloads: Vec<Payload> = Vec::with_capacity(4);
    for uid in 1..=4u16 {
        let seed = usize::from(uid);
        let read = |range: Range<usize>, out: &mut [f32]| {
            // The drift of a miner whose end point is on a device: its range is read, then taken from the shared one.
            out.iter_mut().zip(range.clone()).for_each(|(x, index)| *x = shared[index] - value(index, seed));
            out.iter_mut().zip(&shared[range]).for_each(|(x, shared)| *x = shared - *x);
            Ok::<(), FeedbackError>(())
        };
        check("seal", &mut || {
            let payload = feedback.prepare(&layout, rules, metadata(uid), read).unwrap();
            feedback.commit(&payload, rules, read).unwrap();
            payloads.push(payload);
        });
    }

    let bytes: Vec<Vec<u8>> = payloads.iter().map(Payload::encode).collect();
    check("decode of all payloads", &mut || {
        let read: Vec<Payload> = bytes.iter().map(|bytes| Payload::decode(bytes, &layout).unwrap()).collect();
        assert_eq!(agreements(&read.iter().collect::<Vec<_>>()).len(), 6);
    });

    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let mut state = OuterState::new(shared.clone());
    let step = OuterStep { domain: Domain::Parameters, rule: StepRule::Descent, alpha: 0.5 };
    check("midpoint and shares", &mut || {
        let merge = Merge::new(&layout, &set, MergeRule::default()).unwrap();
        step.apply(&mut state, &merge).unwrap();
        let all: Vec<&Payload> = payloads.iter().collect();
        assert_eq!(shares_dot(&merge, &all, &shared).unwrap().len(), 4);
    });
    let mut merged = Vec::with_capacity(1);
    check("merge and code", &mut || merged.push(Aggregate::merge(&layout, &set, MergeRule::default()).unwrap()));
    let bytes = merged[0].encode();
    check("decode and apply", &mut || {
        let aggregate = Aggregate::decode(&bytes, &layout).unwrap();
        step.apply(&mut state, &aggregate).unwrap();
    });
    check("state root and repair", &mut || {
        let mut tree = state.tree();
        tree.update(&state, &[0, 7]);
        assert!(tree.differences(&state.tree()).is_empty());
    });
    let (mut x, start) = (values(&layout, 9), values(&layout, 8));
    check("rebase", &mut || rebase(&mut x, &start, &state.params).unwrap());
}
