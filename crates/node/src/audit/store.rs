//! What this validator's audits came to, on its disk: what a vote can say of a miner.

use crate::{DataFolder, NodeError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use templar_audit::AuditFinding;
use templar_base::Window;

const FILE: &str = "audits.json";
/// Windows whose findings are kept.
const KEPT_WINDOWS: u64 = 64;

/// The findings of this validator's audits.
#[derive(Debug, Default)]
pub struct AuditStore {
    findings: Mutex<Vec<AuditFinding>>,
}

impl AuditStore {
    /// What was found before a restart; a damaged file counts as nothing.
    pub fn load(folder: &DataFolder) -> Result<Self, NodeError> {
        let findings = folder.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { findings: Mutex::new(findings) })
    }

    fn held(&self) -> MutexGuard<'_, Vec<AuditFinding>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The findings on payloads of one window, in the order of the slots.
    pub fn of_window(&self, window: Window) -> Vec<AuditFinding> {
        self.held().iter().filter(|finding| finding.window == window).cloned().collect()
    }

    /// Adds a finding, in place of an earlier one on the same payload.
    pub fn add(&self, finding: AuditFinding, folder: &DataFolder) -> Result<(), NodeError> {
        let bytes = {
            let mut held = self.held();
            let oldest = finding.window.minus(KEPT_WINDOWS);
            let is_other = |other: &AuditFinding| (other.window, other.uid) != (finding.window, finding.uid);
            held.retain(|other| other.window >= oldest && is_other(other));
            held.push(finding);
            held.sort_by_key(|finding| (finding.window, finding.uid));
            // Plain enums of numbers and texts.
            serde_json::to_vec(&*held).unwrap_or_default()
        };
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
        store.add(finding(99, 1, Finding::Agrees), &folder).unwrap();
        assert_eq!(store.of_window(Window(1)), []);
    }
}
