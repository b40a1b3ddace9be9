//! Honest payloads agree, false ones are found, and what is found is verified by somebody else.

mod worker;

use templar_audit::{Answer, DataBeacons, Evidence, Fault, NotProven, Outcome, Proof, StateName, verify};
use templar_base::{ContentHash, Uid};
use templar_engine::{Buffer, Segments};
use templar_gradient::{ChunkProof, FeedbackOrigin, Payload, trajectory_tree};
use worker::{Miner, audit, data, data_of, engine, published, relabelled, rules};

/// A miner that has sealed its payload of window 0.
fn first_window() -> (Miner, Payload) {
    let mut miner = Miner::new();
    miner.begin(0);
    miner.steps(3);
    let first = miner.seal();
    (miner, first)
}

/// A miner with a payload in window 0, merged, and one in window 1 with carried steps and a rebase between.
fn two_windows() -> Miner {
    let (mut miner, first) = first_window();
    miner.steps(2);
    miner.begin(1);
    miner.steps(1);
    miner.apply(Some(&first));
    miner.steps(2);
    miner.seal();
    miner
}

fn evidence(payload: &Payload, fault: Fault) -> Evidence {
    let evidence = Evidence { uid: Uid(0), payload: published(payload), beacons: DataBeacons::default(), fault };
    // As a stranger reads it.
    Evidence::decode(&evidence.encode()).unwrap()
}

fn verified(evidence: &Evidence) -> Result<Proof, NotProven> {
    let window = evidence.payload.window;
    let previous = window.previous().map(|window| data(window.get()));
    verify(evidence, &rules(), engine().as_mut(), &data(window.get()), previous.as_ref())
}

/// The fault that an audit finds, which is then verified.
fn fault_of(case: templar_audit::Case) -> (Fault, Evidence) {
    let payload = case.payload.clone();
    let Outcome::Fault(fault) = audit(case) else { panic!("no fault was found") };
    let evidence = evidence(&payload, fault.clone());
    assert!(evidence.encode().len() as u64 <= Evidence::max_bytes(&rules().layout));
    let proof = verified(&evidence).unwrap();
    assert!(proof.on_the_ledger[0].contains("has committed to"), "{proof:?}");
    (fault, evidence)
}

#[test]
fn honest_payloads_agree_with_carried_steps_and_a_rebase() {
    let (mut miner, first) = first_window();
    assert_eq!(audit(miner.case()), Outcome::Agrees);
    miner.apply(Some(&first));
    miner.begin(1);
    miner.steps(2);
    miner.seal();
    assert_eq!(audit(miner.case()), Outcome::Agrees, "no step before the rebase");
    let miner = two_windows();
    let metadata = miner.sealed[1].1.payload.metadata();
    assert!(metadata.carried_steps == 2 && metadata.steps_before_rebase == 3 && metadata.inner_steps == 5);
    assert_eq!(audit(miner.case()), Outcome::Agrees);
}

#[test]
fn honest_payloads_agree_after_a_null_window() {
    let (mut miner, _) = first_window();
    miner.steps(1);
    miner.begin(1);
    miner.steps(1);
    miner.apply(None);
    miner.steps(2);
    let payload = miner.seal();
    assert_eq!(payload.metadata().feedback_origin, FeedbackOrigin::TakenBack);
    assert_eq!(audit(miner.case()), Outcome::Agrees);
}

#[test]
fn honest_payloads_agree_after_dropped_steps_an_unsent_payload_and_a_harmful_one() {
    // Steps of a window that was never sealed.
    let mut miner = two_windows();
    let second = miner.sealed[1].1.payload.clone();
    miner.apply(Some(&second));
    miner.begin(2);
    miner.steps(2);
    miner.begin(3);
    miner.apply(None);
    miner.steps(2);
    miner.seal();
    assert_eq!(audit(miner.case()), Outcome::Agrees, "dropped steps");
    // What was made of window 0 did not reach the others.
    let (mut miner, _) = first_window();
    miner.trainer.unsent(templar_base::Window(0));
    miner.steps(1);
    miner.begin(1);
    miner.steps(1);
    let strangers = miner.sealed.pop().unwrap().1.payload;
    miner.apply(Some(&strangers));
    assert_eq!(miner.kept.drops, 1, "a restart must not bring back what was dropped");
    miner.kept.end = None;
    miner.steps(2);
    let payload = miner.seal();
    assert_eq!(payload.metadata().feedback_origin, FeedbackOrigin::Unsent);
    assert_eq!(audit(miner.case()), Outcome::Agrees, "unsent");
    // What was sent for window 1 made the model worse.
    let mut miner = two_windows();
    miner.trainer.forget(templar_base::Window(1));
    let second = miner.sealed[1].1.payload.clone();
    miner.apply(Some(&second));
    miner.begin(2);
    miner.steps(2);
    let payload = miner.seal();
    assert_eq!(payload.metadata().feedback_origin, FeedbackOrigin::Voided);
    assert_eq!(audit(miner.case()), Outcome::Agrees, "harmful");
}

