//! The world of the tests: windows of 32 blocks, a checkpoint every 3, objects kept for 8; next to nothing to send.
#![allow(dead_code, reason = "each test binary uses its part")]

pub use templar_simulator::World;

use templar_base::{CorpusHashes, Genesis, ModelConfig};
use templar_simulator::{CostModel, Faults, Model, NodeSpec, Role, Setup};

pub const BLOCKS: u64 = 32;

pub fn genesis() -> Genesis {
    let mut genesis = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
    genesis.name = "world".to_owned();
    genesis.first_state = CostModel::FREE.first_state();
    // Messages take up to two blocks here, and links lose some.
    let budget = &mut genesis.budget;
    (budget.judge_blocks, budget.open_blocks, budget.apply_blocks) = (11, 16, 17);
    genesis.judging.selected = 15;
    genesis.economics.weights_every_windows = 2;
    genesis
}

/// The same where it is agreed first which payloads are held: four blocks after the keys for that, and as long for judging.
pub fn holding_genesis() -> Genesis {
    let mut genesis = genesis();
    let budget = &mut genesis.budget;
    (budget.hold_blocks, budget.judge_blocks, budget.open_blocks, budget.apply_blocks) = (Some(8), 15, 20, 21);
    genesis
}

/// A world before block 1. Validators come first, then miners, then plain followers.
pub fn world(seed: u64, validator_stakes: &[u64], miners: usize, followers: usize, faults: Faults) -> World {
    world_of(genesis(), seed, validator_stakes, (miners, followers), faults)
}

/// The same under other rules.
pub fn world_of(
    genesis: Genesis,
    seed: u64,
    validator_stakes: &[u64],
    (miners, followers): (usize, usize),
    faults: Faults,
) -> World {
    let validators = validator_stakes.iter().map(|stake| Role::Validator { stake: *stake });
    let roles = validators.chain((0..miners).map(|_| Role::Miner)).chain((0..followers).map(|_| Role::Follower));
    World::new(Setup {
        seed,
        genesis,
        block_time: 1_000,
        nodes: roles.map(NodeSpec::near).collect(),
        faults,
        partitions: Vec::new(),
        model: Box::new(CostModel::FREE),
        pool: None,
        lanes: 16,
    })
}

/// Faults of a random strength.
pub fn draw_faults(world: &mut World) -> Faults {
    let mut share = |most: u64| world.below(most + 1) as f32 / 1000.0;
    Faults {
        failure: share(300),
        unseen_block: share(500),
        duplicate: share(200),
        crash: share(15),
        crash_at_write: 0.0,
        corruption: share(100),
        silence: 0.0,
        downtime_blocks: 1 + world.below(3 * BLOCKS),
        delay_blocks: world.below(7) as f32,
    }
}
