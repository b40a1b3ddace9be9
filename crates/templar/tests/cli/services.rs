//! The ledger, the bucket server, and the doctor who looks at both.

use crate::program::{Place, fetch_text, text};
use templar_testing::samples_of;

const ANY: &str = "127.0.0.1:0";

#[test]
fn a_ledger_goes_on_where_it_stood_and_is_one_process() {
    let place = Place::new();
    let mut ledger = place.start(&["ledger", "--development", "--listen", ANY, "--json"]);
    let first = ledger.event();
    assert_eq!(first["event"], "listening");
    let address = first["url"].as_str().unwrap().strip_prefix("ws://").unwrap();

    let error = place.failure(1, &["ledger", "--listen", ANY]);
    assert!(error.contains("in use by another ledger process"), "{error}");
    let other_folder = ["ledger", "--development", "--data", "other", "--listen", address];
    let error = place.failure(1, &other_folder);
    assert!(error.contains("cannot listen on") && error.contains(address), "{error}");

    let (code, last) = ledger.interrupt();
    assert_eq!((code, last["event"].as_str()), (Some(0), Some("stopped")));
    let again = place.start(&["ledger", "--listen", ANY, "--json"]).event();
    assert_eq!(again["genesis"], first["genesis"]);
}

#[test]
fn a_new_ledger_needs_an_owner_and_keeps_its_rules() {
    let place = Place::new();
    let error = place.failure(1, &["ledger", "--listen", ANY]);
    assert!(error.contains("--owner") && error.contains("--development"), "{error}");
    assert!(place.failure(1, &["ledger", "--profile", "nosuch.json"]).contains("ledger init"));

    place.stdout(&["ledger", "init", "--development", "--out", "rules.json"]);
    place.failure(1, &["ledger", "init", "--development", "--out", "rules.json"]);
    let path = place.path("rules.json");
    let rules = std::fs::read_to_string(&path).unwrap().replace("\"salt\": 0", "\"salt\": 5");
    std::fs::write(&path, rules).unwrap();
    let ledger = place.start(&["ledger", "--profile", "rules.json", "--listen", ANY, "--json"]);
    drop_after_event(ledger);
    let error = place.failure(1, &["ledger", "--development", "--listen", ANY]);
    assert!(error.contains("holds chain"), "{error}");
    let path = place.write("bad.json", "{}");
    place.failure(1, &["ledger", "--profile", crate::program::text(&path), "--data", "fresh", "--listen", ANY]);
}

fn drop_after_event(mut running: crate::program::Running) {
    assert_eq!(running.event()["event"], "listening");
    let (code, _) = running.interrupt();
    assert_eq!(code, Some(0));
}

#[test]
fn services_give_their_metrics_at_an_address_or_in_a_file() {
    let place = Place::new();
    let mut ledger = place.start(&["ledger", "--development", "--listen", ANY, "--json", "--metrics", ANY]);
    let url = ledger.wait_for(|event| event["event"] == "metrics")["url"].as_str().unwrap().to_owned();
    let metrics = samples_of(&fetch_text(&url));
    assert!(metrics.contains_key("templar_ledger_block") && metrics["templar_ledger_store_bytes"] > 0.0, "{metrics:?}");
    let file = place.path("bucket.prom");
    let at = format!("file:{}", text(&file));
    let mut bucket = place.start(&["bucket", "--listen", ANY, "--json", "--metrics", &at]);
    assert_eq!(bucket.wait_for(|event| event["event"] == "metrics")["url"], at);
    let read = || samples_of(&std::fs::read_to_string(&file).unwrap_or_default());
    while !read().contains_key("templar_bucket_objects") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (code, _) = bucket.interrupt();
    assert!(code == Some(0) && !file.exists(), "the file ends with its process");
    // A place that cannot be had is known before anything is started.
    let other = ["--development", "--data", "other", "--listen", ANY];
    for (wrong, code, part) in [
        ("file:nowhere/ledger.prom", 1, "nowhere/ledger.prom"),
        (url.trim_start_matches("http://").trim_end_matches("/metrics"), 1, "in use"),
        ("metrics.prom", 2, "it names no port"),
        ("file:", 2, "file:metrics.prom"),
    ] {
        let error = place.failure(code, &[&["ledger"][..], &other, &["--metrics", wrong]].concat());
        assert!(error.contains(part), "{wrong}: {error}");
    }
}

