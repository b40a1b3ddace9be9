//! Measures the preparation of a text: `cargo run --release -p templar-corpus --example measure [PATH]`.
//!
//! Without a path it takes the default text. Prints the seconds of each step, on one core and on all.

use std::sync::Arc;
use std::time::Instant;
use templar_base::{Beacon, PublicKey, RunId, Window};
use templar_corpus::{AssignmentRule, Corpus, CorpusBuilder, DEFAULT_FIELD, Source, Tokenizer, default_text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = match std::env::args_os().nth(1) {
        Some(path) => Source::of_path(path.as_ref(), DEFAULT_FIELD)?,
        None => {
            let start = Instant::now();
            let text = default_text::default_text(|line| println!("{line}"))?;
            println!("{}: {:.2} s, from cache: {}", text.what, start.elapsed().as_secs_f64(), text.from_cache);
            text.source()?
        }
    };
    let documents: Vec<String> = source.documents()?.collect::<Result<_, _>>()?;
    let bytes: usize = documents.iter().map(String::len).sum();
    println!("{} documents, {bytes} bytes", documents.len());

    let all = std::thread::available_parallelism()?.get();
    for threads in [1, all] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let start = Instant::now();
        let tokenizer = pool.install(|| Tokenizer::train(&documents, 4096))?;
        println!("{threads} threads: train 4096 {:.2} s, {}", start.elapsed().as_secs_f64(), tokenizer.hash());
        let start = Instant::now();
        let mut tokens = 0;
        for document in &documents {
            tokens += tokenizer.encode(document)?.len();
        }
        println!("1 thread: encode {:.2} s, {tokens} tokens", start.elapsed().as_secs_f64());
        let folder = std::env::temp_dir().join(format!("templar-measure-{}", std::process::id()));
        let start = Instant::now();
        let builder = CorpusBuilder::new().source(source.clone(), source.name(), "");
        let manifest = pool.install(|| builder.build(&folder, |_| {}))?;
        println!("{threads} threads: whole build {:.2} s, {}", start.elapsed().as_secs_f64(), manifest.hash());
        let start = Instant::now();
        let corpus = Arc::new(Corpus::open(&folder)?);
        println!("open {:.3} s, {} bytes of tokens", start.elapsed().as_secs_f64(), corpus.token_bytes());
        let rule = AssignmentRule {
            sequence_length: 128,
            sequences_per_batch: 8,
            batches_per_window: 12,
            span_sequences: 64 * 16 * 12 * 8,
            span_windows: 64,
            evaluation_percent: 2,
            least_evaluation: 64,
        };
        let assignments = corpus.assignments(RunId::default(), rule)?;
        let start = Instant::now();
        for number in 0..16 {
            let share = assignments.assignment(Window(1), &PublicKey::new([number; 32]), &Beacon::default());
            std::hint::black_box(share.digest(0, 12)?);
        }
        println!(
            "{} spans per epoch; digests of 16 miners {:.4} s",
            assignments.plan().spans_per_epoch(),
            start.elapsed().as_secs_f64()
        );
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}