#[test]
fn a_miner_that_trained_on_other_text_is_found_at_the_first_step_of_it() {
    let mut miner = Miner::new();
    let mut other = data_of(0, 1);
    other.inner_steps = 4;
    miner.trainer.begin(other).unwrap();
    miner.steps(4);
    let lie = relabelled(&miner.seal(), |metadata| {
        metadata.data_digest = data(0).text.digest(0, 4).unwrap();
    });
    let leaves = miner.sealed[0].1.leaves.clone();
    let case = miner.case_of(templar_base::Window(0), lie.clone(), leaves, None);
    let (Fault::Step(step), evidence) = fault_of(case) else { panic!() };
    assert_eq!(step.number, 0);
    // The same evidence against somebody who has that text proves nothing.
    let refused = verify(&evidence, &rules(), engine().as_mut(), &data_of(0, 1), None);
    assert!(matches!(refused, Err(NotProven::Holds(_))));
}

#[test]
fn a_miner_that_skips_steps_is_found_at_the_first_of_them() {
    let mut miner = Miner::new();
    miner.begin(0);
    miner.steps(2);
    let honest = miner.seal();
    // It states four steps: the leaves of the two that it left out are made up, and the end is put behind them.
    let done = miner.sealed[0].1.leaves.clone();
    let leaves = vec![done[0], done[1], done[2], ContentHash::of(b"a made-up state"), honest.metadata().end.leaf()];
    let lie = relabelled(&honest, |metadata| {
        metadata.inner_steps = 4;
        metadata.trajectory_root = trajectory_tree(&leaves).unwrap().root();
    });
    let (Fault::Step(step), _) = fault_of(miner.case_of(templar_base::Window(0), lie, leaves, None)) else { panic!() };
    assert_eq!(step.number, 2);
}

#[test]
fn a_false_rebase_is_found() {
    let (mut miner, first) = first_window();
    miner.steps(2);
    miner.begin(1);
    miner.apply(Some(&first));
    // Something is added while nobody trains.
    let engine = miner.trainer.learner_mut().engine_mut();
    engine
        .change_segments(Buffer::Parameters, |_, x| {
            x.iter_mut().for_each(|x| *x += 1e-3);
            Ok::<(), templar_engine::EngineError>(())
        })
        .unwrap();
    miner.steps(1);
    let honest = miner.seal();
    let (Fault::Step(step), _) = fault_of(miner.case()) else { panic!() };
    assert_eq!(step.number, 3, "the step after the rebase started from elsewhere");
    let leaves = miner.sealed[1].1.leaves.clone();
    let false_leaves: Vec<_> =
        leaves.iter().enumerate().map(|(i, leaf)| if i == 3 { ContentHash::of(b"elsewhere") } else { *leaf }).collect();
    let lie = relabelled(&honest, |metadata| {
        metadata.trajectory_root = trajectory_tree(&false_leaves).unwrap().root();
    });
    let case = miner.case_of(templar_base::Window(1), lie, false_leaves, Some(first));
    let (Fault::Step(step), _) = fault_of(case) else { panic!() };
    assert!(step.number == 2 && step.rebase.is_some());
}

#[test]
fn forged_moments_are_found_by_their_root() {
    let mut miner = two_windows();
    let second = miner.sealed[1].1.payload.clone();
    miner.apply(Some(&second));
    let engine = miner.trainer.learner_mut().engine_mut();
    let forged = vec![1e-4; engine.layout().total()];
    engine.write(Buffer::FirstMoment, 0, &forged).unwrap();
    miner.begin(2);
    miner.steps(2);
    miner.seal();
    let (Fault::Link(_), evidence) = fault_of(miner.case()) else { panic!() };
    assert!(verified(&evidence).unwrap().fault.contains("optimiser"));
    // A key's first payload must start afresh.
    let mut miner = Miner::new();
    let engine = miner.trainer.learner_mut().engine_mut();
    engine.write(Buffer::FirstMoment, 0, &forged).unwrap();
    miner.begin(0);
    miner.steps(2);
    miner.seal();
    let (Fault::Link(fault), _) = fault_of(miner.case()) else { panic!() };
    assert_eq!(fault.previous, None);
}

