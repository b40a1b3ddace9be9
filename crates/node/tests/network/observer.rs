//! Somebody who follows the run by its public objects alone, with none of the nodes' code.

use super::{Node, Role};
use std::collections::BTreeMap;
use templar_base::{StateHash, Window};
use templar_gradient::{Aggregate, outer_step, state_hash};
use templar_node::Run;
use templar_round::ObjectKey;

pub struct Observer {
    pub params: Vec<f32>,
    pub next: Window,
}

impl Observer {
    pub fn new(params: Vec<f32>) -> Self {
        Self { params, next: Window(0) }
    }

    pub fn state(&self) -> StateHash {
        state_hash(&self.params)
    }

    /// Applies what the validators published, and checks that it comes to what they say.
    pub async fn follow(&mut self, run: &Run, nodes: &mut BTreeMap<String, Node>) {
        let mut outcomes = BTreeMap::new();
        for node in nodes.values_mut().filter(|node| node.role == Role::Validator) {
            node.read_journal();
            outcomes.extend(node.applied());
        }
        while let Some((selected, state)) = outcomes.get(&self.next) {
            if !selected.is_empty() && !self.take(run, nodes, *state).await {
                return;
            }
            assert_eq!(self.state(), *state, "the published aggregates of window {} lead elsewhere", self.next);
            self.next = self.next.next();
        }
    }

    async fn take(&mut self, run: &Run, nodes: &BTreeMap<String, Node>, state: StateHash) -> bool {
        for node in nodes.values().filter(|node| node.role == Role::Validator) {
            let limit = run.layout.max_aggregate_bytes(run.genesis.judging.selected) as u64;
            let Ok(bytes) = node.bucket.get(&ObjectKey::Aggregate(self.next).to_string(), limit).await else {
                continue;
            };
            let Ok(aggregate) = Aggregate::decode(&bytes, &run.layout) else { continue };
            let mut params = self.params.clone();
            outer_step(&mut params, &aggregate, run.genesis.outer.alpha(self.next)).unwrap();
            if state_hash(&params) == state {
                self.params = params;
                return true;
            }
        }
        false
    }
}
