//! Funds, slots and stake against a ledger of the test's own.

use crate::program::{Place, Running};
use serde_json::Value;

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
        rules["block_time_ms"] = 200.into();
        place.write("rules.json", rules.to_string());
        let mut ledger = place.start(&["ledger", "--profile", "rules.json", "--listen", "127.0.0.1:0", "--json"]);
        let url = ledger.event()["url"].as_str().unwrap().to_owned();
        for key in [["import", "coldkey", "--no-password"].as_slice(), &["import", "hotkey"]] {
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
    assert!(error.contains("next: see what is there with `templar token balance`"), "{error}");
    assert!(bank.failure(2, &["transfer", BOB, "0"]).contains("moves nothing"));
    assert!(bank.failure(2, &["transfer", BOB, "1.5 TAO"]).contains("is no amount"));
    assert!(bank.failure(2, &["transfer", "5Grw", "1"]).contains("5Grw"));
}

#[test]
fn a_slot_is_bought_once_and_only_with_consent() {
    let bank = Bank::new();
    let none = bank.stdout(&["metagraph"]);
    assert!(none.contains("nobody holds a slot") && none.contains("plain emission"), "{none}");

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
    assert!(metagraph["emission_rule"].as_str().unwrap().contains("emission"));
    let slots = metagraph["slots"].as_array().unwrap();
    assert_eq!((slots.len(), &slots[0]["hotkey"]), (1, &bought["hotkey"]));
    assert_eq!(slots[0]["coldkey"], ALICE);
    let table = bank.stdout(&["metagraph"]);
    assert!(table.contains("uid  hotkey") && table.contains(bought["hotkey"].as_str().unwrap()), "{table}");
}

#[test]
fn stake_goes_onto_a_hotkey_and_comes_back() {
    let bank = Bank::new();
    let early = bank.failure(1, &["stake", "5"]);
    assert!(early.contains("HotKeyAccountNotExists") && early.contains("templar token register"), "{early}");
    bank.json(&["register", "--yes"]);
    let poor = bank.failure(1, &["stake", "10000"]);
    assert!(poor.contains("NotEnoughBalanceToStake"), "{poor}");
    let staked = bank.json(&["stake", "500"]);
    assert_eq!(staked["stake_rao"].as_u64(), Some(500 * TAO), "{staked}");
    let balance = bank.json(&["balance"]);
    assert_eq!(balance["stakes"][0]["hotkey"], staked["hotkey"], "{balance}");
    assert_eq!(balance["stakes"][0]["uid"], 0);
    assert!(bank.stdout(&["balance"]).contains("(slot 0)"));

    let greedy = bank.failure(1, &["unstake", "9000000"]);
    assert!(greedy.contains("NotEnoughStakeToWithdraw"), "{greedy}");
    let hotkey = staked["hotkey"].as_str().unwrap();
    let back = bank.json(&["unstake", "499", "--hotkey-address", hotkey]);
    assert_eq!(back["amount_rao"].as_u64(), Some(499 * TAO));
    assert_eq!(back["free_rao"].as_u64(), staked["free_rao"].as_u64().map(|free| free + 499 * TAO));
    assert_eq!(bank.json(&["unstake", "all"])["stake_rao"].as_u64(), Some(0));
}

#[test]
fn without_a_ledger_or_a_wallet_the_next_step_is_named() {
    let place = Place::new();
    let lost = place.failure(1, &["token", "metagraph", "--ledger", "ws://127.0.0.1:1"]);
    assert!(lost.contains("no ledger at ws://127.0.0.1:1") && lost.contains("next: start one with"), "{lost}");
    let bare = place.failure(1, &["token", "balance"]);
    assert!(bare.contains("wallet default") && bare.contains("templar wallet new"), "{bare}");
    let bare = place.failure(1, &["token", "stake", "1"]);
    assert!(bare.contains("no hotkey default") && bare.contains("templar wallet new"), "{bare}");
}
