//! A corpus from its sources to its batches, and every way in which its files can be wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use templar_base::{Beacon, ContentHash, PublicKey, RunId, Window};
use templar_corpus::{
    AssignmentError, AssignmentRule, BuildError, BuildProgress, Corpus, CorpusBuilder, CorpusError, Manifest,
    ManifestError, PlanError, Source, SourceError, Tokenizer,
};

const RULE: AssignmentRule = AssignmentRule {
    sequence_length: 16,
    sequences_per_batch: 4,
    batches_per_window: 5,
    span_sequences: 200,
    span_windows: 3,
    evaluation_percent: 2,
    least_evaluation: 32,
};

fn build(folder: &Path, seed: u64) -> Manifest {
    let text = Source::Synthetic { seed, bytes: 150_000 };
    CorpusBuilder::new().source(text, "synthetic", "made here").vocab_size(400).build(folder, |_| {}).unwrap()
}

fn names_and_bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn the_same_text_gives_the_same_folder_for_any_thread_count() {
    let parent = tempfile::tempdir().unwrap();
    let folders = [1, 3].map(|threads| {
        let folder = parent.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(&folder, 1));
        folder
    });
    assert_eq!(names_and_bytes(&folders[0]), names_and_bytes(&folders[1]));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2, "no temporary folder is left");
    let other = parent.path().join("other");
    assert_ne!(build(&other, 2).hash(), Corpus::open(&folders[0]).unwrap().manifest_hash());
}

#[test]
fn an_opened_corpus_holds_the_text() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    let mut reports = Vec::new();
    let documents = templar_corpus::synthetic(5, 120_000);
    let manifest = CorpusBuilder::new()
        .source(Source::Documents(Arc::new(documents.clone())), "tales", "made here")
        .vocab_size(400)
        .build(&folder, |progress| reports.push(progress))
        .unwrap();
    let bytes: u64 = documents.iter().map(|document| document.len() as u64).sum();
    let tokens = manifest.train_tokens + manifest.held_out_tokens;
    assert_eq!(reports.last(), Some(&BuildProgress::Encoding { bytes, total_bytes: bytes, tokens }));
    assert_eq!((manifest.sources[0].documents, manifest.sources[0].bytes), (documents.len() as u64, bytes));

    let corpus = Corpus::open(&folder).unwrap();
    assert_eq!(corpus.manifest(), &manifest);
    assert_eq!(corpus.manifest_hash(), manifest.hash());
    assert_eq!(corpus.token_bytes(), 2 * tokens);
    let held_out = corpus.held_out_tokens() as f64 / tokens as f64;
    assert!((0.02..0.12).contains(&held_out), "{held_out}");

    // Every document but the one that was cut lies whole in one part, between two ends of text.
    let end_of_text = corpus.tokenizer().end_of_text();
    let train = corpus.held_out_sequences(1, corpus.held_out_tokens() as usize - 1).unwrap().concat();
    let parts: BTreeSet<String> = train
        .split(|token| *token == end_of_text)
        .map(|document| corpus.tokenizer().decode(document).unwrap())
        .collect();
    let whole = parts.iter().filter(|part| documents.contains(part)).count();
    assert!(whole + 2 >= parts.len(), "{whole} of {} are whole", parts.len());
}

#[test]
fn every_damage_has_its_name() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    let manifest = build(&folder, 1);
    let shard = folder.join(manifest.train[0].file_name());
    let good = fs::read(&shard).unwrap();

    fs::write(&shard, &good[..good.len() - 7]).unwrap();
    let error = Corpus::open(&folder).unwrap_err();
    assert!(matches!(error, CorpusError::Truncated { actual, expected, .. } if actual + 7 == expected), "{error}");

    let mut flipped = good.clone();
    flipped[100] ^= 1;
    fs::write(&shard, &flipped).unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::Damaged { .. })));

    fs::remove_file(&shard).unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::MissingObject { .. })));
    fs::write(&shard, &good).unwrap();
    Corpus::open(&folder).unwrap();

    let other = Tokenizer::train(&templar_corpus::synthetic(9, 60_000), 400).unwrap();
    let tokenizer = fs::read(folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("tokenizer.json"), other.to_json()).unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::WrongTokenizer { .. })));
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();

    fs::write(folder.join("manifest.json"), b"{}").unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::Manifest(ManifestError::Malformed(_)))));
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::Missing { .. })));
}

#[test]
fn a_shard_with_a_right_hash_and_a_wrong_inside_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    let mut manifest = build(&folder, 1);
    let mut bytes = fs::read(folder.join(manifest.train[0].file_name())).unwrap();
    let last = bytes.len() - 1;
    bytes[last] = 0xff;
    manifest.train[0].hash = ContentHash::of(&bytes);
    fs::write(folder.join(manifest.train[0].file_name()), &bytes).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_json()).unwrap();
    assert!(matches!(Corpus::open(&folder), Err(CorpusError::Shard { .. })));
}

