//! What is to hold for each document of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::LazyLock;
use templar_base::{
    ContentHash, CorpusHashes, EvaluationRule, EvaluationTask, Genesis, Keypair, ModelConfig, RunId, Window,
};
use templar_gauntlet::Verdict;
use templar_record::{CheckpointManifest, EVALUATION_PURPOSE, EvaluationResult, Evaluations, PackedRecord, Rules};
use templar_round::Signed;

/// Reads a body as somebody else's document and as its own; one that parses is written and read again as itself.
fn document<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8], purpose: &str) -> Option<T> {
    let (run, window, author) = (RunId::new([1; 32]), Window(3), Keypair::from_seed([2; 32]));
    let _ = Signed::<T>::from_bytes(bytes, run, window, purpose, author.public());
    let body: T = serde_json::from_slice(bytes).ok()?;
    let signed = Signed::new(body, run, window, purpose, &author).ok()?;
    let object = signed.to_bytes().expect("what was read is written");
    let again = Signed::<T>::from_bytes(&object, run, window, purpose, author.public());
    let again = again.expect("a document that was written is read again");
    assert_eq!(again.hash().ok(), signed.hash().ok(), "a document has one hash");
    Some(again.body)
}

/// What a validator's bucket offers as the manifest of a checkpoint.
pub fn checkpoint(bytes: &[u8]) {
    let Some(manifest) = document::<CheckpointManifest>(bytes, "checkpoint") else { return };
    let of_all = manifest.files.iter().map(|file| u128::from(file.bytes)).sum::<u128>();
    assert_eq!(manifest.total_bytes(), u64::try_from(of_all).ok());
}

/// What a validator's bucket offers as its verdict.
pub fn verdict(bytes: &[u8]) {
    let Some(verdict) = document::<Verdict>(bytes, "verdict") else { return };
    let _ = verdict.findings.check();
    let _ = verdict.tokens();
    verdict.miners.iter().for_each(|miner| assert!(!miner.standing.describe().is_empty()));
}

/// What a validator's bucket offers as its evaluations. A result alone is read as well, signed as its own, so that what is
/// behind the signature is reached.
pub fn evaluations(bytes: &[u8]) {
    let author = Keypair::from_seed([2; 32]);
    let read = |bytes: &[u8]| Evaluations::from_bytes(bytes, &TASKS, author.public());
    let _ = read(bytes);
    let Some(mut result) = document::<EvaluationResult>(bytes, EVALUATION_PURPOSE) else { return };
    result.run = TASKS.id;
    let window = result.window;
    let Ok(signed) = Signed::new(result, TASKS.id, window, EVALUATION_PURPOSE, &author) else { return };
    let mut one = Evaluations::default();
    one.add(signed);
    let Ok(object) = one.to_bytes() else { return };
    if let Ok(accepted) = read(&object) {
        assert_eq!(accepted, one, "what was read is what was written");
        for task in accepted.results().flat_map(|result| &result.tasks) {
            assert!((0.0..=1.0).contains(&task.acc.value) && task.count > 0);
        }
    }
}

/// A run with a task.
pub static TASKS: LazyLock<Rules> = LazyLock::new(|| {
    let small = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
    let task = EvaluationTask { name: "a".to_owned(), questions: ContentHash::default(), bytes: 1_000 };
    let evaluation = Some(EvaluationRule { every_windows: 3, tasks: vec![task] });
    Rules::new(Genesis { evaluation, ..small }).expect("the rules are sound")
});

/// What somebody hands out as the record of a run. One that is read is written and read again as itself.
pub fn record_file(bytes: &[u8]) {
    let Ok(read) = PackedRecord::from_bytes(bytes) else { return };
    let again = PackedRecord::from_bytes(&read.to_bytes().expect("what was read is written"));
    let again = again.expect("a record that was written is read again");
    assert_eq!((again.root(), again.index()), (read.root(), read.index()), "a record has one form");
}
