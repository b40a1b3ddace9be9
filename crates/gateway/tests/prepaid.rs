//! Keys and charges, against a local ledger.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use support::{Service, model, send, wait_until};
use templar_base::{Alpha, BlockHash, Keypair, Netuid, RAO_PER_TAO, Rao};
use templar_chain::access::{AccessAccount, AccessCall};
use templar_chain::{Call, Chain};
use templar_gateway::{
    Admission, Billing, GatewayOptions, HolderError, KeyGrant, KeyHash, KeyStore, RemoteGateway, new_key,
};
use templar_ledger::{LoadRule, LocalChain, Profile, check_conservation};
use templar_testing::samples_of;

const TAO: u64 = RAO_PER_TAO;
/// A tenth of a token for a thousand units.
const RAO_PER_UNIT: u64 = TAO / 10 / 1_000;

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// A ledger on which Bob has stake, and has prepaid at the gateway.
struct Town {
    chain: LocalChain,
    netuid: Netuid,
    genesis: BlockHash,
}

impl Town {
    async fn new(prepaid: u64) -> Self {
        let (alice, bob, gateway) = (key("Alice"), key("Bob"), key("Gateway"));
        let mut profile = Profile::local(alice.public(), &[bob.public(), gateway.public()]);
        profile.load = LoadRule::without_fees();
        let netuid = profile.netuid;
        let chain = LocalChain::in_memory(&profile).unwrap().with_block_on_submit();
        let hotkey = Keypair::from_seed([2; 32]).public();
        let amount = Alpha::from_rao(prepaid);
        for call in [
            Call::Register { netuid, hotkey, max_price: None },
            Call::AddStake { hotkey, netuid, amount: Rao::from_rao(100 * TAO) },
            Call::Access {
                netuid,
                call: AccessCall::Open { gateway: gateway.public(), key: bob.public(), hotkey, amount },
            },
        ] {
            chain.submit(&bob, call).await.unwrap();
        }
        let genesis = chain.with(|ledger| ledger.state().genesis_hash());
        Self { chain, netuid, genesis }
    }

    fn account(&self) -> AccessAccount {
        let (gateway, bob) = (key("Gateway").public(), key("Bob").public());
        self.chain.with(|ledger| check_conservation(ledger.state()).unwrap());
        self.chain.with(|ledger| ledger.access_account(self.netuid, &gateway, &bob)).unwrap().unwrap().account
    }

    fn billing(&self, folder: &Path) -> Arc<Billing> {
        let ledger = Arc::new(self.chain.clone());
        let billing =
            Billing::open(&folder.join("meter.redb"), key("Gateway"), ledger, (self.genesis, self.netuid)).unwrap();
        Arc::new(billing)
    }

    fn service(&self, folder: &Path) -> (Service, Arc<Billing>) {
        let billing = self.billing(folder);
        let keys = Arc::new(KeyStore::open(&folder.join("keys.json")).unwrap());
        let admission = Admission::Prepaid { billing: Arc::clone(&billing), keys };
        let service = Service::start(GatewayOptions::default(), admission);
        service.gateway.serve(model("tiny", 3));
        (service, billing)
    }
}

fn town(prepaid: u64) -> Town {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(Town::new(prepaid))
}

/// Makes a key for Bob's account, as `templar access key new` does.
fn make_key(service: &Service) -> String {
    let remote = RemoteGateway::at(&format!("http://{}/v1", service.address())).unwrap();
    let made = new_key().unwrap();
    service.runtime.block_on(async {
        let facts = remote.facts().await.unwrap();
        assert_eq!(facts.gateway, key("Gateway").public());
        remote.put(&facts, &key("Bob"), KeyHash::of(&made), false).await.unwrap();
    });
    made
}

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "the union"}], "max_tokens": 30});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn what_is_served_is_charged_to_the_rao_and_once() {
    let (town, folder) = (town(20 * TAO), tempfile::tempdir().unwrap());
    let (service, billing) = town.service(folder.path());
    let made = make_key(&service);
    let mut units = 0;
    for round in 0..4u64 {
        let whole = service.post_with(&made, CHAT, &chat(json!({"n": 1 + round}))).ok();
        units += whole["usage"]["total_tokens"].as_u64().unwrap();
        let more = json!({"stream": true, "stream_options": {"include_usage": true}});
        let events = service.post_with(&made, CHAT, &chat(more)).events();
        units += events.last().unwrap()["usage"]["total_tokens"].as_u64().unwrap();
        // A failing request costs nothing.
        service.post_with(&made, CHAT, &chat(json!({"temperature": 9}))).error(400);
        for _ in 0..round {
            service.runtime.block_on(billing.settle()).unwrap();
        }
    }
    let account = town.account();
    assert_eq!((account.settled.generation, account.charged), (units, Alpha::from_rao(units * RAO_PER_UNIT)));
    let metrics = samples_of(&service.gateway.metrics().text());
    for (name, wanted) in [
        ("templar_gateway_charged_tokens_total", units as f64),
        ("templar_gateway_charged_rao_total", (units * RAO_PER_UNIT) as f64),
        ("templar_gateway_unsettled_tokens", 0.0),
        ("templar_gateway_settlement_failures_total", 0.0),
        ("templar_gateway_requests_total{operation=\"keys\",outcome=\"answered\"}", 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&wanted), "{name} in {metrics:#?}");
    }
    assert!(metrics["templar_gateway_settled_seconds"] > 1.7e9);
    assert_eq!(account.balance.as_rao() + account.charged.as_rao(), 20 * TAO);
}

