//! A small comparison of judgings through the public interface, on synthetic text.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use templar_bench::Progress;
use templar_bench::judging::{Figure, JudgingBench, JudgingBenchError, Report};
use templar_corpus::{Corpus, CorpusBuilder, Source};

struct Silent;

impl Progress for Silent {
    fn say(&mut self, _: &str) {}
    fn show(&mut self, _: f64, _: &str) {}
    fn restart(&mut self) {}
}

fn corpus(folder: &std::path::Path) -> Arc<Corpus> {
    let text = Source::Synthetic { seed: 3, bytes: 400_000 };
    let builder =
        CorpusBuilder::new().source(text, "synthetic", "made here").vocab_size_up_to(JudgingBench::VOCABULARY);
    builder.build(folder, |_| {}).unwrap();
    Arc::new(Corpus::open(folder).unwrap())
}

fn run(corpus: &Arc<Corpus>, bench: &JudgingBench) -> Result<Report, JudgingBenchError> {
    bench.run(corpus, &AtomicBool::new(false), &mut Silent)
}

/// Without what is measured by a clock.
fn without_times(mut report: Report) -> String {
    for cost in &mut report.costs {
        (cost.seconds, cost.peak_bytes) = (None, None);
    }
    serde_json::to_string(&report).unwrap()
}

#[test]
fn both_judgings_are_counted_and_equal_seeds_give_equal_figures() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(&folder.path().join("corpus"));
    let bench = JudgingBench { registered: vec![6], windows: 3, steps: 8, seeds: 1 };
    let report = run(&corpus, &bench).unwrap();
    let [ours, original] = &report.costs[..] else { panic!("{:?}", report.costs) };
    assert!(ours.is_counted && original.is_counted);
    assert!((0.1e6..0.25e6).contains(&(report.parameters as f64)), "{}", report.parameters);
    // The original: 64 sequences before, and for each payload 64 of the common and twice its own 32 sequences.
    let each = 64 + 2 * report.own_sequences as u64;
    assert_eq!((report.own_sequences, original.most_sequence_forwards), (32, 6 * each + 64));
    assert_eq!(original.sequence_forwards.deviation, 0.0);
    // Ours: at least one gradient and the losses at the start; at most a pass and a trial for each of the selected.
    assert!(ours.sequence_forwards.mean >= 4.0 * 64.0 && ours.most_sequence_forwards < 2_048, "{ours:?}");
    assert!(report.ranks.iter().all(|own| own.correlation.mean.abs() <= 1.0), "{:?}", report.ranks);
    assert!(report.ranks.iter().any(|own| own.figure == Figure::Contribution), "{:?}", report.ranks);
    assert!(report.gains[0].promised_mnats.mean > 0.0, "{:?}", report.gains);
    assert_eq!(without_times(report), without_times(run(&corpus, &bench).unwrap()));
}

#[test]
fn an_interrupted_comparison_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(&folder.path().join("corpus"));
    let bench = JudgingBench { registered: vec![2], windows: 1, steps: 1, seeds: 1 };
    let ended = bench.run(&corpus, &AtomicBool::new(true), &mut Silent);
    assert!(matches!(ended, Err(JudgingBenchError::Interrupted)), "{ended:?}");
}
