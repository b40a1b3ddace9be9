//! Where settings come from.

use crate::program::{Place, succeeded};

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let place = Place::new();
    place.write("templar.toml", "ledger = 'ws://file:1'\nthreads = 1\npreset = 'nano'\n");
    let mut command = place.templar(&["config", "--json", "--threads", "3"]);
    let output = command.env("TEMPLAR_LEDGER", "ws://variable:1").env("TEMPLAR_THREADS", "2").output().unwrap();
    let facts: serde_json::Value = serde_json::from_str(&succeeded(output)).unwrap();
    let pair =
        |name: &str| [&facts[name]["value"], &facts[name]["origin"]].map(|text| text.as_str().unwrap().to_owned());
    assert_eq!(pair("threads"), ["3", "--threads"]);
    assert_eq!(pair("ledger"), ["ws://variable:1", "TEMPLAR_LEDGER"]);
    assert_eq!(pair("preset")[0], "nano");
    assert!(pair("preset")[1].ends_with("templar.toml"));
    assert_eq!(pair("hotkey"), ["default", "default"]);
}

#[test]
fn a_misspelt_setting_is_named_and_a_secret_is_not_shown() {
    let place = Place::new();
    let file = place.write("other.toml", "legder = 'x'");
    let error = place.failure(2, &["config", "--config", crate::program::text(&file)]);
    assert!(error.contains("no setting `legder`"), "{error}");
    place.write("templar.toml", "bucket_secret_key = 'hush-hush'");
    assert!(!place.stdout(&["config"]).contains("hush-hush"));
    assert!(place.failure(1, &["config", "--config", "missing.toml"]).contains("missing.toml"));
}

#[test]
fn a_form_of_the_log_that_there_is_not_is_named_and_stops_nothing() {
    let place = Place::new();
    for (format, is_known) in [("xml", false), ("json", true), ("text", true), ("", true)] {
        let output = place.templar(&["config"]).env("TEMPLAR_LOG_FORMAT", format).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert_eq!(!stderr.contains("TEMPLAR_LOG_FORMAT is not understood"), is_known, "{format}: {stderr}");
    }
}
