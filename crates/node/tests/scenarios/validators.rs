//! A validator with nearly a third of the stake that breaks the rules, another way each window.

use crate::network::{Act, Mischief, Plan, Rogue, Role, World};
use templar_base::{Alpha, Keypair, Rao, Window};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rogue_with_nearly_a_third_of_the_stake_changes_nothing() {
    const LAST: Window = Window(6);
    let plan = Plan { rogues: 1, adversaries: vec![Act::Noise, Act::SignFlip], ..Plan::new("rogue", 2, 3) };
    let mut world = World::new(plan).await;
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(world.impatience, Vec::<String>::new(), "{story}");
    assert!((0..=LAST.0).any(|window| Rogue::mischief(Window(window)) == Mischief::RottenAggregate));
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    for (window, (selected, _)) in &outcomes {
        assert!(selected.len() >= 2, "window {window} under {:?}\n{story}", Rogue::mischief(*window));
        for adversary in &world.adversaries {
            assert!(!selected.contains(&adversary.uid), "{:?} in window {window}\n{story}", adversary.act);
        }
    }
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
    for adversary in &world.adversaries {
        assert_eq!(world.stake(&adversary.hotkey), Alpha::ZERO, "{:?}\n{story}", adversary.act);
    }
}

/// Bug: miners' pay is staked and came to hold permits; stake that never votes cost the run its quorum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_miners_have_earned_more_than_the_validators_stake() {
    const LAST: Window = Window(10);
    let ledger = |profile: &mut templar_ledger::Profile| profile.block_emission = Rao::from_whole(30);
    let mut world = World::new(Plan { ledger, ..Plan::new("rich", 2, 3) }).await;
    world.run_through(LAST).await;
    let mut outcomes = world.assert_all_equal();
    // Before that, all the permitted count.
    outcomes.retain(|window, _| window.0 >= templar_round::LASTING_WINDOWS);
    let story = world.story();
    let of = |prefix: &str| -> u64 {
        let nodes = world.nodes.iter().filter(|(name, _)| name.starts_with(prefix));
        nodes.map(|(_, node)| world.stake(&node.hotkey).as_rao()).sum()
    };
    assert!(of("miner") > of("validator") / 2, "the miners are too poor for this test\n{story}");
    world.assert_no_quorum_lost(&outcomes);
}

/// Whose stake counts in a window, as somebody sees who has nothing but the public record.
async fn counts(world: &World, window: Window, hotkey: &Keypair) -> bool {
    let record = world.public_record();
    record.learn_electors(&world.run, window).await.unwrap();
    assert!(record.knows_electors(&world.run, window));
    let electors = record.electors(&world.run, window).await.unwrap();
    electors.iter().any(|elector| elector.hotkey == hotkey.public() && elector.stake > 0)
}

/// Two validators that judge and one with a quarter of the stake that sends numbers of its own, and sets weights like them; a
/// fourth comes later, and one of the first is away for some windows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_guesses_loses_its_weight_and_who_comes_later_gets_it_by_judging() {
    let plan = Plan { rogues: 1, guesses: true, ..Plan::new("guess", 2, 4) };
    let mut world = World::new(plan).await;
    world.run_through(Window(2)).await;
    world.add("validator-late", Role::Validator).await;
    world.start("validator-late").await;
    world.run_through(Window(8)).await;
    let guesser = world.rogues[0].hotkey.clone();
    assert!(counts(&world, Window(8), &guesser).await, "in the first windows all permit holders count");
    // By then the stake of the late one has lasted, so that one of three may be away.
    world.run_through(Window(11)).await;
    world.kill("validator-1").await;
    world.run_through(Window(12)).await;
    world.start("validator-1").await;
    world.run_until_caught_up(&["validator-1"]).await;
    const LAST: Window = Window(14);
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    world.assert_no_quorum_lost(&outcomes);
    let key = |name: &str| world.nodes[name].hotkey.clone();
    let late = key("validator-late");
    for window in (11..=LAST.0).map(Window) {
        assert!(!counts(&world, window, &guesser).await, "window {window}\n{story}");
        for own in [&key("validator-0"), &key("validator-1"), &late] {
            assert!(counts(&world, window, own).await, "window {window}\n{story}");
        }
    }
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
}
