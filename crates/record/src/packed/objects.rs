//! What is packed of buckets.

use super::content::{Content, Listed};
use super::packing::gap;
use super::{PackOptions, PackStage};
use crate::checkpoint::{CheckpointManifest, MAX_MANIFEST_BYTES, fetch_manifest, majority_before, ratings_object};
use crate::evaluation::fetch_object;
use crate::transfer::{self, Wanted};
use crate::verdict::fetch_signed_verdict;
use crate::{PublicRecord, RecordError, Rules};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use templar_base::{ContentHash, PublicKey, Uid, Window};
use templar_bucket::{BucketError, ObjectEntry};
use templar_chain::MAX_ENTRIES;
use templar_round::{ObjectKey, Reveal, SealedRecord, applied_majority, leading_verdict};

/// How long the buckets may take for one object of a window.
const OBJECT_DEADLINE: Duration = Duration::from_secs(20);
/// How long one bucket may take for a list.
const LIST_DEADLINE: Duration = Duration::from_secs(5);
/// Buckets whose evidence and evaluations are looked for: as the dashboard.
const VALIDATORS: usize = 64;
/// The most bytes of all objects, well within what a content may hold.
const MOST_BYTES: u64 = 768 << 20;
/// The most bytes of an auditor's evidence against one payload.
const MAX_EVIDENCE_BYTES: u64 = 256 << 20;
/// The most lines about what is missing.
const MOST_GAPS: usize = 1_000;

/// Windows of which something could not be had, with the reason.
type Missing = BTreeMap<&'static str, BTreeMap<Window, String>>;

/// Takes objects out of buckets into a content.
pub(super) struct Collecting<'a> {
    pub(super) run: &'a Rules,
    /// Where objects are fetched.
    pub(super) record: &'a PublicRecord,
    /// What was packed of the ledger, which says what is to be fetched.
    pub(super) known: &'a PublicRecord,
    pub(super) content: &'a mut Content,
    pub(super) options: PackOptions,
}

/// Why an object is not there, in words that are the same for all that are missing for the same reason.
fn why(error: &RecordError) -> String {
    match error {
        RecordError::Bucket(BucketError::NotFound { .. }) => "its bucket does not have it".to_owned(),
        error => error.to_string(),
    }
}

/// An object, or nothing where its time is over.
async fn in_time<T>(deadline: Duration, asked: impl Future<Output = Result<T, RecordError>>) -> Result<T, RecordError> {
    let late = RecordError::Deadline { seconds: deadline.as_secs() };
    tokio::time::timeout(deadline, asked).await.unwrap_or(Err(late))
}