#[test]
fn forged_parameters_are_found_by_their_root() {
    for rebased in [false, true] {
        let (mut miner, first) = first_window();
        let forge = |miner: &mut Miner| {
            let engine = miner.trainer.learner_mut().engine_mut();
            let shifted: Vec<f32> = engine.to_vec(Buffer::Parameters).unwrap().iter().map(|x| x - 1e-3).collect();
            engine.write(Buffer::Parameters, 0, &shifted).unwrap();
        };
        if rebased {
            forge(&mut miner);
            miner.steps(1);
        }
        miner.begin(1);
        miner.apply(Some(&first));
        if !rebased {
            forge(&mut miner);
        }
        miner.steps(1);
        miner.seal();
        let (Fault::Link(_), evidence) = fault_of(miner.case()) else { panic!() };
        assert!(verified(&evidence).unwrap().fault.contains("parameters"));
    }
}

#[test]
fn a_forged_error_feedback_is_found() {
    use templar_trainer::Sender;
    let miner = two_windows();
    let (rules, (_, sealed)) = (rules(), miner.sealed.last().unwrap());
    let metadata = sealed.payload.metadata().clone();
    // Twice the drift, under the metadata of an honest training: the values sent are not what it gives.
    let drift = vec![2e-3; rules.layout.parameters()];
    let forged = Sender::once(&rules.layout, rules.accumulation, &drift, metadata).unwrap();
    let previous = miner.sealed[0].1.payload.clone();
    let case = miner.case_of(templar_base::Window(1), forged.clone(), sealed.leaves.clone(), Some(previous.clone()));
    let (Fault::Selection(_), _) = fault_of(case) else { panic!() };
    // An error feedback from nowhere.
    let forged = relabelled(&sealed.payload, |metadata| metadata.start_feedback = ContentHash::of(b"nowhere"));
    let case = miner.case_of(templar_base::Window(1), forged, sealed.leaves.clone(), Some(previous.clone()));
    let (Fault::Link(_), _) = fault_of(case) else { panic!() };
    // A payload that was merged is put back, to be sent once more.
    let forged = relabelled(&sealed.payload, |metadata| {
        metadata.feedback_origin = FeedbackOrigin::TakenBack;
    });
    let case = miner.case_of(templar_base::Window(1), forged, sealed.leaves.clone(), Some(previous));
    let (Fault::Link(_), evidence) = fault_of(case) else { panic!() };
    assert!(verified(&evidence).unwrap().fault.contains("not null"));
}

#[test]
fn an_answer_that_is_not_bound_is_no_answer() {
    let miner = two_windows();
    let mut fewer = miner.case();
    fewer.leaves.pop();
    assert!(matches!(audit(fewer), Outcome::NoAnswer(_)));
    let mut silent = miner.case();
    silent.end = None;
    assert!(matches!(audit(silent), Outcome::NoAnswer(_)));
    let mut other = miner.case();
    other.end.as_mut().unwrap().worker.first[7] += 1.0;
    assert!(matches!(audit(other), Outcome::NoAnswer(_)));
    let mut lost = miner.case();
    lost.shared.params[0] += 1.0;
    assert!(matches!(audit(lost), Outcome::Undecided(_)), "the auditor's own parameters are wrong");
}

#[test]
fn everybody_sees_whether_an_answer_is_of_a_payload_and_a_state_what_the_payload_before_left() {
    let miner = two_windows();
    let layout = rules().layout;
    let (window, sealed) = miner.sealed.last().unwrap();
    let metadata = sealed.payload.metadata();
    let last = Some(StateName { window: templar_base::Window(0), hash: [1; 32] });
    let answer = Answer { window: *window, uid: metadata.uid, leaves: sealed.leaves.clone(), last };
    assert!(answer.is_of(metadata, &layout));
    assert!(!Answer { last: None, ..answer.clone() }.is_of(metadata, &layout), "its optimiser comes from somewhere");
    assert!(!Answer { uid: Uid(9), ..answer.clone() }.is_of(metadata, &layout));
    assert!(!Answer { leaves: sealed.leaves[1..].to_vec(), ..answer.clone() }.is_of(metadata, &layout));
    let (first_window, first) = &miner.sealed[0];
    assert!(!Answer { window: *first_window, ..answer.clone() }.is_of(first.payload.metadata(), &layout));
    let leaves = first.leaves.clone();
    let of_first = Answer { window: *first_window, leaves, last: None, ..answer };
    assert!(of_first.is_of(first.payload.metadata(), &layout), "a first payload starts afresh");
    let mut end = miner.end_before.clone().unwrap();
    assert!(end.is_left_by(first.payload.metadata(), &layout));
    end.feedback[3] += 1.0;
    assert!(!end.is_left_by(first.payload.metadata(), &layout));
    end.feedback.pop();
    assert!(!end.is_left_by(first.payload.metadata(), &layout));
}

