//! Reading a run's record when there is little or nothing to read.

use crate::program::{Place, Running, text};
use serde_json::Value;
use std::path::Path;
use templar_base::{
    BlockHash, BlockNumber, ContentHash, DataRule, Economics, FirstParameters, GENESIS_VERSION, Genesis,
    InnerOptimiser, InnerSchedule, JudgingRule, Netuid, OuterRule, ScaleRule, TensorClass, WindowBudget, WindowClock,
};
use templar_corpus::Corpus;
use templar_engine::{NumericsId, initial_parameters, preset};
use templar_gradient::state_hash;

const SEED: [u8; 32] = [3; 32];

/// A run on this ledger that nobody works on.
fn genesis(corpus: &Corpus, ledger: BlockHash, start_block: u64) -> Genesis {
    let model = preset("nano", corpus.manifest().vocab_size as usize).unwrap();
    let first_state = state_hash(&initial_parameters(&model, SEED));
    Genesis {
        version: GENESIS_VERSION,
        name: "idle".to_owned(),
        ledger,
        netuid: Netuid(3),
        clock: WindowClock { start_block: BlockNumber(start_block), blocks_per_window: 1_000 },
        budget: WindowBudget {
            seal_blocks: 2,
            reveal_blocks: 3,
            hold_blocks: None,
            judge_blocks: 8,
            open_blocks: 9,
            apply_blocks: 10,
            retention_windows: 10,
            checkpoint_windows: 5,
        },
        model,
        numerics: NumericsId::STRICT.to_string(),
        open_numerics: Vec::new(),
        first_parameters: FirstParameters::Seed(ContentHash::new(SEED)),
        first_state,
        parent: None,
        data: DataRule {
            tokenizer: corpus.tokenizer().hash(),
            manifest: corpus.manifest_hash(),
            sequence_length: 32,
            sequences_per_batch: 2,
            batches_per_window: 2,
            span_sequences: 1_000,
            span_windows: 64,
            evaluation_percent: 2,
            documents: Default::default(),
        },
        inner: InnerOptimiser {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
            hidden_matrices: Default::default(),
            schedule: InnerSchedule {
                peak: 3e-3,
                warm_up_windows: 2,
                decay_from_window: 200,
                decay_to_window: 1000,
                final_share: 0.1,
                ..InnerSchedule::default()
            },
        },
        outer: OuterRule {
            error_feedback_decay: 0.95,
            error_feedback_values: Default::default(),
            tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: 64 }],
            alpha: 1.0,
            final_alpha: 0.65,
            decay_from_window: 200,
            decay_to_window: 1000,
            scales: ScaleRule::Clipped { times: 4 },
            merge: Default::default(),
            domain: Default::default(),
            values: Default::default(),
            step: Default::default(),
        },
        judging: JudgingRule {
            pool: 64,
            evaluation_sequences: 8,
            evaluation_parts: 4,
            selected: 15,
            newcomer_places: 2,
            newcomer_windows: 8,
            admission_share: 0.4,
            confirmation_share: 0.5,
            copy_agreement: 0.25,
            rating_process_noise: 0.02,
            held_out_sequences: 4,
        },
        economics: Economics { ramp_windows: 4, weights_every_windows: 1 },
        electors: None,
        audit: Default::default(),
        evaluation: None,
    }
}

fn hash(facts: &Value) -> BlockHash {
    serde_json::from_value(facts.clone()).unwrap()
}

/// A ledger with a corpus beside it.
fn idle_run(place: &Place, start_block: u64) -> (Running, String) {
    place.stdout(&["corpus", "build", "--synthetic", "200000", "--vocab-size", "320", "--out", "corpus"]);
    let mut ledger = place.start(&["ledger", "--development", "--listen", "127.0.0.1:0", "--json"]);
    let listening = ledger.event();
    write_genesis(place, "genesis.json", hash(&listening["genesis"]), start_block);
    (ledger, listening["url"].as_str().unwrap().to_owned())
}

fn write_genesis(place: &Place, name: &str, ledger: BlockHash, start_block: u64) {
    let corpus = Corpus::open(&place.path("corpus")).unwrap();
    place.write(name, genesis(&corpus, ledger, start_block).to_json());
}

fn checkpoint<'a>(action: &[&'a str], url: &'a str) -> Vec<&'a str> {
    [&["checkpoint"], action, &["--genesis", "genesis.json", "--ledger", url]].concat()
}

