//! What measuring takes of memory beside the model, the start state and the payloads' bytes: a few segments for each
//! thread, whatever the model's size. Counted by the allocator on 16 million parameters.

use std::ops::Range;
use templar_base::{Domain, StepRule, Uid};
use templar_gauntlet::{Candidate, Contribution, Model, ModelError, Nats, Promise, confirm, measure};
use templar_gradient::{
    Accumulation, ErrorFeedback, FeedbackError, GradientLayout, MergeRule, Metadata, OuterState, OuterStep, Payload,
    STATE_SEGMENT_VALUES,
};
use templar_testing::{CountingAllocator, peak_bytes_of};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const PARAMETERS: usize = 16 * STATE_SEGMENT_VALUES;
const PARTS: usize = 2;

/// A model whose loss is the sum of its parameters, which must be lowered.
struct Slope {
    point: Vec<f32>,
}

impl Model for Slope {
    fn parts(&self) -> usize {
        PARTS
    }

    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), ModelError> {
        self.point[start..start + params.len()].copy_from_slice(params);
        Ok(())
    }

    fn gradient(&mut self, _part: usize) -> Result<f64, ModelError> {
        Ok(self.sum())
    }

    fn read_gradient(&mut self, _start: usize, out: &mut [f32]) -> Result<(), ModelError> {
        out.fill(1.0);
        Ok(())
    }

    fn losses(&mut self) -> Result<Vec<f64>, ModelError> {
        Ok(vec![self.sum(); self.parts()])
    }
}

impl Slope {
    fn sum(&self) -> f64 {
        self.point.iter().map(|value| f64::from(*value)).sum()
    }
}

fn payload(layout: &GradientLayout, uid: u16) -> Payload {
    let rules = Accumulation::with_decay(0.8);
    let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
    let drift = |range: Range<usize>, out: &mut [f32]| {
        out.iter_mut().zip(range).for_each(|(out, place)| *out = (place * 37 % 101 + usize::from(uid)) as f32 * 1e-5);
        Ok::<(), FeedbackError>(())
    };
    ErrorFeedback::new(layout).prepare(layout, rules, metadata, drift).unwrap()
}

#[test]
fn measuring_and_confirming_hold_a_few_segments() {
    let layout = GradientLayout::new([("weight".to_owned(), PARAMETERS, 64)]).unwrap();
    let payloads: Vec<Payload> = (1..=3).map(|uid| payload(&layout, uid)).collect();
    let all: Vec<&Payload> = payloads.iter().collect();
    let step = OuterStep { domain: Domain::Parameters, rule: StepRule::Descent, alpha: 0.5 };
    let start = OuterState::new(vec![1.0; PARAMETERS]);
    let mut model = Slope { point: vec![0.0; PARAMETERS] };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // A gradient or a point, and its copy on the way; half a segment for chunks.
    let most = 5 * threads * 4 * STATE_SEGMENT_VALUES / 2;
    let mut check = |what: &str, work: &mut dyn FnMut(&mut Slope)| {
        let used = peak_bytes_of(|| work(&mut model));
        println!("{what}: {:.2} segments a thread", used as f64 / (4 * STATE_SEGMENT_VALUES * threads) as f64);
        assert!(used <= most, "{what} took {used} bytes, over {most}");
    };
    let mut contributions: Vec<Contribution> = Vec::with_capacity(3);
    check("measure", &mut |model| {
        let measured = measure(model, &start, &all, MergeRule::default(), step).unwrap();
        contributions.extend(measured.contributions);
    });
    assert!(contributions.iter().all(|contribution| contribution.mean > Nats(0)), "{contributions:?}");
    let candidates: Vec<Candidate<'_>> =
        all.iter().zip(&contributions).map(|(payload, own)| (payload.metadata().uid, *payload, own)).collect();
    let promise = Promise { share: 0.5, carried: Nats(0), is_strict: true };
    check("confirm", &mut |model| {
        let confirmed = confirm(model, &start, &candidates, MergeRule::default(), step, promise, &[]).unwrap();
        assert_eq!(confirmed.confirmed.len(), 3);
    });
}
