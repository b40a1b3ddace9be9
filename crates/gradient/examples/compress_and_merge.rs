//! The life of a window: four miners compress what they trained, one node merges it, all apply it, and a node whose
//! parameters differ finds and repairs the segment.
//!
//! `cargo run --release -p templar-gradient --example compress_and_merge`

use std::ops::Range;
use templar_base::{Domain, StepRule, Uid};
use templar_gradient::{
    Accumulation, Aggregate, ErrorFeedback, FeedbackError, GradientLayout, MergeRule, Metadata, OuterState, OuterStep,
    Payload,
};

/// What a miner's training moved parameter `index` by: something that all miners learn, and something of its own.
fn moved(index: usize, uid: u16) -> f32 {
    let wave = |step: f32| (index as f32 * step).sin();
    1e-3 * (wave(0.37) * wave(0.011) + 0.3 * wave(0.1 + f32::from(uid)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two matrices: name, number of values, kept values of each chunk of 4096.
    let layout =
        GradientLayout::new([("embedding".to_owned(), 4096 * 256, 64), ("projection".to_owned(), 256 * 1024, 64)])?
            .with_row_lengths(&[256, 1024])?;
    println!("{} parameters in {} segments", layout.parameters(), layout.segment_count());

    let rules = Accumulation::with_decay(0.8);
    let mut payloads = Vec::new();
    for uid in 1..=4u16 {
        let mut feedback = ErrorFeedback::new(&layout);
        // The drift is read segment by segment: start minus end point.
        let drift = |range: Range<usize>, out: &mut [f32]| {
            out.iter_mut().zip(range).for_each(|(value, index)| *value = -moved(index, uid));
            Ok::<(), FeedbackError>(())
        };
        let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
        let payload = feedback.prepare(&layout, rules, metadata, drift)?;
        // The payload is kept on disk here; then what it sends leaves the feedback.
        feedback.commit(&payload, rules, drift)?;
        let bits = 8.0 * payload.bytes().len() as f64 / layout.parameters() as f64;
        println!("uid {uid} sends {} values in {bits:.3} bits a parameter", payload.kept());
        payloads.push(payload.into_bytes());
    }

    // Another node reads the bytes, which may be anything, and merges those that are payloads.
    let payloads: Vec<Payload> =
        payloads.into_iter().map(|bytes| Payload::from_bytes(bytes, &layout)).collect::<Result<_, _>>()?;
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let aggregate = Aggregate::merge(&layout, &set, MergeRule::default())?;
    let bits = 8.0 * aggregate.bytes().len() as f64 / layout.parameters() as f64;
    println!("the aggregate has {} coordinates in {bits:.3} bits a parameter", aggregate.entries());

    let step = OuterStep { domain: Domain::Parameters, rule: StepRule::Descent, alpha: 1.0 };
    let mut state = OuterState::new(vec![0.0; layout.parameters()]);
    step.apply(&mut state, &aggregate)?;
    println!("state root {}", state.hash());

    let mut other = state.clone();
    other.params[1_200_000] += 1e-3;
    let (ours, mut theirs) = (state.tree(), other.tree());
    for number in ours.differences(&theirs) {
        let Some(segment) = ours.segment(number) else { continue };
        println!("a node differs in segment {number}, {:?} {:?}", segment.part, segment.range);
        other.params[segment.range.clone()].copy_from_slice(&state.params[segment.range]);
        theirs.update(&other, &[number]);
    }
    println!("after its repair the roots are equal: {}", theirs.root() == ours.root());
    Ok(())
}
