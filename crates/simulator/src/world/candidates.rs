//! Validators that state what they hold, take the candidates that follow, and mirror some of them for others.

use super::World;
use super::transfers::Purpose;
use crate::Behaviour;
use crate::invariants::{self, Finding};
use crate::links::Link;
use crate::node::Taking;
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{Beacon, BlockNumber, ContentHash, PublicKey, Uid, Window};
use templar_round::{Candidates, Event, Held, SealedRecord, Vote};

/// A download of a candidate may last for this share of the time that candidates are waited for: then another mirror is asked.
const MIRROR_SHARE: u64 = 4;

impl World {
    /// Whether a node's bucket serves another node nothing.
    pub(super) fn hides(&self, owner: usize, from: usize) -> bool {
        self.nodes.get(owner).is_some_and(|node| node.spec.hides_from.contains(&from))
    }

    /// The window's candidates, once they stand; none where the run does not agree on them either.
    pub fn candidates(&self, window: Window) -> Option<Candidates> {
        let electors = self.electors.of(window);
        self.chain.candidates(window, &electors, &self.phases, BlockNumber(self.head))?
    }

    /// What each validator voted on a window, by uid, whether it counts or not.
    pub fn votes(&self, window: Window) -> BTreeMap<Uid, Vote> {
        let own = |uid: &Uid, hotkey| Some((*uid, self.chain.votes.get(&(window, hotkey))?.vote.clone()));
        self.nodes.iter().filter_map(|node| own(&node.uid, node.hotkey)).collect()
    }

    fn beacon(&self, block: BlockNumber) -> Beacon {
        Beacon::new(*ContentHash::of(&("beacon", self.seed, block.get()).encode()).as_bytes())
    }

    fn uids_of_pool(&self, window: Window) -> Vec<Uid> {
        self.chain.pool(window, &self.phases).iter().map(|record| record.uid).collect()
    }

    /// What a validator states to hold; none where it has gathered another window meanwhile.
    pub(super) fn held(&self, node: usize, window: Window) -> Option<Held> {
        let (gathered, here) = &self.nodes[node].gathered;
        let claims = self.nodes[node].spec.behaviour == Behaviour::Claiming;
        let holds = |uid: Uid| claims || here.iter().any(|record| record.uid == uid);
        (*gathered == window).then(|| Held::of(&self.uids_of_pool(window), holds))
    }

    pub(super) fn read_held(&self, window: Window) -> Event {
        Event::HeldRead {
            window,
            at: BlockNumber(self.head),
            beacon: self.beacon(self.phases.draw(window)),
            pool: self.uids_of_pool(window),
            electors: self.electors.of(window),
            held: self.chain.held_on(window),
        }
    }

    pub(super) fn take_candidates(
        &mut self,
        node: usize,
        window: Window,
        mirrors: &BTreeMap<Uid, Vec<PublicKey>>,
        is_answered: bool,
    ) {
        let pool = self.chain.pool(window, &self.phases);
        let candidates = pool.into_iter().filter(|record| mirrors.contains_key(&record.uid));
        let (gathered, here) = self.nodes[node].gathered.clone();
        let is_here = |record: &SealedRecord| gathered == window && here.contains(record);
        let (kept, missing): (Vec<SealedRecord>, Vec<SealedRecord>) = candidates.partition(is_here);
        let own = self.nodes[node].hotkey;
        for record in kept.iter().filter(|record| mirrors[&record.uid].contains(&own)) {
            self.begin_mirroring(node, window, record);
        }
        if !is_answered {
            return;
        }
        let of = |record: SealedRecord| {
            let mirrors = mirrors[&record.uid].iter().filter_map(|key| self.index_of(*key)).collect();
            (record.uid, (record, mirrors))
        };
        let all = kept.len() + missing.len();
        let lacking = missing.into_iter().map(of).collect();
        let (under_way, failed) = (BTreeMap::new(), BTreeSet::new());
        self.nodes[node].gathered = (window, kept);
        self.nodes[node].taken = Some(window);
        self.nodes[node].taking = Some(Taking { window, all, lacking, under_way, failed });
        self.taking.insert(node);
        self.look_for_candidates_of(node);
        self.poll_taking(node);
    }

    fn begin_mirroring(&mut self, node: usize, window: Window, record: &SealedRecord) {
        let (from, bytes) = (self.address(node), u64::from(record.commitment.bytes));
        let patience = self.now.plus(self.phases.answer_blocks() * self.block_time);
        self.transfer(&[Link::Up(node)], bytes, patience, Purpose::Mirror { from, window, uid: record.uid, bytes });
    }

