//! Funds, slots and stake against a ledger of the test's own.

use crate::program::{Place, Running, http};
use serde_json::{Value, json};

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const BOB: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
const TAO: u64 = 1_000_000_000;

/// A ledger, and a wallet whose coldkey is the ledger's owner, with 10,000 TAO.
struct Bank {
    place: Place,
    url: String,
    _ledger: Running,
}

impl Bank {
    fn new() -> Self {
        let place = Place::new();
        place.stdout(&["ledger", "init", "--development", "--out", "rules.json"]);
        let mut rules: Value = serde_json::from_slice(&std::fs::read(place.path("rules.json")).unwrap()).unwrap();
        // Without emission the amounts are the same however long a test takes.
        rules["block_emission"] = 0.into();
        // Nor with fees, and stake votes at once.
        rules["load"]["rao_per_byte"] = 0.into();
        rules["load"]["rao_per_signature"] = 0.into();
        rules["governance"]["lasting_epochs"] = 0.into();
        rules["block_time_ms"] = 200.into();
        rules["governance"]["voting_blocks"] = 15.into();
        rules["access"]["closing_blocks"] = 2.into();
        place.write("rules.json", rules.to_string());
        let mut ledger = place.start(&["ledger", "--profile", "rules.json", "--listen", "127.0.0.1:0", "--json"]);
        let url = ledger.event()["url"].as_str().unwrap().to_owned();
        for key in
            [["import", "coldkey", "--development", "--no-password"].as_slice(), &["import", "hotkey", "--development"]]
        {
            let secret = if key[1] == "coldkey" { "//Alice\n" } else { "//Alice//hot\n" };
            let imported = place.run_with(&[&["wallet"], key].concat(), secret);
            assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        }
        Self { place, url, _ledger: ledger }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.place.json(&[&["token"], arguments, &["--json", "--ledger", &self.url]].concat())
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        self.place.stdout(&[&["token"], arguments, &["--ledger", &self.url]].concat())
    }

    /// Any command, in JSON.
    fn ask(&self, arguments: &[&str]) -> Value {
        self.place.json(&[arguments, &["--json", "--ledger", &self.url]].concat())
    }

    /// Any command, as people see it.
    fn say(&self, arguments: &[&str]) -> String {
        self.place.stdout(&[arguments, &["--ledger", &self.url]].concat())
    }

    fn failure(&self, code: i32, arguments: &[&str]) -> String {
        self.place.failure(code, &[&["token"], arguments, &["--ledger", &self.url]].concat())
    }
}

#[test]
fn a_transfer_arrives_and_what_is_not_there_cannot_be_sent() {
    let bank = Bank::new();
    let before = bank.json(&["balance"]);
    assert_eq!((before["address"].as_str(), before["free_rao"].as_u64()), (Some(ALICE), Some(10_000 * TAO)));
    let sent = bank.json(&["transfer", BOB, "12.5"]);
    assert_eq!((sent["amount_rao"].as_u64(), sent["to"].as_str()), (Some(12_500_000_000), Some(BOB)));
    assert_eq!(sent["free_rao"].as_u64(), Some(10_000 * TAO - 12_500_000_000));
    assert_eq!(bank.json(&["balance", BOB])["free_rao"].as_u64(), Some(12_500_000_000));
    assert!(bank.stdout(&["balance", BOB]).contains("12.500000000 TAO"));

    let error = bank.failure(1, &["transfer", BOB, "20000"]);
    assert!(error.contains("InsufficientBalance: 20000.000000000 TAO wanted"), "{error}");
    assert!(error.contains("next: see the balance with `templar token balance`"), "{error}");
    assert!(bank.failure(2, &["transfer", BOB, "0"]).contains("the amount is 0"));
    assert!(bank.failure(2, &["transfer", BOB, "1.5 TAO"]).contains("is not an amount"));
    assert!(bank.failure(2, &["transfer", "5Grw", "1"]).contains("5Grw"));
}