#[test]
fn no_more_is_served_than_is_paid_for() {
    // A hundred units: the least that an account takes.
    let (town, folder) = (town(TAO / 100), tempfile::tempdir().unwrap());
    let (service, billing) = town.service(folder.path());
    let made = make_key(&service);
    let refused = service.post_with(&made, CHAT, &chat(json!({"max_tokens": 200})));
    assert_eq!(refused.error(429)["code"], "insufficient_quota");
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), (None, Some("false")));
    let mut units = 0;
    loop {
        let answer = service.post_with(&made, CHAT, &chat(json!({"max_tokens": 10, "temperature": 0})));
        if answer.status != 200 {
            assert_eq!(answer.error(429)["type"], "insufficient_quota");
            break;
        }
        units += answer.ok()["usage"]["total_tokens"].as_u64().unwrap();
        service.runtime.block_on(billing.settle()).unwrap();
    }
    let account = town.account();
    assert!(units > 0 && units <= 100, "{units}");
    assert_eq!((account.settled.generation, account.charged.as_rao()), (units, units * RAO_PER_UNIT));
}

#[test]
fn keys_are_for_holders_of_accounts() {
    let (town, folder) = (town(TAO), tempfile::tempdir().unwrap());
    let (service, _) = town.service(folder.path());
    let made = make_key(&service);
    assert_eq!(service.post(CHAT, &chat(json!({}))).error(401)["code"], "invalid_api_key");
    assert_eq!(service.post_with("tk-00", CHAT, &chat(json!({}))).error(401)["code"], "invalid_api_key");
    service.post_with(&made, CHAT, &chat(json!({}))).ok();
    let remote = RemoteGateway::at(&format!("http://{}", service.address())).unwrap();
    let facts = service.runtime.block_on(remote.facts()).unwrap();
    let put = |who: &Keypair, hash, revoked| service.runtime.block_on(remote.put(&facts, who, hash, revoked));
    // Alice has no account here.
    let refused = put(&key("Alice"), KeyHash::of("tk-1"), false).unwrap_err();
    assert!(refused.to_string().contains("Nothing is prepaid"), "{refused}");
    // Mallory signs for Bob, and for another gateway.
    for forged in [
        KeyGrant {
            account: key("Bob").public(),
            ..KeyGrant::sign(&key("Mallory"), &facts.ledger, &facts.gateway, KeyHash::of("tk-2"), false)
        },
        KeyGrant::sign(&key("Bob"), &facts.ledger, &key("Other").public(), KeyHash::of("tk-2"), false),
    ] {
        service.post("/v1/keys", &serde_json::to_value(forged).unwrap()).error(403);
    }
    service.post("/v1/keys", &json!({"account": "x"})).error(400);
    put(&key("Bob"), KeyHash::of(&made), true).unwrap();
    service.post_with(&made, CHAT, &chat(json!({}))).error(401);
    let open = Service::open();
    let remote = RemoteGateway::at(&format!("http://{}", open.address())).unwrap();
    assert!(matches!(open.runtime.block_on(remote.facts()), Err(HolderError::Open(_))));
    assert!(matches!(RemoteGateway::at("gateway:1"), Err(HolderError::Address(_))));
}

/// A kill leaves what is on the disk: a copy of the files while a request runs is what the next process finds.
#[test]
fn a_gateway_that_is_killed_charges_once_or_not_at_all() {
    let (town, mut folder) = (town(20 * TAO), tempfile::tempdir().unwrap());
    let mut made = None;
    let mut units = 0;
    for round in 0..3 {
        let (service, billing) = town.service(folder.path());
        let key = made.get_or_insert_with(|| make_key(&service)).clone();
        units += service.post_with(&key, CHAT, &chat(json!({}))).ok()["usage"]["total_tokens"].as_u64().unwrap();
        if round == 1 {
            service.runtime.block_on(billing.settle()).unwrap();
        }
        // Of this one the client never hears the end.
        let body = chat(json!({"stream": true, "n": 32, "max_tokens": 400})).to_string();
        let _stream = send(service.address(), "POST", CHAT, Some(&key), body.as_bytes());
        wait_until(|| service.get("/health").ok()["running"] != 0);
        let next = tempfile::tempdir().unwrap();
        for file in ["meter.redb", "keys.json"] {
            std::fs::copy(folder.path().join(file), next.path().join(file)).unwrap();
        }
        drop((service, billing));
        folder = next;
    }
    let billing = town.billing(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(billing.settle()).unwrap();
    assert_eq!(runtime.block_on(billing.settle()).unwrap(), 0);
    assert_eq!(town.account().settled.generation, units);
    assert_eq!(town.account().charged.as_rao(), units * RAO_PER_UNIT);
}

#[test]
fn who_leaves_pays_for_what_was_written() {
    let (town, folder) = (town(20 * TAO), tempfile::tempdir().unwrap());
    let (service, billing) = town.service(folder.path());
    let made = make_key(&service);
    let body = chat(json!({"stream": true, "n": 32, "max_tokens": 400})).to_string();
    let mut stream = send(service.address(), "POST", CHAT, Some(&made), body.as_bytes());
    let mut buffer = [0; 1 << 16];
    // The first token of a text comes after who speaks.
    let mut text = String::new();
    while text.matches("\"delta\":{\"content\"").count() <= 32 {
        let count = std::io::Read::read(&mut stream, &mut buffer).unwrap();
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    drop(stream);
    let load = || service.get("/health").ok();
    wait_until(|| load()["waiting"] == 0 && load()["running"] == 0);
    let settled = || {
        service.runtime.block_on(billing.settle()).unwrap();
        town.account().settled.generation
    };
    wait_until(|| settled() != 0);
    let units = settled();
    assert!(units > 0 && units < 32 * 400, "{units}");
    assert_eq!(town.account().balance.as_rao(), 20 * TAO - units * RAO_PER_UNIT);
}
