//! What is to hold for each document of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use templar_base::{Keypair, RunId, Window};
use templar_gauntlet::Verdict;
use templar_record::{CheckpointManifest, PackedRecord};
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

/// What somebody hands out as the record of a run. One that is read is written and read again as itself.
pub fn record_file(bytes: &[u8]) {
    let Ok(read) = PackedRecord::from_bytes(bytes) else { return };
    let again = PackedRecord::from_bytes(&read.to_bytes().expect("what was read is written"));
    let again = again.expect("a record that was written is read again");
    assert_eq!((again.root(), again.index()), (read.root(), read.index()), "a record has one form");
}
