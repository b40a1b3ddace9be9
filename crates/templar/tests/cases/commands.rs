//! Flags, pipes, limits, machine-readable output.

use crate::program::{Place, succeeded, text};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use templar_base::random::Stream;

/// A training of a few steps on synthetic text.
const TRAINING: [&str; 10] =
    ["model", "train", "--synthetic", "60000", "--preset", "nano", "--sequence-length", "32", "--batch", "2"];

/// A place with a trained model `m`.
fn trained() -> Place {
    let place = Place::new();
    place.stdout(&[&TRAINING[..], &["--steps", "2", "--out", "m"]].concat());
    place
}

/// The one object that a failure prints for programs.
fn error(place: &Place, code: i32, arguments: &[&str]) -> Value {
    let output = place.run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    let told: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stderr}"));
    told["error"].clone()
}

#[test]
fn free_text_may_begin_with_a_hyphen_and_negative_numbers_get_their_bound() {
    let place = trained();
    let generate = ["model", "generate", "m", "--max-tokens", "2", "--json"];
    for prompt in ["- item", "---", "-5", "--json", "-x"] {
        let made = place.json(&[&generate[..], &["--prompt", prompt, "--stop", "---"]].concat());
        assert_eq!(made["prompt"], prompt);
    }
    for (option, value) in [("--top-k", "-5"), ("--max-tokens", "-1"), ("--temperature", "-1"), ("--top-p", "-0.5")] {
        let told = place.run(&["model", "generate", "m", option, value]);
        let stderr = String::from_utf8(told.stderr).unwrap();
        assert!(!stderr.contains("-- -") && stderr.contains(value.trim_start_matches('-')), "{stderr}");
        assert_ne!(told.status.code(), Some(0), "{option}");
    }
    let told = place.failure(2, &["up", "--data", "--fresh"]);
    assert!(told.contains("--data needs a value"), "{told}");
}

