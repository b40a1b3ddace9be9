//! The attack suite: what must hold of every table, seen on a short one.

use std::collections::BTreeMap;
use templar_simulator::{ArenaRun, ArenaSizes, AttackError, AttackOptions, FinishedRun, Row, attacks, run_attacks};

const SIZES: ArenaSizes = ArenaSizes { honest: 6, windows: 12, hidden: 16, layers: 1, steps: 12 };

fn options(names: &[&str], judgings: &[&str]) -> AttackOptions {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    AttackOptions {
        seeds: 1,
        attacks: owned(names),
        judgings: owned(judgings),
        sizes: SIZES,
        ..AttackOptions::new(false)
    }
}

fn play(options: &AttackOptions) -> (BTreeMap<String, Row>, Vec<ArenaRun>) {
    let (mut rows, mut runs) = (BTreeMap::new(), Vec::new());
    let finished = |finished: FinishedRun<'_>| runs.push(finished.run.clone());
    let report = |row: &Row| {
        rows.insert(format!("{} {}", row.attack, row.judging), row.clone());
        Ok(())
    };
    run_attacks(options, finished, report).unwrap();
    runs.sort_by_key(|run| (run.judging.clone(), run.attack.clone(), run.seed));
    (rows, runs)
}

#[test]
fn noise_and_harm_earn_little_and_no_honest_miner_is_sanctioned() {
    let (rows, _) = play(&options(&["noise", "sign-flip"], &["ours"]));
    assert_eq!(rows.len(), 2);
    for row in rows.values() {
        assert_eq!(row.honest_sanctioned, 0, "{}: {:?}", row.attack, row.honest_standings);
        assert!(row.paid.mean < 0.1, "{} is paid {}", row.attack, row.paid.mean);
        assert!(row.loss_without.mean < 3.9, "honest miners learn: {}", row.loss_without.mean);
    }
}

#[test]
fn equal_seeds_give_equal_results_on_one_thread_and_on_two_and_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let two = AttackOptions { out: Some(folder.path().to_owned()), ..options(&["copy"], &["ours", "original"]) };
    let (rows, runs) = play(&two);
    // One run is lost; the others are read back.
    std::fs::remove_file(folder.path().join("copy-ours-0.json")).unwrap();
    let (again, runs_again) = play(&AttackOptions { threads: 1, ..two.clone() });
    assert_eq!(runs, runs_again);
    assert_eq!(rows, again);
    // What another version has played is not mixed in.
    let old = folder.path().join("copy-ours-0.json");
    let text = std::fs::read_to_string(&old).unwrap();
    std::fs::write(&old, text.replacen("\"version\": ", "\"version\": 9", 1)).unwrap();
    let error = run_attacks(&two, |_| {}, |_| Ok(())).unwrap_err();
    assert!(matches!(error, AttackError::Unreadable { .. }) && error.to_string().contains("delete it"), "{error}");
}

#[test]
fn every_attack_can_be_played_and_is_in_the_docs() {
    let sizes = ArenaSizes { honest: 3, windows: 8, hidden: 8, layers: 1, steps: 4 };
    let (rows, _) = play(&AttackOptions { sizes, ..options(&[], &["mean"]) });
    assert_eq!(rows.len(), attacks().len());
    assert!(rows.values().all(|row| row.loss.mean.is_finite() && row.honest_sanctioned == 0));
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/attacks.md")).unwrap();
    for attack in attacks() {
        assert!(docs.contains(&format!("`{}`", attack.name)), "docs/attacks.md lacks {}", attack.name);
    }
}

#[test]
fn unknown_names_are_errors_that_list_the_known_ones() {
    let error = run_attacks(&options(&["kindness"], &[]), |_| {}, |_| Ok(())).unwrap_err();
    assert!(matches!(error, AttackError::UnknownAttack { .. }) && error.to_string().contains("sign-flip"));
    let error = run_attacks(&options(&[], &["theirs"]), |_| {}, |_| Ok(())).unwrap_err();
    assert!(matches!(error, AttackError::UnknownJudging { .. }) && error.to_string().contains("original"));
}
