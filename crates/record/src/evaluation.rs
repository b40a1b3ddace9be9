//! What validators found when they put the tasks of the genesis to the model: one signed object in each one's bucket, with
//! the last results. It decides nothing, and anybody can do it again with the checkpoint of the window.

use crate::{PublicRecord, RecordError, Rules};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use templar_base::{Alpha, ContentHash, EvaluationTask, PublicKey, RunId, StateHash, Uid, Window};
use templar_bucket::BucketError;
use templar_round::{ObjectKey, Signed, SignedError};
use tokio::task::JoinSet;

/// What the signature of a result stands for.
pub const EVALUATION_PURPOSE: &str = "evaluation";
/// Results that a validator keeps in its bucket.
pub const KEPT_EVALUATIONS: usize = 64;
/// Bytes of the object: a result of sixteen tasks has some eight kilobytes.
pub(crate) const MAX_EVALUATIONS_BYTES: u64 = 1 << 20;
/// Buckets that are asked at a time, and how long each has.
const PARALLEL: usize = 8;
const BUCKET_DEADLINE: Duration = Duration::from_secs(3);
/// Electors whose buckets are asked.
const MOST_BUCKETS: usize = 64;

/// A figure with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Its standard error; none of a single question.
    pub stderr: Option<f64>,
}

impl Figure {
    fn is_within(&self, low: f64, high: f64) -> bool {
        // What is no number is in no range; the document cannot hold one either.
        (low..=high).contains(&self.value) && self.stderr.is_none_or(|error| (0.0..=f64::MAX).contains(&error))
    }
}

/// The figures of one task; docs/evaluation.md defines them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// Its name in the genesis.
    pub name: String,
    /// Hash of its file of questions.
    pub questions: ContentHash,
    /// How many questions it has.
    pub count: u64,
    /// Accuracy.
    pub acc: Figure,
    /// Accuracy by the likelihood of a byte; none where there is no choice.
    pub acc_norm: Option<Figure>,
    /// Perplexity of the answers, where there is no choice.
    pub perplexity: Option<Figure>,
    /// Bits that a byte of a right answer costs.
    pub bits_per_byte: Figure,
}

impl TaskResult {
    fn is_of(&self, task: &EvaluationTask) -> bool {
        let is_named = self.name == task.name && self.questions == task.questions;
        // A question has some bytes.
        let is_counted = (1..=task.bytes).contains(&self.count);
        let is_share = |figure: &Figure| figure.is_within(0.0, 1.0);
        is_named
            && is_counted
            && is_share(&self.acc)
            && self.acc_norm.as_ref().is_none_or(is_share)
            && self.perplexity.is_none_or(|figure| figure.is_within(0.0, f64::MAX))
            && self.bits_per_byte.is_within(0.0, f64::MAX)
    }
}

/// What a validator found at one state of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationResult {
    /// The run.
    pub run: RunId,
    /// The window whose start it is.
    pub window: Window,
    /// State root there, of the parameters and of the outer step's momentum where there is one.
    pub state: StateHash,
    /// What it was computed with. Figures of the same state in the same exact class are the same in bits.
    pub numerics: String,
    /// The figures, in the order of the genesis.
    pub tasks: Vec<TaskResult>,
}

impl EvaluationResult {
    /// Whether it can be a result of this run: everything that does not take the model is checked.
    fn is_of(&self, run: &Rules) -> bool {
        let Some(rule) = &run.genesis.evaluation else { return false };
        self.run == run.id
            && rule.is_due(self.window)
            && run.genesis.allows_numerics(&self.numerics)
            && self.tasks.len() == rule.tasks.len()
            && self.tasks.iter().zip(&rule.tasks).all(|(own, task)| own.is_of(task))
    }
}

/// The results in a validator's bucket, by window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluations(Vec<Signed<EvaluationResult>>);

impl Evaluations {
    /// Reads what `author` put into its bucket: at most a megabyte and [`KEPT_EVALUATIONS`] results, each of this run and
    /// signed, in the order of their windows.
    pub fn from_bytes(bytes: &[u8], run: &Rules, author: PublicKey) -> Result<Self, RecordError> {
        let wrong = |what| RecordError::Evaluations { hotkey: author, what };
        if bytes.len() as u64 > MAX_EVALUATIONS_BYTES {
            return Err(wrong("they have too many bytes"));
        }
        let results: Vec<Signed<EvaluationResult>> = serde_json::from_slice(bytes).map_err(SignedError::from)?;
        if results.len() > KEPT_EVALUATIONS {
            return Err(wrong("there are too many"));
        }
        if !results.is_sorted_by(|a, b| a.body.window < b.body.window) {
            return Err(wrong("they are not in the order of windows"));
        }
        for signed in &results {
            if !signed.body.is_of(run) {
                return Err(wrong("one has other tasks or figures than any of this run"));
            }
            signed.check(run.id, signed.body.window, EVALUATION_PURPOSE, author)?;
        }
        Ok(Self(results))
    }

