//! A network that is followed, measured, packed into a file, and looked at again when it is gone.

use crate::program::{Place, text};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The smallest network: two nodes, windows that a shared machine can follow.
const SMALL: [&str; 8] = ["--text", "synthetic", "--miners", "1", "--validators", "1", "--window-seconds", "14"];

/// Longest wait for an answer; far over what is needed.
const PATIENCE: Duration = Duration::from_secs(60);

fn get(address: &str, path: &str) -> String {
    let host = address.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_network_is_watched_measured_and_packed_and_its_page_outlives_it() {
    let place = Place::new();
    let data = place.path("net");
    let of_network = |words: &[&'static str]| {
        let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        all.extend(["--data".to_owned(), text(&data).to_owned()]);
        all
    };
    let run = |words: &[&'static str]| {
        let all = of_network(words);
        place.stdout(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // Without a network each command names what to do.
    let nothing = place.failure(1, &["watch", "--data", text(&data)]);
    assert!(nothing.contains("there is no local network in") && nothing.contains("templar up"), "{nothing}");

    let mut up = place.start(&[&["up", "--json", "--no-dashboard", "--data", text(&data)], &SMALL[..]].concat());
    up.wait_for(|event| event["event"] == "window");
    let lines = run(&["watch", "--windows", "1", "--json"]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((has("watching"), has("window"), has("summary")), (1, 1, 1), "{lines}");

    // The same run by its public record alone.
    let genesis = data.join("up").join("genesis.json");
    let by_record =
        place.stdout(&["watch", "--windows", "1", "--json", "--genesis", text(&genesis), "--data", text(&data)]);
    let window: Value = by_record
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|event: &Value| event["event"] == "window")
        .unwrap();
    assert!(window["heldout_loss"].is_null() && window["window"].is_u64(), "{by_record}");

    // A miner that joins by hand tells its numbers.
    let mut guest =
        place.start(&["miner", "--local", "guest", "--json", "--metrics", "127.0.0.1:0", "--data", text(&data)]);
    let url = guest.wait_for(|event| event["event"] == "metrics")["url"].as_str().unwrap().to_owned();
    guest.wait_for(|event| event["event"] == "sealed");
    let metrics = get(&url, "/metrics");
    for name in ["templar_node_sealed_payloads_total 1", "templar_node_info{role=\"miner\"", "templar_node_bytes_total"]
    {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    guest.interrupt();

    // A running network, and the stopped one.
    let pack: [&str; 6] = ["record", "pack", "--json", "--with-objects", "--out", "run.record"];
    let of_running: Value = serde_json::from_str(&run(&pack)).unwrap();
    assert!(of_running["windows"].as_u64() >= Some(3) && of_running["first_window"] == 0, "{of_running}");
    assert_eq!(of_running["gaps"].as_array().unwrap().len(), 0, "{of_running}");
    // Bug: the remedy of every failure to write was to take another name.
    let no_folder = place.failure(1, &["record", "pack", "--out", "nowhere/run.record", "--data", text(&data)]);
    assert!(no_folder.contains("nowhere") && !no_folder.contains("--overwrite"), "{no_folder}");
    // Bug: whoever watched a network that stopped was told, when asked to end, that it continues.
    let mut watcher = place.start(&["watch", "--json", "--data", text(&data)]);
    watcher.wait_for(|event| event["event"] == "watching");
    let (code, summary) = up.interrupt();
    assert_eq!((code, &summary["event"]), (Some(0), &"summary".into()));
    let (code, last) = watcher.end();
    assert_eq!((code, &last["event"]), (Some(1), &"summary".into()), "its error goes to the other stream: {last}");
    let existing = place.failure(1, &["record", "pack", "--out", "run.record", "--data", text(&data)]);
    assert!(existing.contains("exists already") && existing.contains("--overwrite"), "{existing}");
    let of_stopped: Value = serde_json::from_str(&run(&[&pack[..], &["--overwrite"]].concat())).unwrap();
    assert!(of_stopped["block"].as_u64() >= of_running["block"].as_u64(), "{of_stopped}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md")).unwrap();
    let row = page.lines().find(|line| line.contains("`templar record pack`")).unwrap();
    for key in of_stopped.as_object().unwrap().keys() {
        assert!(row.contains(&format!("`{key}`")), "{key} in {row}");
    }

    // Then the network is gone, and the file is all there is.
    std::fs::remove_dir_all(&data).unwrap();
    let mut opened = place.start(&["record", "open", "run.record", "--json", "--listen", "127.0.0.1:0"]);
    let listening = opened.wait_for(|event| event["event"] == "listening");
    assert_eq!((&listening["record"], &listening["run"]), (&of_stopped["record"], &of_stopped["run"]), "{listening}");
    let recomputed = &listening["recomputed"];
    assert!(recomputed["windows"].as_u64() >= Some(3), "{listening}");
    assert_eq!(recomputed["agree"], recomputed["reported"], "the ratings follow from the votes: {listening}");
    let url = listening["url"].as_str().unwrap();
    let window: Value = serde_json::from_str(&get(url, "/api/v1/windows/0")).unwrap();
    assert!(window["verdict"].is_null() || window["verdict"]["missing"].is_null(), "{window}");
    assert_eq!((&window["stage"], window["timeline"].as_array().unwrap().len()), (&"finished".into(), 8), "{window}");
    assert!(get(url, "/").contains("nothing here is live"));
    assert_eq!(opened.interrupt().0, Some(0));

    // A damaged file is rejected with its place, and another file as what it is.
    let mut bytes = std::fs::read(place.path("run.record")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write("damaged.record", &bytes);
    let damaged = place.failure(1, &["record", "open", "damaged.record", "--listen", "127.0.0.1:0"]);
    assert!(damaged.contains("damaged.record") && damaged.contains("byte"), "{damaged}");
    place.write("other.record", "{}");
    let other = place.failure(1, &["record", "open", "other.record", "--listen", "127.0.0.1:0"]);
    assert!(other.contains("does not begin as a record file"), "{other}");
}