#[test]
fn the_doctor_finds_a_whole_network_well() {
    let place = Place::new();
    let mut ledger = place.start(&["ledger", "--development", "--listen", ANY, "--json"]);
    let mut bucket = place.start(&["bucket", "--listen", ANY, "--json"]);
    let (ledger_url, bucket_url) = (ledger.event()["url"].clone(), bucket.event()["url"].clone());
    let endpoint = bucket_url.as_str().unwrap();
    let key = place.json(&["bucket", "key", "add", "miner-1", "--endpoint", endpoint, "--json"]);
    let settings = ["bucket", "bucket_access_key", "bucket_secret_key"].map(|name| format!("{name} = {}\n", key[name]));
    place.write("templar.toml", settings.concat());
    let findings = place.json(&["doctor", "--json", "--ledger", ledger_url.as_str().unwrap()]);
    for finding in findings.as_array().unwrap() {
        // How full the disk of the machine is, and how late its processes run, is not ours.
        if !["disk", "clock", "ledger"].contains(&finding["check"].as_str().unwrap()) {
            assert_eq!(finding["health"], "ok", "{finding}");
        }
    }
    assert!(findings.to_string().contains("read by everybody"), "{findings}");

    let error = place.failure(1, &["bucket", "--listen", ANY]);
    assert!(error.contains("already served by another bucket server"), "{error}");
    let address = endpoint.strip_prefix("http://").unwrap();
    let error = place.failure(1, &["bucket", "--data", "other", "--listen", address]);
    assert!(error.contains("is in use"), "{error}");
    let (code, last) = bucket.interrupt();
    assert_eq!((code, last["event"].as_str()), (Some(0), Some("stopped")));
}

#[test]
fn the_doctor_says_what_to_do_about_a_missing_ledger_and_a_wrong_key() {
    let place = Place::new();
    let mut bucket = place.start(&["bucket", "--listen", ANY, "--json"]);
    let endpoint = bucket.event()["url"].as_str().unwrap().to_owned();
    place.write("templar.toml", format!("bucket = 's3://miner-1?endpoint={endpoint}'\nbucket_access_key = 'nobody'\nbucket_secret_key = 'nothing-at-all'\n"));
    let output = place.run(&["doctor", "--ledger", "ws://127.0.0.1:1", "--data", "/proc/templar"]);
    // Bug: without a terminal a stage was named only ten seconds after the last line.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("checking the disk\n") && told.contains("asking the bucket\n"), "{told}");
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    for part in
        ["fail  ledger", "templar ledger", "fail  bucket", "templar bucket key add", "fail  data folder", "--data"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn a_wrong_bucket_name_or_keys_file_is_refused() {
    let place = Place::new();
    assert!(place.failure(1, &["bucket", "key", "add", "Upper"]).contains("bucket name"));
    place.write("keys.json", "{");
    assert!(place.failure(1, &["bucket", "--keys", "keys.json", "--listen", ANY]).contains("keys file"));
    assert!(place.failure(2, &["bucket", "--listen", "nowhere"]).contains("bucket_listen"));
}

#[test]
fn a_dashboard_without_a_network_says_what_to_do() {
    let place = Place::new();
    let error = place.failure(1, &["dashboard", "--listen", ANY]);
    assert!(error.contains("there is no local network") && error.contains("templar up"), "{error}");
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = place.failure(1, &["dashboard", "--listen", &address]);
    assert!(error.contains("is in use") && error.contains("--listen"), "{error}");
    let error = place.failure(1, &["up", "--dashboard", &address, "--text", "synthetic"]);
    assert!(error.contains("is in use") && error.contains("--no-dashboard"), "{error}");
    assert!(place.failure(2, &["dashboard", "--listen", "9090"]).contains("127.0.0.1:9090"));
    assert!(place.failure(2, &["up", "--dashboard", ANY, "--no-dashboard"]).contains("--dashboard"));
}
