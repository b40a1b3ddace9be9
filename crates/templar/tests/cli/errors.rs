//! What goes wrong, and what the program then says.

use crate::program::{Place, text};
use std::fs;

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    let error = Place::new().failure(2, &["model", "train", "--preset", "huge", "--out", "m"]);
    assert!(error.contains("unknown model preset `huge`; choose one of: nano, tiny"), "{error}");
}

#[test]
fn text_that_is_missing_binary_empty_or_too_small_is_named() {
    let place = Place::new();
    let files = [
        ("missing.txt", None, "missing.txt does not exist: check the path"),
        ("binary.txt", Some((0..4096u32).map(|place| (place * 37) as u8).collect()), "is not UTF-8 text"),
        ("latin.txt", Some(b"gr\xf6\xdfer ".repeat(50)), "iconv -f WINDOWS-1252"),
        ("empty.txt", Some(Vec::new()), "has no text in it"),
        ("small.txt", Some(b"a few words of text".to_vec()), "--sequence-length"),
    ];
    for (name, content, expected) in files {
        let path = place.path(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let train = ["model", "train", "--preset", "nano", "--steps", "1", "--out", "m", "--text", text(&path)];
        let error = place.failure(1, &train);
        assert!(error.contains(expected), "{name}: {error}");
        assert!(!place.path("m").exists(), "{name} leaves nothing behind");
    }
    let lines = place.write("lines.jsonl", "{\"body\": \"text\"}\n");
    let error = place.failure(1, &["corpus", "build", "--text", text(&lines), "--out", "c"]);
    assert!(error.contains("an object with the fields body"), "{error}");
    let plain = place.write("plain.txt", "plain ".repeat(3000));
    let error = place.failure(1, &["corpus", "build", "--text", text(&plain), "--vocab-size", "4096", "--out", "c"]);
    assert!(error.contains("take a vocabulary of at most"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write("file", "in the way");
    let synthetic = ["--synthetic", "60000", "--preset", "nano", "--steps", "1"];
    // Not even an administrator can make folders there.
    for out in ["file/m", "/proc/templar/m"] {
        let error = place.failure(1, &[&["model", "train", "--out", out], &synthetic[..]].concat());
        assert!(error.contains("cannot create the folder"), "{error}");
    }
    let error = place.failure(1, &[&["model", "train", "--out", "m", "--data", "file/data"], &synthetic[..]].concat());
    assert!(error.contains("cannot create the folder"), "{error}");
    let error =
        place.failure(1, &["corpus", "build", "--synthetic", "60000", "--vocab-size", "300", "--out", "file/c"]);
    assert!(error.contains("check the path and its permissions"), "{error}");
    for service in ["ledger", "bucket"] {
        let more: &[&str] = if service == "ledger" { &["--development"] } else { &[] };
        let error = place.failure(1, &[&[service, "--data", "file/data", "--listen", "127.0.0.1:0"], more].concat());
        assert!(error.contains("file/data"), "{error}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.path("mine")).unwrap();
    fs::write(place.path("mine/thesis.txt"), "years of work").unwrap();
    let error = place.failure(1, &["model", "train", "--synthetic", "60000", "--preset", "nano", "--out", "mine"]);
    assert!(error.contains("it is left as it is"), "{error}");
    assert_eq!(fs::read_to_string(place.path("mine/thesis.txt")).unwrap(), "years of work");
}

#[test]
fn a_broken_checkpoint_says_which_file_is_broken() {
    let place = Place::new();
    let error = place.failure(1, &["model", "generate", "nothing"]);
    assert!(error.contains("templar model train --out"), "{error}");
    let size = ["--sequence-length", "16", "--batch", "2", "--preset", "nano", "--vocab-size", "300"];
    place.stdout(&[&["model", "train", "--synthetic", "60000", "--steps", "2", "--out", "m"], &size[..]].concat());
    let damage = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, arguments: &[&str], expected: &str| {
        let path = place.path("m").join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, change(whole.clone())).unwrap();
        let error = place.failure(1, arguments);
        assert!(error.contains(expected), "{file}: {error}");
        fs::write(&path, whole).unwrap();
    };
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let generate = ["model", "generate", "m"];
    damage("model.safetensors", &half, &generate, "is it cut off?");
    damage("config.json", &half, &generate, "config.json");
    damage("tokenizer.json", &half, &generate, "not a tokenizer.json");
    let resume = ["model", "train", "--out", "m", "--resume", "--steps", "4"];
    damage("optimiser.bin", &half, &resume, "optimiser.bin");
    damage("training.json", &half, &resume, "training.json is damaged");
    place.stdout(&resume);
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let place = Place::new();
    place.failure(2, &["no-such-command"]);
    place.failure(2, &["model", "train"]);
    place.failure(2, &["model", "train", "--out", "."]);
    place.failure(2, &["model", "train", "--out", "m", "--minutes", "nan"]);
    place.failure(2, &["model", "presets", "-q", "-v"]);
    place.failure(2, &["model", "generate", "m", "--threads", "none"]);
}