#[test]
fn a_slot_is_bought_once_and_only_with_consent() {
    let bank = Bank::new();
    let none = bank.stdout(&["metagraph"]);
    assert!(none.contains("no slot is taken yet"), "{none}");

    let unasked = bank.failure(2, &["register"]);
    assert!(unasked.contains("costs 0.100000000 TAO") && unasked.contains("next: add --yes"), "{unasked}");
    let dear = bank.failure(1, &["register", "--yes", "--max-price", "0.05"]);
    assert!(dear.contains("RegistrationPriceLimitExceeded: the price is 0.100000000 TAO"), "{dear}");
    assert!(dear.contains("next: raise the limit: templar token register --max-price 0.100000000"), "{dear}");

    let bought = bank.json(&["register", "--yes"]);
    assert_eq!((bought["uid"].as_u64(), bought["burned_rao"].as_u64()), (Some(0), Some(TAO / 10)));
    let again = bank.failure(1, &["register", "--yes"]);
    assert!(again.contains("HotKeyAlreadyRegisteredInSubNet") && again.contains("slot 0"), "{again}");

    let metagraph = bank.json(&["metagraph"]);
    let slots = metagraph["slots"].as_array().unwrap();
    assert_eq!((slots.len(), &slots[0]["hotkey"]), (1, &bought["hotkey"]));
    assert_eq!(slots[0]["coldkey"], ALICE);
    let table = bank.stdout(&["metagraph"]);
    assert!(table.contains("uid  hotkey") && table.contains(bought["hotkey"].as_str().unwrap()), "{table}");
}

#[test]
fn stake_is_bought_and_sold_with_consent_and_within_the_slippage() {
    let bank = Bank::new();
    let early = bank.failure(1, &["stake", "5", "--yes"]);
    assert!(early.contains("HotKeyAccountNotExists") && early.contains("templar token register"), "{early}");
    bank.json(&["register", "--yes"]);
    let poor = bank.failure(1, &["stake", "10000", "--yes"]);
    assert!(poor.contains("NotEnoughBalanceToStake"), "{poor}");
    let unasked = bank.failure(2, &["stake", "500"]);
    assert!(unasked.contains("pay 500.000000000 TAO for 499.") && unasked.contains("next: add --yes"), "{unasked}");
    let bought = bank.json(&["stake", "500", "--yes"]);
    let (stake, paid) = (bought["stake_rao"].as_u64().unwrap(), bought["tao_rao"].as_u64().unwrap());
    assert!(paid == 500 * TAO && stake > 499 * TAO && stake < 500 * TAO, "{bought}");
    let balance = bank.json(&["balance"]);
    assert_eq!(balance["stakes"][0]["hotkey"], bought["hotkey"], "{balance}");
    assert_eq!(balance["stakes"][0]["uid"], 0);
    assert!(bank.stdout(&["balance"]).contains("(slot 0)"));

    // A hundredth of the pool moves the price by two hundredths.
    let dear = bank.failure(1, &["buy", "9000", "--yes"]);
    assert!(dear.contains("SlippageTooHigh") && dear.contains("--slippage"), "{dear}");
    let part = bank.json(&["buy", "9000", "--yes", "--partial"]);
    assert!(part["tao_rao"].as_u64().unwrap() < 3_000 * TAO, "{part}");

    let greedy = bank.failure(1, &["unstake", "9000000", "--yes"]);
    assert!(greedy.contains("NotEnoughStakeToWithdraw"), "{greedy}");
    let hotkey = bought["hotkey"].as_str().unwrap();
    let back = bank.json(&["unstake", "100", "--yes", "--hotkey-address", hotkey]);
    assert_eq!(back["alpha_rao"].as_u64(), Some(100 * TAO));
    assert_eq!(bank.json(&["sell", "all", "--yes", "--slippage", "50"])["stake_rao"].as_u64(), Some(0));

    let market = bank.json(&["price"]);
    assert!(market["volume_day"].as_u64().unwrap() > 1_000 * TAO, "{market}");
    let candles = bank.json(&["history", "--interval", "1d"]);
    assert!(candles["candles"][0]["trades"].as_u64().unwrap() >= 4, "{candles}");
    assert!(bank.stdout(&["history"]).contains("close") && bank.stdout(&["price"]).contains("capitalisation"));
    let events = bank.ask(&["wallet", "history"]);
    assert!(events["events"].as_array().unwrap().len() >= 5, "{events}");
    assert!(bank.say(&["wallet", "history"]).contains("bought stake"));
}

