//! Local networks: what was asked for, what is there, what is damaged.

use crate::program::{Place, Running, fetch_text, http, succeeded, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use templar_testing::samples_of;

/// The smallest network: two nodes, the shortest windows.
const SMALL: [&str; 8] = ["--text", "synthetic", "--miners", "1", "--validators", "1", "--window-seconds", "8"];

fn up<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    ["up", "--plain", "--data", text(data)].iter().chain(more).copied().collect()
}

/// Name and size of every file of a network, but for what only says that it runs.
fn files(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            if meta.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                // The database gives free pages back whenever it is closed, also after it was only read.
                let size = if path.ends_with("ledger.redb") { 0 } else { meta.len() };
                found.insert(path.strip_prefix(root).unwrap().display().to_string(), size);
            }
        }
    }
    found
}

fn words(seed: u64, count: usize) -> String {
    let syllables = ["ba", "ke", "li", "mo", "nu", "ra", "sel", "tor", "vin", "wen", "zu", "pla", "gri", "sto", "fen"];
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut text = String::new();
    for number in 0..count {
        for _ in 0..2 + next() % 2 {
            text += syllables[next() % syllables.len()];
        }
        text += if number % 12 == 11 { ".\n" } else { " " };
    }
    text
}

fn run_to_the_end(mut running: Running) -> Value {
    running.wait_for(|event| event["event"] == "summary")
}

