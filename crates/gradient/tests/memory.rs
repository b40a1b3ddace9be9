//! What decoders take of memory, whatever the bytes: counted by the allocator.

mod drifts;

use drifts::{drift, layout, payload};
use proptest::prelude::*;
use templar_base::ValueCoding;
use templar_gradient::{Aggregate, GradientLayout, MergeRule, Payload};
use templar_testing::{CountingAllocator, peak_bytes_of};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What a decoder may hold beside its stated bound: the threads' queues, the table of segments, errors.
const ASIDE: usize = 256 << 10;

fn wide_layout() -> GradientLayout {
    layout(&[(60 * 4096, 64), (5000, 4096), (77, 64)]).with_row_lengths(&[512, 50, 77]).unwrap()
}

/// One test, so that no other one allocates meanwhile: forged payloads and aggregates of all lengths up to far over
/// the limit, random and constant, beside honest ones.
#[test]
fn decoders_keep_to_their_bounds_whatever_the_bytes() {
    keep_to_their_bounds(wide_layout(), 2);
    keep_to_their_bounds(wide_layout().with_values(ValueCoding::Rounded { bits: 16 }).unwrap(), 6);
}

fn keep_to_their_bounds(layout: GradientLayout, value_bytes: usize) {
    let payloads: Vec<Payload> =
        (1..=6).map(|uid| payload(&layout, uid, &drift(layout.parameters(), u64::from(uid), 1e-3))).collect();
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let of_payload = payloads[0].encode();
    let of_aggregate = Aggregate::merge(&layout, &set, MergeRule::default()).unwrap().encode();
    // Twice, as the parts are joined; a chunk has its scale, count and place beside.
    let payload_bound = 2 * (value_bytes * layout.kept() + 32 * layout.chunk_count()) + ASIDE;
    // Stated: 24 bytes for each parameter.
    let aggregate_bound = 24 * layout.parameters() + ASIDE;
    let check = |bytes: &[u8]| {
        let used = peak_bytes_of(|| Payload::decode(bytes, &layout));
        assert!(used <= payload_bound, "payload: {used} bytes over {payload_bound}");
        let used = peak_bytes_of(|| Aggregate::decode(bytes, &layout));
        assert!(used <= aggregate_bound, "aggregate: {used} bytes over {aggregate_bound}");
    };
    // The first use of the thread pool allocates what stays.
    check(&of_payload);
    check(&of_aggregate);
    let bodies = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40_000),
        (any::<u8>(), 0usize..4_000_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let forged = |body: Vec<u8>| {
        check(&drifts::forge_payload(&of_payload, |segment| segment.clone_from(&body)));
        check(&drifts::forge_aggregate(&of_aggregate, |segment| *segment = body));
        Ok(())
    };
    runner.run(&bodies, forged).unwrap();
}
