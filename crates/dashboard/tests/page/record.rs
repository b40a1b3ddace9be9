//! A record file says what the live page says.

use crate::client::{get, get_read, get_until, get_with};
use crate::pages::VIEWS;
use crate::world::{HOSTILE, NETUID, World};

use std::time::Duration;
use templar_base::Window;
use templar_chain::{Commitments, Topic};
use templar_dashboard::{Dashboard, Listener, Options, Source};
use templar_record::{PackOptions, PackedRecord, PublicRecord, finished_at, pack, read_window, recompute};

const ALL: PackOptions = PackOptions { windows: 1_000, with_objects: false };

async fn packed(world: &World, options: PackOptions) -> PackedRecord {
    let source = &world.source;
    pack(&source.run, &source.record, &source.chain, options, &mut |_| {}).await.unwrap()
}

fn serve(packed: &PackedRecord) -> Dashboard {
    let options = Options { pause: Duration::from_millis(50), ..Options::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Dashboard::start(listener, Source::of_file(packed), options).unwrap()
}

#[tokio::test]
async fn a_file_gives_every_window_as_the_ledger_and_the_buckets_give_it() {
    let world = World::of_four_windows().await;
    let live = packed(&world, ALL).await;
    let again = PackedRecord::from_bytes(&live.to_bytes().unwrap()).unwrap();
    assert_eq!((again.root(), again.facts(), again.index()), (live.root(), live.facts(), live.index()));
    let gaps: Vec<&str> = again.facts().gaps.iter().map(|gap| gap.what.as_str()).collect();
    assert_eq!((again.facts().first, gaps), (Some(Window(0)), vec!["the checkpoint's manifest of window 3"]));
    let record: PublicRecord = again.record();
    let run = &world.source.run;
    for window in Window(0).until(Window(4)) {
        assert!(finished_at(&run.phases, window) <= world.head());
        let mut of_ledger = read_window((run, &world.source.record), window, world.head()).await.unwrap();
        let mut of_file = read_window((run, &record), window, world.head()).await.unwrap();
        assert!(of_ledger.verdict.as_ref().unwrap().missing.is_none());
        // Where an object is found is told by its first holder; which that is does not matter.
        of_ledger.verdict.as_mut().unwrap().url = None;
        of_file.verdict.as_mut().unwrap().url = None;
        assert_eq!(of_file, of_ledger);
    }
}

#[tokio::test]
async fn the_page_of_a_file_says_what_the_live_page_says() {
    let world = World::of_four_windows().await;
    let file = packed(&world, ALL).await;
    let (live, opened) = (world.serve(|_| {}), serve(&file));
    for dashboard in [&live, &opened] {
        get_read(dashboard, 4).await;
        get_until(dashboard, "/api/v1/market", |answer| !answer.json()["market"].is_null()).await;
        let has_votes = |answer: &crate::client::Answer| !answer.json()["governance"].is_null();
        get_until(dashboard, "/api/v1/governance", has_votes).await;
    }
    for path in
        ["windows", "windows/0", "windows/2", "miners", "miners/2", "market", "governance", "evidence", "evaluations"]
    {
        let path = format!("/api/v1/{path}");
        let (of_ledger, of_file) = (get(&live, &path).await.json(), get(&opened, &path).await.json());
        assert_eq!(of_file, of_ledger, "{path}");
    }
    let run = get(&opened, "/api/v1/run").await.json();
    assert_eq!(run["facts"]["record_file"]["record"], file.root().to_string(), "{run}");
    assert!(run["problem"].is_null() && get(&live, "/api/v1/run").await.json()["facts"]["record_file"].is_null());
    for view in VIEWS {
        let page = get_with(&opened, view, "accept: text/html\r\n").await;
        assert!(page.status == 200 && !page.body.contains("<script>") && !page.body.contains("<img"), "{view}");
    }
    let page = get(&opened, "/windows/0").await;
    assert!(page.body.contains("&lt;script&gt;") && HOSTILE.contains("<script>"), "hostile words show as words");
    let root = get_with(&opened, "/", "accept: text/html\r\n").await;
    assert!(root.body.contains("nothing here is live"), "{}", root.body);
}

#[tokio::test]
async fn what_cannot_be_had_is_named() {
    let world = World::of_four_windows().await;
    let some = packed(&world, PackOptions { windows: 2, ..ALL }).await;
    let facts = some.facts();
    assert!(facts.first > Some(Window(0)), "{facts:?}");
    let of_windows = facts.gaps.iter().find(|gap| gap.what.starts_with("windows 0 to "));
    assert!(of_windows.is_some_and(|gap| gap.why.contains("asked for")), "{facts:?}");
    let missing = some.chain().commitments(NETUID, Topic::Vote, 0).await.unwrap_err().to_string();
    assert!(missing.contains("does not hold the commitments of window 0"), "{missing}");
    let objects = packed(&world, PackOptions { with_objects: true, ..ALL }).await;
    let has = |what: &str| objects.facts().gaps.iter().any(|gap| gap.what.starts_with(what));
    assert!(has("a payload of windows 0 to 3") && has("the aggregate of window 0"), "{:?}", objects.facts().gaps);
    assert!(recompute(&some).await.unwrap().is_empty(), "the ratings begin with the first window");
}

#[tokio::test]
async fn an_opened_window_and_a_run_that_has_not_begun_are_packed_as_they_are() {
    let world = World::new().await;
    let empty = packed(&world, ALL).await;
    assert_eq!((empty.windows(), empty.facts().first), (0, None));
    world.pass(Window(0), true).await;
    world.seal(Window(1));
    let open = packed(&world, ALL).await;
    let again = PackedRecord::from_bytes(&open.to_bytes().unwrap()).unwrap();
    let dashboard = serve(&again);
    get_read(&dashboard, 1).await;
    let window = get(&dashboard, "/api/v1/windows/1").await.json();
    assert_eq!((&window["stage"], window["miners"].as_array().unwrap().len()), (&"judging".into(), 3), "{window}");
}

#[tokio::test]
async fn a_file_whose_content_is_not_in_its_one_form_is_rejected_with_its_place() {
    let world = World::of_four_windows().await;
    let file = packed(&world, ALL).await;
    let bytes = file.to_bytes().unwrap();
    let mut rejected = 0;
    for place in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        match PackedRecord::from_bytes(&damaged) {
            Ok(read) => assert_eq!(read.root(), file.root()),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("again") || error.contains("name a file") || error.contains("newer"), "{error}");
                rejected += 1;
            }
        }
    }
    assert!(rejected > 90, "{rejected}");
    let missing = PackedRecord::from_bytes(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
    assert!(missing.contains("bytes"), "{missing}");
}

/// What the search in the reader of record files begins with. `RENEW_SEEDS=1` writes it again.
#[tokio::test]
async fn the_seed_of_the_readers_corpus_is_of_the_present_format() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/tests/corpus/record_file/two_windows");
    if std::env::var_os("RENEW_SEEDS").is_some() {
        let world = World::new().await;
        world.pass(Window(0), true).await;
        world.pass(Window(1), false).await;
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, packed(&world, ALL).await.to_bytes().unwrap()).unwrap();
    }
    let seed = PackedRecord::open(std::path::Path::new(path)).expect("run this test with RENEW_SEEDS=1");
    assert_eq!(seed.facts().first, Some(Window(0)));
}