/// One network, on which everything is tried that must leave it as it is; then it still runs, and tells how to use what
/// it trained.
#[test]
fn an_existing_network_is_never_silently_something_else_and_loses_nothing_by_a_mistake() {
    let place = Place::new();
    let data = place.path("net");
    let root = data.join("up");
    let with = |more: &[&str]| SMALL.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let first: Vec<String> = with(&["--windows", "6"]);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let output = place.stdout(&up(&data, &first));
    assert!(output.contains("templar model chat") && output.contains("templar checkpoint fetch"), "{output}");
    let before = files(&root);
    let other = place.write("other.txt", words(1, 30_000));

    // Every wish that it does not follow is refused, alone or with others.
    for (wish, has) in [
        (vec!["--text", "typo.txt"], "typo.txt"),
        (vec!["--text", text(&other)], "has the text synthetic tales"),
        (vec!["--preset", "tiny"], "has the model nano"),
        (vec!["--vocab-size", "300"], "has a vocabulary of 512"),
        (vec!["--window-seconds", "30"], "has windows of 8 s"),
        (vec!["--rule", "demo"], "has the rule mean-of-senders"),
        (vec!["--preset", "tiny", "--vocab-size", "300"], "leave --preset, --vocab-size out"),
    ] {
        let code = if wish[1] == "typo.txt" { 1 } else { 2 };
        let error = place.failure(code, &up(&data, &wish));
        assert!(error.contains(has), "{wish:?}: {error}");
        assert_eq!(files(&root), before, "{wish:?}");
    }
    // More nodes than there are funds for.
    for wish in [["--miners", "20"], ["--validators", "20"]] {
        let error = place.failure(2, &up(&data, &wish));
        assert!(error.contains("room for 9 more nodes"), "{wish:?}: {error}");
        assert_eq!(files(&root), before, "{wish:?}");
    }
    place.failure(2, &up(&data, &["--miners", "0"]));
    place.failure(2, &up(&data, &["--miners", "9999"]));
    place.failure(2, &up(&data, &["--window-seconds", "0"]));

    // --fresh with a mistake beside it.
    let notes = place.write("few.txt", "A text of a few words.\n");
    for mistake in [
        vec!["--text", "typo.txt"],
        vec!["--text", "synthetic", "--vocab-size", "100"],
        vec!["--text", text(&other), "--vocab-size", "60000"],
        vec!["--text", text(&notes)],
        vec!["--text", "synthetic", "--preset", "nonesuch"],
        vec!["--text", "synthetic", "--preset", "72b"],
        vec!["--text", "synthetic", "--listen", "0.0.0.0"],
    ] {
        let arguments: Vec<&str> = mistake.iter().copied().chain(["--fresh"]).collect();
        let output = place.run(&up(&data, &arguments));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{mistake:?}: {error}");
        assert_eq!(files(&root), before, "{mistake:?}");
    }

    // The model of the stopped network, without a path.
    let facts = place.json(&["checkpoint", "fetch", "--data", text(&data), "--json"]);
    assert_eq!(facts["window"], 5, "{facts}");
    assert!(place.path("trained").join("config.json").is_file());
    let output = place.run_with(&["model", "chat", "--data", text(&data), "--max-tokens", "8"], "Anna is\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // Settings that ask for nodes which can never be are cut to those that are.
    let settings: Value = serde_json::from_slice(&std::fs::read(root.join("network.json")).unwrap()).unwrap();
    let mut broken = settings.clone();
    broken["miners"] = Value::from(20);
    std::fs::write(root.join("network.json"), broken.to_string()).unwrap();
    let mut running = place.start(&["up", "--json", "--data", text(&data), "--windows", "1"]);
    let note = running.wait_for(|event| event["event"] == "note");
    assert!(note["message"].as_str().unwrap().contains("1 have a slot"), "{note}");
    running.wait_for(|event| event["event"] == "started");
    // A new run goes on from the checkpoint that was fetched, and from no other model.
    let ledger = format!("ws://127.0.0.1:{}", settings["ledger_port"]);
    let (corpus, genesis) = (root.join("corpus"), root.join("genesis.json"));
    let new = ["run", "new", "--corpus", text(&corpus), "--ledger", &ledger, "--miners", "1", "--steps", "2", "--json"];
    let parent = ["--first-parameters", "trained", "--parent", text(&genesis), "--parent-window"];
    let made = place.json(&[&new[..], &parent, &["5", "--out", "child.json"]].concat());
    let child = &made["document"]["parent"];
    assert_eq!(
        (&child["run"], &child["window"], &child["state"]),
        (&settings["run"], &Value::from(5), &facts["state"])
    );
    assert_eq!(made["document"]["first_state"], facts["state"], "{made}");
    // One bit of one parameter: not a checkpoint of another window, which after null windows is the same.
    let file = place.path("trained").join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let other = place.failure(2, &[&new[..], &parent, &["5", "--out", "other.json"]].concat());
    assert!(other.contains("most of the stake agreed on") && !place.path("other.json").exists(), "{other}");
    run_to_the_end(running);
    let healed: Value = serde_json::from_slice(&std::fs::read(root.join("network.json")).unwrap()).unwrap();
    assert_eq!((&healed["miners"], &healed["run"]), (&settings["miners"], &settings["run"]));

    // Parts that are lost or damaged: one sentence and what to do, and nothing starts.
    let damage = |name: &str, change: &dyn Fn(&Path), expected: &str| {
        let (path, copy) = (root.join(name), place.path("copy"));
        std::fs::copy(&path, &copy).unwrap();
        change(&path);
        let error = place.failure(1, &up(&data, &["--windows", "1"]));
        assert!(error.contains(expected) && error.contains("--fresh"), "{name}: {error}");
        assert!(!error.contains("panicked"), "{name}: {error}");
        std::fs::copy(&copy, &path).unwrap();
    };
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let cut = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 5]).unwrap();
    };
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        for byte in bytes.iter_mut().skip(4_096).step_by(97) {
            *byte ^= 0x55;
        }
        std::fs::write(path, bytes).unwrap();
    };
    damage("ledger/ledger.redb", &remove, "is missing");
    damage("ledger/ledger.redb", &cut, "ledger");
    damage("ledger/ledger.redb", &flip, "ledger");
    damage("genesis.json", &remove, "genesis.json is missing");
    damage("genesis.json", &cut, "genesis.json");
    let other_rate = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let changed = text.replacen("\"name\":\"local\"", "\"name\":\"locaL\"", 1);
        let changed = changed.replacen("\"name\": \"local\"", "\"name\": \"locaL\"", 1);
        assert_ne!(text, changed);
        std::fs::write(path, changed).unwrap();
    };
    damage("genesis.json", &other_rate, "of another run");
    damage("network.json", &cut, "network.json is damaged");
    // The rules of a ledger that exists are in its own file, and the settings follow from the nodes.
    std::fs::write(root.join("ledger.json"), "{").unwrap();
    std::fs::remove_file(root.join("network.json")).unwrap();
    let summary = run_to_the_end(place.start(&["up", "--json", "--data", text(&data), "--windows", "1"]));
    assert_eq!(summary["windows"], 1, "{summary}");
}

#[test]
fn a_start_that_was_refused_leaves_nothing_that_counts_and_a_small_text_is_enough() {
    let place = Place::new();
    let data = place.path("net");
    let few = place.write("few.txt", "A text of a few words.\n");
    let error = place.failure(1, &up(&data, &["--text", text(&few)]));
    assert!(error.contains("--text") && error.contains("--miners"), "{error}");
    assert!(!data.join("up/network.json").exists() && !data.join("up/corpus").exists());
    // The second try is about the second text, which is small too.
    let notes = place.write("notes.txt", words(2, 4_000));
    let arguments =
        ["--text", text(&notes), "--miners", "1", "--validators", "1", "--window-seconds", "8", "--windows", "1"];
    let output = place.stdout(&up(&data, &arguments));
    assert!(output.contains("the text is small") && output.contains("notes.txt"), "{output}");
    assert!(output.contains("summary"), "{output}");
}

