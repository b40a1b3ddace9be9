//! Audits by replay between real nodes.

use crate::network::{Act, Plan, World};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{FeedbackValues, Genesis, Uid, Window};
use templar_gauntlet::{Rejection, Standing};
use templar_node::{AuditResult, JournalEntry, verify_evidence};

/// The window at which nobody waits for an audit any more.
const LATEST: u64 = 14;

/// Everybody is audited in every window.
fn audit_all(genesis: &mut Genesis) {
    genesis.set_audit_rate(1000);
}

/// What a validator found, by window and slot.
fn findings(world: &mut World, name: &str) -> BTreeMap<(Window, Uid), AuditResult> {
    let node = world.nodes.get_mut(name).unwrap();
    node.read_journal();
    let found = node.entries.iter().filter_map(|entry| match entry {
        JournalEntry::Audited { window, uid, finding } => Some(((*window, *uid), finding.clone())),
        _ => None,
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_miners_agree_also_after_a_restart_and_a_cheat_is_proven() {
    let adversaries = vec![Act::OtherText, Act::Honest];
    // With the error feedback in bfloat16, which a restart reads back and audits round as miners do.
    let genesis = |genesis: &mut Genesis| {
        audit_all(genesis);
        genesis.outer.error_feedback_values = FeedbackValues::Bf16;
    };
    let mut world = World::new(Plan { adversaries, genesis, ..Plan::new("audits", 2, 2) }).await;
    // Not when payloads are sealed: whoever starts then may have done no step.
    let middle = world.run.phases.apply(Window(1));
    world.run_to(middle).await;
    world.kill("miner-1").await;
    world.start("miner-1").await;
    world.run_through(Window(4)).await;
    let (cheat, silent) = (world.adversaries[0].uid, world.adversaries[1].uid);
    let honest = world.miners();
    let audited: Vec<Uid> = honest.iter().copied().chain([cheat, silent]).collect();
    // Audits are done while nothing else is to be done: on a busy machine they come later.
    let expected = |window: Window| audited.iter().map(move |uid| (window, *uid)).collect::<Vec<_>>();
    let expected: Vec<(Window, Uid)> = (0..3).map(Window).flat_map(expected).collect();
    for later in (5..LATEST).map(Window) {
        let mut known = findings(&mut world, "validator-0");
        known.extend(findings(&mut world, "validator-1"));
        if expected.iter().all(|key| known.iter().any(|(found, _)| found == key)) {
            break;
        }
        world.run_through(later).await;
    }
    let story = world.story();
    let mut found = BTreeMap::new();
    for validator in ["validator-0", "validator-1"] {
        let own = findings(&mut world, validator);
        for ((window, uid), finding) in own {
            let is_right = match &finding {
                AuditResult::Agrees => honest.contains(&uid),
                AuditResult::Differs { transition, .. } => uid == cheat && *transition == Some(0),
                AuditResult::NoAnswer { .. } => uid == silent,
                AuditResult::Undecided { .. } => false,
            };
            assert!(is_right, "{validator}, window {window}, uid {uid}: {finding:?}\n{story}");
            found.insert((window, uid), validator);
        }
    }
    for window in (0..3).map(Window) {
        for uid in audited.iter().copied() {
            assert!(found.contains_key(&(window, uid)), "window {window}, uid {uid}: {found:?}\n{story}");
        }
        // Anybody can see the fraud with the evidence alone.
        let auditor = &world.nodes[found[&(window, cheat)]];
        let evidence = std::fs::read(auditor.data.join(format!("evidence.{window}.{cheat}"))).unwrap();
        let proof = verify_evidence(&evidence, &world.run, &world.data, 1).unwrap();
        assert!(proof.fault.contains("inner step on batch 0"), "{proof:?}");
        let mut false_evidence = evidence;
        let last = false_evidence.len() - 40;
        false_evidence[last] ^= 1;
        assert!(verify_evidence(&false_evidence, &world.run, &world.data, 1).is_err());
    }
    // Who trains honestly and answers no audit is not judged until it does.
    let unanswered = Some(Standing::Rejected(Rejection::Unanswered));
    assert_eq!(world.standing(Window(3), silent).await, unanswered, "{story}");
    for uid in honest {
        assert_ne!(world.standing(Window(3), uid).await, unanswered, "{story}");
    }
    world.assert_all_equal();
}

/// Finding S18: two auditors knew of a fraud, and the stake of all others said nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_did_not_audit_takes_up_the_evidence_of_those_that_did() {
    let plan = Plan { adversaries: vec![Act::OtherText], genesis: audit_all, ..Plan::new("evidence", 3, 2) };
    let mut world = World::new(plan).await;
    world.run_through(Window(5)).await;
    let (story, cheat) = (world.story(), world.adversaries[0].uid);
    let mut taken_up = 0;
    for validator in ["validator-0", "validator-1", "validator-2"] {
        let own = findings(&mut world, validator);
        let mut confirmed = BTreeSet::new();
        for entry in &world.nodes[validator].entries {
            if let JournalEntry::EvidenceConfirmed { window, uid, auditor, fault } = entry {
                assert!(*uid == cheat && fault.contains("inner step on batch 0"), "{validator}: {entry:?}\n{story}");
                assert_ne!(*auditor, world.nodes[validator].uid);
                confirmed.insert(*window);
            }
        }
        for window in (0..3).map(Window) {
            let is_found = own.get(&(window, cheat)).is_some_and(AuditResult::is_fault);
            assert!(is_found || confirmed.contains(&window), "{validator} does not know of window {window}\n{story}");
            taken_up += usize::from(!is_found);
        }
    }
    assert_eq!(taken_up, 3, "of three validators two audit a payload\n{story}");
    let void = Some(Standing::Rejected(Rejection::Void));
    assert_eq!(world.standing(Window(5), cheat).await, void, "{story}");
    world.assert_all_equal();
}
