//! What the pages and the API say.

use crate::client::{get, get_read, get_until, get_with};
use crate::world::{HOSTILE, VALIDATORS, World};
use std::sync::Arc;
use templar_base::Window;

/// Every view, as an address.
pub const VIEWS: [&str; 11] = [
    "/",
    "/windows",
    "/windows/0",
    "/windows/1",
    "/miners",
    "/miners/2",
    "/miners/4",
    "/market",
    "/governance",
    "/evidence",
    "/try",
];

#[tokio::test]
async fn the_record_is_read_projected_and_shown() {
    let world = World::new().await;
    world.pass(Window(0), true).await;
    world.pass(Window(1), false).await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 2).await;
    let run = get(&dashboard, "/api/v1/run").await.json();
    assert_eq!(run["facts"]["run"], world.source.run.id.to_string());
    assert_eq!((&run["totals"]["null_windows"], &run["totals"]["tokens"]), (&1.into(), &12_800.into()), "{run}");
    assert_eq!(run["totals"]["null_reasons"][0][0], "no contribution is surely over zero", "{run}");
    assert_eq!((&run["totals"]["in_sync"], &run["totals"]["reports"]), (&2.into(), &2.into()), "{run}");
    assert!(run["problem"].is_null(), "{run}");

    let window = get(&dashboard, "/api/v1/windows/0").await.json();
    assert_eq!((&window["stage"], &window["selected"][0]), (&"finished".into(), &VALIDATORS.into()), "{window}");
    assert_eq!((&window["loss_before"], &window["loss_after"]), (&6.0.into(), &5.8.into()), "{window}");
    assert_eq!(window["electors"].as_array().unwrap().len(), usize::from(VALIDATORS), "{window}");
    assert!(window["verdict"]["missing"].is_null() && window["seconds"].as_f64() > Some(0.0), "{window}");
    let refused = &window["miners"][2];
    assert_eq!((&refused["is_refused"], &refused["tokens"]), (&true.into(), &serde_json::Value::Null), "{refused}");
    assert!(refused["standing"].as_str().unwrap().contains("<script>"), "JSON has the words as they are: {refused}");

    let slots = get(&dashboard, "/api/v1/miners?sort=bytes&order=down").await.json();
    assert_eq!(slots["slots"][0]["uid"], 4, "the largest first: {slots}");
    assert_eq!(slots["slots"][0]["sealed_windows"], 2, "{slots}");
    let miner = get(&dashboard, "/api/v1/miners/2").await.json();
    assert_eq!(
        (&miner["windows"][0]["window"], &miner["windows"][1]["is_selected"]),
        (&1.into(), &true.into()),
        "{miner}"
    );
    assert!(miner["events"].as_array().is_some_and(|events| !events.is_empty()), "{miner}");

    let market = get_until(&dashboard, "/api/v1/market", |answer| !answer.json()["market"].is_null()).await.json();
    assert!(market["market"]["summary"]["price"].as_u64() > Some(0), "{market}");
    assert_eq!(get(&dashboard, "/api/v1/windows/9").await.status, 404);
    assert_eq!(get(&dashboard, "/miners/77").await.status, 404);
}

#[tokio::test]
async fn hostile_words_never_become_markup() {
    let world = World::of_four_windows().await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 4).await;
    let has_proposal = |answer: &crate::client::Answer| answer.body.contains("Would do");
    get_until(&dashboard, "/governance", has_proposal).await;
    let mut shown = 0;
    for view in VIEWS {
        let page = get_with(&dashboard, view, "accept: text/html\r\n").await;
        assert_eq!(page.status, 200, "{view}");
        for dangerous in ["<script>", "<img", "<b>hostile", "onerror=alert(1)>", "\u{202e}"] {
            assert!(!page.body.contains(dangerous), "{view} has {dangerous}");
        }
        shown += page.body.matches("&lt;script&gt;").count();
        let policy = &page.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        // Nothing is loaded from anywhere else, and nothing is in the page that its policy would forbid.
        let loaded = ["src=\"http", "<link rel=\"stylesheet\" href=\"http", "style=\"", " onclick", "<style"];
        assert!(loaded.iter().all(|word| !page.body.contains(word)), "{view}");
    }
    assert!(shown >= 4, "the hostile words are shown as words, {shown} times");
    let filtered = get(&dashboard, "/miners?filter=%3Cscript%3E&sort=standing").await;
    assert!(
        filtered.body.contains("value=\"&lt;script&gt;\"") && filtered.body.contains("1 of 5 slots"),
        "{}",
        filtered.body
    );
    let metrics = get(&dashboard, "/metrics").await;
    assert!(!metrics.body.contains("script") && HOSTILE.contains("script"), "{}", metrics.body);
}

#[tokio::test]
async fn a_finished_window_is_projected_once_and_an_answer_rendered_once() {
    let world = World::new().await;
    world.pass(Window(0), true).await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 1).await;
    let first = Arc::clone(&dashboard.snapshot().finished[&Window(0)]);
    let page = get(&dashboard, "/windows/0").await;
    let again = get_with(&dashboard, "/windows/0", &format!("if-none-match: {}\r\n", page.headers["etag"])).await;
    assert_eq!((again.status, again.body.len()), (304, 0), "nothing changed");
    for _ in 0..20 {
        get(&dashboard, "/windows/0").await;
    }
    world.pass(Window(1), true).await;
    get_read(&dashboard, 2).await;
    assert!(Arc::ptr_eq(&first, &dashboard.snapshot().finished[&Window(0)]), "it was read again");
    let head = get(&dashboard, "/api/v1/run").await.json()["head"]["block"].as_u64();
    assert_eq!(head, Some(world.head().get()));
}

