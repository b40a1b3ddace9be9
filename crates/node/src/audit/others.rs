//! Evidence of other auditors: what they publish counts once this node has verified it and seen on the ledger that it is about its
//! author.

use super::auditing::{Auditing, LOOK_BACK_WINDOWS, sealed, text};
use super::draw::Draw;
use super::job::EvidenceRequest;
use super::verifying::audit_rules;
use crate::context::Context;
use crate::holders::time_for;
use crate::validator_worker::ValidatorCommand;
use crate::worker::Command;
use crate::{JournalEntry, NodeError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use templar_audit::{AuditFinding, Evidence, Fault, Finding, LinkFault, NotProven, Proof, PublishedPayload};
use templar_base::{PublicKey, StateHash, Uid, Window};
use templar_bucket::{BucketError, LargeObject, download};
use templar_round::{ObjectKey, SealedRecord, applied_majority};

/// Evidence on a window's payloads is looked for when answers were due, and again in the windows after; this is how often in all.
const LOOKS: u64 = 4;
/// How long a bucket may take to say that it has some.
const NAME_DEADLINE: Duration = Duration::from_secs(5);
/// Objects that are fetched and verified in a window, at most: each takes a step of the model.
const MOST_IN_A_WINDOW: usize = 8;
/// An auditor whose evidence does not verify is not listened to for this number of windows.
const UNHEARD_WINDOWS: u64 = 8;

/// What was looked at before.
#[derive(Default)]
struct Heard {
    /// Window, author, auditor: each once.
    seen: BTreeSet<(Window, Uid, Uid)>,
    /// Auditors by their key, and the window up to which they are not listened to.
    unheard: BTreeMap<PublicKey, Window>,
}

/// Takes up what other auditors find, from window `first` on, for as long as the node runs.
pub(crate) async fn take_up(context: Arc<Context>, auditing: Auditing, first: Window) {
    let (mut heard, mut window) = (Heard::default(), first);
    loop {
        // After a long absence there is nothing to be made good: votes mark what lies a few windows back.
        if let Ok(head) = context.network.record.chain.head().await {
            window = window.max(context.run.phases.window_of(head.number).unwrap_or_default().minus(LOOKS));
        }
        context.network.record.wait_for_block(Draw::deadline(&context, window).plus(1)).await;
        let mut left = MOST_IN_A_WINDOW;
        for past in window.minus(LOOKS - 1).until(window.next()) {
            if let Err(error) = look(&context, &auditing, &mut heard, past, &mut left).await {
                context.journal.warn(format!("evidence on window {past} is not read: {error}"));
            }
        }
        heard.seen.retain(|(past, ..)| past.plus(LOOKS) > window);
        heard.unheard.retain(|_, until| *until > window);
        window = window.next();
    }
}

/// Looks for evidence on one window's payloads with their auditors. These follow from the ledger, two of a payload, so that nobody
/// else is asked.
async fn look(
    context: &Arc<Context>,
    auditing: &Auditing,
    heard: &mut Heard,
    window: Window,
    left: &mut usize,
) -> Result<(), NodeError> {
    let draw = Draw::of(context, window).await?;
    let all = sealed(context, window).await?;
    // A bucket that does not answer is asked once.
    let mut away = BTreeSet::new();
    for (author, neuron) in draw.drawn(context, &all) {
        for (auditor, hotkey) in draw.auditors(context, neuron, &all).await? {
            let is_known = auditing.store.is_fault(window, author.uid) || auditor == context.uid;
            let is_heard = heard.seen.contains(&(window, author.uid, auditor)) || heard.unheard.contains_key(&hotkey);
            if is_known || is_heard || away.contains(&hotkey) || *left == 0 {
                continue;
            }
            let evidence = match fetch(context, window, author.uid, hotkey).await {
                Ok(Some(evidence)) => evidence,
                Ok(None) => continue,
                Err(_) => {
                    away.insert(hotkey);
                    continue;
                }
            };
            *left -= 1;
            heard.seen.insert((window, author.uid, auditor));
            match verify(context, auditing, window, author, evidence).await {
                Ok(proof) => take(context, auditing, window, (author.uid, auditor), proof)?,
                Err(Doubt::False(reason)) => {
                    heard.unheard.insert(hotkey, window.plus(UNHEARD_WINDOWS));
                    context.journal.warn(format!(
                        "validator {auditor} has published evidence against uid {} in window {window} that does not verify, and \
                         is not listened to for {UNHEARD_WINDOWS} windows: {reason}",
                        author.uid
                    ));
                }
                Err(Doubt::Unclear(reason)) => {
                    // This node may know more in the next window.
                    heard.seen.remove(&(window, author.uid, auditor));
                    context.journal.warn(format!(
                        "evidence of validator {auditor} against uid {} in window {window} is left aside: {reason}",
                        author.uid
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The evidence that an auditor has published on a payload; none where it has none.
async fn fetch(
    context: &Context,
    window: Window,
    author: Uid,
    auditor: PublicKey,
) -> Result<Option<Vec<u8>>, NodeError> {
    let bucket = context.network.record.reader(auditor).await?;
    let name = ObjectKey::EvidenceName(window, author).to_string();
    let late = |seconds| NodeError::Deadline { what: "evidence", seconds };
    let named = tokio::time::timeout(NAME_DEADLINE, bucket.get(&name, 32)).await;
    let named = match named.map_err(|_| late(NAME_DEADLINE.as_secs()))? {
        Err(BucketError::NotFound { .. }) => return Ok(None),
        named => named?,
    };
    let Ok(hash) = <[u8; 32]>::try_from(&named[..]) else { return Ok(None) };
    let max_bytes = Evidence::max_bytes(&context.run.layout);
    let key = ObjectKey::Evidence(window, author).to_string();
    let object = LargeObject { key: &key, hash, max_bytes };
    let (sources, time) = ([bucket], time_for(max_bytes));
    let fetched = tokio::time::timeout(time, download(&sources, &object)).await.map_err(|_| late(time.as_secs()))?;
    Ok(Some(fetched?.content.to_vec()))
}

/// Why evidence is not taken up.
enum Doubt {
    /// It proves nothing: its auditor is at fault.
    False(String),
    /// This node cannot say.
    Unclear(String),
}

impl From<NodeError> for Doubt {
    fn from(error: NodeError) -> Self {
        Self::Unclear(error.to_string())
    }
}

/// Does the one step, compression or comparison that evidence is about, with the text that the ledger's beacons give, and looks
/// up what it takes from the ledger.
async fn verify(
    context: &Arc<Context>,
    auditing: &Auditing,
    window: Window,
    author: &SealedRecord,
    evidence: Vec<u8>,
) -> Result<Proof, Doubt> {
    let (own, sealed) = (Arc::clone(context), *author);
    let read = move || {
        let evidence = Evidence::decode(&evidence).map_err(|error| Doubt::False(error.to_string()))?;
        let is_about = evidence.uid == sealed.uid && is_committed(&own, &evidence.payload, window, &sealed);
        is_about.then_some(evidence).ok_or_else(|| Doubt::False("it is about another payload".to_owned()))
    };
    let evidence = context.heavy.run(read).await?;
    if let Fault::Link(fault) = &evidence.fault
        && let Some(reason) = unfounded(context, window, author, fault).await?
    {
        return Err(Doubt::Unclear(reason.to_owned()));
    }
    let data = text(context, window, &author.hotkey).await?;
    let previous = match window.previous() {
        Some(before) => Some(text(context, before, &author.hotkey).await?),
        None => None,
    };
    let request = Box::new(EvidenceRequest { rules: audit_rules(&context.run), evidence, data, previous });
    let verified = auditing.worker.ask(move |reply| Command::Role(ValidatorCommand::Verify { request, reply }));
    verified.await?.map_err(|error| match error {
        // The text or the engine may be this node's own fault.
        NotProven::Step(_) => Doubt::Unclear(error.to_string()),
        error => Doubt::False(error.to_string()),
    })
}

/// Whether a published payload is the one that a key has committed to. It is sealed again: not for an async thread.
fn is_committed(context: &Context, payload: &PublishedPayload, window: Window, sealed: &SealedRecord) -> bool {
    (payload.hotkey, payload.window) == (sealed.hotkey, window)
        && payload.commitment(context.run.id) == sealed.commitment
}

/// What a false start takes from the ledger and the ledger does not show, if anything: that the payload before is the key's last
/// one, and where the window before started.
async fn unfounded(
    context: &Arc<Context>,
    window: Window,
    author: &SealedRecord,
    fault: &LinkFault,
) -> Result<Option<&'static str>, NodeError> {
    // A payload in between, even one that does not open, leaves it to those who have all of them.
    let first = match &fault.previous {
        Some(previous) if window.windows_since(previous.window) > LOOK_BACK_WINDOWS || previous.window >= window => {
            return Ok(Some("its payload before is too old"));
        }
        Some(previous) => previous.window,
        None => context.run.phases.oldest_kept(window),
    };
    for past in first.until(window) {
        let committed = sealed(context, past).await?.into_iter().find(|own| own.hotkey == author.hotkey);
        match (committed, &fault.previous) {
            (Some(committed), Some(previous)) if previous.window == past => {
                let (own, previous) = (Arc::clone(context), previous.clone());
                if !context.heavy.run(move || is_committed(&own, &previous, past, &committed)).await {
                    return Ok(Some("its payload before is not the committed one"));
                }
            }
            (Some(_), _) => return Ok(Some("the key has committed to another payload in between")),
            (None, Some(previous)) if previous.window == past => {
                return Ok(Some("its payload before is not on the ledger"));
            }
            (None, _) => {}
        }
    }
    let Some(before) = &fault.before else { return Ok(None) };
    let named = before.state_root(context.run.layout.parameters());
    let agreed = match window.previous() {
        Some(before) => agreed_start(context, before).await?,
        None => None,
    };
    let is_agreed = named.is_some() && named == agreed;
    Ok((!is_agreed).then_some("the ledger does not show its state of the window before"))
}

/// The state at a window's start that most of the stake has reported.
async fn agreed_start(context: &Context, window: Window) -> Result<Option<StateHash>, NodeError> {
    let Some(before) = window.previous() else { return Ok(Some(context.run.genesis.first_state)) };
    let record = &context.network.record;
    let electors = record.electors(&context.run, before).await?;
    let majority = applied_majority(&electors, &record.reports(before).await?);
    Ok(majority.map(|majority| majority.applied.state))
}

/// Keeps what was proven, for this validator's votes.
fn take(
    context: &Context,
    auditing: &Auditing,
    window: Window,
    (uid, auditor): (Uid, Uid),
    Proof { fault, .. }: Proof,
) -> Result<(), NodeError> {
    context.journal.add(&JournalEntry::EvidenceConfirmed { window, uid, auditor, fault: fault.clone() });
    let finding = Finding::Differs { fault, transition: None };
    auditing.store.add(AuditFinding { window, uid, finding }, &context.folder)
}
