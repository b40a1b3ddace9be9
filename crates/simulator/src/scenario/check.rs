//! Which values of a scenario cannot be used.

use super::{Group, ModelChoice, RoleChoice, Scenario};
use crate::Behaviour;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use templar_base::{ElectorRule, Problem};
use templar_engine::{preset, preset_names};

/// Nodes of a world: a block of ten thousand takes some milliseconds.
const MOST_NODES: usize = 20_000;
/// Miners and validators of a world: a vote has a bit for each uid, up to this one.
const MOST_UIDS: usize = 1_024;
/// Nodes that train a real model.
const MOST_TRAINERS: usize = 64;

struct Checks(Vec<Problem>);

impl Checks {
    fn require(&mut self, field: String, value: impl Display, holds: bool, wanted: impl Into<String>) {
        if !holds {
            self.0.push(Problem { field, value: value.to_string(), wanted: wanted.into() });
        }
    }

    fn range<T: PartialOrd + Display>(&mut self, field: &str, value: T, range: RangeInclusive<T>) {
        let wanted = format!("{} to {}", range.start(), range.end());
        let holds = range.contains(&value);
        self.require(field.to_owned(), value, holds, wanted);
    }
}

impl Scenario {
    /// All values that cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks(Vec::new());
        let length = format!("{} bytes long", self.name.len());
        checks.require("name".to_owned(), length, (1..=64).contains(&self.name.len()), "1 to 64 bytes long");
        checks.range("windows", self.windows, 1..=10_000);
        self.check_model(&mut checks);
        self.check_clock(&mut checks);
        checks.range("rules.selected", self.rules.selected, 1..=64);
        checks.range("rules.pool", self.rules.pool.unwrap_or(1), 1..=MOST_UIDS);
        checks.0.extend(self.electors.iter().flat_map(ElectorRule::problems));
        checks.range("rules.lanes", self.rules.lanes, 1..=1_024);
        self.check_groups(&mut checks);
        self.check_faults(&mut checks);
        checks.0
    }

    fn check_model(&self, checks: &mut Checks) {
        match &self.model {
            ModelChoice::Cost { preset: name, vocabulary, sequence_length } => {
                let known = preset_names().join(", ");
                checks.require("model.preset".to_owned(), name, preset(name, 64).is_ok(), format!("one of: {known}"));
                checks.range("model.vocabulary", *vocabulary, 64..=1 << 20);
                checks.range("model.sequence_length", *sequence_length, 1..=4_096);
            }
            ModelChoice::Real { hidden, layers, steps } => {
                checks.range("model.hidden", *hidden, 8..=96);
                let holds = hidden.is_multiple_of(8);
                checks.require("model.hidden".to_owned(), hidden, holds, "a multiple of 8");
                checks.range("model.layers", *layers, 1..=4);
                checks.range("model.steps", *steps, 1..=1_000);
            }
        }
    }

    fn check_clock(&self, checks: &mut Checks) {
        checks.range("clock.block_ms", self.clock.block_ms, 1..=3_600_000);
        checks.range("clock.window_blocks", self.clock.window_blocks, 16..=100_000);
        if (16..=100_000).contains(&self.clock.window_blocks) {
            for problem in self.budget().problems(&self.window_clock()) {
                let field = problem.field.replace("budget.", "clock.");
                checks.0.push(Problem { field, ..problem });
            }
        }
    }

    fn check_groups(&self, checks: &mut Checks) {
        let mut names = BTreeSet::new();
        for (number, group) in self.groups.iter().enumerate() {
            let at = |field: &str| format!("group[{number}].{field}");
            let Group { name, count, .. } = group;
            let is_new = names.insert(name.as_str());
            checks.require(at("name"), name, is_new, "another name than that of a group before it");
            checks.require(at("count"), count, (1..=MOST_NODES).contains(count), format!("1 to {MOST_NODES}"));
            let is_loss = (0.0..=0.9).contains(&group.loss);
            checks.require(at("loss"), group.loss, is_loss, "0 to 0.9");
            checks.require(at("latency_ms"), group.latency_ms, group.latency_ms <= 60_000, "at most 60000");
            let is_stake = group.role != RoleChoice::Validator || (1..=1 << 40).contains(&group.stake);
            checks.require(at("stake"), group.stake, is_stake, "1 to 1099511627776");
            let is_speed = (1..=1 << 40).contains(&group.tokens_per_second);
            checks.require(at("tokens_per_second"), group.tokens_per_second, is_speed, "1 to 1099511627776");
            checks.require(at("cores"), group.cores, (1..=4_096).contains(&group.cores), "1 to 4096");
            for (field, mbit) in
                [("down_mbit", group.down_mbit), ("up_mbit", group.up_mbit), ("bucket_mbit", group.bucket_mbit)]
            {
                let holds = mbit.is_none_or(|mbit| (1..=1_000_000).contains(&mbit));
                checks.require(at(field), mbit.unwrap_or(0), holds, "1 to 1000000, or left out for no limit");
            }
            let is_of_role = match group.behaviour {
                Behaviour::Random | Behaviour::Claiming => group.role == RoleChoice::Validator,
                Behaviour::SignFlip => group.role == RoleChoice::Miner,
                _ => true,
            };
            let behaviour = format!("{:?}", group.behaviour);
            checks.require(
                at("behaviour"),
                behaviour,
                is_of_role,
                "`random` and `claiming` of a validator, `sign_flip` of a miner",
            );
            let is_group = |name: &&String| self.groups.iter().any(|group| group.name == **name);
            for name in group.serves.iter().flatten().filter(|name| !is_group(name)) {
                checks.require(at("serves"), format!("`{name}`"), false, "the name of a group");
            }
            let joins = group.joins_window;
            checks.require(
                at("joins_window"),
                joins,
                joins < self.windows,
                format!("under windows ({})", self.windows),
            );
        }
        let nodes = |wanted: fn(RoleChoice) -> bool| -> usize {
            self.groups
                .iter()
                .filter(|group| wanted(group.role))
                .map(|group| group.count)
                .fold(0, usize::saturating_add)
        };
        let uids = nodes(|role| role != RoleChoice::Follower);
        let wanted = format!("1 to {MOST_UIDS} validators and miners in all");
        checks.require("group.count".to_owned(), uids, (1..=MOST_UIDS).contains(&uids), wanted);
        let all = nodes(|_| true);
        checks.require("group.count".to_owned(), all, all <= MOST_NODES, format!("at most {MOST_NODES} nodes in all"));
        let validators = nodes(|role| role == RoleChoice::Validator);
        checks.require("group.role".to_owned(), "without validators", validators > 0, "at least one validator");
        if matches!(self.model, ModelChoice::Real { .. }) {
            let miners = nodes(|role| role == RoleChoice::Miner);
            let wanted = format!("at most {MOST_TRAINERS} miners with a real model; take kind = \"cost\" for more");
            checks.require("group.count".to_owned(), miners, miners <= MOST_TRAINERS, wanted);
        }
    }

    fn check_faults(&self, checks: &mut Checks) {
        let faults = &self.faults;
        for (field, share) in [
            ("failure", faults.failure),
            ("unseen_block", faults.unseen_block),
            ("silence", faults.silence),
            ("duplicate", faults.duplicate),
            ("crash", faults.crash),
            ("crash_at_write", faults.crash_at_write),
            ("corruption", faults.corruption),
        ] {
            checks.range(&format!("faults.{field}"), share, 0.0..=1.0);
        }
        checks.range("faults.delay_blocks", faults.delay_blocks, 0.0..=1_000.0);
        checks.range("faults.downtime_blocks", faults.downtime_blocks, 0..=10_000_000);
        let is_known = |name: &String| self.groups.iter().any(|group| group.name == *name);
        for (number, partition) in self.partitions.iter().enumerate() {
            let at = |field: &str| format!("partition[{number}].{field}");
            for name in partition.groups.iter().filter(|name| !is_known(name)) {
                checks.require(at("groups"), format!("`{name}`"), false, "the name of a group");
            }
            let (from, until) = (partition.from_block, partition.until_block);
            checks.require(at("until_block"), until, until > from, format!("over from_block ({from})"));
        }
    }
}
