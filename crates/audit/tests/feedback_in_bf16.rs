//! Audits where miners hold their error feedback in bfloat16.

#[allow(dead_code, reason = "the other tests need more of it")]
mod worker;

use templar_audit::{Fault, Outcome};
use templar_base::FeedbackValues;
use templar_gradient::FeedbackOrigin;
use worker::{HELD_AS, Miner, audit, audit_by, rules};

/// A miner with a payload in window 0 and one in window 1, before which the first was merged or came back.
fn two_windows(is_merged: bool) -> Miner {
    HELD_AS.get_or_init(|| FeedbackValues::Bf16);
    let mut miner = Miner::new();
    miner.begin(0);
    miner.steps(3);
    let first = miner.seal();
    miner.begin(1);
    miner.steps(1);
    miner.apply(is_merged.then_some(&first));
    miner.steps(2);
    miner.seal();
    miner
}

#[test]
fn honest_payloads_agree_also_after_one_came_back() {
    for (is_merged, origin) in [(true, FeedbackOrigin::Kept), (false, FeedbackOrigin::TakenBack)] {
        let miner = two_windows(is_merged);
        assert_eq!(miner.sealed[1].1.payload.metadata().feedback_origin, origin);
        assert_eq!(audit(miner.case()), Outcome::Agrees);
        let left = &miner.end_before.as_ref().unwrap().feedback;
        assert!(left.iter().any(|value| *value != 0.0));
        assert!(left.iter().all(|value| value.to_bits() & 0xffff == 0), "each is a bfloat16");
    }
}

#[test]
fn a_miner_that_does_not_round_is_found() {
    let miner = two_windows(true);
    // The rules say f32 to whoever audits, so that what an honest miner rounded is not what they give.
    let mut exact = rules();
    exact.accumulation.held_as = FeedbackValues::F32;
    let found = audit_by(exact, miner.case());
    assert!(matches!(found, Outcome::Fault(Fault::Selection(_))), "{found:?}");
}