#[tokio::test]
async fn tasks_are_shown_with_who_disagrees_and_how_to_recompute_them() {
    let world = World::of_four_windows().await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 4).await;
    let all = get(&dashboard, "/api/v1/evaluations").await.json();
    assert_eq!((&all["windows"][0]["window"], all["windows"].as_array().unwrap().len()), (&3.into(), 1), "{all}");
    let standings = |number: usize| &all["windows"][0]["evaluations"][number]["standing"];
    assert_eq!((standings(0), standings(1)), (&"leading".into(), &"differs".into()), "{all}");
    assert_eq!(get(&dashboard, "/api/v1/windows/3").await.json()["evaluations"], all["windows"][0]["evaluations"]);
    let page = get(&dashboard, "/").await.body;
    // The first validator has the most stake: its figures stand, and the other is named.
    for shown in ["0.750 ± 0.050", "12.500 ± 0.050", "1 says so", "disagrees: other figures", "id=\"accuracy\""] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    assert!(!page.contains("0.625 ±"), "{page}");
    let task = &world.source.run.genesis.evaluation.as_ref().unwrap().tasks[0];
    assert!(page.contains("templar checkpoint fetch --window 3 --out window-3"), "{page}");
    assert!(
        page.contains(&format!("templar model benchmark window-3 --questions corpus/{}", task.file_name())),
        "{page}"
    );
    assert_eq!(get(&dashboard, "/evaluations").await.status, 404, "it is a part of the run's page");
}

#[tokio::test]
async fn a_window_can_be_followed_while_it_lasts() {
    let world = World::new().await;
    world.pass(Window(0), true).await;
    world.seal(Window(1));
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 1).await;
    let is_judged = |answer: &crate::client::Answer| answer.status == 200 && answer.json()["stage"] == "judging";
    let window = get_until(&dashboard, "/api/v1/windows/1", is_judged).await.json();
    assert_eq!(window["miners"].as_array().unwrap().len(), 3, "{window}");
    assert!(window["selected"].as_array().unwrap().is_empty() && window["is_null"] == false, "{window}");
    let page = get(&dashboard, "/windows/1").await.body;
    assert!(page.contains("is being judged") && page.contains("rel=\"prev\""), "{page}");
    let lines = get(&dashboard, "/api/v1/windows").await.json();
    assert_eq!(lines["windows"].as_array().unwrap().len(), 3, "0 is finished, 1 judged, 2 trained: {lines}");
}

#[tokio::test]
async fn a_page_talks_to_the_gateway_that_is_known_and_no_other_page_does() {
    let mut world = World::new().await;
    let without = get(&world.serve(|_| {}), "/try").await;
    assert!(without.body.contains("templar up --gateway") && !without.body.contains("<form"), "{}", without.body);
    world.source.gateway = Some("http://127.0.0.1:8000/v1".parse().unwrap());
    let dashboard = world.serve(|_| {});
    let page = get(&dashboard, "/try").await;
    assert!(page.body.contains("data-gateway=\"http://127.0.0.1:8000/v1\""), "{}", page.body);
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("connect-src 'self' http://127.0.0.1:8000;"), "{policy}");
    let other = get(&dashboard, "/market").await;
    assert!(other.headers["content-security-policy"].contains("connect-src 'self';"), "{:?}", other.headers);
    assert_eq!(get(&dashboard, "/api/v1/try").await.status, 404);
}

#[tokio::test]
async fn metrics_are_in_prometheus_form() {
    let world = World::new().await;
    world.pass(Window(0), true).await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 1).await;
    let answer = get_until(&dashboard, "/metrics", |answer| answer.body.contains("templar_price_rao")).await;
    assert!(answer.headers["content-type"].starts_with("text/plain; version=0.0.4"));
    let mut known = std::collections::BTreeSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(known.insert(name.to_owned()) && ["gauge", "counter"].contains(&kind), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(known.contains(name.split('{').next().unwrap()), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
    let value = |name: &str| {
        let line = answer.body.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(value("templar_merged_tokens"), Some(12_800.0), "{}", answer.body);
    assert_eq!(value("templar_validators_in_sync"), Some(2.0), "{}", answer.body);
    assert!(answer.body.contains("templar_rating{uid=\"2\"} 0.6"), "{}", answer.body);
    let page = include_str!("../../../../docs/dashboard.md");
    let missing: Vec<&String> = known.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/dashboard.md does not name {missing:?}");
    let grafana = include_str!("../../../../docs/grafana.json");
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let used = grafana.split(|char| !is_of_name(char)).filter(|word| word.starts_with("templar_"));
    // What a histogram is read by.
    let used = used.map(|word| word.strip_suffix("_bucket").unwrap_or(word));
    // Those of nodes and services are compared with their page in their crates.
    let of_others = include_str!("../../../../docs/metrics.md");
    let is_known = |name: &&str| known.contains(*name) || of_others.contains(&format!("`{name}`"));
    let unknown: Vec<&str> = used.filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "docs/grafana.json has {unknown:?}, which nobody serves");
}
