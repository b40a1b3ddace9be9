//! What is agreed of a window's candidates, from votes that differ.

use proptest::prelude::*;
use templar_base::{
    AgreedFindings, BlockNumber, ContentHash, Finding, Findings, Mark, Nats, OwnText, Probe, PublicKey, Share,
    StepShare, Uid,
};
use templar_round::{Elector, Outcome, Vote, VoteRecord, agreed_findings, leading_verdict, tally};

const DEADLINE: BlockNumber = BlockNumber(20);
const LIMIT: usize = 15;

fn key(uid: u16) -> PublicKey {
    PublicKey::new([uid as u8 + 1; 32])
}

fn electors(stakes: &[u64]) -> Vec<Elector> {
    let elector = |(uid, stake): (u16, &u64)| Elector { uid: Uid(uid), hotkey: key(uid), stake: *stake };
    (0..).zip(stakes).map(elector).collect()
}

fn finding(uid: u16, mark: Mark, part: f64) -> Finding {
    Finding { uid: Uid(uid), mark, is_sure: part > 0.5, share: Some(Share::new(part, 0.1)) }
}

fn vote(validator: u16, miners: Vec<Finding>) -> VoteRecord {
    let findings = Findings { miners, magnitude: 1_000, surplus: Nats(5), ..Findings::default() };
    let verdict = ContentHash::of(&[validator as u8]);
    VoteRecord { hotkey: key(validator), block: BlockNumber(12), vote: Vote::new(findings, verdict).unwrap() }
}

fn agreed(stakes: &[u64], votes: &[VoteRecord]) -> AgreedFindings {
    agreed_findings(&electors(stakes), votes, DEADLINE, LIMIT)
}

/// Hole B1: a bucket that gave each validator another answer made each verdict another, and no ratings moved any more.
#[test]
fn a_bucket_that_lies_to_each_validator_differently_stops_nobody_s_rating() {
    let honest = [finding(1, Mark::Selected, 1.0), finding(2, Mark::Selected, 0.9)];
    let all = |last: Option<Finding>| honest.iter().copied().chain(last).collect::<Vec<_>>();
    let votes = [vote(0, all(None)), vote(1, all(Some(finding(7, Mark::NotAdmitted, 0.0)))), vote(2, all(None))];
    let agreed = agreed(&[10, 10, 10], &votes);
    assert_eq!(agreed.selected().collect::<Vec<_>>(), [Uid(1), Uid(2)]);
    assert_eq!(agreed.miners[&Uid(2)].share, Some(Share::new(0.9, 0.1)));
    assert_eq!(agreed.miners.get(&Uid(7)), None, "whom a third saw is not judged");
    assert_eq!((agreed.magnitude, agreed.surplus), (Some(1_000), Some((Nats(5), Nats(0)))));
    // The verdicts differ and explain; none of them decides.
    assert!(leading_verdict(&electors(&[10, 10, 10]), &votes, DEADLINE).is_some());
}

#[test]
fn no_stake_under_half_raises_lowers_or_marks_anybody() {
    let truth = || vec![finding(1, Mark::Selected, 1.0), finding(2, Mark::Admitted, 0.5)];
    let lie = vec![finding(1, Mark::Harmful, -4.0), finding(2, Mark::Selected, 4.0), finding(9, Mark::Selected, 4.0)];
    let votes = [vote(0, truth()), vote(1, truth()), vote(2, lie)];
    let agreed = agreed(&[26, 25, 49], &votes);
    assert_eq!(agreed, self::agreed(&[26, 25, 49], &votes[..2]));
    assert_eq!(agreed.miners[&Uid(1)].mark, Mark::Selected);
    assert_eq!(
        (agreed.miners[&Uid(2)].mark, agreed.miners[&Uid(2)].share),
        (Mark::Admitted, Some(Share::new(0.5, 0.1)))
    );
    assert_eq!(agreed.miners.len(), 2);
}

#[test]
fn a_number_without_a_majority_is_absent_and_the_rest_stands() {
    let blind = Finding { share: None, ..finding(2, Mark::Selected, 1.0) };
    let both = || vec![finding(1, Mark::Selected, 1.0), finding(2, Mark::Selected, 1.0)];
    let votes = [vote(0, both()), vote(1, vec![finding(1, Mark::Selected, 1.0), blind])];
    let agreed = agreed(&[10, 10], &votes);
    assert_eq!(agreed.selected().collect::<Vec<_>>(), [Uid(1), Uid(2)]);
    assert_eq!(agreed.miners[&Uid(2)].share, None);
    assert!(agreed.miners[&Uid(1)].share.is_some());
}