#[test]
fn training_outlives_the_readers_of_its_output() {
    let place = Place::new();
    let steps = ["--steps", "6", "--log-every", "1", "--evaluate-every", "1"];
    for (out, json) in [("a", true), ("b", false)] {
        let mut command = place.templar(&[&TRAINING[..], &steps, &["--out", out]].concat());
        if json {
            command.arg("--json");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        drop(stdout);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{out}");
        let record: Value = serde_json::from_slice(&fs::read(place.path(out).join("training.json")).unwrap()).unwrap();
        assert_eq!(record["step"], 6, "{out}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_a_full_disk_takes_is_an_error_after_the_work() {
    let place = Place::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = place.templar(&[&TRAINING[..], &["--steps", "3", "--out", "m", "--json"]].concat());
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the output is not complete"), "{stderr}");
    let record: Value = serde_json::from_slice(&fs::read(place.path("m").join("training.json")).unwrap()).unwrap();
    assert_eq!(record["step"], 3);
}

#[test]
fn a_command_that_only_shows_ends_quietly_with_its_reader() {
    let place = trained();
    for arguments in [&["config"][..], &["model", "presets", "--json"], &["model", "generate", "m"]] {
        let mut child = place.templar(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("error") && !stderr.contains("panic"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_does_not_fit_into_memory_is_refused_before_any_work() {
    let place = Place::new();
    let told = place.failure(2, &["model", "train", "--preset", "72b", "--out", "m"]);
    assert!(told.contains("`72b` needs 1.") && told.contains(" TB of memory"), "{told}");
    assert!(told.contains("templar model presets"), "{told}");
    assert!(!place.path("m").exists() && !place.path("home").exists(), "nothing is made");
    let told = error(&place, 2, &["model", "train", "--preset", "72b", "--out", "m", "--json"]);
    assert_eq!(told["kind"], "memory");

    // A folder that claims to be large, as a wrong `config.json` does.
    let large = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128000,
        "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128,
        "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "tie_word_embeddings": false, "hidden_act": "silu"}"#;
    fs::create_dir(place.path("large")).unwrap();
    place.write("large/config.json", large);
    place.write("large/model.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    let told = place.failure(2, &["model", "import", "large", "--out", "copy"]);
    assert!(told.contains("TB of memory"), "{told}");
}

#[cfg(unix)]
#[test]
fn a_limit_on_memory_counts_as_little_memory() {
    let place = Place::new();
    let train = format!("{} model train --synthetic 60000 --steps 1 --out m", env!("CARGO_BIN_EXE_templar"));
    let limited = |preset: &str| {
        let script = format!("ulimit -v 3000000; exec {train} --preset {preset}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(place.path("")).env("HOME", place.path("home"));
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME").output().unwrap()
    };
    for preset in ["350m", "1b", "3b", "8b", "72b"] {
        let output = limited(preset);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{preset}: {stderr}");
        assert!(stderr.contains("ulimit -v"), "{preset}: {stderr}");
    }
    succeeded(limited("nano"));
}

#[test]
fn failures_are_objects_for_programs() {
    let place = Place::new();
    let cases: [(&[&str], i32, &str, &str); 6] = [
        (&["model", "train", "--json"], 2, "usage", "--out"),
        (&["model", "train", "--steps", "x", "--out", "m", "--json"], 2, "usage", "--steps"),
        (&["nonsense", "--json"], 2, "usage", "nonsense"),
        (&["model", "train", "--preset", "huge", "--out", "m", "--json"], 2, "usage", "unknown model preset"),
        (&["model", "inspect", "missing", "--json"], 1, "not_found", "missing"),
        (&["token", "price", "--ledger", "ws://127.0.0.1:1", "--json"], 1, "unreachable", "ledger"),
    ];
    for (arguments, code, kind, word) in cases {
        let told = error(&place, code, arguments);
        assert_eq!(told["kind"], kind, "{told}");
        assert!(told.to_string().contains(word), "{told}");
        assert!(told["message"].is_string() && told["causes"].is_array(), "{told}");
        assert!(!told["message"].as_str().unwrap().contains('\u{1b}'), "{told}");
    }
    assert!(place.stdout(&["model", "train", "--help", "--json"]).contains("Usage"));
}

#[test]
fn settings_that_no_command_can_use_are_named() {
    let place = Place::new();
    for (variable, value) in [("TEMPLAR_PRESET", "bogus"), ("TEMPLAR_THREADS", "99999"), ("TEMPLAR_NETUID", "-1")] {
        let output = place.templar(&["config"]).env(variable, value).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}: {stderr}");
        assert!(stderr.contains(value) && stderr.contains(variable), "{stderr}");
    }
    let told = place.failure(2, &["token", "price", "--ledger", "http://127.0.0.1:9944"]);
    assert!(told.contains("begins with ws:// or wss://, such as ws://127.0.0.1:9944"), "{told}");
}

#[test]
fn a_healthy_machine_needs_no_ledger() {
    let place = Place::new();
    let ledger = |arguments: &[&str]| {
        let output = place.run(arguments);
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        found.into_iter().find(|finding| finding["check"] == "ledger").unwrap()["health"].clone()
    };
    // One that nobody runs: the default's port may be another's on this machine.
    assert_eq!(ledger(&["doctor", "--ledger", "ws://127.0.0.1:1", "--json"]), "fail");
    assert_ne!(ledger(&["doctor", "--json"]), "fail");
}

#[test]
fn kept_runs_of_a_comparison_are_only_read() {
    let place = Place::new();
    fs::create_dir(place.path("kept")).unwrap();
    let runs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gradient/runs.jsonl");
    let first: Vec<String> = fs::read_to_string(runs).unwrap().lines().take(3).map(str::to_owned).collect();
    place.write("kept/runs.jsonl", first.join("\n") + "\n");
    let rows = place.json(&["bench", "convergence", "--from", "kept", "--json"]);
    assert!(!rows.as_array().unwrap().is_empty());
    assert_eq!(fs::read_dir(place.path("kept")).unwrap().count(), 1, "nothing is written beside the runs");
    place.stdout(&["bench", "convergence", "--from", "kept", "--out", "drawn"]);
    assert!(place.path("drawn/points.csv").exists());
    place.failure(1, &["bench", "convergence", "--from", "nowhere"]);
    assert!(!place.path("nowhere").exists());
}

/// Every command with its options, from the help texts.
fn commands(place: &Place, path: &[String], found: &mut Vec<(Vec<String>, Vec<String>)>) {
    let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = place.stdout(&words);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<String> = listed
        .filter_map(|line| {
            line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()).map(str::to_owned)
        })
        .collect();
    for name in &names {
        commands(place, &[path, std::slice::from_ref(name)].concat(), found);
    }
    if names.is_empty() {
        let option = |line: &str| Some(format!("--{}", line.split("--").nth(1)?.split([' ', '=']).next()?));
        let options = help.lines().filter(|line| line.trim_start().starts_with('-'));
        found.push((path.to_vec(), options.filter_map(option).collect()));
    }
}

/// What people and programs give by mistake.
const VALUES: [&str; 26] = [
    "",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "2",
    "7",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999999",
    "-9223372036854775808",
    "NaN",
    "inf",
    "-inf",
    "1e308",
    "0.5",
    "a",
    "m",
    "file.json",
    "nano",
    "é\u{301}🦀",
    "a\nb",
    "../..",
];

#[test]
fn no_words_end_in_a_panic() {
    let place = trained();
    place.write("file.json", "{\"a\": [1, null, \"\\ud800\"]}");
    place.write("a", [0, 159, 146, 150, 10, 13, 0xff]);
    let mut found = Vec::new();
    commands(&place, &[], &mut found);
    // Whatever listens, measures for minutes, or asks a registry for a text.
    let is_endless = |path: &[String]| {
        let path = path.join(" ");
        ["up", "bench", "corpus build", "model train", "miner", "validator"].iter().any(|slow| path.starts_with(slow))
    };
    found.retain(|(path, _)| !is_endless(path));
    assert!(found.len() > 20, "{}", found.len());
    let mut random = Stream::new([7; 32], "words", 0);
    let mut below = |bound: usize| random.below(bound as u64) as usize;
    for round in 0..3 * found.len() {
        let (path, options) = &found[round % found.len()];
        let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
        for _ in 0..below(3) {
            words.push(VALUES[below(VALUES.len())]);
        }
        for _ in 0..below(4) {
            words.push(&options[below(options.len())]);
            words.push(VALUES[below(VALUES.len())]);
        }
        let mut child = place.templar(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let told = std::thread::spawn(move || {
            let mut told = String::new();
            stderr.read_to_string(&mut told).map(|_| told)
        });
        // A server that started is no fault of its words.
        let mut patience = 200;
        let code = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if patience == 0 => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break Some(0);
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
            patience -= 1;
        };
        let told = told.join().unwrap().unwrap();
        assert!(matches!(code, Some(0..=2)), "{words:?}: {code:?}: {told}");
    }
}

#[test]
fn sizes_and_counts_have_bounds() {
    let place = trained();
    let cases: [&[&str]; 8] = [
        &["corpus", "build", "--synthetic", "60000", "--out", "c", "--vocab-size", "1000000000"],
        &["corpus", "build", "--out", "c", "--synthetic", "18446744073709551615"],
        &["model", "generate", "m", "--threads", "99999"],
        &["model", "generate", "m", "--max-tokens", "18446744073709551615"],
        &["model", "train", "--out", "n", "--batch", "4294967295"],
        &["model", "train", "--out", "n", "--steps", "0"],
        &["model", "evaluate", "m", "--sequences", "4294967295"],
        &["checkpoint", "verify", "m", "--genesis", "g.json", "--window", "18446744073709551615"],
    ];
    for arguments in cases {
        let told = place.failure(2, arguments);
        assert!(told.contains("..") || told.contains("1 to"), "{arguments:?}: {told}");
    }
    // Bug: these were answered with the words of the parser.
    for arguments in [
        &["corpus", "build", "--synthetic", "60000", "--out", "c"][..],
        &["model", "generate", "m"],
        &["model", "train", "--out", "n"],
        &["simulate", "run", "scenario.toml"],
    ] {
        for seed in ["-1", "1.5", "x", "18446744073709551616"] {
            let told = place.failure(2, &[arguments, &["--seed", seed]].concat());
            assert!(told.contains("a seed is a whole number from 0 to 18446744073709551615"), "{arguments:?}: {told}");
        }
    }
    for threads in ["0", "-1", "none"] {
        let told = place.failure(2, &["model", "generate", "m", "--threads", threads]);
        assert!(told.contains("`threads` is") && told.contains("take 1 to"), "{told}");
    }
    // What the model decides is refused before a text is read.
    let missing = place.path("missing.txt");
    let text = ["--text", text(&missing)];
    for (option, value) in [("--learning-rate", "NaN"), ("--flat", "2"), ("--sequence-length", "100000")] {
        let told = place.failure(2, &[&["model", "train", "--out", "n", option, value][..], &text].concat());
        assert!(told.contains(option), "{told}");
    }
}

/// An answer over HTTP, as it came.
fn fetch(url: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_node_started_by_hand_tells_what_it_does() {
    let place = Place::new();
    let network = ["up", "--data", "d", "--text", "synthetic", "--miners", "1", "--validators", "1", "--json"];
    let mut up = place.start(&network);
    let start = up.event();
    assert_eq!((&start["event"], start["run"].is_string()), (&"started".into(), true), "{start}");
    up.wait_for(|event| event["event"] == "window");
    let genesis: Value = serde_json::from_slice(&fs::read(place.path("d/up/genesis.json")).unwrap()).unwrap();
    let ledger = place.json(&["status", "--data", "d", "--json"]);
    assert!(ledger["ledger_block"].is_u64(), "{ledger}");
    let found = place.json(&["doctor", "--data", "d", "--json"]);
    let finding = found.as_array().unwrap().iter().find(|finding| finding["check"] == "ledger").unwrap();
    let url = finding["what"].as_str().unwrap().split(": ").next().unwrap().to_owned();
    assert!(finding["health"] == "ok" && url.starts_with("ws://"), "{finding}");
    let slots = place.json(&["status", "--ledger", &url, "--json"]);
    assert_eq!(slots["slots"].as_array().unwrap().len(), 2, "{slots}");

    // The page of the network, and the same of its record by a process of its own.
    let run = start["run"].as_str().unwrap();
    let mut page = place.start(&["dashboard", "--data", "d", "--listen", "127.0.0.1:0", "--json"]);
    let listening = page.event();
    assert_eq!((&listening["event"], &listening["run"]), (&"listening".into(), &start["run"]), "{listening}");
    for url in [&start["dashboard"], &listening["url"]] {
        let shown = fetch(url.as_str().unwrap(), "/api/v1/run");
        assert!(shown.starts_with("HTTP/1.1 200") && shown.contains(run), "{shown}");
    }
    assert_eq!(page.interrupt().0, Some(0));

    let mut guest = place.start(&["miner", "--local", "guest", "--data", "d", "--threads", "1", "--json"]);
    let started = guest.wait_for(|event| event["event"] == "started");
    assert_eq!((&started["role"], started["uid"].is_u64()), (&"miner".into(), true), "{started}");
    guest.wait_for(|event| event["event"] == "sealed");
    guest.wait_for(|event| event["event"] == "applied");
    let pay = guest.wait_for(|event| event["event"] == "pay");
    assert!(pay["stake_rao"].is_number() || pay["stake_rao"].is_string(), "{pay}");
    guest.kill();

    // A document that differs in a word is of another run: that is one sentence, and no fault of a peer's.
    let mut copy = genesis;
    copy["economics"]["ramp_windows"] = 77.into();
    place.write("copy.json", copy.to_string());
    let mut command = place.templar(&["miner", "--genesis", "copy.json", "--corpus", "d/up/corpus", "--json"]);
    command.args(["--data", "other", "--ledger", &url, "--wallet-folder", "d/up/wallets", "--wallet", "guest"]);
    command.args(["--bucket", &format!("file://{}", text(&place.path("bucket")))]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no validator runs this run"), "{stderr}");
    up.interrupt();
}

/// The keys that a row of a page has for a command or an event.
fn documented(page: &str, names: &[&str]) -> Vec<String> {
    let is_row = |line: &&str| {
        let cells: Vec<&str> = line.split('|').collect();
        cells.len() > 4 && names.iter().all(|name| cells[1].contains(name) || cells[2].contains(name))
    };
    let row = page.lines().find(is_row).unwrap_or_else(|| panic!("the page has no row for {names:?}"));
    let cell = row.split('|').nth(3).unwrap();
    cell.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| !["ok", "warn", "fail"].contains(word))
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn check_keys(page: &str, names: &[&str], value: &Value) {
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    for key in documented(page, names) {
        assert!(value.get(&key).is_some() || key == "fix", "{names:?} has no `{key}`: {value}");
    }
}

#[test]
fn the_page_on_json_holds() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md")).unwrap();
    let place = Place::new();
    let train = [&TRAINING[..], &["--steps", "2", "--log-every", "1", "--out", "m", "--json"]].concat();
    let sampled = [&train[..], &["--sample-every", "1"]].concat();
    let events = place.stdout(&sampled);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[events.len() - 1]["event"]), (&"start".into(), &"summary".into()));
    let rows = page.split("`templar model train`").nth(1).unwrap();
    for event in &events {
        let name = format!("`{}`", event["event"].as_str().unwrap());
        let page = if name == "`start`" { &format!("| {rows}") } else { rows };
        check_keys(page, &[&name], event);
    }
    let corpus = ["corpus", "build", "--synthetic", "60000", "--vocab-size", "300", "--out", "c", "--json"];
    check_keys(&page, &["`templar corpus build`"], &place.json(&corpus));
    let documents: [(&str, &[&str]); 8] = [
        ("`templar model presets`", &["model", "presets"]),
        ("`templar model inspect`", &["model", "inspect", "m"]),
        ("`templar model evaluate`", &["model", "evaluate", "m", "--sequence-length", "32"]),
        ("`templar model generate`", &["model", "generate", "m", "--max-tokens", "1"]),
        ("`templar model export`", &["model", "export", "m", "--out", "e"]),
        ("`templar model plot`", &["model", "plot", "m"]),
        ("`templar doctor`", &["doctor"]),
        ("`templar bucket key add`", &["bucket", "key", "add", "miner-1"]),
    ];
    for (name, arguments) in documents {
        let output = place.run(&[arguments, &["--json"]].concat());
        check_keys(&page, &[name], &serde_json::from_slice(&output.stdout).unwrap());
    }
    let config = place.json(&["config", "--json"]);
    check_keys(&page, &["`templar config`"], &config["preset"]);
}

#[test]
fn a_training_that_resumes_keeps_its_text() {
    let place = Place::new();
    place.write("book.txt", (0..60).map(|number| templar_corpus::synthetic_document(3, number)).collect::<String>());
    place.write("other.txt", (60..120).map(|number| templar_corpus::synthetic_document(3, number)).collect::<String>());
    let train = |text: &[&'static str], steps: &'static str| {
        let sizes = ["--preset", "nano", "--sequence-length", "32", "--batch", "2", "--out", "m", "--steps", steps];
        [&["model", "train"][..], text, &sizes, &["--resume"]].concat()
    };
    place.stdout(&train(&["--text", "book.txt"], "2"));
    for (text, option) in [
        (&["--text", "other.txt"][..], "--text"),
        (&["--synthetic", "60000"], "--synthetic"),
        (&["--text", "book.txt", "--vocab-size", "300"], "--vocab-size"),
    ] {
        let error = place.failure(2, &train(text, "4"));
        assert!(error.contains(&format!("{option} differs from the one that the training started with")), "{error}");
    }
    assert!(place.failure(1, &train(&["--text", "missing.txt"], "4")).contains("missing.txt does not exist"));
    // The same command as at first, and the folder alone.
    place.stdout(&train(&["--text", "book.txt"], "4"));
    fs::remove_file(place.path("book.txt")).unwrap();
    place.stdout(&["model", "train", "--resume", "--out", "m", "--steps", "5"]);
}

#[test]
fn a_folder_or_file_with_something_else_in_it_is_never_replaced() {
    let place = trained();
    fs::create_dir(place.path("thesis")).unwrap();
    place.write("thesis/chapter.txt", "years of work");
    place.write("notes.txt", "mine");
    for (code, words) in [
        (1, vec!["checkpoint", "fetch", "--out", "thesis", "--ledger", "ws://127.0.0.1:1"]),
        (2, vec!["checkpoint", "fetch", "--out", "notes.txt", "--ledger", "ws://127.0.0.1:1"]),
        (2, vec!["checkpoint", "fetch", "--out", "m", "--ledger", "ws://127.0.0.1:1"]),
        (1, vec!["model", "import", "m", "--out", "thesis"]),
        (1, vec!["model", "train", "--synthetic", "60000", "--out", "thesis", "--resume"]),
        (2, vec!["model", "plot", "m", "--out", "notes.txt"]),
    ] {
        let error = place.failure(code, &words);
        assert!(!error.contains("ledger"), "{words:?}: {error}");
        assert_eq!(fs::read_to_string(place.path("thesis/chapter.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_to_string(place.path("notes.txt")).unwrap(), "mine");
    }
    // A picture is drawn again over the old one.
    for _ in 0..2 {
        place.stdout(&["model", "plot", "m", "--out", "loss.svg"]);
    }
    place.write("m/notes.md", "about this training");
    let error = place.failure(1, &[&TRAINING[..], &["--steps", "4", "--out", "m", "--resume"]].concat());
    assert!(error.contains("notes.md in it") && error.contains("would be lost"), "{error}");
    assert!(place.path("m/notes.md").is_file());
}
