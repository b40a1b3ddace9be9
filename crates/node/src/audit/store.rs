//! What this validator's audits came to, on its disk: what a vote can say of a miner.

use crate::{DataFolder, NodeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use templar_audit::AuditFinding;
use templar_base::{Uid, Window};

const FILE: &str = "audits.json";
/// Windows whose findings are kept.
const KEPT_WINDOWS: u64 = 64;
/// The number of audits in a row without an answer that is a failure.
const THIRD: usize = 3;

/// The findings of this validator's audits, and who answered.
#[derive(Debug, Default)]
pub struct AuditStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Held {
    findings: Vec<AuditFinding>,
    /// Of each drawn payload whether an answer came in time, by window and slot.
    answers: Vec<(Window, Uid, bool)>,
}

impl AuditStore {
    /// What was found before a restart; a damaged file counts as nothing.
    pub fn load(folder: &DataFolder) -> Result<Self, NodeError> {
        let held = folder.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The findings on payloads of one window, in the order of the slots.
    pub fn of_window(&self, window: Window) -> Vec<AuditFinding> {
        self.held().findings.iter().filter(|finding| finding.window == window).cloned().collect()
    }

    /// Whether a payload is known to be made otherwise than it says.
    pub fn is_fault(&self, window: Window, uid: Uid) -> bool {
        let is_its = |own: &&AuditFinding| (own.window, own.uid) == (window, uid);
        self.held().findings.iter().find(is_its).is_some_and(|own| own.finding.is_fault())
    }

    /// Who owes an answer to the last audit of it in these windows, and whether that was the third in a row: of those whose slot is
    /// still the same, as `is_same` says of a slot since a window.
    pub fn silent(
        &self,
        windows: impl Iterator<Item = Window>,
        is_same: impl Fn(Uid, Window) -> bool,
    ) -> BTreeMap<Uid, bool> {
        let windows: Vec<Window> = windows.collect();
        let mut unanswered: BTreeMap<Uid, usize> = BTreeMap::new();
        let held = self.held();
        let counted = held.answers.iter().filter(|(window, uid, _)| windows.contains(window) && is_same(*uid, *window));
        for (_, uid, is_answered) in counted {
            let in_a_row = unanswered.entry(*uid).or_default();
            *in_a_row = if *is_answered { 0 } else { *in_a_row + 1 };
        }
        unanswered.into_iter().filter(|(_, own)| *own > 0).map(|(uid, own)| (uid, own >= THIRD)).collect()
    }

    /// Notes of drawn payloads of a window whether an answer came in time.
    pub fn note_answers(&self, window: Window, answers: &[(Uid, bool)], folder: &DataFolder) -> Result<(), NodeError> {
        self.change(window, folder, |held| {
            held.answers.retain(|(past, ..)| *past != window);
            held.answers.extend(answers.iter().map(|(uid, is_answered)| (window, *uid, *is_answered)));
            held.answers.sort();
        })
    }

    /// Adds a finding, in place of an earlier one on the same payload.
    pub fn add(&self, finding: AuditFinding, folder: &DataFolder) -> Result<(), NodeError> {
        self.change(finding.window, folder, |held| {
            let is_other = |other: &AuditFinding| (other.window, other.uid) != (finding.window, finding.uid);
            held.findings.retain(is_other);
            held.findings.push(finding);
            held.findings.sort_by_key(|finding| (finding.window, finding.uid));
        })
    }

    /// The lock is held until the file is written: several tasks have something to add.
    fn change(&self, window: Window, folder: &DataFolder, change: impl FnOnce(&mut Held)) -> Result<(), NodeError> {
        let mut held = self.held();
        change(&mut held);
        let oldest = window.minus(KEPT_WINDOWS);
        held.findings.retain(|other| other.window >= oldest);
        held.answers.retain(|(past, ..)| *past >= oldest);
        // Plain enums of numbers and texts.
        let bytes = serde_json::to_vec(&*held).unwrap_or_default();
        Ok(folder.write(FILE, &[&bytes])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_audit::Finding;
    use templar_base::{RunId, Uid};
    use templar_round::Role;

    #[test]
    fn findings_survive_a_restart_and_old_ones_go() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path(), RunId::default(), Role::Validator).unwrap();
        let store = AuditStore::load(&folder).unwrap();
        let finding = |window, uid, finding| AuditFinding { window: Window(window), uid: Uid(uid), finding };
        let fault = Finding::Differs { fault: "transition 3 leads to another state".to_owned(), transition: Some(3) };
        for entry in [finding(1, 4, Finding::Agrees), finding(1, 2, Finding::Agrees), finding(1, 4, fault.clone())] {
            store.add(entry, &folder).unwrap();
        }
        let store = AuditStore::load(&folder).unwrap();
        assert_eq!(store.of_window(Window(1)), [finding(1, 2, Finding::Agrees), finding(1, 4, fault)]);
        assert!(store.is_fault(Window(1), Uid(4)) && !store.is_fault(Window(1), Uid(2)));
        store.add(finding(99, 1, Finding::Agrees), &folder).unwrap();
        assert_eq!(store.of_window(Window(1)), []);
    }

    #[test]
    fn who_did_not_answer_its_last_audit_is_silent_and_the_third_in_a_row_is_told_apart() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path(), RunId::default(), Role::Validator).unwrap();
        let store = AuditStore::load(&folder).unwrap();
        let rounds = [[false, false, true], [true, false, true], [false, false, true]];
        for (window, [first, second, third]) in (0..).zip(rounds) {
            let answers = [(Uid(1), first), (Uid(2), second), (Uid(3), third)];
            store.note_answers(Window(window), &answers, &folder).unwrap();
        }
        let store = AuditStore::load(&folder).unwrap();
        let silent = |from: u64, until: u64, since: u64| {
            store.silent(Window(from).until(Window(until)), |_, window| window >= Window(since))
        };
        assert_eq!(silent(0, 3, 0), [(Uid(1), false), (Uid(2), true)].into());
        assert_eq!(silent(0, 2, 0), [(Uid(2), false)].into(), "the one answered in between");
        assert_eq!(silent(0, 3, 1), [(Uid(1), false), (Uid(2), false)].into(), "somebody else held the slot");
        assert_eq!(silent(3, 9, 0), BTreeMap::new());
    }

    /// Bug: two tasks that noted something at once wrote into the same draft, and one of them failed.
    #[test]
    fn several_tasks_may_note_something_at_once() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path(), RunId::default(), Role::Validator).unwrap();
        let store = AuditStore::load(&folder).unwrap();
        std::thread::scope(|scope| {
            for uid in 0..4u16 {
                let (store, folder) = (&store, &folder);
                scope.spawn(move || {
                    for window in (0..40).map(Window) {
                        let finding = AuditFinding { window, uid: Uid(uid), finding: Finding::Agrees };
                        store.add(finding, folder).unwrap();
                    }
                });
            }
        });
        assert_eq!(AuditStore::load(&folder).unwrap().of_window(Window(39)).len(), 4);
    }
}
