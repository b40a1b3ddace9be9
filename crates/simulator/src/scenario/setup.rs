//! From a checked scenario to a world.

use super::{ClockChoice, Group, ModelChoice, RoleChoice, Scenario, ScenarioError};
use crate::model::{RealModel, Worker, small_genesis};
use crate::node::hotkey_of;
use crate::{Bandwidth, Behaviour, Machinery, Model, Moment, NodeSpec, Partition, Role, Setup, Sizes, World};
use std::collections::BTreeMap;
use templar_base::{BlockNumber, CorpusHashes, Genesis, Uid, WindowBudget, WindowClock};
use templar_engine::preset;

/// Bytes a second of a megabit a second.
const MEGABIT: u64 = 125_000;

impl Scenario {
    pub(super) fn window_clock(&self) -> WindowClock {
        WindowClock { start_block: BlockNumber::ZERO, blocks_per_window: self.clock.window_blocks }
    }

    pub(super) fn budget(&self) -> WindowBudget {
        let ClockChoice { window_blocks, .. } = self.clock;
        let mut budget = WindowBudget::for_window(window_blocks);
        let set = |field: &mut u64, value: Option<u64>| *field = value.unwrap_or(*field);
        set(&mut budget.seal_blocks, self.clock.seal_blocks);
        set(&mut budget.reveal_blocks, self.clock.reveal_blocks);
        budget.hold_blocks = self.clock.hold_blocks;
        set(&mut budget.judge_blocks, self.clock.judge_blocks);
        set(&mut budget.open_blocks, self.clock.open_blocks);
        set(&mut budget.apply_blocks, self.clock.apply_blocks);
        set(&mut budget.retention_windows, self.clock.retention_windows);
        set(&mut budget.checkpoint_windows, self.clock.checkpoint_windows);
        budget
    }

    /// The block at which all windows of the scenario are reported.
    pub fn last_block(&self) -> u64 {
        (self.windows + 1) * self.clock.window_blocks
    }

    /// A world before block 1; with this seed, or the scenario's own.
    pub fn world(&self, seed: Option<u64>) -> Result<World, ScenarioError> {
        let mut world = World::new(self.setup(seed.unwrap_or(self.seed))?);
        let groups = self.ordered().into_iter().flat_map(|group| std::iter::repeat_n(group, group.count));
        for (node, group) in world.nodes.iter_mut().zip(groups) {
            node.may_be_corrupted = group.corruptible;
        }
        Ok(world)
    }

    fn setup(&self, seed: u64) -> Result<Setup, ScenarioError> {
        let genesis = self.genesis(seed)?;
        let sizes = Sizes::of(&genesis).map_err(ScenarioError::Rules)?;
        let model = self.model(&genesis, &sizes, seed)?;
        let length = genesis.data.sequence_length as u64;
        let nodes = self.ordered().into_iter().flat_map(|group| {
            let times = sizes.times(group.machinery(), length);
            let hides_from = self.hidden_from(group);
            let spec = NodeSpec { times, hides_from, ..group.spec(self.clock.window_blocks) };
            std::iter::repeat_n(spec, group.count)
        });
        let block = |number: u64| Moment(number.saturating_mul(self.clock.block_ms));
        let partition = |choice: &super::PartitionChoice| Partition {
            nodes: self.places(&choice.groups),
            from: block(choice.from_block),
            until: block(choice.until_block),
        };
        Ok(Setup {
            seed,
            block_time: self.clock.block_ms,
            nodes: nodes.collect(),
            faults: self.faults,
            partitions: self.partitions.iter().map(partition).collect(),
            model,
            pool: self.rules.pool,
            lanes: self.rules.lanes,
            genesis,
        })
    }

    /// The rules of the run that the scenario simulates.
    pub fn genesis(&self, seed: u64) -> Result<Genesis, ScenarioError> {
        let rules = |error: &dyn std::error::Error| ScenarioError::Rules(error.to_string());
        let mut genesis = match &self.model {
            ModelChoice::Cost { preset: name, vocabulary, sequence_length } => {
                let config = preset(name, *vocabulary).map_err(|error| rules(&error))?;
                let mut genesis = Genesis::new(config, CorpusHashes::default());
                genesis.data.sequence_length = (*sequence_length).min(genesis.model.max_position_embeddings);
                genesis
            }
            ModelChoice::Real { hidden, layers, steps } => small_genesis(*hidden, *layers, *steps, seed),
        };
        genesis.name.clone_from(&self.name);
        genesis.clock = self.window_clock();
        genesis.budget = self.budget();
        genesis.electors = self.electors;
        genesis.judging.selected = self.rules.selected;
        genesis.judging.newcomer_places = genesis.judging.newcomer_places.min(self.rules.selected);
        genesis.check().map_err(|error| rules(&error))?;
        Ok(genesis)
    }

    fn model(&self, genesis: &Genesis, sizes: &Sizes, seed: u64) -> Result<Box<dyn Model>, ScenarioError> {
        if matches!(self.model, ModelChoice::Cost { .. }) {
            return Ok(Box::new(sizes.model()));
        }
        let (mut workers, mut registered) = (Vec::new(), BTreeMap::new());
        let nodes = self.ordered().into_iter().flat_map(|group| std::iter::repeat_n(group, group.count));
        for (node, group) in nodes.enumerate().filter(|(_, group)| group.role != RoleChoice::Follower) {
            registered.insert(Uid(node as u16), hotkey_of(node));
            if group.role == RoleChoice::Miner {
                let flips = group.behaviour == Behaviour::SignFlip;
                workers.push(Worker { node, speed: group.tokens_per_second, flips });
            }
        }
        let model = RealModel::new(genesis.clone(), seed, &workers, registered);
        Ok(Box::new(model.map_err(|error| ScenarioError::Rules(error.to_string()))?))
    }

    /// The groups in the order of uids: validators, miners, followers.
    fn ordered(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| match group.role {
            RoleChoice::Validator => 0,
            RoleChoice::Miner => 1,
            RoleChoice::Follower => 2,
        });
        groups
    }

    /// The nodes that a group's buckets do not serve.
    fn hidden_from(&self, group: &Group) -> Vec<usize> {
        let Some(served) = &group.serves else { return Vec::new() };
        let others = self.groups.iter().map(|other| &other.name).filter(|name| !served.contains(name));
        self.places(&others.cloned().collect::<Vec<_>>())
    }

    /// The nodes of these groups.
    pub fn places(&self, names: &[String]) -> Vec<usize> {
        let (mut places, mut first) = (Vec::new(), 0);
        for group in self.ordered() {
            if names.contains(&group.name) {
                places.extend(first..first + group.count);
            }
            first += group.count;
        }
        places
    }
}

impl Group {
    fn machinery(&self) -> Machinery {
        Machinery { tokens_per_second: self.tokens_per_second, cores: self.cores }
    }

    fn spec(&self, window_blocks: u64) -> NodeSpec {
        let limit = |mbit: Option<u64>| mbit.map_or(u64::MAX, |mbit| mbit * MEGABIT);
        let role = match self.role {
            RoleChoice::Validator => Role::Validator { stake: self.stake },
            RoleChoice::Miner => Role::Miner,
            RoleChoice::Follower => Role::Follower,
        };
        NodeSpec {
            behaviour: self.behaviour,
            bandwidth: Bandwidth {
                up: limit(self.up_mbit),
                down: limit(self.down_mbit),
                bucket: limit(self.bucket_mbit),
            },
            latency: self.latency_ms,
            loss: (self.loss * 1e6) as u32,
            joins: self.joins_window * window_blocks,
            ..NodeSpec::near(role)
        }
    }
}
