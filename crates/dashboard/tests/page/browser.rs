//! The page in a real browser: every view at three widths, light and dark, and what moves without being loaded again.
//!
//! Needs Chromium and its driver (Debian: `chromium`, `chromium-driver`), and for accessibility the file `axe.min.js` of
//! the npm package `axe-core`, named by `TEMPLAR_AXE`. Where they are missing the tests say that they were skipped; with
//! `CI` set they fail.

mod driver;

use crate::client::{PATIENCE, get_read, get_until};
use crate::pages::VIEWS;
use crate::world::World;
use driver::Browser;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WIDTHS: [(u32, u32); 3] = [(1280, 900), (768, 1024), (390, 844)];
/// The variable that names axe-core's script.
const AXE: &str = "TEMPLAR_AXE";

/// A dashboard of four windows and a proposal, read to the end.
async fn finished() -> (World, templar_dashboard::Dashboard) {
    let world = World::of_four_windows().await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 4).await;
    get_until(&dashboard, "/governance", |answer| answer.body.contains("Would do")).await;
    get_until(&dashboard, "/market", |answer| !answer.body.contains("not read yet")).await;
    (world, dashboard)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_whole_at_every_width_and_nothing_hostile_comes_to_life() {
    let Some(browser) = Browser::open().await else { return };
    let (_world, dashboard) = finished().await;
    let base = dashboard.url().trim_end_matches('/').to_owned();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, height) in WIDTHS {
            browser.resize(width, height).await;
            for view in VIEWS {
                browser.load(&format!("{base}{view}")).await;
                let facts = browser
                    .ask(
                        "return {wide: document.documentElement.scrollWidth, title: document.title,
                            headings: document.querySelectorAll('h1').length, text: document.body.innerText,
                            hosts: performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)}",
                    )
                    .await;
                let at = format!("{view} at {width}, {scheme}");
                assert!(facts["wide"].as_u64() <= Some(u64::from(width)), "{at} is {} wide", facts["wide"]);
                assert_eq!(facts["headings"], 1, "{at}");
                assert!(
                    facts["title"].as_str().is_some_and(|title| title.contains("templar")),
                    "{at}: {}",
                    facts["title"]
                );
                let foreign = facts["hosts"].as_array().unwrap().iter().find(|host| host.as_str() != Some(&base));
                assert_eq!(foreign, None, "{at} asks another host");
            }
        }
    }
    browser.load(&format!("{base}/miners/4")).await;
    let text = browser.ask("return document.body.innerText").await;
    assert!(text.as_str().unwrap().contains("<script>alert('x')</script>"), "hostile words are shown as words: {text}");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_sort_and_filter_in_place_and_the_page_follows_the_run() {
    let Some(browser) = Browser::open().await else { return };
    let (world, dashboard) = finished().await;
    let base = dashboard.url().trim_end_matches('/').to_owned();
    browser.load(&format!("{base}/miners")).await;
    browser.click("[data-sort=bytes]").await;
    let bytes = "return [...document.querySelectorAll('#table tbody tr')].map(row => row.cells[0].innerText)";
    let down = browser.ask(bytes).await;
    browser.click("[data-sort=bytes]").await;
    let up = browser.ask(bytes).await;
    let count = down.as_array().unwrap().len();
    assert!(count == 5 && down != up, "{down} {up}");
    let order = browser.ask("return document.querySelector('[data-sort=bytes]').closest('th').ariaSort").await;
    assert_eq!(order, "ascending");
    browser.type_into("#filter", "nothing-has-this").await;
    let shown = "return [...document.querySelectorAll('#table tbody tr')].filter(row => !row.hidden).length";
    assert_eq!(browser.ask(shown).await, 0);

    // Each link of the navigation leads to its view.
    let links =
        browser.ask("return [...document.querySelectorAll('nav a')].map(link => link.getAttribute('href'))").await;
    let links: Vec<&str> = links.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(links.len() >= 6, "{links:?}");
    for link in links {
        browser.click(&format!("nav a[href='{link}']")).await;
        let current = browser.ask("return document.querySelector('nav [aria-current]').getAttribute('href')").await;
        assert_eq!(current, link);
    }

    browser.load(&base).await;
    let block = "return document.getElementById('as-of').innerText";
    let first = browser.ask(block).await;
    world.chain.advance(3).unwrap();
    let begun = Instant::now();
    while browser.ask(block).await == first {
        assert!(begun.elapsed() < PATIENCE, "the page does not follow the run");
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious() {
    let Some(browser) = Browser::open().await else { return };
    let script = match std::env::var_os(AXE) {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => return driver::missing(&format!("{AXE} names no axe.min.js")),
    };
    let (_world, dashboard) = finished().await;
    let base = dashboard.url().trim_end_matches('/').to_owned();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, height) in [WIDTHS[0], WIDTHS[2]] {
            browser.resize(width, height).await;
            for view in VIEWS {
                browser.load(&format!("{base}{view}")).await;
                browser.ask(&script).await;
                let run = "const done = arguments[arguments.length - 1];
                    axe.run().then(found => done(found.violations.map(fault =>
                        [fault.impact, fault.id, fault.nodes.length, fault.nodes[0].html.slice(0, 300)])))";
                let faults = browser.ask_later(run).await;
                let is_serious = |fault: &&Value| matches!(fault[0].as_str(), Some("serious" | "critical"));
                let serious: Vec<&Value> = faults.as_array().unwrap().iter().filter(is_serious).collect();
                assert!(serious.is_empty(), "{view} at {width}, {scheme}: {}", json!(serious));
            }
        }
    }
    browser.close().await;
}
