//! Inputs of the fuzz target `transaction`, replayed: every kind of call, in the orders that matter.

#[path = "../support/hostile.rs"]
mod calls;

use std::path::Path;

#[test]
fn every_input_of_the_corpus_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/transaction");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        calls::check(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 15, "the corpus in {} is gone", corpus.display());
}