#[test]
fn a_setting_is_voted_on_and_access_is_paid_and_given_back() {
    let bank = Bank::new();
    bank.json(&["register", "--yes"]);
    bank.json(&["stake", "500", "--yes"]);
    let outside = bank.place.failure(1, &["governance", "propose", "selected", "0", "--yes", "--ledger", &bank.url]);
    assert!(outside.contains("ProposalOutOfBounds"), "{outside}");
    let unknown = bank.place.failure(2, &["governance", "propose", "weather", "fair", "--ledger", &bank.url]);
    assert!(unknown.contains("cannot be proposed") && unknown.contains("--help"), "{unknown}");
    let made = bank.ask(&["governance", "propose", "outer-alpha", "0.75", "--title", "calm", "--yes"]);
    assert_eq!(made["proposal"]["id"], 0, "{made}");
    let voted = bank.ask(&["governance", "vote", "0", "yes"]);
    assert_eq!(voted["proposal"]["outcome"], "adopted", "{voted}");
    assert!(bank.say(&["governance", "show", "0"]).contains("outer-alpha = 0.750000"));
    assert!(bank.say(&["governance", "list"]).contains("calm"));

    let (gateway, amount) = (BOB, 3 * TAO);
    // What has voted stays until the close; what is bought now is free.
    let locked = bank.place.failure(1, &["access", "open", "3", "--gateway", gateway, "--yes", "--ledger", &bank.url]);
    assert!(locked.contains("StakeLocked"), "{locked}");
    bank.json(&["stake", "5", "--yes"]);
    let opened = bank.ask(&["access", "open", "3", "--gateway", gateway, "--yes"]);
    assert_eq!(opened["account"]["account"]["balance"].as_u64(), Some(amount), "{opened}");
    assert!(bank.say(&["access", "show", "--gateway", gateway]).contains("3.000000000 alpha"));
    assert_eq!(bank.ask(&["access", "accounts", "--gateway", gateway])["accounts"].as_array().unwrap().len(), 1);
    bank.ask(&["access", "close", "--gateway", gateway]);
    while !bank.ask(&["access", "show", "--gateway", gateway])["account"].is_null() {}
    let terms = bank.ask(&["access", "terms"]);
    assert_eq!(terms["totals"]["prepaid"], 0, "{terms}");

    while bank.ask(&["governance", "show", "0"])["proposal"]["status"] == "open" {}
    let settings = bank.ask(&["governance", "settings"]);
    assert_eq!(settings["changes"][0]["setting"]["outer_alpha"], 750_000, "{settings}");
    let late = bank.place.failure(1, &["governance", "vote", "0", "no", "--ledger", &bank.url]);
    assert!(late.contains("ProposalClosed"), "{late}");

    // Who replays all of it comes to the same roots.
    let followed = bank.ask(&["ledger", "follow", "--once"]);
    assert_eq!(followed["event"], "caught_up", "{followed}");
    follow_from_a_snapshot(&bank);
}

/// Begins with the ledger's state instead of its past, is killed, and goes on.
fn follow_from_a_snapshot(bank: &Bank) {
    let follow = ["ledger", "follow", "--from-snapshot", "--ledger", &bank.url];
    let wrong = "ab".repeat(32);
    let error = bank.place.failure(1, &[&follow[..], &["--chain", &wrong]].concat());
    assert!(error.contains("keeps chain") && error.contains("not abab"), "{error}");
    let chain = bank.ask(&["ledger", "follow", "--once"])["chain"].as_str().unwrap().to_owned();
    let mut follower = bank.place.start(&[&follow[..], &["--json", "--chain", &chain]].concat());
    assert_eq!(follower.event()["event"], "caught_up");
    let last = [follower.event(), follower.event()][1]["block"].as_u64().unwrap();
    follower.kill();
    let again = bank.place.json(&[&follow[..], &["--once", "--json"]].concat());
    assert!(again["block"].as_u64().unwrap() >= last, "{again} after block {last}");
}

#[test]
fn without_a_ledger_or_a_wallet_the_next_step_is_named() {
    let place = Place::new();
    let lost = place.failure(1, &["token", "metagraph", "--ledger", "ws://127.0.0.1:1"]);
    assert!(lost.contains("no ledger at ws://127.0.0.1:1") && lost.contains("next: start one with"), "{lost}");
    let bare = place.failure(1, &["token", "balance"]);
    assert!(bare.contains("wallet default") && bare.contains("templar wallet new"), "{bare}");
    let bare = place.failure(1, &["token", "stake", "1", "--yes"]);
    assert!(bare.contains("no wallet default") && bare.contains("templar wallet new"), "{bare}");
}

