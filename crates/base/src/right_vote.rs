//! Whether a vote shows that its author has judged: everybody who measured a window shares the sampling noise of one text, and who
//! guesses from ratings has another.

use crate::{Findings, Share, Uid};
use std::collections::BTreeMap;

/// The fewest candidates of a window whose votes are compared. A share is a part of what a typical candidate of the window
/// brings, so that a single one has a share of 1 whatever it brought, and says nothing.
pub const LEAST_COMPARED: usize = 2;

/// Whether a vote is *right*: its shares lie within a quarter of the agreed error of the agreed shares for three quarters of the
/// candidates.
///
/// `agreed` has the candidates of which share and error are agreed; what was not agreed counts for and against nobody. Of a
/// candidate that a vote has no share of (its author lacks the payload) it says nothing, but of half of them it must say
/// something. Where fewer than [`LEAST_COMPARED`] are agreed no vote is right.
pub fn is_right(findings: &Findings, agreed: &BTreeMap<Uid, Share>) -> bool {
    let own = findings.miners.iter().filter_map(|finding| Some((finding.share?, agreed.get(&finding.uid)?)));
    let near: Vec<bool> = own.map(|(share, agreed)| share.is_near(*agreed)).collect();
    let hits = near.iter().filter(|is_near| **is_near).count();
    agreed.len() >= LEAST_COMPARED && near.len() * 2 >= agreed.len() && hits * 4 >= near.len() * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, Mark};
    use proptest::prelude::*;

    fn findings(shares: &[Option<f64>]) -> Findings {
        let finding = |(uid, share): (u16, &Option<f64>)| {
            let share = share.map(|part| Share::new(part, 0.1));
            Finding { uid: Uid(uid), mark: Mark::Admitted, is_sure: false, share }
        };
        Findings { miners: (0..).zip(shares).map(finding).collect(), ..Findings::default() }
    }

    fn agreed(parts: &[f64], error: f64) -> BTreeMap<Uid, Share> {
        (0..).zip(parts).map(|(uid, part)| (Uid(uid), Share::new(*part, error))).collect()
    }

    #[test]
    fn three_quarters_must_be_near_and_half_must_be_judged() {
        let truth = agreed(&[1.0, 0.8, 1.3, 0.5], 0.4);
        let is_right = |shares: &[Option<f64>]| super::is_right(&findings(shares), &truth);
        assert!(is_right(&[Some(1.0), Some(0.8), Some(1.3), Some(0.5)]));
        assert!(is_right(&[Some(1.09), Some(0.71), Some(1.3), Some(3.0)]), "one of four may be off");
        assert!(!is_right(&[Some(1.0), Some(0.8), Some(1.42), Some(0.62)]));
        // Who lacks payloads is measured by the rest, unless it lacks most.
        assert!(is_right(&[Some(1.0), Some(0.8), None, None]));
        assert!(!is_right(&[Some(1.0), Some(1.2), None, None]));
        assert!(!is_right(&[Some(1.0), None, None, None]));
        assert!(!is_right(&[None; 4]) && !is_right(&[]));
        // What nobody agreed on is not looked at.
        assert!(is_right(&[Some(1.0), Some(0.8), Some(1.3), Some(0.5), Some(-4.0), Some(4.0)]));
    }

    #[test]
    fn a_window_of_one_candidate_or_of_none_makes_no_vote_right() {
        assert!(!is_right(&findings(&[Some(1.0)]), &agreed(&[1.0], 0.4)));
        assert!(!is_right(&findings(&[]), &BTreeMap::new()));
        assert!(is_right(&findings(&[Some(1.0), Some(1.0)]), &agreed(&[1.0, 1.0], 0.4)));
    }

    #[test]
    fn what_is_written_alike_is_near_however_small_the_error() {
        // A 256th apart is what rounding alone does.
        let step = 1.0 / 256.0;
        let truth = agreed(&[1.0, 0.5], 0.0);
        assert!(is_right(&findings(&[Some(1.0 + step), Some(0.5)]), &truth));
        assert!(!is_right(&findings(&[Some(1.0 + 2.0 * step), Some(0.5)]), &truth));
    }

    proptest! {
        /// Who says what is agreed is right, whatever else is in its vote.
        #[test]
        fn who_says_what_is_agreed_is_right(
            parts in proptest::collection::vec(-4.0f64..4.0, 2..64),
            error in 0.0f64..10.0,
        ) {
            let shares: Vec<Option<f64>> = parts.iter().copied().map(Some).collect();
            prop_assert!(is_right(&findings(&shares), &agreed(&parts, error)));
        }

        /// Any findings whatever give an answer.
        #[test]
        fn no_findings_make_it_panic(
            shares in proptest::collection::vec(proptest::option::of(-9.0f64..9.0), 0..64),
            parts in proptest::collection::vec(-9.0f64..9.0, 0..64),
            error in -1.0f64..1e12,
        ) {
            is_right(&findings(&shares), &agreed(&parts, error));
        }
    }
}