    /// Adds a result, in the place of an earlier one of the window; of too many the oldest go.
    pub fn add(&mut self, signed: Signed<EvaluationResult>) {
        self.0.retain(|own| own.body.window != signed.body.window);
        self.0.push(signed);
        self.0.sort_by_key(|own| own.body.window);
        let excess = self.0.len().saturating_sub(KEPT_EVALUATIONS);
        self.0.drain(..excess);
    }

    /// The object for the bucket.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SignedError> {
        Ok(serde_json::to_vec(&self.0)?)
    }

    /// The results, by window.
    pub fn results(&self) -> impl DoubleEndedIterator<Item = &EvaluationResult> {
        self.0.iter().map(|signed| &signed.body)
    }
}

/// The results in a validator's bucket; none where there is no object.
pub async fn fetch_evaluations(
    run: &Rules,
    record: &PublicRecord,
    hotkey: PublicKey,
) -> Result<Evaluations, RecordError> {
    Ok(fetch_object(run, record, hotkey).await?.map(|(results, _)| results).unwrap_or_default())
}

/// As [`fetch_evaluations`], with the object itself.
pub(crate) async fn fetch_object(
    run: &Rules,
    record: &PublicRecord,
    hotkey: PublicKey,
) -> Result<Option<(Evaluations, Bytes)>, RecordError> {
    let bucket = record.reader(hotkey).await?;
    match bucket.get(&ObjectKey::Evaluations.to_string(), MAX_EVALUATIONS_BYTES).await {
        Ok(bytes) => Ok(Some((Evaluations::from_bytes(&bytes, run, hotkey)?, bytes))),
        Err(BucketError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How a validator's result stands beside those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationStanding {
    /// The result with the most stake behind it.
    Leading,
    /// Another result than the one with the most stake behind it in the same numerics class. Of the same state one of the
    /// two is wrong.
    Differs,
    /// The figures of another state than most of the stake agreed on.
    OtherState,
}

/// A validator's result in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationView {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its lasting stake, in rao.
    pub stake_rao: Alpha,
    /// How it stands beside the others.
    pub standing: EvaluationStanding,
    /// What it found.
    #[serde(flatten)]
    pub result: EvaluationResult,
}

/// An elector whose bucket is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) uid: Uid,
    pub(crate) hotkey: PublicKey,
    pub(crate) stake: Alpha,
}

/// What these electors found at the start of a window, as far as their buckets answer, by uid. `agreed` is the state that
/// most of the stake reported, where that is known.
pub(crate) async fn evaluations_of(
    (run, record): (&Rules, &PublicRecord),
    window: Window,
    electors: &[Asked],
    agreed: Option<StateHash>,
) -> Vec<EvaluationView> {
    let mut waiting = electors.iter().copied().take(MOST_BUCKETS);
    let (mut tasks, mut found) = (JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < PARALLEL
            && let Some(asked) = waiting.next()
        {
            let (run, record) = (run.clone(), record.clone());
            tasks.spawn(async move {
                let fetched = tokio::time::timeout(BUCKET_DEADLINE, fetch_evaluations(&run, &record, asked.hotkey));
                // Who does not answer, or has nonsense in its bucket, has no result.
                let fetched = fetched.await.ok()?.ok()?;
                let result = fetched.results().find(|result| result.window == window)?.clone();
                let (Asked { uid, hotkey, stake: stake_rao }, standing) = (asked, EvaluationStanding::Leading);
                Some(EvaluationView { uid, hotkey, stake_rao, standing, result })
            });
        }
        match tasks.join_next().await {
            Some(view) => found.extend(view.ok().flatten()),
            None => break,
        }
    }
    found.sort_by_key(|view| view.uid);
    compare(&mut found, agreed);
    found
}

/// Marks what differs.
fn compare(views: &mut [EvaluationView], agreed: Option<StateHash>) {
    let is_agreed = |view: &EvaluationView| agreed.is_none_or(|agreed| agreed == view.result.state);
    let classes: BTreeSet<String> = views.iter().map(|view| view.result.numerics.clone()).collect();
    let leading: Vec<EvaluationResult> = classes
        .iter()
        .filter_map(|class| {
            let of_class = || views.iter().filter(|view| is_agreed(view) && view.result.numerics == *class);
            let behind = |result: &EvaluationResult| -> u128 {
                let same = of_class().filter(|view| view.result == *result);
                same.map(|view| u128::from(view.stake_rao.as_rao())).sum()
            };
            // Of equal stakes the lowest uid's.
            let best = of_class().rev().max_by_key(|view| behind(&view.result))?;
            Some(best.result.clone())
        })
        .collect();
    for view in views {
        view.standing = match is_agreed(view) {
            false => EvaluationStanding::OtherState,
            true if leading.contains(&view.result) => EvaluationStanding::Leading,
            true => EvaluationStanding::Differs,
        };
    }
}

#[cfg(test)]
mod tests;