#[test]
fn beside_a_local_network_its_ledger_is_found() {
    let bank = Bank::new();
    let port = bank.url.rsplit(':').next().unwrap();
    let up = bank.place.path("home").join("templar").join("up");
    std::fs::create_dir_all(&up).unwrap();
    let network = |port: &str| {
        let settings = format!(r#"{{"version":1,"validators":1,"miners":1,"ledger_port":{port},"bucket_port":1}}"#);
        std::fs::write(up.join("network.json"), settings).unwrap();
    };
    network(port);
    for command in
        [["token", "price"].as_slice(), &["governance", "list"], &["access", "terms"], &["wallet", "history"]]
    {
        let output = bank.place.run(command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {told}");
        assert!(told.contains("using the ledger of the local network") && told.contains(&bank.url), "{told}");
    }
    let quiet = bank.place.run(&["-q", "token", "price"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{quiet:?}");
    // Who names a ledger means it.
    let error = bank.place.failure(1, &["token", "price", "--ledger", "ws://127.0.0.1:1"]);
    assert!(error.contains("no ledger at ws://127.0.0.1:1"), "{error}");
    let variable = bank.place.templar(&["token", "price"]).env("TEMPLAR_LEDGER", "ws://127.0.0.1:1").output().unwrap();
    assert!(String::from_utf8_lossy(&variable.stderr).contains("no ledger at ws://127.0.0.1:1"));
    network("1");
    let error = bank.place.failure(1, &["token", "price"]);
    assert!(error.contains("no ledger answers at ws://127.0.0.1:1; is `templar up` running?"), "{error}");
}

#[test]
fn a_key_of_a_prepaid_account_opens_a_gateway_and_what_it_serves_is_charged() {
    let bank = Bank::new();
    bank.json(&["register", "--yes"]);
    bank.json(&["stake", "500", "--yes"]);
    bank.json(&["transfer", BOB, "1"]);
    let hotkey = ["wallet", "import", "hotkey", "--development", "--wallet", "gateway"];
    assert!(bank.place.run_with(&hotkey, "//Bob\n").status.success());
    let train =
        ["model", "train", "--synthetic", "60000", "--preset", "nano", "--sequence-length", "32", "--batch", "2"];
    bank.place.stdout(&[&train[..], &["--steps", "2", "--out", "m"]].concat());
    let serve = ["gateway", "--model", "m", "--listen", "127.0.0.1:0", "--wallet", "gateway", "--ledger", &bank.url];
    let mut gateway = bank.place.start(&[&serve[..], &["--json"]].concat());
    let serving = gateway.event();
    assert_eq!(
        (&serving["event"], &serving["model"], &serving["is_open"]),
        (&"serving".into(), &"m".into(), &false.into())
    );
    let address = serving["address"].as_str().unwrap();
    let new = ["access", "key", "new", "--gateway", address, "--json"];
    let early = bank.place.failure(1, &new);
    assert!(early.contains("Nothing is prepaid"), "{early}");
    bank.ask(&["access", "open", "3", "--gateway", BOB, "--yes"]);
    let made = bank.place.json(&new);
    assert_eq!((&made["account"], &made["gateway"]), (&ALICE.into(), &BOB.into()));
    let key = made["api_key"].as_str().unwrap();
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "Anna"}], "max_tokens": 5});
    let (status, answer) = http(address, "/chat/completions", key, Some(&asked));
    assert_eq!((status, &answer["object"]), (200, &"chat.completion".into()), "{answer}");
    // A tenth of a token for a thousand units.
    let charged = answer["usage"]["total_tokens"].as_u64().unwrap() * 100_000;
    let account = || bank.ask(&["access", "show", "--gateway", BOB])["account"]["account"].clone();
    // It is settled every ten seconds, and each question is a process of its own.
    let begun = std::time::Instant::now();
    while account()["charged"] == 0 {
        assert!(begun.elapsed().as_secs() < 180, "nothing is settled");
    }
    assert_eq!(
        (account()["charged"].as_u64(), account()["balance"].as_u64()),
        (Some(charged), Some(3 * TAO - charged))
    );
    bank.place.json(&["access", "key", "revoke", key, "--gateway", address, "--json"]);
    assert_eq!(http(address, "/chat/completions", key, Some(&asked)).0, 401);
    assert_eq!(gateway.interrupt().0, Some(0));
}
