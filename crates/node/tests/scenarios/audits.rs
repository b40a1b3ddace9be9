//! Audits by replay between real nodes.

use crate::network::{Act, Plan, World};
use std::collections::BTreeMap;
use templar_base::{Genesis, Uid, Window};
use templar_node::{AuditResult, JournalEntry, verify_evidence};

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
    let mut world = World::new(Plan { adversaries, genesis: audit_all, ..Plan::new("audits", 2, 2) }).await;
    world.run_through(Window(1)).await;
    world.kill("miner-1").await;
    world.start("miner-1").await;
    world.run_through(Window(4)).await;
    let story = world.story();
    let (cheat, silent) = (world.adversaries[0].uid, world.adversaries[1].uid);
    let honest = world.miners();
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
        for uid in honest.iter().copied().chain([cheat, silent]) {
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
    world.assert_all_equal();
}