/// A network that listens, and a second folder that knows nothing but its address.
#[test]
fn a_run_is_joined_by_one_address_and_checked_by_hash() {
    let place = Place::new();
    let (owner, guest) = (place.path("owner"), place.path("guest"));
    let arguments: Vec<&str> =
        ["up", "--json", "--data", text(&owner), "--listen", "127.0.0.1"].into_iter().chain(SMALL).collect();
    let mut running = place.start(&arguments);
    let address = running.wait_for(|event| event["event"] == "started")["address"].as_str().unwrap().to_owned();
    let joined = place.json(&["run", "join", &address, "--data", text(&guest), "--json"]);
    let document = std::fs::read(joined["genesis"].as_str().unwrap()).unwrap();
    assert_eq!(document, std::fs::read(owner.join("up/genesis.json")).unwrap());
    place.json(&["corpus", "inspect", joined["corpus"].as_str().unwrap(), "--json"]);
    let server = address.split('#').next().unwrap();
    let error = place.failure(1, &["run", "join", &format!("{server}#{}", "ab".repeat(32)), "--data", text(&guest)]);
    assert!(error.contains("it is run"), "{error}");
    let error = place.failure(2, &["run", "join", "nonsense", "--data", text(&guest)]);
    assert!(error.contains("http://192.168.1.5:9000"), "{error}");

    // Who has joined is a stranger to the network, without wallet and bucket: it serves the model as soon as there is one.
    let named = ["genesis", "ledger"].map(|name| joined[name].as_str().unwrap());
    let of_run = ["--genesis", named[0], "--ledger", named[1], "--data", text(&guest), "--json"];
    let mut gateway = place.start(&[&["gateway", "--open", "--listen", "127.0.0.1:0"][..], &of_run].concat());
    let serving = gateway.wait_for(|event| event["event"] == "serving");
    let (base, model) = (serving["address"].as_str().unwrap(), &serving["model"]);
    let question = [serde_json::json!({"role": "user", "content": "Who is Anna?"})];
    let asked = serde_json::json!({"model": model, "messages": question, "max_tokens": 5, "seed": 1});
    let (status, answer) = http(base, "/chat/completions", "none", Some(&asked));
    assert_eq!((status, &answer["choices"][0]["message"]["role"]), (200, &"assistant".into()), "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64() > Some(0), "{answer}");
    gateway.interrupt();
    // And it fetches the same model, to talk with when the network is gone.
    let fetched = place.json(&[&["checkpoint", "fetch", "--out", "trained"][..], &of_run].concat());
    assert!(fetched["window"].as_u64() >= serving["window"].as_u64(), "{fetched} {serving}");
    running.interrupt();
    let chat = ["model", "chat", "trained", "--data", text(&guest), "--max-tokens", "8", "--seed", "1"];
    let said = succeeded(place.run_with(&chat, "Anna is\n"));
    assert!(!said.trim().is_empty(), "the model says nothing");
}

#[test]
fn the_gateway_of_a_network_answers_with_its_first_checkpoint_and_ends_with_it() {
    let place = Place::new();
    let data = place.path("net");
    let start: Vec<&str> = SMALL.iter().copied().chain(["--gateway", "--json", "--data", text(&data)]).collect();
    let mut running = place.start(&[&["up"][..], &start].concat());
    let started = running.wait_for(|event| event["event"] == "started");
    let gateway = running.wait_for(|event| event["event"] == "gateway");
    assert_eq!(gateway["window"].as_u64().map(|window| window % 5), Some(0), "{gateway}");
    let address = gateway["address"].as_str().unwrap();
    let models = http(address, "/models", "", None).1;
    let name = models["data"][0]["id"].as_str().unwrap();
    let asked = serde_json::json!({"model": name, "prompt": "Anna", "max_tokens": 4});
    let (status, answer) = http(address, "/completions", "any", Some(&asked));
    assert_eq!(status, 200, "{answer}");
    assert!(answer["system_fingerprint"].as_str().unwrap().contains("-window-"), "{answer}");
    // One scrape of the page shows all of it.
    let page = format!("{}metrics", started["dashboard"].as_str().unwrap());
    let wanted = [
        "templar_run_info{",
        "templar_ledger_blocks_total{process=\"ledger\"}",
        "templar_bucket_objects{process=\"bucket\"}",
        "templar_gateway_requests_total{process=\"gateway\",operation=\"completion\",outcome=\"answered\"}",
        "templar_node_sealed_payloads_total{process=\"miner-0\"}",
        "templar_node_judged_windows_total{process=\"validator-0\"}",
    ];
    let mut metrics = BTreeMap::new();
    // Files are written every two seconds.
    for _ in 0..100 {
        metrics = samples_of(&fetch_text(&page));
        if wanted.iter().all(|name| metrics.keys().any(|own| own.starts_with(name))) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for name in wanted {
        assert!(metrics.keys().any(|own| own.starts_with(name)), "{name} in {metrics:#?}");
    }
    assert_eq!(metrics["templar_node_info{process=\"miner-0\",role=\"miner\",uid=\"0\"}"], 1.0, "{metrics:#?}");
    assert_eq!(running.interrupt().0, Some(0));
    let host = address.trim_start_matches("http://").trim_end_matches("/v1");
    assert!(std::net::TcpStream::connect(host).is_err(), "the gateway outlives its network");
}
