//! The rules of the world's run, and what each effect must keep to.

use super::{Effect, World};
use templar_base::{BlockNumber, CorpusHashes, Genesis, ModelConfig};
use templar_round::{FollowEffect, MinerEffect, ValidatorEffect};

impl World {
    /// Checks an effect at the moment when a machine asks for it.
    pub(super) fn check(&mut self, index: usize, effect: &Effect) {
        let (seed, head) = (self.seed, self.head);
        let node = &mut self.nodes[index];
        match effect {
            Effect::Miner(MinerEffect::Seal { window, start }) => {
                assert!(node.sealed.insert(*window), "seed {seed}: node {index} seals window {window} twice");
                assert_eq!(self.phases.window_of(node_head(node)), Some(*window), "seed {seed}: seals another window");
                if !node.corrupted {
                    assert_eq!(
                        self.states.get(window),
                        Some(start),
                        "seed {seed}: node {index} sends from a stray state"
                    );
                }
            }
            Effect::Miner(MinerEffect::Reveal { window }) => {
                assert!(head >= self.phases.end(*window).0, "seed {seed}: node {index} reveals before the end");
            }
            Effect::Validator(ValidatorEffect::Vote { window, .. }) => {
                assert!(node.voted.insert(*window), "seed {seed}: node {index} votes twice on window {window}");
                assert!(node_head(node) < self.phases.judge(*window), "seed {seed}: a vote that comes too late");
            }
            Effect::Follow(FollowEffect::Apply { window, aggregate }) => {
                let known = *self.decided.entry(*window).or_insert(*aggregate);
                assert_eq!(known, *aggregate, "seed {seed}: node {index} decides window {window} otherwise");
            }
            _ => {}
        }
    }
}

fn node_head(node: &super::Node) -> BlockNumber {
    node.machine.as_ref().map_or(BlockNumber(0), |machine| machine.follower().head())
}

/// 32 blocks a window; a checkpoint every 3, objects kept for 8.
pub fn genesis() -> Genesis {
    let mut genesis = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
    genesis.name = "world".to_owned();
    genesis.first_state = super::first_state();
    genesis.judging.selected = super::SELECTION_LIMIT;
    genesis.economics.weights_every_windows = 2;
    genesis
}
