//! Keys in files.

use crate::program::{Place, succeeded};

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

#[test]
fn a_wallet_is_made_listed_shown_and_never_overwritten_by_accident() {
    let place = Place::new();
    let made = place.json(&["wallet", "new", "--no-password", "--wallet", "w", "--hotkey", "miner", "--json"]);
    let phrase = made["coldkey"]["phrase"].as_str().unwrap();
    assert_eq!(phrase.split(' ').count(), 12);
    let error = place.failure(1, &["wallet", "new", "--no-password", "--wallet", "w"]);
    assert!(error.contains("--hotkey-only"), "{error}");
    place.stdout(&["wallet", "new", "--hotkey-only", "--wallet", "w", "--hotkey", "second"]);

    let shown = place.stdout(&["wallet", "show", "--wallet", "w"]) + &place.stdout(&["wallet", "list"]);
    assert!(shown.contains("second") && shown.contains(made["coldkey"]["address"].as_str().unwrap()));
    assert!(!shown.contains(phrase), "no secret is shown");
    let listed = place.json(&["wallet", "list", "--json"]);
    assert_eq!(listed[0]["hotkeys"], serde_json::json!(["miner", "second"]));

    // The phrase is the key: imported elsewhere it has the same address.
    let import = ["wallet", "import", "coldkey", "--no-password", "--wallet", "copy", "--json"];
    let copy: serde_json::Value = serde_json::from_str(&succeeded(place.run_with(&import, phrase))).unwrap();
    assert_eq!(copy["address"], made["coldkey"]["address"]);
}

#[test]
fn a_secret_is_exported_only_on_demand() {
    let place = Place::new();
    let import = ["wallet", "import", "hotkey", "--development"];
    assert!(succeeded(place.run_with(&import, "//Alice\n")).contains(ALICE));
    let error = place.failure(2, &["wallet", "export", "hotkey"]);
    assert!(error.contains("--show-secret"), "{error}");
    let exported = place.json(&["wallet", "export", "hotkey", "--show-secret", "--json"]);
    assert_eq!(exported["address"], ALICE);
    assert_eq!(exported["private_key"].as_str().unwrap().len(), 2 + 128);
    let again = place.run_with(&import, "//Bob\n");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--overwrite"));
    succeeded(place.run_with(&[&import[..], &["--overwrite"]].concat(), "//Bob\n"));
}

/// Bug: with a standard output that was closed, the keys were made and nobody had seen their phrases.
#[cfg(unix)]
#[test]
fn a_phrase_that_nobody_would_see_is_not_made() {
    let place = Place::new();
    let new = ["wallet", "new", "--no-password", "--wallet", "w"];
    let wallets = place.path("home/.bittensor/wallets");
    let refused = |output: std::process::Output, part: &str| {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(part), "{}: {stderr}", output.status);
        assert!(!wallets.join("w").exists(), "a key was made: {stderr}");
    };
    let to_nobody = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        place.templar(arguments).stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap()
    };
    refused(to_nobody(&new), "the reader of standard output has gone");
    let words = format!("exec \"$0\" {} >&-", new.join(" "));
    let mut closed = std::process::Command::new("sh");
    closed
        .args(["-c", &words, env!("CARGO_BIN_EXE_templar")])
        .current_dir(place.path("."))
        .env("HOME", place.path("home"));
    refused(closed.output().unwrap(), "standard output is closed");
    refused(to_nobody(&["bucket", "key", "add", "bucket-1", "--keys", "keys.json"]), "standard output has gone");
    assert!(!place.path("keys.json").exists(), "a write key was made");
    // What is thrown away on purpose is the caller's choice; a disk that is full shows only when it is written to.
    place.templar(&new).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(wallets.join("w").exists());
    #[cfg(target_os = "linux")]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let other = ["wallet", "new", "--no-password", "--wallet", "other"];
        let output = place.templar(&other).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for part in ["phrases were not shown", "other/coldkey", "other/hotkeys/default", "templar wallet export"] {
            assert!(stderr.contains(part), "{part} in {stderr}");
        }
    }
}

#[test]
fn mistakes_with_keys_are_named_without_the_secret() {
    let place = Place::new();
    let wrong = "abandon abandon nonsense";
    let output = place.run_with(&["wallet", "import", "hotkey"], wrong);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr.contains("nonsense"), "{stderr}");
    let file = place.write("key.json", r#"{"secretPhrase": 5, "hush": 1}"#);
    let error = place.failure(1, &["wallet", "import", "hotkey", "--file", crate::program::text(&file)]);
    assert!(error.contains("is not a key file") && !error.contains("hush"), "{error}");
    assert!(place.failure(1, &["wallet", "show", "--wallet", "none"]).contains("templar wallet new"));
    assert!(place.failure(1, &["wallet", "show", "--wallet", "../x"]).contains("is not a wallet or key name"));
}

#[test]
fn an_encrypted_coldkey_opens_with_its_password_alone() {
    let place = Place::new();
    let with = |password: &str, arguments: &[&str]| {
        place.templar(arguments).env("TEMPLAR_WALLET_PASSWORD", password).output().unwrap()
    };
    succeeded(with("right", &["wallet", "new", "--json"]));
    assert!(place.stdout(&["wallet", "show"]).contains("(encrypted)"));
    let export = ["wallet", "export", "coldkey", "--show-secret"];
    succeeded(with("right", &export));
    let refused = with("wrong", &export);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is wrong"));

    // The file itself is what Bittensor's tools write: another wallet can be made of it.
    let shown = place.json(&["wallet", "show", "--json"]);
    let file = shown["coldkey"]["file"].as_str().unwrap();
    let import = ["wallet", "import", "coldkey", "--no-password", "--wallet", "copy", "--json", "--file", file];
    let copy: serde_json::Value = serde_json::from_str(&succeeded(with("right", &import))).unwrap();
    assert_eq!(copy["address"], shown["coldkey"]["address"]);
    assert_eq!(with("wrong", &import).status.code(), Some(1));
}

/// However much is said: no phrase, no private key, no password.
#[test]
fn no_secret_reaches_the_output_or_the_log() {
    const PASSWORD: &str = "correct-horse-battery";
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let output = place.templar(arguments).env("TEMPLAR_WALLET_PASSWORD", PASSWORD).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let made: serde_json::Value = serde_json::from_str(&run(&["wallet", "new", "--json"])).unwrap();
    let exported = |key: &str| -> serde_json::Value {
        serde_json::from_str(&run(&["wallet", "export", key, "--show-secret", "--json"])).unwrap()
    };
    let mut secrets = vec![PASSWORD.to_owned()];
    for key in ["coldkey", "hotkey"] {
        secrets.push(made[key]["phrase"].as_str().unwrap().to_owned());
        secrets.push(exported(key)["private_key"].as_str().unwrap().trim_start_matches("0x").to_owned());
    }
    let ledger = ["--ledger", "ws://127.0.0.1:1"];
    let said = [
        run(&["-vv", "wallet", "show"]),
        run(&["-vv", "wallet", "list", "--json"]),
        run(&["-vv", "wallet", "export", "coldkey"]),
        run(&["-vv", "wallet", "import", "coldkey", "--file", "missing"]),
        run(&[["-vv", "token", "balance"].as_slice(), &ledger].concat()),
        run(&[["-vv", "token", "transfer", ALICE, "1"].as_slice(), &ledger].concat()),
        run(&[["-vv", "token", "stake", "1", "--yes"].as_slice(), &ledger].concat()),
        run(&["-vv", "config"]),
    ];
    for text in &said {
        assert!(!text.is_empty());
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "a secret is in: {text}");
    }
}
