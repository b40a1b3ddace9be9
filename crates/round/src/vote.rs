//! A validator's vote on a window: its findings in numbers, small enough for the ledger, and where the full verdict is.

use crate::sealing::parse_exactly;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, Finding, Findings, FindingsError, Mark, StepShare, Uid};

/// What a validator found in one window.
///
/// What is agreed follows from these numbers alone. The verdict explains them and decides nothing: of two validators that saw
/// different replies of one bucket the verdicts differ, and the numbers on everybody else hardly do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Vote {
    findings: Findings,
    verdict: ContentHash,
    /// Random, so that nobody can try votes until the seal fits.
    salt: [u8; 16],
}

impl Vote {
    /// A vote with these findings, which the verdict of this hash explains.
    pub fn new(findings: Findings, verdict: ContentHash) -> Result<Self, FindingsError> {
        findings.check()?;
        Ok(Self { findings, verdict, salt: [0; 16] })
    }

    /// The same vote with this salt.
    pub fn salted(self, salt: [u8; 16]) -> Self {
        Self { salt, ..self }
    }

    /// What the same vote says of these candidates. What audits of earlier windows came to stays, whoever it is about.
    pub(crate) fn about(self, is_candidate: impl Fn(Uid) -> bool) -> Self {
        let mut findings = self.findings;
        findings.probes.retain(|probe| is_candidate(probe.uid));
        let is_of_audit = |finding: &Finding| matches!(finding.mark, Mark::Fraud | Mark::Silent);
        findings.miners.retain(|finding| is_candidate(finding.uid) || is_of_audit(finding));
        for finding in findings.miners.iter_mut().filter(|finding| !is_candidate(finding.uid)) {
            finding.share = None;
        }
        Self { findings, ..self }
    }

    /// Reads a vote from the ledger; none where the bytes are malformed, and then it does not count.
    pub fn from_ledger(bytes: &[u8]) -> Option<Self> {
        parse_exactly(bytes)
    }

    /// The numbers.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The part of the outer step that should be taken.
    pub fn step(&self) -> StepShare {
        self.findings.step
    }

    /// Whose payloads should be merged, ascending.
    pub fn selected(&self) -> Vec<Uid> {
        self.findings.selected().collect()
    }

    /// Hash of the full verdict.
    pub fn verdict(&self) -> ContentHash {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::{MAX_CANDIDATES, Share};

    fn findings(uids: impl Iterator<Item = u16>) -> Findings {
        let share = Some(Share::new(1.0, 0.2));
        let finding = |uid| Finding { uid: Uid(uid), mark: Mark::Selected, is_sure: true, share };
        Findings { miners: uids.map(finding).collect(), ..Findings::default() }
    }

    #[test]
    fn a_vote_survives_the_ledger_and_stays_under_its_limit() {
        let vote = Vote::new(findings(960..960 + MAX_CANDIDATES as u16), ContentHash::of(b"v")).unwrap();
        let bytes = vote.encode();
        assert!(bytes.len() <= 396, "{}", bytes.len());
        assert_eq!(Vote::from_ledger(&bytes), Some(vote));
    }

    #[test]
    fn votes_that_contradict_themselves_are_refused() {
        assert!(Vote::new(findings([1, 1].into_iter()), ContentHash::default()).is_err());
        assert!(Vote::new(findings([2, 1].into_iter()), ContentHash::default()).is_err());
        assert!(Vote::new(findings(0..65), ContentHash::default()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(vote) = Vote::from_ledger(&bytes) {
                prop_assert_eq!(vote.encode(), bytes);
            }
        }
    }
}
