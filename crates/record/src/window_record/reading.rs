//! Reading one window out of the public record.

use super::{
    AgreedView, ElectorView, Measured, MinerView, SealedView, Stage, VerdictView, WindowMoment, WindowRecord, measured,
};
use crate::checkpoint::majority_before;
use crate::evaluation::{Asked, evaluations_of};
use crate::{PublicRecord, RecordError, Rules, fetch_verdict};
use std::collections::BTreeMap;
use std::time::Duration;
use templar_base::{AgreedFindings, Alpha, BlockNumber, Nats, PublicKey, Uid, Window};
use templar_chain::{ChainError, Metagraph, Topic};
use templar_gauntlet::Verdict;
use templar_round::{
    Elector, ObjectKey, Outcome, Phases, SealCommitment, SealedCommitments, VoteRecord, agreed_findings,
    applied_majority, leading_verdict, tally,
};

/// How long the buckets may take for a verdict, all of its holders together.
const VERDICT_DEADLINE: Duration = Duration::from_secs(12);
/// How long the ratings before the window may take, which say whose stake counts.
const LEARN_DEADLINE: Duration = Duration::from_secs(12);
/// A refusal in words is shown up to this length; a peer's own words are in some of them.
const MOST_WORDS: usize = 300;

/// The first block at which nothing of a window changes any more: by then votes, reports and aggregate are over.
pub fn finished_at(phases: &Phases, window: Window) -> BlockNumber {
    phases.seal(window.next())
}

/// Whether a failure means that the ledger or the buckets no longer have the window.
pub fn is_gone(error: &RecordError) -> bool {
    matches!(error, RecordError::Chain(ChainError::Pruned { .. }))
}

