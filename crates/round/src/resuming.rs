//! Going on from one's own disk after a night in which all nodes were away for longer than objects are kept: no checkpoint
//! is offered any more, and the ledger alone tells whose state is right.

use crate::agreement::applied_majority;
use crate::{Applied, AppliedRecord, Elector, Position};
use std::collections::BTreeMap;
use templar_base::{ContentHash, Window};

/// The newest window of which more than half of the electors' stake reported the same, and the report.
pub fn last_majority(
    electors: &[Elector],
    reports: impl IntoIterator<Item = (Window, AppliedRecord)>,
) -> Option<(Window, Applied)> {
    let mut by_window: BTreeMap<Window, Vec<AppliedRecord>> = BTreeMap::new();
    for (window, report) in reports {
        by_window.entry(window).or_default().push(report);
    }
    let agreed =
        |(window, reports): (Window, Vec<AppliedRecord>)| Some((window, applied_majority(electors, &reports)?.applied));
    by_window.into_iter().rev().find_map(agreed)
}

/// Whether a node may go on from what it holds: `position`, and the root of the ratings that go with it.
///
/// What was agreed last must be behind it, or be what it holds. The windows since had no agreement, so that they are null by
/// the ledger alone. A node that is further than that has followed null windows by itself; one that is behind has missed
/// something that was agreed, and waits for a node that has not.
pub fn may_resume(position: Position, ratings: ContentHash, last: Option<(Window, Applied)>) -> bool {
    let Some((window, applied)) = last else { return true };
    if position.next == window.next() {
        position.state == applied.state && ratings == applied.record
    } else {
        position.next > window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::{PublicKey, StateHash, Uid};

    fn elector(uid: u16, stake: u64) -> Elector {
        Elector { uid: Uid(uid), hotkey: key(uid), stake }
    }

    fn key(uid: u16) -> PublicKey {
        PublicKey::new([uid as u8; 32])
    }

    fn applied(state: u8) -> Applied {
        Applied { aggregate: None, state: StateHash::new([state; 32]), record: ContentHash::new([9; 32]) }
    }

    fn report(window: u64, uid: u16, state: u8) -> (Window, AppliedRecord) {
        (Window(window), AppliedRecord { hotkey: key(uid), applied: applied(state) })
    }

    #[test]
    fn what_most_of_the_stake_reported_last_is_found_though_some_went_on_alone() {
        let electors = [elector(0, 40), elector(1, 30), elector(2, 30)];
        let reports = [report(5, 1, 50), report(5, 2, 50), report(7, 0, 70), report(6, 0, 60), report(4, 0, 40)];
        assert_eq!(last_majority(&electors, reports), Some((Window(5), applied(50))));
        // Half of the stake is no majority, and strangers have none.
        let halves = [elector(0, 50), elector(1, 50)];
        assert_eq!(last_majority(&halves, [report(5, 1, 50), report(5, 7, 50)]), None);
        assert_eq!(last_majority(&[], [report(5, 1, 50)]), None);
    }

    #[test]
    fn only_who_holds_what_was_agreed_last_or_went_on_from_there_may_resume() {
        let (last, ratings) = (Some((Window(5), applied(50))), ContentHash::new([9; 32]));
        let at = |next, state| Position { next: Window(next), state: StateHash::new([state; 32]) };
        assert!(may_resume(at(6, 50), ratings, last));
        assert!(!may_resume(at(6, 51), ratings, last));
        assert!(!may_resume(at(6, 50), ContentHash::new([8; 32]), last));
        assert!(!may_resume(at(5, 50), ratings, last), "it missed window 5");
        assert!(may_resume(at(9, 77), ratings, last), "it followed null windows by itself");
        assert!(may_resume(at(0, 1), ratings, None), "nothing was ever agreed");
    }
}
