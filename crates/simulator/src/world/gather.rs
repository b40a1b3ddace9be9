//! A validator that gathers payloads: some at a time, until all are there with their keys, or it is told to stop.

use super::transfers::Purpose;
use super::{Happening, World};
use crate::links::Link;
use crate::node::Gathering;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{Uid, Window};
use templar_round::{Event, SealedRecord};

/// A payload may hold one of a validator's lanes for this share of the time until keys are due.
const LANE_SHARE: u64 = 4;

impl World {
    pub(super) fn gather(&mut self, node: usize, window: Window, records: Vec<SealedRecord>) {
        let records: BTreeMap<Uid, SealedRecord> = records.into_iter().map(|record| (record.uid, record)).collect();
        let mut waiting: Vec<Uid> = records.keys().copied().collect();
        // Not all validators ask the same bucket first.
        let turn = node % waiting.len().max(1);
        waiting.rotate_left(turn);
        waiting.reverse();
        let closed = self.nodes[node].close_asked == Some(window);
        let (fetched, settled) = (BTreeSet::new(), BTreeSet::new());
        self.stop_taking(node);
        self.nodes[node].gathering =
            Some(Gathering { window, records, waiting, under_way: 0, fetched, settled, closed });
        self.gathering.insert(node);
        self.fill_lanes(node);
        self.poll_gathering(node);
    }

    /// Asks for payloads until all lanes are in use.
    fn fill_lanes(&mut self, node: usize) {
        let lanes = self.lanes;
        let patience = self.phases.reveal(Window(0)).blocks_since(self.phases.end(Window(0))) * self.block_time;
        let from = self.address(node);
        loop {
            let Some(gathering) = &mut self.nodes[node].gathering else { return };
            if gathering.under_way >= lanes || gathering.closed {
                return;
            }
            let Some(uid) = gathering.waiting.pop() else { return };
            let (window, bytes) = (gathering.window, u64::from(gathering.records[&uid].commitment.bytes));
            let owner = uid.index();
            if self.are_parted(node, owner) || self.hides(owner, node) {
                continue;
            }
            if let Some(gathering) = &mut self.nodes[node].gathering {
                gathering.under_way += 1;
            }
            let until = self.now.plus((patience / LANE_SHARE).max(1));
            let links = [Link::Bucket(owner), Link::Down(node)];
            self.transfer(&links, bytes, until, Purpose::Payload { from, window, uid, bytes });
        }
    }

    /// A payload has come, or will not come.
    pub(super) fn on_payload(&mut self, node: usize, window: Window, uid: Uid, is_there: bool) {
        let has_key = self.chain.reveals.contains(&(window, uid));
        let Some(gathering) = self.nodes[node].gathering.as_mut().filter(|own| own.window == window) else { return };
        gathering.under_way -= 1;
        if is_there {
            gathering.fetched.insert(uid);
            if has_key {
                gathering.settled.insert(uid);
            }
        }
        self.fill_lanes(node);
        self.poll_gathering(node);
    }

    /// A key is out: whoever has fetched its payload can open it.
    pub(super) fn on_reveal(&mut self, window: Window, uid: Uid) {
        let nodes: Vec<usize> = self.gathering.iter().copied().collect();
        for node in nodes {
            if self.are_parted(node, uid.index()) {
                continue;
            }
            let Some(gathering) = self.nodes[node].gathering.as_mut().filter(|own| own.window == window) else {
                continue;
            };
            if gathering.fetched.contains(&uid) {
                gathering.settled.insert(uid);
                self.poll_gathering(node);
            }
        }
    }

    pub(super) fn close_gathering(&mut self, node: usize, window: Window) {
        self.nodes[node].close_asked = Some(window);
        if let Some(gathering) = &mut self.nodes[node].gathering {
            gathering.closed |= gathering.window == window;
        }
        self.poll_gathering(node);
    }

    /// Ends the gathering where it is complete or closed.
    fn poll_gathering(&mut self, node: usize) {
        let Some(gathering) = &self.nodes[node].gathering else { return };
        let (window, committed) = (gathering.window, gathering.records.len());
        if gathering.settled.len() < committed && !gathering.closed {
            return;
        }
        let here: Vec<SealedRecord> = gathering.settled.iter().map(|uid| gathering.records[uid]).collect();
        let settled = here.len();
        let node_state = &mut self.nodes[node];
        node_state.gathering = None;
        node_state.gathered = (window, here);
        node_state.taken = None;
        self.gathering.remove(&node);
        self.break_off_gathering(node);
        self.answer(node, Event::Gathered { window, settled, committed });
    }

    fn break_off_gathering(&mut self, node: usize) {
        self.break_off_those(|purpose| matches!(purpose, Purpose::Payload { from, .. } if from.node == node));
    }

    /// Ends transfers that nobody waits for any more.
    pub(super) fn break_off_those(&mut self, is_own: impl Fn(&Purpose) -> bool) {
        let ids: Vec<_> = self.purposes.iter().filter(|(_, purpose)| is_own(purpose)).map(|(id, _)| *id).collect();
        for id in ids {
            self.purposes.remove(&id);
            for due in self.links.end(self.now, id) {
                self.queue.push(due.at, Happening::Due(due));
            }
        }
    }
}
