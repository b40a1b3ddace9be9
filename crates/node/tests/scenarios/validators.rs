//! A validator with nearly a third of the stake that breaks the rules, another way each window.

use crate::network::{Act, Mischief, Plan, Rogue, World};
use templar_base::{Alpha, Rao, Window};

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
