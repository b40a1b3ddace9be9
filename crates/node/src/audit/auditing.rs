//! An auditor's part: what is drawn is gathered, examined and reported.

use super::draw::Draw;
use super::shared_states::SharedStates;
use super::store::AuditStore;
use super::verifying::audit_rules;
use crate::context::Context;
use crate::validator_worker::ValidatorCommand;
use crate::worker::{Command, Worker};
use crate::{JournalEntry, NodeError};
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use templar_audit::{
    Answer, AuditFinding, Case, DataBeacons, EndState, Evidence, Fault, Finding, Outcome, PublishedPayload,
};
use templar_base::{PublicKey, Uid, Window};
use templar_bucket::{Bucket, BucketError, LargeObject, LargeSource, PART_BYTES, download_to_file};
use templar_gradient::Payload;
use templar_record::{FetchedPayload, fetch_sealed, open_payload};
use templar_round::{ObjectKey, SealedRecord};
use templar_trainer::{AssignedText, WindowData};

/// How far back the key's last payload is looked for.
pub(super) const LOOK_BACK_WINDOWS: u64 = 8;
/// The file of the data folder that an end state is downloaded into.
const INCOMING: &str = "audit.incoming";

/// What an auditor works with.
#[derive(Clone)]
pub(crate) struct Auditing {
    /// The thread that does steps.
    pub worker: Worker<ValidatorCommand>,
    /// Where findings go.
    pub store: Arc<AuditStore>,
}

/// Audits what this validator is drawn for, from window `first` on, for as long as the node runs.
pub(crate) async fn audit(context: Arc<Context>, auditing: Auditing, first: Window) {
    let mut window = first;
    loop {
        if let Err(error) = audit_window(&context, &auditing, window).await {
            context.journal.warn(format!("the audits of window {window} are not finished: {error}"));
        }
        window = window.next();
    }
}

async fn audit_window(context: &Arc<Context>, auditing: &Auditing, window: Window) -> Result<(), NodeError> {
    let draw = Draw::of(context, window).await?;
    let all = sealed(context, window).await?;
    for (sealed, neuron) in draw.drawn(context, &all) {
        let auditors = draw.auditors(context, neuron, &all).await?;
        if auditors.iter().all(|(uid, _)| *uid != context.uid) {
            continue;
        }
        let (published, payload) = match fetch(context, window, sealed).await {
            Ok(Some(fetched)) => fetched,
            Ok(None) => continue,
            Err(error) => {
                context.journal.warn(format!("uid {} is not audited in window {window}: {error}", sealed.uid));
                continue;
            }
        };
        let outcome = match gather(context, window, sealed, payload).await {
            Ok(case) => {
                let (rules, case) = (audit_rules(&context.run), Box::new(case));
                let request = move |reply| Command::Role(ValidatorCommand::Audit { rules, case, reply });
                let answer = auditing.worker.ask(request).await;
                answer.unwrap_or_else(|error| Outcome::Undecided(error.to_string()))
            }
            Err(Unready::Outcome(outcome)) => outcome,
            Err(Unready::Node(error)) => Outcome::Undecided(error.to_string()),
        };
        report(context, auditing, window, sealed.uid, published, outcome).await?;
    }
    Ok(())
}

pub(super) async fn sealed(context: &Context, window: Window) -> Result<Vec<SealedRecord>, NodeError> {
    let limit = context.run.layout.max_payload_bytes();
    Ok(context.network.record.sealed(&context.run.phases, window, limit).await?.records)
}

/// A payload that is revealed; none where it does not open, which is the admission checks' matter.
async fn fetch(
    context: &Arc<Context>,
    window: Window,
    sealed: &SealedRecord,
) -> Result<Option<(PublishedPayload, Payload)>, NodeError> {
    let object = fetch_sealed(&context.run, &context.network.record, window, sealed).await?;
    let (own, sealed, key) = (Arc::clone(context), *sealed, object.reveal().key().0);
    let opened = context.heavy.run(move || open_payload(&own.run, window, &sealed, &object)).await;
    let FetchedPayload::Opened { payload, .. } = opened else { return Ok(None) };
    let published = PublishedPayload { hotkey: sealed.hotkey, window, key, bytes: payload.encode() };
    Ok(Some((published, *payload)))
}

/// Why there is nothing to examine.
enum Unready {
    Outcome(Outcome),
    Node(NodeError),
}

