//! Making and checking the genesis document of a run of one's own.

use crate::program::Place;
use serde_json::Value;
use templar_base::FIELDS;

const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const SEED: &str = "00000000000000000000000000000000000000000000000000000000000000bb";

/// A place with a small corpus.
fn place() -> Place {
    let place = Place::new();
    place.stdout(&["corpus", "build", "--synthetic", "400000", "--vocab-size", "320", "--out", "corpus"]);
    place
}

/// `templar run new` without a ledger.
fn new<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let place = ["--ledger-genesis", HASH, "--start-block", "100", "--seed", SEED];
    let size = ["--preset", "nano", "--miners", "4", "--steps", "20", "--sequence-length", "32"];
    let held_out = ["--held-out-sequences", "16"];
    [&["run", "new", "--corpus", "corpus"], &place[..], &size, &held_out, more].concat()
}

/// Digests depend on formats that have tests of their own.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let length = rest[start..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - start);
        let word = &rest[start..start + length];
        out += &rest[..start];
        out += if is_digest(word) { "DIGEST" } else { word };
        rest = &rest[start + length..];
    }
    out + rest
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, without_digests(text));
    });
}

#[test]
fn a_document_is_made_from_a_corpus_and_explained() {
    let place = place();
    snapshot("run-new", &place.stdout(&new(&[])));
    let again = place.failure(2, &new(&[]));
    assert!(again.contains("exists already") && again.contains("--overwrite"), "{again}");
    let facts: Value = place.json(&new(&["--overwrite", "--json", "--netuid", "9", "--rule", "diloco"]));
    let (document, outlook) = (&facts["document"], &facts["outlook"]);
    assert_eq!((&document["netuid"], &document["data"]["documents"]), (&Value::from(9), &Value::from("apart")));
    assert_eq!((&outlook["rule"], &outlook["tokens_per_miner"]), (&Value::from("diloco"), &Value::from(20 * 8 * 32)));
    assert!(outlook["payload"]["bits_per_parameter"].as_f64().unwrap() > 8.0, "{outlook}");
    let checked = place.json(&["run", "check", "genesis.json", "--corpus", "corpus", "--json"]);
    assert_eq!((&checked["run"], &checked["problems"]), (&outlook["run"], &Value::Array(Vec::new())));
}