impl Collecting<'_> {
    /// Goes through the windows, the newest first, so that a full record lacks the oldest.
    pub(super) async fn collect(mut self, report: &mut dyn FnMut(PackStage)) -> Result<(), RecordError> {
        self.record.refresh_readers().await?;
        let windows: Vec<Window> = self.content.windows.keys().rev().copied().collect();
        let mut missing = Missing::new();
        for (done, window) in windows.iter().enumerate() {
            report(PackStage::Objects(done, windows.len()));
            if self.run.phases.end(*window) > self.content.ledger.head.number {
                continue;
            }
            self.verdict(*window, &mut missing).await?;
            if self.run.phases.is_checkpoint(*window) {
                self.manifest(*window, &mut missing).await?;
            }
            if self.options.with_objects {
                self.payloads(*window, &mut missing).await?;
                self.aggregate(*window, &mut missing).await?;
            }
        }
        if self.run.genesis.audit.rate_per_mille > 0 {
            self.evidence(&mut missing).await;
        }
        if self.run.genesis.evaluation.is_some() {
            self.evaluations(&mut missing).await;
        }
        self.tell(missing);
        Ok(())
    }

    /// Neighbouring windows that lack the same for the same reason are one gap.
    fn tell(&mut self, missing: Missing) {
        for (what, windows) in missing {
            let mut run: Option<(Window, Window, String)> = None;
            for (window, why) in windows {
                match &mut run {
                    Some((_, last, reason)) if last.next() == window && *reason == why => *last = window,
                    _ => {
                        let done = run.replace((window, window, why));
                        self.add_gap(what, done);
                    }
                }
            }
            self.add_gap(what, run);
        }
    }

    fn add_gap(&mut self, what: &str, run: Option<(Window, Window, String)>) {
        let gaps = &mut self.content.facts.gaps;
        if let Some((first, last, why)) = run.filter(|_| gaps.len() < MOST_GAPS) {
            gaps.push(gap(what, first, last, why.chars().take(200).collect::<String>()));
        }
    }

    fn keep(&mut self, owner: PublicKey, key: ObjectKey, bytes: Bytes) -> Result<(), String> {
        let all = self.content.objects.values().flat_map(BTreeMap::values);
        let held: u64 = all.map(|object| object.len() as u64).sum();
        if held + bytes.len() as u64 > MOST_BYTES {
            return Err(format!("the objects would have more than {} MiB", MOST_BYTES >> 20));
        }
        self.content.objects.entry(owner).or_default().insert(key.to_string(), bytes);
        Ok(())
    }

    async fn verdict(&mut self, window: Window, missing: &mut Missing) -> Result<(), RecordError> {
        let electors = self.known.electors(self.run, window).await?;
        let (_, votes) = self.known.votes(self.run, window, &electors).await?;
        let leading = leading_verdict(&electors, &votes, self.run.phases.open(window));
        let Some((hash, holders)) = leading else { return Ok(()) };
        let asked = fetch_signed_verdict(self.run, self.record, window, hash, &holders);
        let kept = match in_time(OBJECT_DEADLINE, asked).await {
            Ok(signed) => self.keep(signed.holder, ObjectKey::Verdict(window), signed.bytes),
            Err(error) => Err(why(&error)),
        };
        note(missing, "the verdict", window, kept);
        Ok(())
    }

    /// The manifest of a checkpoint that most of the stake agrees with, by the first validator that has it, and the ratings:
    /// whoever recomputes those of later windows begins with them.
    async fn manifest(&mut self, window: Window, missing: &mut Missing) -> Result<(), RecordError> {
        // What was reported before the first window of the record is not in it.
        if window.previous().is_none_or(|before| !self.content.windows.contains_key(&before)) {
            return Ok(());
        }
        let Some(majority) = majority_before(self.run, self.known, window).await? else { return Ok(()) };
        let mut kept = Err(RecordError::NotPublished { window }.to_string());
        for hotkey in majority.by {
            match in_time(OBJECT_DEADLINE, self.manifest_of(hotkey, window)).await {
                Ok((manifest, bytes)) if manifest.state == majority.applied.state => {
                    kept = self.keep(hotkey, ObjectKey::CheckpointManifest(window), bytes);
                    let ratings = self.ratings(hotkey, window, &manifest, majority.applied.record).await;
                    note(missing, "the checkpoint's ratings", window, ratings);
                    break;
                }
                Ok(_) => {}
                Err(error) => kept = Err(why(&error)),
            }
        }
        note(missing, "the checkpoint's manifest", window, kept);
        Ok(())
    }

    async fn manifest_of(&self, hotkey: PublicKey, window: Window) -> Result<(CheckpointManifest, Bytes), RecordError> {
        let manifest = fetch_manifest(self.run, self.record, window, hotkey).await?;
        let key = ObjectKey::CheckpointManifest(window).to_string();
        Ok((manifest, self.record.reader(hotkey).await?.get(&key, MAX_MANIFEST_BYTES).await?))
    }

    async fn ratings(
        &mut self,
        hotkey: PublicKey,
        window: Window,
        manifest: &CheckpointManifest,
        root: ContentHash,
    ) -> Result<(), String> {
        let not_agreed = RecordError::NotAgreed { what: "the ratings in the checkpoint", window };
        let wanted = ratings_object(manifest).filter(|wanted| wanted.hash == root).ok_or(not_agreed);
        let wanted = wanted.map_err(|error| why(&error))?;
        let fetched = in_time(OBJECT_DEADLINE, transfer::fetch(self.record, wanted, &[hotkey])).await;
        self.keep(hotkey, wanted.key, fetched.map_err(|error| why(&error))?.content)
    }

    async fn payloads(&mut self, window: Window, missing: &mut Missing) -> Result<(), RecordError> {
        let most = self.run.layout.max_payload_bytes();
        let sealed = self.known.sealed(&self.run.phases, window, most).await?;
        for sealed in &sealed.records {
            let kept = match in_time(OBJECT_DEADLINE, self.payload(window, sealed)).await {
                Ok((key, object)) => {
                    let kept = self.keep(sealed.hotkey, ObjectKey::Reveal(window), key);
                    kept.and_then(|()| self.keep(sealed.hotkey, ObjectKey::Payload(window), object))
                }
                Err(error) => Err(why(&error)),
            };
            note(missing, "a payload", window, kept);
        }
        Ok(())
    }

    /// The key and the sealed object, as the miner's bucket has them.
    async fn payload(&self, window: Window, sealed: &SealedRecord) -> Result<(Bytes, Bytes), RecordError> {
        let bucket = self.record.reader(sealed.hotkey).await?;
        let key = bucket.get(&ObjectKey::Reveal(window).to_string(), Reveal::MAX_BYTES as u64).await?;
        let (hash, max_bytes) = (sealed.commitment.digest, u64::from(sealed.commitment.bytes));
        let wanted = Wanted { key: ObjectKey::Payload(window), hash, max_bytes };
        Ok((key, transfer::fetch(self.record, wanted, &[sealed.hotkey]).await?.content))
    }

    async fn aggregate(&mut self, window: Window, missing: &mut Missing) -> Result<(), RecordError> {
        let electors = self.known.electors(self.run, window).await?;
        let majority = applied_majority(&electors, &self.known.reports(window).await?);
        let Some(majority) = majority else { return Ok(()) };
        let Some(hash) = majority.applied.aggregate else { return Ok(()) };
        let max_bytes = self.run.layout.max_aggregate_bytes(usize::from(u8::MAX)) as u64;
        let wanted = Wanted { key: ObjectKey::Aggregate(window), hash, max_bytes };
        let kept = match in_time(OBJECT_DEADLINE, transfer::fetch(self.record, wanted, &majority.by)).await {
            Ok(fetched) => match majority.by.first() {
                Some(holder) => self.keep(*holder, ObjectKey::Aggregate(window), fetched.content),
                None => Ok(()),
            },
            Err(error) => Err(why(&error)),
        };
        note(missing, "the aggregate", window, kept);
        Ok(())
    }

    fn validators(&self) -> Vec<PublicKey> {
        self.content.ledger.metagraph.validators().map(|neuron| neuron.hotkey).take(VALIDATORS).collect()
    }

    /// What validators found when they put the run's tasks to the model.
    async fn evaluations(&mut self, missing: &mut Missing) {
        let Some(last) = self.content.facts.last else { return };
        for validator in self.validators() {
            let kept = match in_time(OBJECT_DEADLINE, fetch_object(self.run, self.record, validator)).await {
                Ok(Some((_, bytes))) => self.keep(validator, ObjectKey::Evaluations, bytes),
                Ok(None) => Ok(()),
                Err(error) => Err(format!("{}: {}", validator.short(), why(&error))),
            };
            note(missing, "evaluations", last, kept);
        }
    }

    /// What auditors list in the windows whose objects are kept; with objects also the evidence itself.
    async fn evidence(&mut self, missing: &mut Missing) {
        let Some(last) = self.content.facts.last else { return };
        let from = self.run.phases.oldest_kept(last);
        for auditor in self.validators() {
            let mut listed = Vec::new();
            for window in from.until(last.next()) {
                match in_time(LIST_DEADLINE, self.evidence_of(auditor, window)).await {
                    Ok(found) => listed.extend(found.into_iter().map(|own| (window, own))),
                    Err(error) => {
                        note(missing, "evidence", window, Err(format!("{}: {}", auditor.short(), why(&error))));
                        break;
                    }
                }
            }
            // A bucket that stalls in the middle told what it told.
            let of_bucket = self.content.lists.entry(auditor).or_default();
            of_bucket.extend(listed.iter().map(|(_, (_, own))| own.clone()));
            of_bucket.sort_by(|a, b| a.key.cmp(&b.key));
            if self.options.with_objects {
                for (window, (uid, own)) in listed {
                    let kept = self.evidence_object(auditor, window, uid, own.bytes).await;
                    note(missing, "evidence", window, kept);
                }
            }
        }
    }

    async fn evidence_of(&self, auditor: PublicKey, window: Window) -> Result<Vec<(Uid, Listed)>, RecordError> {
        let bucket = self.record.reader(auditor).await?;
        let prefix = format!("{}evidence", ObjectKey::window_prefix(window));
        let page = bucket.list(&prefix, None, MAX_ENTRIES as usize).await?;
        let of = |object: ObjectEntry| {
            let uid: Uid = object.key.rsplit('/').next()?.parse().ok()?;
            let is_evidence = object.key == ObjectKey::Evidence(window, uid).to_string();
            is_evidence.then_some((uid, Listed { key: object.key, bytes: object.size }))
        };
        Ok(page.objects.into_iter().filter_map(of).collect())
    }

    async fn evidence_object(
        &mut self,
        auditor: PublicKey,
        window: Window,
        uid: Uid,
        bytes: u64,
    ) -> Result<(), String> {
        let asked = async {
            let bucket = self.record.reader(auditor).await?;
            let name = bucket.get(&ObjectKey::EvidenceName(window, uid).to_string(), 32).await?;
            let hash = <[u8; 32]>::try_from(name.as_ref()).map(ContentHash::new);
            let hash = hash.map_err(|_| RecordError::NotAgreed { what: "the name of evidence", window })?;
            let wanted =
                Wanted { key: ObjectKey::Evidence(window, uid), hash, max_bytes: bytes.min(MAX_EVIDENCE_BYTES) };
            Ok((name, transfer::fetch(self.record, wanted, &[auditor]).await?.content))
        };
        let (name, object) = in_time(OBJECT_DEADLINE, asked).await.map_err(|error| why(&error))?;
        self.keep(auditor, ObjectKey::EvidenceName(window, uid), name)?;
        self.keep(auditor, ObjectKey::Evidence(window, uid), object)
    }
}

fn note(missing: &mut Missing, what: &'static str, window: Window, kept: Result<(), String>) {
    if let Err(why) = kept {
        missing.entry(what).or_default().insert(window, why);
    }
}
