//! Somebody who follows the run by its public objects alone, with none of the nodes' code.

use super::{Node, Role};
use std::collections::BTreeMap;
use templar_base::{StateHash, Window};
use templar_gradient::{Aggregate, Merged, OuterState, OuterStep};
use templar_record::Rules;
use templar_round::ObjectKey;

pub struct Observer {
    pub held: OuterState,
    pub next: Window,
    /// The values of what was merged last.
    pub merged: Option<Vec<f32>>,
}

impl Observer {
    pub fn new(params: Vec<f32>) -> Self {
        Self { held: OuterState::new(params), next: Window(0), merged: None }
    }

    pub fn state(&self) -> StateHash {
        self.held.hash()
    }

    /// Applies what the validators published, and checks that it comes to what they say.
    pub async fn follow(&mut self, run: &Rules, nodes: &mut BTreeMap<String, Node>) {
        let mut outcomes = BTreeMap::new();
        for node in nodes.values_mut().filter(|node| node.role == Role::Validator) {
            node.read_journal();
            outcomes.extend(node.applied());
        }
        while let Some((selected, state)) = outcomes.get(&self.next) {
            if selected.is_empty() {
                self.held.rest();
            } else if !self.take(run, nodes, *state).await {
                return;
            }
            assert_eq!(self.state(), *state, "the published aggregates of window {} lead elsewhere", self.next);
            self.next = self.next.next();
        }
    }

    async fn take(&mut self, run: &Rules, nodes: &BTreeMap<String, Node>, state: StateHash) -> bool {
        for node in nodes.values().filter(|node| node.role == Role::Validator) {
            let limit = run.layout.max_aggregate_bytes(run.genesis.judging.selected) as u64;
            let Ok(bytes) = node.bucket.get(&ObjectKey::Aggregate(self.next).to_string(), limit).await else {
                continue;
            };
            let Ok(aggregate) = Aggregate::decode(&bytes, &run.layout) else { continue };
            let mut stepped = self.held.clone();
            OuterStep::of(&run.genesis.outer, self.next).apply(&mut stepped, &aggregate).unwrap();
            if stepped.hash() == state {
                self.held = stepped;
                let mut merged = vec![0.0; run.layout.parameters()];
                aggregate.for_each(|index, value| merged[index] = value);
                self.merged = Some(merged);
                return true;
            }
        }
        false
    }
}
