//! Networks whose stake counts by right votes.

mod support;

use support::{BLOCKS, draw_faults, genesis, world_of};
use templar_base::{ElectorRule, Window};
use templar_simulator::{Behaviour, Faults};

/// A third of the stake that votes at random in half of the windows, where nearly all votes must be right.
#[test]
fn a_validator_that_votes_at_random_loses_its_weight_and_the_others_go_on() {
    let (mut counted, mut all) = (0, 0);
    for seed in 0..40 {
        let mut genesis = genesis();
        genesis.electors = Some(ElectorRule { right_votes: 11, within: 12 });
        let mut world = world_of(genesis, seed, &[33, 33, 34], (4, 1), Faults::none());
        world.nodes[0].spec.behaviour = Behaviour::Random;
        world.run_to(22 * BLOCKS + 25).unwrap();
        assert_eq!(world.in_step(), world.nodes.len(), "seed {seed}");
        world.check_history().unwrap();
        assert!((0..22).all(|window| world.decided[&Window(window)].is_some()), "seed {seed}");
        for window in (0..22).map(Window) {
            let electors: Vec<u16> = world.electors(window).iter().map(|elector| elector.uid.0).collect();
            assert!(electors.ends_with(&[1, 2]), "seed {seed}: window {window}");
            assert!(window.0 > 11 || electors.len() == 3, "seed {seed}: window {window}");
            counted += usize::from(window.0 > 13 && electors.len() == 3);
            all += usize::from(window.0 > 13);
        }
    }
    assert!(counted * 20 < all, "it counts in {counted} of {all} windows");
}

/// Nodes that crash, lag and read late count right votes as everybody does: the world checks it at each settling.
#[test]
fn right_votes_are_the_same_for_everybody_whatever_faults_come() {
    for seed in 0..100 {
        let mut genesis = genesis();
        genesis.electors = Some(ElectorRule { right_votes: 3, within: 8 });
        let mut world = world_of(genesis, seed, &[40, 35, 25], (4, 2), Faults::none());
        if seed % 2 == 0 {
            world.nodes[2].spec.behaviour = Behaviour::Random;
        }
        world.faults = draw_faults(&mut world);
        world.faults.corruption = 0.0;
        world.run_to(14 * BLOCKS).unwrap();
        world.faults = Faults::none();
        world.run_to(19 * BLOCKS + 25).unwrap();
        assert_eq!(world.in_step(), world.nodes.len(), "seed {seed}");
        world.check_history().unwrap();
    }
}
