//! Wallets, phrases, bucket keys and storage servers.

use crate::program::{Place, Running, succeeded, text};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;

/// Substrate's development phrase and the address of its key: public, and nobody's money is behind it.
const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const ALICE_PUBLIC: &str = "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
const BOB_SEED: &str = "398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// Everything in the folder of the wallets: paths and contents.
fn wallets(place: &Place) -> Vec<(PathBuf, Vec<u8>)> {
    fn below(folder: PathBuf, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => below(entry.path(), found),
                false => found.push((entry.path(), std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    let mut found = Vec::new();
    below(place.path("home/.bittensor"), &mut found);
    found.sort();
    found
}

fn wallet_file(place: &Place, name: &str, content: &str) -> PathBuf {
    let path = place.path("home/.bittensor/wallets").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

fn public_half() -> String {
    json!({"accountId": ALICE_PUBLIC, "publicKey": ALICE_PUBLIC, "ss58Address": ALICE}).to_string()
}

#[test]
fn an_empty_secret_is_wrong_usage_and_nothing_is_written() {
    let place = Place::new();
    for input in ["", "\n", " \t\n\n", "\u{feff}\r\n"] {
        for key in ["coldkey", "hotkey"] {
            let output = place.run_with(&["wallet", "import", key, "--no-password"], input);
            assert_eq!(output.status.code(), Some(2), "{input:?}");
            assert!(
                said(&output).contains("nothing was given") || said(&output).contains("is empty"),
                "{}",
                said(&output)
            );
        }
    }
    assert!(wallets(&place).is_empty());
}

#[test]
fn a_key_of_the_whole_world_needs_a_flag_whatever_form_it_has() {
    let place = Place::new();
    let seed = format!("0x{BOB_SEED}");
    let example = format!("{}about", "abandon ".repeat(11));
    let zeros = format!("0x{}", "0".repeat(64));
    let derived = format!("{PHRASE}//treasury/2");
    for secret in ["//Alice", "//Alice//stash", "//mine", PHRASE, &derived, &seed, &example, &zeros] {
        let refused = place.run_with(&["wallet", "import", "coldkey", "--no-password"], secret);
        assert_eq!(refused.status.code(), Some(2), "{secret}");
        assert!(said(&refused).contains("the whole world has this key"), "{}", said(&refused));
        assert!(said(&refused).contains("--development"), "{}", said(&refused));
    }
    assert!(wallets(&place).is_empty());
    let file = place.write("key.json", json!({"secretSeed": seed, "ss58Address": null}).to_string());
    let refused = place.failure(2, &["wallet", "import", "hotkey", "--file", text(&file)]);
    assert!(refused.contains("development accounts"), "{refused}");

    let import = ["wallet", "import", "hotkey", "--development"];
    let taken = place.run_with(&import, "//Alice\n");
    assert!(taken.status.success() && said(&taken).contains(ALICE) && said(&taken).contains("warning:"));
    // A secret of one's own needs no flag.
    let own = place.json(&["wallet", "new", "--no-password", "--wallet", "own", "--json"]);
    let phrase = own["coldkey"]["phrase"].as_str().unwrap();
    succeeded(place.run_with(&["wallet", "import", "coldkey", "--no-password", "--wallet", "copy"], phrase));
}

#[test]
fn a_phrase_is_read_as_people_write_it() {
    let place = Place::new();
    let import = |name: &str, input: &str| {
        place.run_with(&["wallet", "import", "hotkey", "--development", "--hotkey", name], input)
    };
    let title: Vec<String> = PHRASE.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    for (name, input) in [
        ("plain", PHRASE.to_owned()),
        ("title", title.join(" ")),
        ("upper", PHRASE.to_uppercase()),
        ("spaces", PHRASE.replace(' ', "  ")),
        ("nbsp", PHRASE.replace(' ', "\u{a0}")),
        ("lines", PHRASE.replace(' ', "\n")),
        ("windows", format!("\u{feff}{}\r\n", PHRASE.replace(' ', "\r\n"))),
        ("late", format!("\n\n{PHRASE}")),
    ] {
        let output = import(name, &input);
        assert!(output.status.success() && said(&output).contains(ADDRESS), "{name}: {}", said(&output));
    }
    let numbered: Vec<String> = PHRASE.split(' ').enumerate().map(|(n, word)| format!("{}. {word}", n + 1)).collect();
    for (name, input, reason) in [
        ("numbered", numbered.join(" "), "has numbers"),
        ("quoted", format!("\"{PHRASE}\""), "quotation marks"),
        ("hex", BOB_SEED.to_owned(), "hexadecimal digits without a prefix"),
        ("short-seed", format!("0x{}", &BOB_SEED[2..]), "0x and 64 hexadecimal digits"),
        ("commas", PHRASE.replace(' ', ","), "not a letter"),
        ("misspelt", PHRASE.replace("lake", "laek"), "word 4 is not in the English list"),
        ("swapped", PHRASE.replace("bottom drive", "drive bottom"), "checksum"),
        ("short", "bottom drive".to_owned(), "this one has 2"),
        ("address", ALICE.to_owned(), "is an address"),
        ("two", format!("{PHRASE}\n{PHRASE}"), "2 phrases"),
    ] {
        let output = import(name, &input);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(said(&output).contains(reason) && !said(&output).contains("curtain"), "{name}: {}", said(&output));
    }
    let binary = place.path("utf16");
    std::fs::write(&binary, b"\xff\xfeb\0o\0").unwrap();
    let mut command = place.templar(&["wallet", "import", "hotkey"]);
    let output = command.stdin(std::fs::File::open(binary).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_watched_address_is_not_replaced_by_the_way() {
    let place = Place::new();
    wallet_file(&place, "watching/coldkeypub.txt", &public_half());
    wallet_file(&place, "damaged/coldkeypub.txt", "{");
    let before = wallets(&place);
    let new = |wallet: &'static str| place.failure(1, &["wallet", "new", "--no-password", "--wallet", wallet]);
    let refused = new("watching");
    assert!(refused.contains(&format!("watches {ALICE}")), "{refused}");
    assert!(refused.contains("--hotkey-only") && refused.contains("--overwrite"), "{refused}");
    assert!(new("damaged").contains("is damaged"));
    let import = ["wallet", "import", "coldkey", "--no-password", "--development", "--wallet", "watching"];
    let refused = place.run_with(&import, "//Bob");
    assert!(refused.status.code() == Some(1) && said(&refused).contains("--overwrite"), "{}", said(&refused));
    assert_eq!(wallets(&place), before);

    // A further hotkey leaves the address; its own key joins it.
    place.stdout(&["wallet", "new", "--hotkey-only", "--wallet", "watching"]);
    let shown = place.stdout(&["wallet", "show", "--wallet", "watching"]);
    assert!(shown.contains(ALICE) && shown.contains("public half only"), "{shown}");
    let error =
        place.failure(1, &["token", "transfer", ALICE, "1", "--wallet", "watching", "--ledger", "ws://127.0.0.1:1"]);
    assert!(error.contains("no ledger"), "{error}");
    succeeded(place.run_with(&import, "//Alice"));

    // The explicit word keeps what was there.
    let kept = place.run_with(&[&import[..], &["--overwrite", "--json"]].concat(), "//Bob");
    let kept: Value = serde_json::from_str(&succeeded(kept)).unwrap();
    let copies: Vec<PathBuf> =
        kept["kept"].as_array().unwrap().iter().map(|path| PathBuf::from(path.as_str().unwrap())).collect();
    assert_eq!(copies.len(), 2, "{kept}");
    let old = ["wallet", "import", "coldkey", "--no-password", "--development", "--wallet", "old", "--file"];
    let restored = place.stdout(&[&old[..], &[text(&copies[0])]].concat());
    assert!(restored.contains(ALICE), "{restored}");
}

#[test]
fn an_encrypted_hotkey_is_listed_and_used_with_its_password() {
    let place = Place::new();
    let with = |password: &str, arguments: &[&str]| {
        place.templar(arguments).env("TEMPLAR_WALLET_PASSWORD", password).output().unwrap()
    };
    succeeded(with("secret-1", &["wallet", "new", "--hotkey", "plain"]));
    let root = place.path("home/.bittensor/wallets/default");
    std::fs::copy(root.join("coldkey"), root.join("hotkeys/enc")).unwrap();
    std::fs::write(root.join("hotkeys/bad"), "{").unwrap();

    let shown = place.json(&["wallet", "show", "--json"]);
    let of = |name: &str| {
        let hotkeys = shown["hotkeys"].as_array().unwrap();
        hotkeys.iter().find(|hotkey| hotkey["name"] == name).unwrap().clone()
    };
    assert_eq!((of("enc")["encrypted"].clone(), of("enc")["address"].clone()), (json!(true), Value::Null));
    assert!(of("plain")["address"].is_string() && of("plain")["fault"].is_null());
    assert!(of("bad")["fault"].as_str().unwrap().contains("is not a key file"), "{shown}");
    let table = place.stdout(&["wallet", "show"]);
    assert!(table.contains("(encrypted)") && table.contains("is not a key file"), "{table}");

    // What needs only the address gets as far as the ledger.
    let register = ["token", "register", "--hotkey", "enc", "--ledger", "ws://127.0.0.1:1"];
    let locked = place.failure(1, &register);
    assert!(locked.contains("TEMPLAR_WALLET_PASSWORD"), "{locked}");
    assert!(said(&with("wrong", &register)).contains("is wrong"));
    assert!(said(&with("secret-1", &register)).contains("no ledger"));
}

#[test]
fn a_wallet_of_hotkeys_alone_is_shown_and_no_needless_coldkey_is_suggested() {
    let place = Place::new();
    place.stdout(&["wallet", "new", "--hotkey-only", "--wallet", "hot"]);
    let shown = place.stdout(&["wallet", "show", "--wallet", "hot"]);
    assert!(shown.contains("not here") && shown.contains("hotkey default"), "{shown}");
    assert!(place.stdout(&["wallet", "list"]).contains("not here"));
    let error = place.failure(1, &["token", "register", "--wallet", "hot", "--ledger", "ws://127.0.0.1:1"]);
    assert!(error.contains("wallet import coldkey --wallet hot") && !error.contains("wallet new"), "{error}");
    let error = place.failure(1, &["token", "register", "--wallet", "hot", "--hotkey", "other"]);
    assert!(error.contains("it has default"), "{error}");
}

#[test]
fn a_hotkey_has_its_public_half_beside_it() {
    let place = Place::new();
    let made = place.json(&["wallet", "new", "--no-password", "--hotkey", "miner", "--json"]);
    let hotkeys = place.path("home/.bittensor/wallets/default/hotkeys");
    let public: Value = serde_json::from_slice(&std::fs::read(hotkeys.join("minerpub.txt")).unwrap()).unwrap();
    assert_eq!(public["ss58Address"], made["hotkey"]["address"]);
    assert!(public.get("privateKey").is_none() && public.get("secretPhrase").is_none());
    assert_eq!(place.json(&["wallet", "list", "--json"])[0]["hotkeys"], json!(["miner"]));
    assert!(place.failure(1, &["wallet", "new", "--hotkey-only", "--hotkey", "xpub.txt"]).contains("public halves"));
}

#[test]
fn a_wallet_that_cannot_be_made_leaves_nothing() {
    let place = Place::new();
    wallet_file(&place, "w/hotkeys", "a file where a folder should be");
    let before = wallets(&place);
    place.failure(1, &["wallet", "new", "--no-password", "--wallet", "w"]);
    assert_eq!(wallets(&place), before);
    let empty = place.path("home/.bittensor/wallets/empty");
    std::fs::create_dir_all(empty).unwrap();
    let listed = place.stdout(&["wallet", "list"]);
    assert!(listed.contains("w  ") && !listed.contains("empty"), "{listed}");
}

#[test]
fn a_bucket_key_is_replaced_on_demand_only_and_can_be_listed_and_removed() {
    let place = Place::new();
    let add = ["bucket", "key", "add", "miner-1", "--endpoint", "http://storage.example:9000", "--json"];
    let first = place.json(&add);
    assert!(first["warning"].is_null());
    let refused = place.failure(1, &add);
    assert!(refused.contains("exists already") && refused.contains("--overwrite"), "{refused}");
    let keys = std::fs::read_to_string(first["keys"].as_str().unwrap()).unwrap();
    assert!(keys.contains(first["bucket_secret_key"].as_str().unwrap()));
    let second = place.json(&[&add[..], &["--overwrite"]].concat());
    assert_ne!(first["bucket_secret_key"], second["bucket_secret_key"]);

    let listed = place.run(&["bucket", "key", "list", "--json"]);
    let listed = succeeded(listed);
    assert!(!listed.contains(second["bucket_secret_key"].as_str().unwrap()));
    assert_eq!(
        serde_json::from_str::<Value>(&listed).unwrap(),
        json!([{"access_key": "miner-1", "bucket": "miner-1"}])
    );
    place.stdout(&["bucket", "key", "remove", "miner-1"]);
    assert!(place.failure(1, &["bucket", "key", "remove", "miner-1"]).contains("bucket key list"));
    assert!(place.stdout(&["bucket", "key", "list"]).contains("no keys in"));
}

#[test]
fn an_address_that_others_cannot_reach_is_told_when_it_is_printed() {
    let place = Place::new();
    for (name, listen) in [("miner-1", None), ("miner-2", Some("0.0.0.0:9050")), ("miner-3", Some("[::1]:9000"))] {
        let mut command = place.templar(&["bucket", "key", "add", name, "--json"]);
        command.envs(listen.map(|listen| ("TEMPLAR_BUCKET_LISTEN", listen)));
        let output = command.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("--endpoint"), "{}", said(&output));
        let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(facts["warning"].as_str().unwrap().contains("machine can reach"), "{facts}");
    }
}

#[test]
fn an_address_to_listen_on_may_be_a_name_and_a_mistake_is_answered_with_an_example() {
    let place = Place::new();
    for command in ["bucket", "ledger"] {
        let listen = |address: &'static str| place.failure(2, &[command, "--listen", address]);
        assert!(listen(":9060").contains("127.0.0.1:9060"));
        assert!(listen("9060").contains("127.0.0.1:9060"));
        assert!(listen("localhost").contains("localhost:9000"));
        assert!(listen("http://localhost:9060").contains("leave out `http://`"));
    }
    let mut bucket = place.start(&["bucket", "--listen", "localhost:0", "--json"]);
    assert!(bucket.event()["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let mut ledger = place.start(&["ledger", "--development", "--listen", "localhost:0", "--json"]);
    let url = ledger.event()["url"].as_str().unwrap().to_owned();
    let without_scheme = url.strip_prefix("ws://").unwrap();
    assert!(place.stdout(&["token", "price", "--ledger", without_scheme]).contains("capitalisation"));
    let wrong = place.failure(2, &["token", "price", "--ledger", &url.replace("ws://", "http://")]);
    assert!(wrong.contains(&format!("such as {url}")), "{wrong}");
}

/// What `doctor` finds of a bucket.
fn bucket_finding(place: &Place, endpoint: &str, variables: &[(&str, &str)]) -> Value {
    let location = format!("s3://demo-bucket?endpoint={endpoint}");
    let mut command = place.templar(&["doctor", "--json", "--threads", "1", "--ledger", "ws://127.0.0.1:1"]);
    command.env("TEMPLAR_BUCKET", location);
    command.envs([("TEMPLAR_BUCKET_ACCESS_KEY", "miner-1"), ("TEMPLAR_BUCKET_SECRET_KEY", "a-secret")]);
    command.env_remove("SSL_CERT_FILE").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let finding = findings.as_array().unwrap().iter().find(|finding| finding["check"] == "bucket");
    finding.unwrap().clone()
}

/// A server that gives every request the same answer.
fn always(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            read_request(&mut client);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    url
}

/// Reads a request with its body, and gives its first word.
fn read_request(client: &mut impl Read) -> String {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some(end) = head.find("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return head.split(' ').next().unwrap().to_owned();
            }
        }
        match client.read(&mut block) {
            Ok(0) | Err(_) => return String::new(),
            Ok(read) => bytes.extend_from_slice(&block[..read]),
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn failure(code: &str, message: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

#[test]
fn each_refusal_of_a_storage_server_is_told_by_its_own_code() {
    let place = Place::new();
    let found = |status: &str, headers: &str, body: String| {
        let endpoint = always(http(status, headers, &body));
        let finding = bucket_finding(&place, &endpoint, &[]);
        assert_eq!(finding["health"], "fail", "{finding}");
        (finding["what"].as_str().unwrap().to_owned(), finding["fix"].as_str().unwrap().to_owned())
    };
    let long = "x".repeat(5000);
    let (what, fix) = found("403 Forbidden", "", failure("RequestTimeTooSkewed", &long));
    assert!(what.contains("RequestTimeTooSkewed") && fix.contains("clock"), "{what}: {fix}");
    let (what, fix) = found("403 Forbidden", "", failure("SignatureDoesNotMatch", "check your key"));
    assert!(what.contains("SignatureDoesNotMatch") && fix.contains("secret key"), "{what}: {fix}");
    let (what, fix) = found("403 Forbidden", "", failure("InvalidAccessKeyId", "no such key"));
    assert!(what.contains("InvalidAccessKeyId") && fix.contains("access key"), "{what}: {fix}");
    let (what, fix) = found("403 Forbidden", "", failure("AccessDenied", "no"));
    assert!(what.contains("AccessDenied") && fix.contains("docs/buckets.md"), "{what}: {fix}");
    let (what, fix) = found("404 Not Found", "", failure("NoSuchBucket", "none"));
    assert!(what.contains("NoSuchBucket") && fix.contains("create the bucket"), "{what}: {fix}");
    let (what, _) = found("403 Forbidden", "", failure("Access\u{1b}[31mDenied", "\u{1b}[31mred"));
    assert!(!what.contains('\u{1b}'), "{what:?}");
    let region = "x-amz-bucket-region: eu-central-1\r\n";
    let (what, fix) = found("301 Moved Permanently", region, failure("PermanentRedirect", "use the endpoint"));
    assert!(what.contains("the bucket is in eu-central-1 (the server says so)"), "{what}");
    assert!(fix.contains("&region=eu-central-1"), "{fix}");
}

/// A store that keeps one object and looks at no signature.
fn serve(mut client: impl Read + Write, object: &std::sync::Mutex<Vec<u8>>) {
    let answer = match read_request(&mut client).as_str() {
        "put" => {
            *object.lock().unwrap() = b"probe".to_vec();
            http("200 OK", "etag: \"0\"\r\n", "")
        }
        "delete" => http("204 No Content", "", ""),
        "get" => http("200 OK", "etag: \"0\"\r\nlast-modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n", "probe"),
        _ => return,
    };
    let _ = client.write_all(answer.as_bytes()).and_then(|()| client.flush());
}

#[test]
fn a_control_character_in_a_key_is_named_and_white_space_around_it_is_not_sent() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let object = std::sync::Mutex::default();
        listener.incoming().map_while(Result::ok).for_each(|client: TcpStream| serve(client, &object));
    });
    let finding = |key: &str, secret: &str| {
        let variables = [("TEMPLAR_BUCKET_ACCESS_KEY", key), ("TEMPLAR_BUCKET_SECRET_KEY", secret)];
        bucket_finding(&place, &endpoint, &variables)
    };
    for (key, secret) in [("miner-1\r", "s"), ("miner-1\n", "s"), (" miner-1 ", "s\r\n")] {
        let found = finding(key, secret);
        // Without a ledger nothing says that this is a network of one machine.
        assert_eq!(found["health"], "warn", "{found}");
        assert!(found["what"].as_str().unwrap().contains("only this machine can reach"), "{found}");
    }
    for (key, secret, what) in [
        ("mi\u{1}ner", "s", "the access key has a control character"),
        ("miner\n1", "s", "the access key has a control character"),
        ("minér", "s", "the access key has a space or a character beyond ASCII"),
        ("miner", "s\u{1}s", "the secret key has a control character"),
    ] {
        let found = finding(key, secret);
        assert!(found["health"] == "fail" && found["what"].as_str().unwrap().contains(what), "{found}");
    }
    // The keys of other tools' variables and files go the same way.
    let mut command = place.templar(&["doctor", "--json", "--threads", "1", "--ledger", "ws://127.0.0.1:1"]);
    command.env("TEMPLAR_BUCKET", format!("s3://demo-bucket?endpoint={endpoint}"));
    let output = command.envs([("AWS_ACCESS_KEY_ID", "mi\u{1}ner"), ("AWS_SECRET_ACCESS_KEY", "s")]).output().unwrap();
    assert!(said(&output).contains("the access key has a control character"), "{}", said(&output));
    let mut command = place.templar(&["config"]);
    let output = command.env("TEMPLAR_WALLET", "a\u{1}b").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("TEMPLAR_WALLET") && said(&output).contains("control character"));
}

#[test]
fn a_server_of_a_private_certificate_authority_is_trusted_where_the_machine_trusts_it() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/localhost.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let object = std::sync::Mutex::default();
        for client in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            serve(rustls::StreamOwned::new(session, client), &object);
        }
    });
    let place = Place::new();
    let authority = place.write("ca.pem", include_bytes!("fixtures/private-ca.pem"));
    let endpoint = format!("https://localhost:{port}");
    let unknown = bucket_finding(&place, &endpoint, &[]);
    assert_eq!(unknown["health"], "fail", "{unknown}");
    assert!(unknown["fix"].as_str().unwrap().contains("SSL_CERT_FILE"), "{unknown}");
    let trusted = bucket_finding(&place, &endpoint, &[("SSL_CERT_FILE", text(&authority))]);
    assert_eq!(trusted["health"], "warn", "{trusted}");
    assert!(trusted["what"].as_str().unwrap().contains("written, read, deleted"), "{trusted}");
    let wrong = bucket_finding(&place, &endpoint, &[("SSL_CERT_FILE", "/none.pem")]);
    assert!(wrong["what"].as_str().unwrap().contains("SSL_CERT_FILE names no certificate"), "{wrong}");
}

/// A ledger that only this machine reaches makes a bucket that only this machine reaches no fault.
#[test]
fn a_network_of_one_machine_needs_no_public_address() {
    let place = Place::new();
    let mut ledger = place.start(&["ledger", "--development", "--listen", "127.0.0.1:0", "--json"]);
    let mut bucket: Running = place.start(&["bucket", "--listen", "localhost:0", "--json"]);
    let (ledger_url, endpoint) = (ledger.event()["url"].clone(), bucket.event()["url"].clone());
    let key = place.json(&["bucket", "key", "add", "miner-1", "--endpoint", endpoint.as_str().unwrap(), "--json"]);
    let settings = ["bucket", "bucket_access_key", "bucket_secret_key"].map(|name| format!("{name} = {}\n", key[name]));
    place.write("templar.toml", settings.concat());
    let findings = |ledger: &str| {
        let output = place.run(&["doctor", "--json", "--threads", "1", "--ledger", ledger]);
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        findings.as_array().unwrap().iter().find(|finding| finding["check"] == "bucket").unwrap().clone()
    };
    let alone = findings(ledger_url.as_str().unwrap());
    assert!(alone["health"] == "ok" && alone["what"].as_str().unwrap().contains("read by everybody"), "{alone}");
    let unknown = findings("ws://127.0.0.1:1");
    assert!(unknown["health"] == "warn" && unknown["fix"].as_str().unwrap().contains("--endpoint"), "{unknown}");
}

#[test]
fn a_registration_without_funds_is_told_in_its_own_words() {
    let place = Place::new();
    let mut ledger = place.start(&["ledger", "--development", "--listen", "127.0.0.1:0", "--json"]);
    let url = ledger.event()["url"].as_str().unwrap().to_owned();
    place.stdout(&["wallet", "new", "--no-password"]);
    let poor = place.failure(1, &["token", "register", "--yes", "--ledger", &url]);
    assert!(poor.contains("a slot costs") && poor.contains("0.000000000 TAO free"), "{poor}");
    assert!(!poor.contains("Stake"), "{poor}");
}

#[test]
fn half_of_an_access_key_is_an_error_and_no_other_key_is_looked_for() {
    let place = Place::new();
    let mut command = place.templar(&["doctor", "--json", "--threads", "1", "--ledger", "ws://127.0.0.1:1"]);
    command.envs([("TEMPLAR_BUCKET", "s3://demo-bucket?endpoint=http://127.0.0.1:1")]);
    command.envs([
        ("TEMPLAR_BUCKET_ACCESS_KEY", "miner-1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ]);
    let output = command.output().unwrap();
    assert!(said(&output).contains("only one of `bucket_access_key` and `bucket_secret_key`"), "{}", said(&output));
}