impl From<NodeError> for Unready {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// Gathers all that an examination needs.
async fn gather(
    context: &Arc<Context>,
    window: Window,
    sealed: &SealedRecord,
    payload: Payload,
) -> Result<Case, Unready> {
    let previous = last_payload(context, window, sealed).await?;
    let states = payload.metadata().trajectory_len();
    let (answer, bucket) = await_answer(context, window, sealed, states).await?;
    let end = end_state(context, window, sealed.uid, &answer, bucket).await?;
    let parameters = context.run.layout.parameters();
    let of = |window| SharedStates::load(&context.folder, window, parameters);
    let missing = || Unready::Outcome(Outcome::Undecided("this node does not have the window's start".to_owned()));
    let shared = of(window)?.ok_or_else(missing)?;
    let before = window.previous().map(of).transpose()?.flatten();
    let data = text(context, window, &sealed.hotkey).await?;
    let previous_data = match window.previous() {
        Some(window) => Some(text(context, window, &sealed.hotkey).await?),
        None => None,
    };
    Ok(Case { payload, leaves: answer.leaves, previous, end, shared, before, data, previous_data })
}

/// The key's last payload before a window. One that does not open is passed over: nothing can be linked to it.
async fn last_payload(
    context: &Arc<Context>,
    window: Window,
    sealed_now: &SealedRecord,
) -> Result<Option<(PublishedPayload, Payload)>, NodeError> {
    let mut earlier = window;
    while let Some(before) = earlier.previous().filter(|before| window.windows_since(*before) <= LOOK_BACK_WINDOWS) {
        earlier = before;
        let own = sealed(context, earlier).await?.into_iter().find(|record| record.hotkey == sealed_now.hotkey);
        if let Some(own) = own
            && let Some(found) = fetch(context, earlier, &own).await?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Waits for the author's answer until its deadline.
async fn await_answer(
    context: &Context,
    window: Window,
    sealed: &SealedRecord,
    states: u64,
) -> Result<(Answer, Bucket), Unready> {
    let no_answer = |reason: String| Unready::Outcome(Outcome::NoAnswer(reason));
    let key = ObjectKey::Audit(window, sealed.uid).to_string();
    let (mut block, deadline) = (Draw::block(context, window), Draw::deadline(context, window));
    loop {
        let bucket = context.network.record.reader(sealed.hotkey).await.map_err(NodeError::from)?;
        match bucket.get(&key, Answer::max_bytes(states)).await {
            Ok(bytes) => {
                let answer = Answer::decode(&bytes).map_err(|error| no_answer(error.to_string()))?;
                if (answer.window, answer.uid) != (window, sealed.uid) {
                    return Err(no_answer("the answer is about another payload".to_owned()));
                }
                return Ok((answer, bucket));
            }
            Err(error) if block >= deadline => return Err(no_answer(error.to_string())),
            Err(_) => {
                block = block.plus(1);
                context.network.record.wait_for_block(block).await;
            }
        }
    }
}

/// The end state that an answer names.
async fn end_state(
    context: &Arc<Context>,
    window: Window,
    uid: Uid,
    answer: &Answer,
    bucket: Bucket,
) -> Result<Option<EndState>, Unready> {
    let Some(last) = answer.last else { return Ok(None) };
    let no_answer = |reason: String| Unready::Outcome(Outcome::NoAnswer(reason));
    let parameters = context.run.layout.parameters();
    let key = ObjectKey::AuditState(window, uid).to_string();
    let object = LargeObject { key: &key, hash: last.hash, max_bytes: EndState::coded_bytes(parameters) };
    let path = context.folder.path().join(INCOMING);
    let fetched: Result<_, BucketError> = download_to_file(&[bucket], &object, &path).await;
    fetched.map_err(|error| no_answer(format!("its state cannot be fetched: {error}")))?;
    let read = move || {
        let state = File::open(&path).map(|file| EndState::read(&mut BufReader::new(file), parameters));
        let _ = std::fs::remove_file(&path);
        state
    };
    match context.heavy.run(read).await {
        Ok(Ok(state)) => Ok(Some(state)),
        Ok(Err(error)) => Err(no_answer(error.to_string())),
        Err(error) => Err(Unready::Outcome(Outcome::Undecided(error.to_string()))),
    }
}

/// What a key trains on in a window, by the rules of that window.
pub(super) async fn text(context: &Context, window: Window, hotkey: &PublicKey) -> Result<WindowData, NodeError> {
    let beacon = context.network.record.beacon(context.run.phases.start(window)).await?;
    let assignment = context.data.assignments.assignment(window, hotkey, &beacon);
    let rules = context.rules(window).await?;
    let text = Arc::new(AssignedText { assignment, rule: context.data.batch_rule });
    let learning_rate = rules.genesis.inner.schedule.learning_rate(window);
    let inner_steps = u32::try_from(rules.inner_steps).unwrap_or(u32::MAX);
    Ok(WindowData { window, text, inner_steps, learning_rate })
}

/// Keeps what was found, and publishes the evidence where there is some.
async fn report(
    context: &Arc<Context>,
    auditing: &Auditing,
    window: Window,
    uid: Uid,
    payload: PublishedPayload,
    outcome: Outcome,
) -> Result<(), NodeError> {
    let finding = match outcome {
        Outcome::Agrees => Finding::Agrees,
        Outcome::NoAnswer(reason) => Finding::NoAnswer { reason },
        Outcome::Undecided(reason) => Finding::Undecided { reason },
        Outcome::Fault(fault) => {
            let transition = if let Fault::Step(step) = &fault { Some(step.number) } else { None };
            let words = fault.to_string();
            publish(context, window, uid, payload, fault).await?;
            Finding::Differs { fault: words, transition }
        }
    };
    context.journal.add(&JournalEntry::Audited { window, uid, finding: finding.clone() });
    auditing.store.add(AuditFinding { window, uid, finding }, &context.folder)
}

/// Puts evidence into this node's bucket, and into its folder.
async fn publish(
    context: &Arc<Context>,
    window: Window,
    uid: Uid,
    payload: PublishedPayload,
    fault: Fault,
) -> Result<(), NodeError> {
    let (record, phases) = (&context.network.record, &context.run.phases);
    let previous = match window.previous() {
        Some(before) => Some(record.beacon(phases.start(before)).await?),
        None => None,
    };
    let beacons = DataBeacons { own: record.beacon(phases.start(window)).await?, previous };
    let own = Arc::clone(context);
    let encode = move || {
        let bytes = Evidence { uid, payload, beacons, fault }.encode();
        own.folder.write(&format!("evidence.{window}.{uid}"), &[&bytes]).map(|()| bytes)
    };
    let bytes = context.heavy.run(encode).await?;
    let (key, name) = (ObjectKey::Evidence(window, uid).to_string(), ObjectKey::EvidenceName(window, uid).to_string());
    let bucket = &context.network.bucket;
    let hash = bucket.put_large(&key, LargeSource::Memory(bytes.into()), PART_BYTES).await?;
    // Last: who finds the name finds the rest.
    bucket.put(&name, hash.to_vec().into()).await?;
    Ok(())
}