#[test]
fn who_decides_alone_agrees_with_itself() {
    let own = vote(0, vec![finding(1, Mark::Selected, 1.0), finding(2, Mark::Copy, 0.0), finding(3, Mark::Fraud, 0.0)]);
    assert_eq!(agreed(&[10], std::slice::from_ref(&own)), AgreedFindings::of_one(own.vote.findings()));
    let null = vote(0, vec![finding(1, Mark::NotAdmitted, 0.1)]);
    let agreed = agreed(&[10], std::slice::from_ref(&null));
    assert_eq!((agreed.step, agreed.surplus), (None, None));
    assert_eq!(agreed, AgreedFindings::of_one(null.vote.findings()));
}

/// Finding S6: what probes come to is agreed as all numbers are.
#[test]
fn a_probe_counts_as_far_as_most_of_the_stake_supports_it() {
    let probed = |validator: u16, own_text: Option<f64>| {
        let own_text = own_text.map(OwnText::new);
        let probes = own_text.map(|own_text| Probe { uid: Uid(1), own_text }).into_iter().collect();
        let miners = vec![finding(1, Mark::Selected, 1.0), finding(2, Mark::Silent, 0.0)];
        let vote = Vote::new(Findings { miners, probes, ..Findings::default() }, ContentHash::default()).unwrap();
        VoteRecord { hotkey: key(validator), block: BlockNumber(12), vote }
    };
    let agreed_on = |stakes: &[u64], own: [Option<f64>; 3]| {
        let votes: Vec<VoteRecord> = (0..).zip(own).map(|(validator, own)| probed(validator, own)).collect();
        let agreed = agreed(stakes, &votes);
        assert_eq!(agreed.miners[&Uid(2)].mark, Mark::Silent);
        agreed.probes.get(&Uid(1)).map(|own| own.to_f64())
    };
    assert_eq!(agreed_on(&[10, 10, 10], [Some(0.5), Some(-1.0), Some(-2.0)]), Some(-1.0));
    assert_eq!(agreed_on(&[26, 25, 49], [Some(-1.0), Some(-1.0), Some(0.6)]), Some(-1.0), "a lie of under a half");
    assert_eq!(agreed_on(&[26, 25, 49], [Some(0.5), Some(0.5), Some(-8.0)]), Some(0.5));
    assert_eq!(agreed_on(&[10, 10, 10], [Some(0.5), None, None]), None, "who was not probed by most is not");
}

fn any_finding() -> impl Strategy<Value = (u16, u8, i8, bool)> {
    (0u16..5, 0u8..8, -8i8..9, any::<bool>())
}

fn made((uid, mark, part, measured): (u16, u8, i8, bool)) -> Finding {
    const MARKS: [Mark; 8] = [
        Mark::NotAdmitted,
        Mark::Admitted,
        Mark::Selected,
        Mark::Selected,
        Mark::Dropped,
        Mark::Harmful,
        Mark::Copy,
        Mark::Silent,
    ];
    let share = measured.then(|| Share::new(f64::from(part) / 2.0, f64::from(part.unsigned_abs()) / 8.0));
    Finding { uid: Uid(uid), mark: MARKS[usize::from(mark)], is_sure: part > 0, share }
}

proptest! {
    /// Findings that stand early are those at the deadline, and the order of votes decides nothing.
    #[test]
    fn early_findings_are_final_and_no_order_matters(
        stakes in proptest::collection::vec(1u64..100, 1..5),
        votes in proptest::collection::vec((10u64..25, 0u8..3, proptest::collection::vec(any_finding(), 0..6)), 0..5),
    ) {
        let electors = electors(&stakes);
        let mut records = Vec::new();
        for (validator, (block, step, findings)) in (0u16..).zip(votes) {
            let mut miners: Vec<Finding> = findings.into_iter().map(made).collect();
            miners.sort_by_key(|finding| finding.uid);
            miners.dedup_by_key(|finding| finding.uid);
            let step = StepShare::from_code(step).unwrap();
            let of_share = |share: Share| OwnText::new(share.part());
            let probe = |own: &Finding| Some(Probe { uid: own.uid, own_text: of_share(own.share?) });
            let probes = miners.iter().filter_map(probe).collect();
            let surplus = Nats(i64::from(validator));
            let findings = Findings { miners, step, magnitude: block, surplus, probes, ..Findings::default() };
            let vote = Vote::new(findings, ContentHash::default()).unwrap();
            records.push(VoteRecord { hotkey: key(validator), block: BlockNumber(block), vote });
        }
        let last = agreed_findings(&electors, &records, DEADLINE, 3);
        let mut reversed = records.clone();
        reversed.reverse();
        prop_assert_eq!(&agreed_findings(&electors, &reversed, DEADLINE, 3), &last);
        for head in 10..30 {
            let seen: Vec<_> = records.iter().filter(|record| record.block.0 <= head).cloned().collect();
            if tally(&electors, &seen, DEADLINE, BlockNumber(head), 3) != Outcome::Open {
                prop_assert_eq!(&agreed_findings(&electors, &seen, DEADLINE, 3), &last);
            }
        }
    }
}
