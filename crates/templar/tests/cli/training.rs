//! Training alone: to the end, through a kill, through Ctrl-C, and what the model then does.

use crate::program::{Place, succeeded};
use std::fs;

/// A training of a second or so.
fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let recipe = ["--synthetic", "120000", "--vocab-size", "400", "--preset", "nano", "--seed", "3", "--json"];
    let size = ["--sequence-length", "32", "--batch", "4", "--evaluate-every", "1000"];
    [&["model", "train", "--out", out], &recipe[..], &size, more].concat()
}

fn events(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_training_ends_with_the_same_bits_as_one_that_was_left_alone() {
    let place = Place::new();
    let limits = ["--steps", "150", "--checkpoint-every", "10"];
    let whole = events(&place.stdout(&train("whole", &limits)));
    let summary = whole.last().unwrap();
    assert_eq!((&summary["event"], &summary["stopped"]), (&"summary".into(), &"steps".into()));
    assert_eq!(summary["tokens"], 150 * 4 * 32);
    let loss = |name: &str| summary[name].as_f64().unwrap();
    assert!(loss("last_held_out_loss") < loss("first_held_out_loss") - 1.0, "{summary}");
    assert!(loss("tokens_per_second") > 0.0 && loss("seconds") > 0.0);

    let mut running = place.start(&train("killed", &limits));
    running.wait_for(|event| event["event"] == "checkpoint" && event["step"].as_u64() >= Some(20));
    running.kill();
    let error = place.failure(1, &train("killed", &limits));
    assert!(error.contains("add --resume"), "{error}");
    let error = place.failure(2, &train("killed", &["--resume", "--learning-rate", "0.5"]));
    assert!(error.contains("--learning-rate differs"), "{error}");
    let rest = events(&place.stdout(&train("killed", &["--resume"])));
    assert!(rest[0]["step"].as_u64() >= Some(20), "it goes on: {}", rest[0]);
    for file in ["model.safetensors", "optimiser.bin", "config.json", "tokenizer.json"] {
        let read = |folder: &str| fs::read(place.path(folder).join(file)).unwrap();
        assert!(read("whole") == read("killed"), "{file} differs");
    }
    let logged = |folder: &str| {
        let mut steps = events(&fs::read_to_string(place.path(folder).join("steps.jsonl")).unwrap());
        steps.iter_mut().for_each(|step| step["seconds"] = 0.into());
        steps
    };
    assert_eq!(logged("whole.history").len(), 151);
    assert_eq!(logged("whole.history"), logged("killed.history"), "the log is as if nothing had happened");
    let table = fs::read_to_string(place.path("killed.history/steps.csv")).unwrap();
    assert!(table.starts_with("step,tokens,seconds,loss,") && table.lines().count() == 152);
    place.stdout(&["model", "plot", "whole", "killed", "--out", "both.svg"]);
    assert!(fs::read_to_string(place.path("both.svg")).unwrap().contains("gradient norm"));

    let generate = ["model", "generate", "whole", "--prompt", "Leon had", "--max-tokens", "12", "--seed", "1"];
    let text = place.stdout(&generate);
    assert!(text.starts_with("Leon had") && text.len() > 12, "{text}");
    assert_eq!(text, place.stdout(&generate), "the seed decides the text");
    let facts = place.json(&[&generate[..], &["--json"]].concat());
    assert_eq!(format!("Leon had{}\n", facts["text"].as_str().unwrap()), text);
    let measured = place.json(&["model", "evaluate", "whole", "--sequences", "1000", "--json"]);
    assert!((measured["loss"].as_f64().unwrap() - loss("last_held_out_loss")).abs() < 0.5, "{measured}");
    let book = place.write("book.txt", "Leon had a green boat. Rosa was a quiet gardener. ".repeat(40));
    let on_text = place.json(&["model", "evaluate", "whole", "--text", crate::program::text(&book), "--json"]);
    assert!(on_text["perplexity"].as_f64().unwrap() > 1.0);
    let talk = place.run_with(&["model", "chat", "whole", "--max-tokens", "5"], "Leon had\na dog\n");
    assert!(succeeded(talk).lines().count() >= 2);
}

#[test]
fn ctrl_c_saves_and_ends_well() {
    let place = Place::new();
    let mut running = place.start(&train("first", &["--steps", "1000000", "--checkpoint-every", "1000000"]));
    running.wait_for(|event| event["event"] == "step");
    let error = place.failure(1, &train("first", &["--resume"]));
    assert!(error.contains("is in use: another process trains there"), "{error}");
    let (code, summary) = running.interrupt();
    assert_eq!(code, Some(0));
    assert_eq!((&summary["event"], &summary["stopped"]), (&"summary".into(), &"interrupted".into()));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("first/training.json")).unwrap()).unwrap();
    assert_eq!(record["step"], summary["steps"]);
    assert!(record["step"].as_u64() >= Some(10));
    // The summary of one that has nothing left to do is the same.
    let steps = record["step"].to_string();
    let again = events(&place.stdout(&train("first", &["--resume", "--steps", &steps])));
    assert_eq!(again.last().unwrap()["steps"], record["step"]);
}