#[test]
fn a_check_explains_every_field_and_lists_every_problem() {
    let place = place();
    place.stdout(&new(&[]));
    snapshot("run-check", &place.stdout(&["run", "check", "genesis.json", "--corpus", "corpus"]));
    let mut document: Value = serde_json::from_slice(&std::fs::read(place.path("genesis.json")).unwrap()).unwrap();
    document["data"]["span_windows"] = 0.into();
    document["inner"]["schedule"]["peak"] = 2.into();
    document["judging"]["selected"] = 1.into();
    document["data"]["manifest"] = HASH.into();
    place.write("bad.json", document.to_string());
    let output = place.run(&["run", "check", "bad.json", "--corpus", "corpus", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = facts["problems"].as_array().unwrap();
    let fields: Vec<&str> = problems.iter().map(|problem| problem["field"].as_str().unwrap()).collect();
    let expected = ["data.span_windows", "inner.schedule.peak", "judging.newcomer_places", "data.manifest", "data"];
    assert_eq!(fields, expected);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.json has 5 problems"));
}

#[test]
fn flags_that_do_not_fit_are_all_named_before_anything_is_written() {
    let place = place();
    let error = place.failure(2, &new(&["--learning-rate", "1.5", "--retention-windows", "3", "--decay-from", "2000"]));
    for field in ["inner.schedule.peak", "budget.retention_windows", "inner.schedule.decay_to_window"] {
        assert!(error.contains(field), "{field} in {error}");
    }
    let long: Vec<&str> = new(&[]).into_iter().map(|word| if word == "20" { "60000" } else { word }).collect();
    let error = place.failure(2, &long);
    assert!(error.contains("one window needs"), "{error}");
    assert!(!place.path("genesis.json").exists());
}

#[test]
fn a_document_of_an_earlier_version_is_rejected_with_what_to_do() {
    let place = place();
    place.stdout(&new(&[]));
    let text = std::fs::read_to_string(place.path("genesis.json")).unwrap();
    place.write("old.json", text.replace("\"version\": 4", "\"version\": 1"));
    let error = place.failure(1, &["run", "check", "old.json"]);
    assert!(error.contains("version 1") && error.contains("templar run new"), "{error}");
}

#[test]
fn a_ledger_gives_its_hash_and_its_clock_and_names_its_subnet() {
    let place = place();
    let mut ledger = place.start(&["ledger", "--development", "--listen", "127.0.0.1:0", "--json"]);
    let listening = ledger.event();
    let url = listening["url"].as_str().unwrap();
    let size = ["--preset", "nano", "--miners", "4", "--sequence-length", "32", "--held-out-sequences", "16"];
    let made = [&["run", "new", "--corpus", "corpus", "--ledger", url, "--json"], &size[..]].concat();
    let facts = place.json(&made);
    assert_eq!(facts["document"]["ledger"], listening["genesis"]);
    assert!(facts["document"]["clock"]["start_block"].as_u64().unwrap() >= 30, "{facts}");
    assert_eq!(facts["outlook"]["window_seconds"], Value::from(40.0));
    place.stdout(&["run", "check", "genesis.json", "--ledger", url]);
    let error = place.failure(1, &[&made[..], &["--netuid", "8", "--out", "other.json"]].concat());
    assert!(error.contains("subnet"), "{error}");
    let error = place.failure(2, &[&made[..], &["--window-blocks", "400", "--out", "other.json"]].concat());
    assert!(error.contains("budget.retention_windows"), "{error}");
}

/// A run can start from a folder, whose sizes, parameters and tokenizer are checked before anything is written.
#[test]
fn a_run_starts_from_a_model_folder() {
    let place = place();
    let train = ["model", "train", "--preset", "nano", "--corpus", "corpus", "--steps", "1", "--batch", "1"];
    place.stdout(&[&train[..], &["--sequence-length", "32", "--out", "first"]].concat());
    let at = ["run", "new", "--corpus", "corpus", "--ledger-genesis", HASH, "--start-block", "100", "--miners", "4"];
    let short = ["--steps", "20", "--sequence-length", "32", "--held-out-sequences", "16"];
    let new = |more: &[&'static str]| [&at[..], &short, more].concat();
    let facts = place.json(&new(&["--first-parameters", "first", "--json"]));
    let document = &facts["document"];
    assert_eq!(document["first_parameters"], Value::from("folder"), "{document}");
    assert_ne!(
        document["first_state"],
        place.json(&self::new(&["--out", "other.json", "--json"]))["document"]["first_state"]
    );
    let both = place.failure(2, &new(&["--first-parameters", "first", "--preset", "nano"]));
    assert!(both.contains("cannot be used with"), "{both}");
    let none = place.failure(1, &new(&["--first-parameters", "none", "--overwrite"]));
    assert!(none.contains("cannot use none/config.json"), "{none}");
    place.stdout(&[
        "corpus",
        "build",
        "--synthetic",
        "300000",
        "--vocab-size",
        "320",
        "--seed",
        "9",
        "--out",
        "second",
    ]);
    let mut strange = new(&["--first-parameters", "first", "--out", "third.json"]);
    strange[3] = "second";
    let strange = place.failure(2, &strange);
    assert!(strange.contains("another tokenizer") && strange.contains("corpus build --tokenizer"), "{strange}");
    assert!(!place.path("third.json").exists());
    // Whether a point was agreed on is asked of a ledger.
    let parent = place.failure(2, &new(&["--parent", "genesis.json", "--parent-window", "5"]));
    assert!(parent.contains("--ledger-genesis") && parent.contains("cannot be used with"), "{parent}");
}

#[test]
fn the_chapter_has_every_field_with_its_default_and_bounds() {
    let chapter = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run.md")).unwrap();
    for note in &FIELDS {
        let row = format!("| `{}` | {} | {} | {} |", note.path, note.meaning, note.default, note.bounds);
        assert!(chapter.contains(&row), "docs/run.md lacks the row:\n{row}");
    }
}

#[test]
fn tasks_are_named_by_hash_and_their_questions_go_with_the_corpus() {
    let place = place();
    let line = "{\"context\": \"The sky is\", \"choices\": [\" blue\", \" cheese\"], \"label\": 0}\n";
    place.write("colours.jsonl", line);
    place.write("ends.jsonl", "{\"context\": \"The\", \"choices\": [\" end\"]}\n");
    let document = |facts: Value| facts["document"].clone();
    assert!(document(place.json(&new(&["--json"])))["evaluation"].is_null(), "nobody asks for an evaluation");
    let two = ["--evaluation", "colours.jsonl", "--evaluation", "ends.jsonl", "--overwrite"];
    let evaluation = document(place.json(&new(&[&two[..], &["--json"]].concat())))["evaluation"].clone();
    assert_eq!((&evaluation["every_windows"], &evaluation["tasks"][1]["name"]), (&5.into(), &"ends".into()));
    let hash = evaluation["tasks"][0]["questions"].as_str().unwrap();
    let put = std::fs::read_to_string(place.path("corpus").join(format!("questions-{hash}.jsonl"))).unwrap();
    assert_eq!(put, line);
    let check = place.stdout(&["run", "check", "genesis.json", "--corpus", "corpus"]);
    assert!(check.contains("every_windows") && check.contains("no problem found"), "{check}");

    let odd = place.failure(2, &new(&[&two[..], &["--evaluation-every", "7"]].concat()));
    assert!(odd.contains("evaluation.every_windows") && odd.contains("checkpoint_windows (5)"), "{odd}");
    place.failure(2, &new(&[&two[..], &["--evaluation-every", "0"]].concat()));
    place.failure(2, &new(&["--overwrite", "--evaluation-every", "5"]));
    let twice = ["--evaluation", "ends.jsonl", "--evaluation", "ends.jsonl", "--overwrite"];
    assert!(place.failure(2, &new(&twice)).contains("`evaluation.tasks.1.name`"));
    let missing = place.failure(1, &new(&["--overwrite", "--evaluation", "none.jsonl"]));
    assert!(missing.contains("none.jsonl"), "{missing}");
    place.write("packed.jsonl", b"\x1f\x8b\x08");
    let packed = place.failure(1, &new(&["--overwrite", "--evaluation", "packed.jsonl"]));
    assert!(packed.contains("is compressed") && packed.contains("gunzip"), "{packed}");
}

#[test]
fn audits_are_off_unless_a_rate_is_given_and_what_pays_is_rejected_with_the_numbers() {
    let place = place();
    place.stdout(&new(&[]));
    let off = place.stdout(&["run", "check", "genesis.json"]);
    assert!(off.contains("audits by replay are off"), "{off}");
    place.stdout(&new(&["--overwrite", "--audit-rate", "0.1"]));
    let on = place.stdout(&["run", "check", "genesis.json"]);
    assert!(on.contains("audits by replay: 10 % of the payloads, a ramp of 45 windows"), "{on}");
    let text = std::fs::read_to_string(place.path("genesis.json")).unwrap();
    place.write("short.json", text.replace("\"ramp_windows\": 45", "\"ramp_windows\": 4"));
    let rejected = place.failure(1, &["run", "check", "short.json"]);
    assert!(rejected.contains("short.json has 2 problems"), "{rejected}");
    place.write("evidence", b"TAEV");
    let arguments = ["audit", "verify", "evidence", "--genesis", "genesis.json", "--corpus", "corpus"];
    let refused = place.failure(1, &arguments);
    assert!(refused.contains("does not prove fraud"), "{refused}");
}