    /// A candidate is in a validator's bucket: whoever lacks it can fetch it.
    pub(super) fn on_mirrored(&mut self, node: usize, window: Window, uid: Uid) {
        self.mirrored.insert((window, uid, node));
        let kept = self.mirrored.iter().copied().filter(|(window, ..)| self.is_kept(*window));
        self.mirrored = kept.collect();
        self.look_for_candidates();
    }

    /// Whether a node can fetch a payload from a validator that mirrors it.
    pub(super) fn is_mirrored_for(&self, node: usize, window: Window, uid: Uid) -> bool {
        let all = self.mirrored.range((window, uid, 0)..=(window, uid, usize::MAX));
        all.into_iter().any(|(_, _, source)| !self.is_stalling(*source) && !self.are_parted(node, *source))
    }

    /// Whoever lacks candidates asks for those that a mirror has by now.
    pub(super) fn look_for_candidates(&mut self) {
        let nodes: Vec<usize> = self.taking.iter().copied().collect();
        nodes.into_iter().for_each(|node| self.look_for_candidates_of(node));
    }

    fn look_for_candidates_of(&mut self, node: usize) {
        let from = self.address(node);
        let Some(taking) = &self.nodes[node].taking else { return };
        let window = taking.window;
        let wanted = taking.lacking.iter().filter(|(uid, _)| !taking.under_way.contains_key(uid));
        let source = |uid: Uid, mirrors: &[usize]| {
            // Not all validators ask the same mirror first.
            let turn = node % mirrors.len().max(1);
            let in_turn = mirrors.iter().cycle().skip(turn).take(mirrors.len());
            in_turn.copied().find(|source| {
                let is_there = self.mirrored.contains(&(window, uid, *source));
                is_there && !taking.failed.contains(&(uid, *source)) && !self.are_parted(node, *source)
            })
        };
        let found: Vec<(Uid, u64, usize)> = wanted
            .filter_map(|(uid, (record, mirrors))| {
                Some((*uid, u64::from(record.commitment.bytes), source(*uid, mirrors)?))
            })
            .collect();
        let head = BlockNumber(self.head);
        let waits = self.phases.mirrored(window, head).blocks_since(head) * self.block_time;
        for (uid, bytes, source) in found {
            if let Some(taking) = &mut self.nodes[node].taking {
                taking.under_way.insert(uid, source);
            }
            let until = self.now.plus((waits / MIRROR_SHARE).max(1));
            let purpose = Purpose::Candidate { from, window, uid, source, bytes };
            self.transfer(&[Link::Bucket(source), Link::Down(node)], bytes, until, purpose);
        }
    }

    /// A candidate has come out of a mirror, or will not come out of it.
    pub(super) fn on_candidate(&mut self, node: usize, (window, uid): (Window, Uid), source: usize, is_there: bool) {
        let Some(taking) = self.nodes[node].taking.as_mut().filter(|own| own.window == window) else { return };
        taking.under_way.remove(&uid);
        if !is_there {
            taking.failed.insert((uid, source));
        } else if let Some((record, _)) = taking.lacking.remove(&uid) {
            let here = &mut self.nodes[node].gathered.1;
            here.push(record);
            here.sort_by_key(|record| record.uid);
        }
        self.look_for_candidates_of(node);
        self.poll_taking(node);
    }

    pub(super) fn close_taking(&mut self, node: usize, window: Window) {
        self.nodes[node].taking_closed = Some(window);
        self.poll_taking(node);
    }

    /// Ends the waiting for candidates where none is missing, or it was closed.
    fn poll_taking(&mut self, node: usize) {
        let Some(taking) = &self.nodes[node].taking else { return };
        let (window, lacking, all) = (taking.window, taking.lacking.len() as u64, taking.all as u64);
        if lacking > 0 && self.nodes[node].taking_closed != Some(window) {
            return;
        }
        self.stop_taking(node);
        self.answer(node, Event::CandidatesTaken { window, lacking, all });
    }

    pub(super) fn stop_taking(&mut self, node: usize) {
        self.nodes[node].taking = None;
        self.taking.remove(&node);
        self.break_off_those(|purpose| matches!(purpose, Purpose::Candidate { from, .. } if from.node == node));
    }

    /// Whether what a validator has gathered may be judged: where the run agrees on candidates it has to have taken them.
    pub(super) fn may_judge(&self, node: usize, window: Window) -> bool {
        self.phases.hold(window).is_none() || self.nodes[node].taken == Some(window)
    }

    /// What a validator judges are candidates, where the run agrees on them.
    pub(super) fn judges_candidates(&self, node: usize, window: Window, payloads: &[SealedRecord]) -> Finding {
        if self.phases.hold(window).is_none() {
            return Ok(());
        }
        let candidates = self.candidates(window);
        let is_candidate = |record: &SealedRecord| candidates.as_ref().is_some_and(|all| all.contains(record.uid));
        invariants::judges_candidates(node, window, payloads.iter().all(is_candidate))
    }
}