#[test]
fn a_false_end_is_found_without_a_step() {
    let miner = two_windows();
    let (window, sealed) = miner.sealed.last().unwrap();
    let lie = relabelled(&sealed.payload, |metadata| metadata.end.optimiser = ContentHash::of(b"elsewhere"));
    let previous = miner.sealed[0].1.payload.clone();
    let (Fault::Ends(fault), _) = fault_of(miner.case_of(*window, lie, sealed.leaves.clone(), Some(previous))) else {
        panic!()
    };
    assert!(fault.is_last);
}

#[test]
fn false_evidence_against_an_honest_miner_does_not_verify() {
    use templar_audit::{EndsFault, LinkFault, SelectionFault, SharedPoint, StateHashes, StepFault, WorkerState};
    let mut miner = two_windows();
    let (first, second) = (miner.sealed[0].1.clone(), miner.sealed[1].1.clone());
    let leaves = &second.leaves;
    let tree = trajectory_tree(leaves).unwrap();
    let proof = |number| -> Vec<ContentHash> {
        let ChunkProof { siblings, .. } = tree.proof(number).unwrap();
        siblings
    };
    let parameters = miner.parameters().len();
    let refused = |fault| verified(&evidence(&second.payload, fault)).unwrap_err();

    // A state that is not the one before the step.
    let start = miner.end_before.clone().unwrap();
    let honest = StepFault {
        number: 0,
        before: start.worker.clone(),
        before_proof: proof(0),
        claimed: leaves[1],
        claimed_proof: proof(1),
        rebase: None,
    };
    let step = |change: &dyn Fn(&mut StepFault)| {
        let mut fault = honest.clone();
        change(&mut fault);
        refused(Fault::Step(Box::new(fault)))
    };
    assert!(matches!(step(&|_| ()), NotProven::Holds(_)));
    assert!(matches!(step(&|fault| fault.before.first[3] += 1.0), NotProven::Unbound(_)));
    assert!(matches!(step(&|fault| fault.before.step += 1), NotProven::Unbound(_)));
    assert!(matches!(step(&|fault| fault.before = WorkerState::default()), NotProven::Unbound(_)));
    assert!(matches!(step(&|fault| fault.claimed = leaves[2]), NotProven::Unbound(_)));
    assert!(matches!(
        step(&|fault| (fault.claimed, fault.claimed_proof) = (leaves[2], proof(2))),
        NotProven::Unbound(_)
    ));
    assert!(matches!(step(&|fault| fault.number = 99), NotProven::NoTransition { .. }));
    assert!(matches!(step(&|fault| fault.number = 3), NotProven::Unbound(_)));

    let ends = EndsFault { is_last: true, leaf: leaves[6], proof: proof(6) };
    assert!(matches!(refused(Fault::Ends(ends.clone())), NotProven::Holds(_)));
    assert!(matches!(refused(Fault::Ends(EndsFault { leaf: leaves[5], ..ends })), NotProven::Unbound(_)));

    let shared = SharedPoint::of(&miner.shared[1]);
    let selection = SelectionFault { end: miner.parameters(), shared, feedback: start.feedback.clone() };
    assert!(matches!(refused(Fault::Selection(Box::new(selection.clone()))), NotProven::Holds(_)));
    let other = SelectionFault { feedback: vec![0.0; parameters], ..selection.clone() };
    assert!(matches!(refused(Fault::Selection(Box::new(other))), NotProven::Unbound(_)));
    let other = SelectionFault { end: vec![0.0; 3], ..selection };
    assert!(matches!(refused(Fault::Selection(Box::new(other))), NotProven::Unbound(_)));

    let link = LinkFault {
        previous: Some(published(&first.payload)),
        shared: StateHashes::of(&miner.shared[1]),
        before: Some(StateHashes::of(&miner.shared[0])),
        feedback: None,
    };
    assert!(matches!(refused(Fault::Link(Box::new(link.clone()))), NotProven::Holds(_)));
    let other = LinkFault { shared: StateHashes::of(&miner.shared[0]), ..link.clone() };
    assert!(matches!(refused(Fault::Link(Box::new(other))), NotProven::Link(_)));
    let strangers =
        templar_audit::PublishedPayload { hotkey: templar_base::PublicKey::new([9; 32]), ..published(&first.payload) };
    let other = LinkFault { previous: Some(strangers), ..link };
    assert!(matches!(refused(Fault::Link(Box::new(other))), NotProven::OtherPayload));
    // Evidence about another's payload under this name.
    let mut other =
        evidence(&second.payload, Fault::Ends(EndsFault { is_last: true, leaf: leaves[5], proof: proof(5) }));
    other.uid = Uid(9);
    assert!(matches!(verified(&other), Err(NotProven::OtherPayload)));
    other.payload.bytes[100] ^= 1;
    assert!(matches!(verified(&other), Err(NotProven::Payload(_))));
}
