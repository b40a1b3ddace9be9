//! Work that takes time on links: what moves, what breaks off, and what follows.

use super::{Address, Happening, World};
use crate::Violation;
use crate::links::{Due, Link, TransferId};
use crate::machine::Effect;
use templar_base::{StateHash, Uid, Window};
use templar_round::{Event, FollowEffect, SealCommitment, ValidatorEffect};

/// What was made before its effect is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Nothing,
    Seal(SealCommitment),
    Checkpoint(StateHash),
}

/// An effect on its way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub from: Address,
    pub effect: Effect,
    /// Whether the machine will hear of it.
    pub is_answered: bool,
    pub made: Made,
    /// Work after the transfer, in milliseconds.
    pub work: u64,
}

/// Where a transfer goes.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// Whose bucket is read; the own one is written where there is none.
    pub bucket: Option<usize>,
    pub links: Vec<Link>,
    pub bytes: u64,
    pub is_upload: bool,
}

/// What a transfer is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Job {
        job: Box<Job>,
        route: Route,
    },
    /// A payload that a validator gathers.
    Payload {
        from: Address,
        window: Window,
        uid: Uid,
        bytes: u64,
    },
    /// A candidate that a validator lacks, out of a mirror.
    Candidate {
        from: Address,
        window: Window,
        uid: Uid,
        source: usize,
        bytes: u64,
    },
    /// A candidate that a validator puts into its own bucket.
    Mirror {
        from: Address,
        window: Window,
        uid: Uid,
        bytes: u64,
    },
}

impl Purpose {
    fn address(&self) -> Address {
        match self {
            Self::Job { job, .. } => job.from,
            Self::Payload { from, .. } | Self::Candidate { from, .. } | Self::Mirror { from, .. } => *from,
        }
    }

    /// The bucket that is read.
    fn bucket(&self) -> Option<usize> {
        match self {
            Self::Job { route, .. } => route.bucket,
            Self::Payload { uid, .. } => Some(uid.index()),
            Self::Candidate { source, .. } => Some(*source),
            Self::Mirror { .. } => None,
        }
    }
}

impl World {
    pub(super) fn start_transfer(&mut self, job: Job, route: Route) {
        let patience = match job.effect {
            Effect::Follow(FollowEffect::Restore { .. })
            | Effect::Validator(ValidatorEffect::PublishCheckpoint { .. }) => self.phases.restore_blocks(),
            _ => self.phases.answer_blocks(),
        };
        let patience = self.now.plus(patience * self.block_time);
        self.transfer(&route.links.clone(), route.bytes, patience, Purpose::Job { job: Box::new(job), route });
    }

    pub(super) fn transfer(&mut self, links: &[Link], bytes: u64, patience: crate::Moment, purpose: Purpose) {
        let (id, due) = self.links.begin(self.now, links, bytes);
        self.purposes.insert(id, purpose);
        self.queue.push(patience, Happening::TimedOut(id));
        self.schedule(due);
    }

    fn schedule(&mut self, due: Vec<Due>) {
        for due in due {
            self.queue.push(due.at, Happening::Due(due));
        }
    }

    pub(super) fn on_due(&mut self, due: Due) -> Result<(), Violation> {
        let Some(changed) = self.links.finish(self.now, due.transfer, due.version) else { return Ok(()) };
        self.schedule(changed);
        let Some(purpose) = self.purposes.remove(&due.transfer) else { return Ok(()) };
        if !self.is_alive(purpose.address()) {
            return Ok(());
        }
        match purpose {
            Purpose::Job { job, route } => {
                let tally = &mut self.nodes[job.from.node].tally;
                if route.is_upload {
                    tally.up += route.bytes;
                } else {
                    tally.down += route.bytes;
                }
                self.work_and_finish(*job)
            }
            Purpose::Payload { from, window, uid, bytes } => {
                self.nodes[from.node].tally.down += bytes;
                self.on_payload(from.node, window, uid, true);
                Ok(())
            }
            Purpose::Candidate { from, window, uid, source, bytes } => {
                self.nodes[from.node].tally.down += bytes;
                self.on_candidate(from.node, (window, uid), source, true);
                Ok(())
            }
            Purpose::Mirror { from, window, uid, bytes } => {
                self.nodes[from.node].tally.up += bytes;
                self.on_mirrored(from.node, window, uid);
                Ok(())
            }
        }
    }

    /// Finishes a job after its work.
    pub(super) fn work_and_finish(&mut self, job: Job) -> Result<(), Violation> {
        if job.work == 0 {
            return self.finish(job);
        }
        self.count_work(job.from.node, job.work);
        self.queue.push(self.now.plus(job.work), Happening::Finish { job });
        Ok(())
    }

    /// Ends a transfer that was not whole; its effect has failed.
    pub(super) fn break_off_transfer(&mut self, id: TransferId) {
        let Some(purpose) = self.purposes.remove(&id) else { return };
        let changed = self.links.end(self.now, id);
        self.schedule(changed);
        if !self.is_alive(purpose.address()) {
            return;
        }
        match purpose {
            Purpose::Job { job, .. } => self.fail(&job),
            Purpose::Payload { from, window, uid, .. } => self.on_payload(from.node, window, uid, false),
            Purpose::Candidate { from, window, uid, source, .. } => {
                self.on_candidate(from.node, (window, uid), source, false);
            }
            Purpose::Mirror { .. } => {}
        }
    }

    /// The machine hears that what it asked for has failed.
    pub(super) fn fail(&mut self, job: &Job) {
        self.nodes[job.from.node].attempts += 1;
        if let Some((window, effect)) = job.effect.failure().filter(|_| job.is_answered) {
            self.answer(job.from.node, Event::Failed { window, effect });
        }
    }

    /// Ends a node's transfers without a word: it is down.
    pub(super) fn break_off(&mut self, node: usize) {
        let is_dead = |(id, purpose): (&TransferId, &Purpose)| (purpose.address().node == node).then_some(*id);
        let ids: Vec<TransferId> = self.purposes.iter().filter_map(is_dead).collect();
        for id in ids {
            self.purposes.remove(&id);
            let changed = self.links.end(self.now, id);
            self.schedule(changed);
        }
    }

    /// Breaks off what crosses a partition.
    pub(super) fn break_off_what_is_cut(&mut self) {
        let is_cut = |purpose: &Purpose| match purpose.bucket() {
            Some(bucket) => self.are_parted(purpose.address().node, bucket),
            None => false,
        };
        let ids: Vec<TransferId> =
            self.purposes.iter().filter(|(_, purpose)| is_cut(purpose)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.break_off_transfer(id));
    }

    /// Whether a partition lies between a node and another one's bucket now.
    pub(super) fn are_parted(&self, node: usize, bucket: usize) -> bool {
        self.partitions.iter().any(|partition| partition.parts(self.now, node, bucket).is_some())
    }
}