#[test]
fn a_build_that_cannot_be_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    assert!(matches!(CorpusBuilder::new().build(&folder, |_| {}), Err(BuildError::NoSource)));
    let empty = Source::Documents(Arc::new(vec![" \n".to_owned()]));
    let error = CorpusBuilder::new().source(empty, "empty", "").build(&folder, |_| {}).unwrap_err();
    assert!(matches!(error, BuildError::Source(SourceError::Empty { .. })), "{error}");
    let missing = Source::of_path(&parent.path().join("gone"), "text");
    assert!(matches!(missing, Err(SourceError::Missing { .. })));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    build(&folder, 1);
    let text = Source::Synthetic { seed: 1, bytes: 1000 };
    let error = CorpusBuilder::new().source(text, "again", "").build(&folder, |_| {}).unwrap_err();
    assert!(matches!(error, BuildError::FolderExists { .. }), "{error}");
}

#[test]
fn batches_digests_and_evaluation_fit_together() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    build(&folder, 1);
    let corpus = Arc::new(Corpus::open(&folder).unwrap());
    let assignments = corpus.assignments(RunId::new([4; 32]), RULE).unwrap();
    assert!(assignments.plan().spans_per_epoch() >= 3);
    let (beacon, miner) = (Beacon::new([8; 32]), |number| PublicKey::new([number; 32]));
    let mine = assignments.assignment(Window(3), &miner(1), &beacon);
    let theirs = assignments.assignment(Window(3), &miner(2), &beacon);
    assert_eq!(mine.indices().len(), 20);

    let batch = mine.batch(2).unwrap();
    let rows: Vec<u32> = mine.indices()[8..12].iter().flat_map(|index| assignments.sequence(*index).unwrap()).collect();
    assert_eq!(batch, rows);
    assert_eq!(batch.len(), 4 * 17);
    assert!(matches!(mine.batch(5), Err(AssignmentError::NoBatch { batch: 5, batches: 5 })));

    let again = assignments.assignment(Window(3), &miner(1), &beacon);
    assert_eq!(mine.digest(0, 5).unwrap(), again.digest(0, 5).unwrap());
    let digests = [mine.digest(0, 5), mine.digest(0, 4), mine.digest(1, 4), mine.digest(0, 0), theirs.digest(0, 5)];
    let distinct: BTreeSet<_> = digests.into_iter().map(Result::unwrap).collect();
    assert_eq!(distinct.len(), 5);
    assert!(mine.digest(u32::MAX, u32::MAX).is_err());

    let evaluation = assignments.evaluation_sequences(Window(3), &beacon, 12).unwrap();
    assert_eq!(evaluation.len(), 12);
    assert!(evaluation.iter().all(|sequence| sequence.len() == 17));
}

#[test]
fn held_out_sequences_are_fixed_and_apart() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    build(&folder, 1);
    let corpus = Corpus::open(&folder).unwrap();
    let most = (corpus.held_out_tokens() as usize - 1) / 16;
    let sequences = corpus.held_out_sequences(most, 16).unwrap();
    assert_eq!(sequences.len(), most);
    assert!(sequences.iter().all(|sequence| sequence.len() == 17));
    assert_eq!(sequences, corpus.held_out_sequences(most, 16).unwrap());
    assert_eq!(corpus.held_out_sequences(0, 16).unwrap().len(), 0);
    assert!(matches!(corpus.held_out_sequences(most + 1, 16), Err(CorpusError::HeldOutTooSmall { .. })));
    assert!(corpus.held_out_sequences(usize::MAX, usize::MAX).is_err());
}

#[test]
fn what_a_run_needs_is_checked_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("corpus");
    build(&folder, 1);
    let corpus = Corpus::open(&folder).unwrap();
    corpus.check_enough(RULE, 400, 8).unwrap();
    corpus.check_names(corpus.manifest_hash(), corpus.tokenizer().hash()).unwrap();
    assert!(matches!(
        corpus.check_names(ContentHash::default(), corpus.tokenizer().hash()),
        Err(CorpusError::WrongCorpus { .. })
    ));
    assert!(matches!(
        corpus.check_names(corpus.manifest_hash(), ContentHash::default()),
        Err(CorpusError::WrongTokenizer { .. })
    ));
    assert!(matches!(corpus.check_enough(RULE, 399, 1), Err(CorpusError::VocabularyOfModel { .. })));
    let huge = AssignmentRule { batches_per_window: 60_000, ..RULE };
    let error = corpus.check_enough(huge, 400, 1).unwrap_err();
    assert!(matches!(error, CorpusError::Plan(PlanError::TextTooSmall { .. })), "{error}");
    let huge = AssignmentRule { least_evaluation: 1 << 30, ..RULE };
    assert!(matches!(corpus.check_enough(huge, 400, 1), Err(CorpusError::Plan(PlanError::TextTooSmall { .. }))));
    assert!(matches!(corpus.check_enough(RULE, 400, 1 << 30), Err(CorpusError::HeldOutTooSmall { .. })));
}