#[test]
fn muon_samples_kept_checkpoints_and_recomputing() {
    let place = Place::new();
    let limits = ["--steps", "40", "--checkpoint-every", "10", "--optimiser", "muon", "--flat", "0.5"];
    let more = ["--keep", "1", "--keep-every", "20", "--sample-every", "20", "--sample-prompt", "Leon had"];
    let plain = events(&place.stdout(&train("plain", &[&limits[..], &more].concat())));
    let samples: Vec<_> = plain.iter().filter(|event| event["event"] == "sample").collect();
    assert_eq!(samples.len(), 2);
    assert!(samples[1]["text"].is_string());
    let kept = |step: u32| place.path(&format!("plain.history/checkpoint-{step:08}/model.safetensors"));
    assert_eq!([10, 20, 30, 40].map(|step| kept(step).exists()), [false, true, false, true]);
    place.stdout(&train("recomputed", &[&limits[..], &["--recompute", "--threads", "1"]].concat()));
    for file in ["model.safetensors", "optimiser.bin"] {
        let read = |folder: &str| fs::read(place.path(folder).join(file)).unwrap();
        assert!(read("plain") == read("recomputed"), "{file} differs");
    }
    let error = place.failure(2, &train("plain", &["--resume", "--optimiser", "adamw"]));
    assert!(error.contains("--optimiser differs"), "{error}");
    let error = place.failure(2, &train("third", &["--steps", "1", "--flat", "2"]));
    assert!(error.contains("--flat is 2"), "{error}");
}

#[test]
fn presets_have_sizes() {
    let place = Place::new();
    let presets = place.json(&["model", "presets", "--json"]);
    assert_eq!(presets[0]["preset"], "nano");
    assert!(place.stdout(&["model", "presets"]).contains("longest sequence"));
    let largest = presets.as_array().unwrap().last().unwrap();
    assert_eq!(largest["preset"], "72b");
    let bytes = |name: &str| largest["memory"][name].as_u64().unwrap();
    assert!(bytes("train_bytes") > 4 * 4 * largest["parameters"].as_u64().unwrap());
    assert!(bytes("train_recomputed_bytes") < bytes("train_bytes") && bytes("judge_bytes") > 0);
}

#[test]
fn a_corpus_is_built_inspected_and_trained_on() {
    let place = Place::new();
    let build = ["corpus", "build", "--synthetic", "60000", "--vocab-size", "300", "--out", "corpus", "--json"];
    let built = place.json(&build);
    assert_eq!(built["vocab_size"], 300);
    let inspected = place.json(&["corpus", "inspect", "corpus", "--sample", "1", "--json"]);
    assert_eq!(inspected["corpus"], built["corpus"]);
    assert_eq!(inspected["samples"].as_array().unwrap().len(), 1);
    assert!(place.failure(1, &build).contains("exists already"));
    let size = ["--sequence-length", "16", "--batch", "2", "--preset", "nano", "--json"];
    let trained = [&["model", "train", "--corpus", "corpus", "--out", "m", "--tokens", "64"], &size[..]].concat();
    let trained = events(&place.stdout(&trained));
    assert_eq!(
        (&trained.last().unwrap()["tokens"], &trained.last().unwrap()["stopped"]),
        (&64.into(), &"tokens".into())
    );
    // Another tokenizer makes other tokens: the loss would mean nothing.
    place.stdout(&["corpus", "build", "--synthetic", "60000", "--vocab-size", "310", "--out", "other"]);
    let error = place.failure(1, &["model", "evaluate", "m", "--corpus", "other"]);
    assert!(error.contains("the corpus has the tokenizer"), "{error}");
    fs::copy(place.path("other/tokenizer.json"), place.path("m/tokenizer.json")).unwrap();
    let error = place.failure(1, &["model", "generate", "m"]);
    assert!(error.contains("it is another model's tokenizer.json"), "{error}");
}

#[test]
fn a_model_that_is_there_is_trained_on() {
    let place = Place::new();
    place.stdout(&train("base", &["--steps", "60"]));
    // Another text, in the tokens of the base; a learning rate of nothing leaves it as it was.
    let book = place.write("book.txt", "Leon had a green boat. Rosa was a quiet gardener. ".repeat(400));
    let on = ["model", "train", "--from", "base", "--text", crate::program::text(&book), "--batch", "2", "--json"];
    let size = ["--sequence-length", "32", "--evaluate-every", "1000"];
    let on = |out: &'static str, more: &[&'static str]| [&on[..], &size, &["--out", out], more].concat();
    place.stdout(&on("same", &["--steps", "2", "--learning-rate", "0"]));
    let read = |folder: &str, file: &str| fs::read(place.path(folder).join(file)).unwrap();
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        assert!(read("base", file) == read("same", file), "{file} differs");
    }
    let whole = events(&place.stdout(&on("tuned", &["--steps", "40"])));
    assert_eq!(whole[0]["preset"], "base");
    let loss = |name: &str| whole.last().unwrap()[name].as_f64().unwrap();
    assert!(loss("last_held_out_loss") < loss("first_held_out_loss"), "{whole:?}");

    // It goes on without the model that it began with.
    place.stdout(&on("halted", &["--steps", "15"]));
    fs::rename(place.path("base"), place.path("moved")).unwrap();
    place.stdout(&["model", "train", "--out", "halted", "--resume", "--steps", "20", "--json"]);
    let error = place.failure(2, &["model", "train", "--out", "halted", "--resume", "--from", "moved"]);
    assert!(error.contains("--from differs"), "{error}");
    let error = place.failure(1, &on("other", &[]));
    assert!(error.contains("cannot use the checkpoint base"), "{error}");
    place.stdout(&["corpus", "build", "--synthetic", "120000", "--vocab-size", "300", "--out", "foreign"]);
    let error = place.failure(1, &["model", "train", "--from", "moved", "--corpus", "foreign", "--out", "other"]);
    assert!(error.contains("is in the tokens of another model"), "{error}");
}