fn write_first_model(place: &Place, folder: &Path, seed: [u8; 32]) {
    use templar_engine::checkpoint::{Precision, SpecialTokens, config_to_json, write_safetensors};
    let corpus = Corpus::open(&place.path("corpus")).unwrap();
    let model = genesis(&corpus, BlockHash::default(), 0).model;
    let tokens = SpecialTokens { begin: None, end: vec![corpus.tokenizer().end_of_text()], padding: None };
    let weights = write_safetensors(&model, &initial_parameters(&model, seed), Precision::F32).unwrap();
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("config.json"), config_to_json(&model, &tokens, Precision::F32)).unwrap();
    std::fs::write(folder.join("tokenizer.json"), corpus.tokenizer().to_json()).unwrap();
    std::fs::write(folder.join("model.safetensors"), weights).unwrap();
}

#[test]
fn a_young_run_has_no_checkpoint_but_a_start_to_verify() {
    let place = Place::new();
    let (_ledger, url) = idle_run(&place, 0);
    let list = place.json(&checkpoint(&["list", "--json"], &url));
    assert_eq!((list["window"].as_u64(), list["checkpoints"].as_array().unwrap().len()), (Some(0), 0), "{list}");
    let list = place.stdout(&checkpoint(&["list"], &url));
    assert!(list.contains("no checkpoint yet: the first is that of window 5"), "{list}");

    let latest = place.failure(1, &checkpoint(&["fetch", "--out", "model"], &url));
    assert!(latest.contains("the run has not published one yet") && latest.contains("checkpoint list"), "{latest}");
    let odd = place.failure(2, &checkpoint(&["fetch", "--window", "7", "--out", "model"], &url));
    assert!(odd.contains("window 7 has no checkpoint: they are made every 5 windows"), "{odd}");
    let early = place.failure(1, &checkpoint(&["fetch", "--window", "5", "--out", "model"], &url));
    assert!(early.contains("window 5 has not begun: the run is at window 0"), "{early}");
    assert!(!place.path("model").exists());

    let first = place.path("first");
    write_first_model(&place, &first, SEED);
    let verified = place.json(&checkpoint(&["verify", text(&first), "--window", "0", "--json"], &url));
    assert_eq!((&verified["is_agreed"], &verified["state"]), (&Value::Bool(true), &verified["agreed_state"]));
    let late = place.failure(1, &checkpoint(&["verify", text(&first), "--window", "1"], &url));
    assert!(late.contains("window 1 has not begun"), "{late}");
    // A run that nobody has worked on has no agreed point to go on from.
    let on = ["run", "new", "--corpus", "corpus", "--ledger", &url, "--first-parameters", text(&first)];
    let on = [&on[..], &["--parent", "genesis.json", "--parent-window", "1", "--out", "child.json"]].concat();
    let short = ["--miners", "1", "--steps", "2", "--sequence-length", "32", "--held-out-sequences", "4"];
    let early = place.failure(1, &[&on[..], &short].concat());
    assert!(early.contains("window 1 has not begun"), "{early}");
    let other = place.path("other");
    write_first_model(&place, &other, [4; 32]);
    let differs = place.failure(1, &checkpoint(&["verify", text(&other), "--window", "0"], &url));
    assert!(differs.contains("but window 0 started from") && differs.contains("checkpoint fetch"), "{differs}");
}

#[test]
fn a_run_that_has_not_started_and_another_ledger_are_told_apart() {
    let place = Place::new();
    let (_ledger, url) = idle_run(&place, 1_000_000);
    assert!(place.stdout(&checkpoint(&["list"], &url)).contains("before its start"));
    let early = place.failure(1, &checkpoint(&["fetch", "--out", "model"], &url));
    assert!(early.contains("the run has not started"), "{early}");

    write_genesis(&place, "genesis.json", BlockHash::new([9; 32]), 0);
    let foreign = place.failure(1, &checkpoint(&["list"], &url));
    assert!(foreign.contains("the run's genesis names the ledger 0909"), "{foreign}");
    assert!(foreign.contains("next: name the run's ledger with --ledger"), "{foreign}");
    let lost = place.failure(1, &checkpoint(&["list"], "ws://127.0.0.1:1"));
    assert!(lost.contains("no ledger at ws://127.0.0.1:1"), "{lost}");
    let unread = place.failure(1, &["checkpoint", "list", "--genesis", "no.json"]);
    assert!(unread.contains("cannot read the genesis document no.json"), "{unread}");
}