/// Foreign words, of a bounded length.
fn words(text: &str) -> String {
    let mut short: String = text.chars().take(MOST_WORDS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// What is known of a window when the ledger is at `head`.
pub async fn read_window(
    (run, record): (&Rules, &PublicRecord),
    window: Window,
    head: BlockNumber,
) -> Result<WindowRecord, RecordError> {
    let phases = &run.phases;
    let mut view = empty(window);
    view.timeline = timeline((run, record), window, head).await?;
    let time = |block: BlockNumber| {
        let moment = view.timeline.iter().find(|moment| moment.block == block);
        moment.and_then(|moment| moment.time_ms)
    };
    view.seconds = match (time(phases.start(window)), time(phases.end(window))) {
        (Some(start), Some(end)) => Some(end.saturating_sub(start) as f64 / 1e3),
        _ => None,
    };
    if head < phases.end(window) {
        read_sealed_so_far((run, record), &mut view).await?;
        return Ok(view);
    }
    view.stage = if head < finished_at(phases, window) { Stage::Judging } else { Stage::Finished };
    read_outcome((run, record), &mut view).await?;
    Ok(view)
}

fn empty(window: Window) -> WindowRecord {
    WindowRecord {
        window,
        stage: Stage::Training,
        timeline: Vec::new(),
        seconds: None,
        is_null: false,
        null_reason: None,
        selected: Vec::new(),
        step: None,
        tokens: None,
        loss_before: None,
        loss_after: None,
        sealed_bytes: 0,
        electors: Vec::new(),
        counts_all_permits: false,
        agreed: None,
        verdict: None,
        miners: Vec::new(),
        evaluations: Vec::new(),
    }
}

async fn timeline(
    (run, record): (&Rules, &PublicRecord),
    window: Window,
    head: BlockNumber,
) -> Result<Vec<WindowMoment>, RecordError> {
    let phases = &run.phases;
    let hold = phases.hold(window);
    let gathered = if hold.is_some() { "validators state what they hold" } else { "validators gather and judge" };
    let before = [
        ("miners train on their share", phases.start(window)),
        ("payloads are sealed", phases.seal(window)),
        ("keys are published", phases.end(window)),
        (gathered, phases.reveal(window)),
    ];
    let held = hold.map(|hold| ("what is held is agreed on; validators judge", hold));
    let after = [
        ("last seal of a vote", phases.judge(window)),
        ("last vote", phases.open(window)),
        ("the step is applied everywhere", phases.apply(window)),
    ];
    let mut timeline = Vec::new();
    for (what, block) in before.into_iter().chain(held).chain(after) {
        let time_ms = match block <= head {
            true => Some(record.chain.header(block).await?.time_ms),
            false => None,
        };
        timeline.push(WindowMoment { what, block, time_ms });
    }
    Ok(timeline)
}

/// While the window lasts only commitments are there, and the slots of now.
async fn read_sealed_so_far(
    (run, record): (&Rules, &PublicRecord),
    view: &mut WindowRecord,
) -> Result<(), RecordError> {
    let netuid = record.netuid;
    let metagraph = record.chain.metagraph(netuid, None).await?;
    let most = run.layout.max_payload_bytes();
    let mut miners = BTreeMap::new();
    for record in record.chain.commitments(netuid, Topic::Sealed, view.window.get()).await? {
        let Some(neuron) = metagraph.neuron(&record.hotkey) else { continue };
        let miner = entry(&mut miners, neuron.uid);
        match SealCommitment::from_ledger(&record.data, most) {
            Ok(own) => {
                let (block, digest, bytes) = (record.block, own.digest, own.bytes);
                miner.sealed = Some(SealedView { block, digest, bytes, url: None });
            }
            Err(_) => miner.is_malformed = true,
        }
    }
    finish_miners(view, miners, &metagraph);
    Ok(())
}

fn entry(miners: &mut BTreeMap<Uid, MinerView>, uid: Uid) -> &mut MinerView {
    miners.entry(uid).or_insert_with(|| MinerView::new(uid))
}

fn finish_miners(view: &mut WindowRecord, mut miners: BTreeMap<Uid, MinerView>, metagraph: &Metagraph) {
    for neuron in &metagraph.neurons {
        if let Some(miner) = miners.get_mut(&neuron.uid) {
            miner.hotkey = Some(neuron.hotkey);
        }
    }
    view.miners = miners.into_values().collect();
    let bytes = view.miners.iter().filter_map(|miner| miner.sealed.as_ref()).map(|sealed| u64::from(sealed.bytes));
    view.sealed_bytes = bytes.fold(0, u64::saturating_add);
}

async fn read_outcome((run, record): (&Rules, &PublicRecord), view: &mut WindowRecord) -> Result<(), RecordError> {
    let window = view.window;
    let metagraph = record.metagraph(run.phases.end(window)).await?;
    let sealed = record.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
    // What is not learnt in time is counted by permit, and said.
    let learning = tokio::time::timeout(LEARN_DEADLINE, record.learn_electors(run, window)).await;
    if !matches!(learning, Ok(Ok(()))) {
        tracing::debug!(%window, "who has judged is not known");
    }
    view.counts_all_permits = !record.knows_electors(run, window);
    let electors = record.electors(run, window).await?;
    record.refresh_readers().await?;
    let (at, votes) = record.votes(run, window, &electors).await?;
    let deadline = run.phases.open(window);
    let limit = record.rules_in(run, window).await?.genesis.judging.selected;
    let agreed = agreed_findings(&electors, &votes, deadline, limit);
    let outcome = tally(&electors, &votes, deadline, at, limit);
    let verdict = read_verdict((run, record), view, &electors, &votes).await;
    match &outcome {
        Outcome::Open => {}
        Outcome::Null => view.is_null = true,
        Outcome::Selected(selection) => {
            view.selected = selection.uids.clone();
            view.step = Some(selection.step);
        }
    }
    add_electors(view, &electors, &votes, deadline);
    if let Some(standing) = record.standing(run, window) {
        view.electors.iter_mut().for_each(|own| own.right_votes = Some(standing.count_of(&own.hotkey)));
    }
    add_reports(record, view, &electors).await?;
    let url = |hotkey| object_url(record, hotkey, ObjectKey::Payload(window));
    let miners = miners_of(&sealed, &agreed, outcome != Outcome::Open, verdict.as_ref(), url);
    finish_miners(view, miners, &metagraph);
    if let Some(verdict) = &verdict {
        let losses = verdict.confirmation.as_ref();
        view.loss_before = losses.map(|own| own.loss_before).filter(|loss| loss.is_finite());
        view.loss_after = losses.and_then(|own| own.loss_after).filter(|loss| loss.is_finite());
    }
    if !view.selected.is_empty() {
        let tokens = view.selected.iter().map(|uid| view.miner(*uid).and_then(|miner| miner.tokens));
        view.tokens = tokens.into_iter().try_fold(0u64, |sum, own| Some(sum.saturating_add(own?)));
    }
    if view.is_null {
        view.tokens = Some(0);
        view.null_reason = Some(null_reason(view));
    }
    if run.genesis.evaluation.as_ref().is_some_and(|rule| rule.is_due(window)) {
        // Reports that the ledger no longer has leave the figures without a state to compare theirs with.
        let agreed = majority_before(run, record, window).await.ok().flatten().map(|majority| majority.applied.state);
        let asked = |own: &Elector| Asked { uid: own.uid, hotkey: own.hotkey, stake: Alpha::from_rao(own.stake) };
        let electors: Vec<Asked> = electors.iter().map(asked).collect();
        view.evaluations = evaluations_of((run, record), window, &electors, agreed).await;
    }
    Ok(())
}

/// The verdict with the most stake behind it. It explains and decides nothing, so one that is gone leaves the rest.
async fn read_verdict(
    (run, record): (&Rules, &PublicRecord),
    view: &mut WindowRecord,
    electors: &[Elector],
    votes: &[VoteRecord],
) -> Option<Verdict> {
    let window = view.window;
    let (hash, holders) = leading_verdict(electors, votes, run.phases.open(window))?;
    let asked = fetch_verdict(run, record, window, hash, &holders);
    let (verdict, missing) = match tokio::time::timeout(VERDICT_DEADLINE, asked).await {
        Ok(Ok(verdict)) => (Some(verdict), None),
        Ok(Err(error)) => (None, Some(words(&error.to_string()))),
        Err(_) => (None, Some(format!("no bucket gave it within {} s", VERDICT_DEADLINE.as_secs()))),
    };
    let url = holders.first().and_then(|holder| object_url(record, *holder, ObjectKey::Verdict(window)));
    view.verdict = Some(VerdictView { hash, holders, missing, url });
    verdict
}

/// Where an object of a peer's bucket is found by a browser, as far as its address is known.
fn object_url(record: &PublicRecord, hotkey: PublicKey, key: ObjectKey) -> Option<String> {
    record.known_location(hotkey)?.object_url(&key.to_string())
}

fn add_electors(view: &mut WindowRecord, electors: &[Elector], votes: &[VoteRecord], deadline: BlockNumber) {
    let elector = |own: &Elector| {
        let in_time = votes.iter().filter(|record| record.hotkey == own.hotkey && record.block <= deadline);
        let record = in_time.min_by_key(|record| record.block);
        ElectorView {
            uid: own.uid,
            hotkey: own.hotkey,
            stake_rao: Alpha::from_rao(own.stake),
            voted_at: record.map(|record| record.block),
            selected: record.map(|record| record.vote.selected()).unwrap_or_default(),
            step: record.map(|record| record.vote.step()),
            verdict: record.map(|record| record.vote.verdict()),
            state: None,
            aggregate: None,
            ratings: None,
            right_votes: None,
        }
    };
    view.electors = electors.iter().map(elector).collect();
}

async fn add_reports(record: &PublicRecord, view: &mut WindowRecord, electors: &[Elector]) -> Result<(), RecordError> {
    let reports = record.reports(view.window).await?;
    for elector in &mut view.electors {
        if let Some(report) = reports.iter().find(|report| report.hotkey == elector.hotkey) {
            elector.state = Some(report.applied.state);
            elector.aggregate = report.applied.aggregate;
            elector.ratings = Some(report.applied.record);
        }
    }
    view.agreed = applied_majority(electors, &reports).map(|majority| AgreedView {
        state: majority.applied.state,
        aggregate: majority.applied.aggregate,
        ratings: majority.applied.record,
        validators: majority.by.len(),
        url: majority.applied.aggregate.and_then(|_| {
            let holder = majority.by.first()?;
            object_url(record, *holder, ObjectKey::Aggregate(view.window))
        }),
    });
    Ok(())
}

fn miners_of(
    sealed: &SealedCommitments,
    agreed: &AgreedFindings,
    is_decided: bool,
    verdict: Option<&Verdict>,
    url: impl Fn(PublicKey) -> Option<String>,
) -> BTreeMap<Uid, MinerView> {
    let mut miners = BTreeMap::new();
    for record in &sealed.records {
        let (block, commitment) = (record.block, record.commitment);
        let url = url(record.hotkey);
        let own = SealedView { block, digest: commitment.digest, bytes: commitment.bytes, url };
        entry(&mut miners, record.uid).sealed = Some(own);
    }
    for record in &sealed.malformed {
        entry(&mut miners, record.uid).is_malformed = true;
    }
    for (uid, finding) in agreed.miners.iter().filter(|_| is_decided) {
        let miner = entry(&mut miners, *uid);
        miner.mark = Some(finding.mark);
        miner.is_sure = finding.is_sure;
        miner.share = finding.share.map(|share| Measured { mean: share.part(), error: share.error() });
    }
    for own in verdict.iter().flat_map(|verdict| &verdict.miners) {
        // Of somebody who committed nothing a verdict cannot say anything that counts.
        let Some(miner) = miners.get_mut(&own.uid) else { continue };
        let nats = |nats: Nats| nats.to_f64();
        miner.standing = Some(words(&own.standing.describe()));
        miner.is_refused = !own.standing.is_accepted();
        miner.payload = own.payload;
        miner.tokens = own.payload.map(|_| own.tokens);
        miner.contribution =
            own.contribution.as_ref().map(|own| Measured { mean: nats(own.mean), error: nats(own.standard_error) });
        miner.rating_before = own.rating_before.map(measured);
        miner.rating_after = own.rating_after.map(measured);
    }
    miners
}

/// Why nothing was merged, from what is known of the window.
fn null_reason(view: &WindowRecord) -> String {
    let has_voted = view.electors.iter().any(|elector| elector.voted_at.is_some());
    let has_selected = view.electors.iter().any(|elector| !elector.selected.is_empty());
    let has_candidate = view.miners.iter().any(|miner| miner.mark.is_some());
    let refusal = view.miners.iter().find(|miner| miner.is_refused).and_then(|miner| miner.standing.as_ref());
    let has_sealed = view.miners.iter().any(|miner| miner.sealed.is_some());
    match (has_voted, has_selected, has_candidate, refusal) {
        (false, ..) => "no vote was sealed and opened in time".to_owned(),
        (_, true, ..) => "no payload was selected by more than half of the electors' stake".to_owned(),
        (_, _, true, _) => "no contribution is surely over zero".to_owned(),
        (.., Some(refusal)) => format!("no payload was accepted ({refusal})"),
        _ if has_sealed => "no payload became a candidate".to_owned(),
        _ => "no payload was sealed in time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_are_cut_to_a_bound() {
        assert_eq!(words("short"), "short");
        let long = words(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), MOST_WORDS + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_null_window_has_a_reason() {
        let mut view = empty(Window(3));
        assert_eq!(null_reason(&view), "no vote was sealed and opened in time");
        let mut elector = ElectorView {
            uid: Uid(0),
            hotkey: PublicKey::new([1; 32]),
            stake_rao: Alpha::ZERO,
            voted_at: Some(BlockNumber(5)),
            selected: Vec::new(),
            step: None,
            verdict: None,
            state: None,
            aggregate: None,
            ratings: None,
            right_votes: None,
        };
        view.electors = vec![elector.clone()];
        assert_eq!(null_reason(&view), "no payload was sealed in time");
        view.miners =
            vec![MinerView { is_refused: true, standing: Some("refused: x".to_owned()), ..MinerView::new(Uid(2)) }];
        assert_eq!(null_reason(&view), "no payload was accepted (refused: x)");
        elector.selected = vec![Uid(2)];
        view.electors = vec![elector];
        assert!(null_reason(&view).contains("more than half"));
    }
}
