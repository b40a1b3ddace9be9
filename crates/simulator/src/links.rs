//! Bandwidth: transfers between nodes and buckets, each end shared equally among the transfers that use it.
//!
//! A transfer moves at the smaller of its two ends' shares. That is less than what ideal fair sharing would give where one
//! end is idle, never more, and one transfer that begins or ends changes the rates of its two ends only. Whole numbers
//! throughout: bytes a second, milliseconds, thousandths of a byte.

use crate::Moment;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a node's connection carries, in bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// From the node into its bucket.
    pub up: u64,
    /// From buckets to the node.
    pub down: u64,
    /// Out of the node's bucket, to all its readers together.
    pub bucket: u64,
}

impl Bandwidth {
    /// So fast that nothing waits for it.
    pub const UNLIMITED: Self = Self { up: u64::MAX, down: u64::MAX, bucket: u64::MAX };
}

/// One end of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    Up(usize),
    Down(usize),
    Bucket(usize),
}

pub(crate) type TransferId = u64;

/// A transfer is over at this moment, if its rate has not changed by then: the version says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub at: Moment,
    pub transfer: TransferId,
    pub version: u32,
}

#[derive(Debug)]
struct Transfer {
    links: Vec<Link>,
    /// Thousandths of a byte that are still to come.
    left: u64,
    /// Bytes a second.
    rate: u64,
    since: Moment,
    version: u32,
}

/// All transfers under way.
#[derive(Debug)]
pub(crate) struct Links {
    bandwidth: Vec<Bandwidth>,
    transfers: BTreeMap<TransferId, Transfer>,
    users: BTreeMap<Link, BTreeSet<TransferId>>,
    next: TransferId,
}

impl Links {
    pub fn new(bandwidth: Vec<Bandwidth>) -> Self {
        Self { bandwidth, transfers: BTreeMap::new(), users: BTreeMap::new(), next: 0 }
    }

    /// Begins a transfer; gives its name and what is due now, of it and of those that it slows down.
    pub fn begin(&mut self, now: Moment, links: &[Link], bytes: u64) -> (TransferId, Vec<Due>) {
        let id = self.next;
        self.next += 1;
        // An end that nothing waits for is shared by nobody.
        let links: Vec<Link> = links.iter().copied().filter(|link| self.capacity(*link) != u64::MAX).collect();
        for link in &links {
            self.users.entry(*link).or_default().insert(id);
        }
        let left = bytes.saturating_mul(1_000);
        self.transfers.insert(id, Transfer { links: links.clone(), left, rate: 0, since: now, version: 0 });
        let mut due = self.share(now, &links);
        if links.is_empty() {
            due.push(Due { at: now, transfer: id, version: 0 });
        }
        (id, due)
    }

    /// Ends a transfer if it is due in this version; gives the new dates of those that it made room for.
    pub fn finish(&mut self, now: Moment, transfer: TransferId, version: u32) -> Option<Vec<Due>> {
        (self.transfers.get(&transfer)?.version == version).then(|| self.end(now, transfer))
    }

    /// Ends a transfer, whole or not; gives the new dates of those that it made room for.
    pub fn end(&mut self, now: Moment, transfer: TransferId) -> Vec<Due> {
        let Some(ended) = self.transfers.remove(&transfer) else { return Vec::new() };
        for link in &ended.links {
            if let Some(users) = self.users.get_mut(link) {
                users.remove(&transfer);
            }
        }
        self.share(now, &ended.links)
    }

    fn capacity(&self, link: Link) -> u64 {
        match link {
            Link::Up(node) => self.bandwidth[node].up,
            Link::Down(node) => self.bandwidth[node].down,
            Link::Bucket(node) => self.bandwidth[node].bucket,
        }
    }

    fn rate(&self, links: &[Link]) -> u64 {
        let users = |link: &Link| self.users.get(link).map_or(1, |users| users.len().max(1)) as u64;
        let share = |link: &Link| match self.capacity(*link) {
            0 => 0,
            capacity => (capacity / users(link)).max(1),
        };
        links.iter().map(share).min().unwrap_or(u64::MAX)
    }

    /// Computes the rates of all users of these links again.
    fn share(&mut self, now: Moment, links: &[Link]) -> Vec<Due> {
        let users: BTreeSet<TransferId> =
            links.iter().filter_map(|link| self.users.get(link)).flatten().copied().collect();
        let mut due = Vec::new();
        for id in users {
            let Some(transfer) = self.transfers.get(&id) else { continue };
            let rate = self.rate(&transfer.links);
            if rate == transfer.rate && transfer.version > 0 {
                continue;
            }
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            transfer.left = transfer.left.saturating_sub(transfer.rate.saturating_mul(now.since(transfer.since)));
            (transfer.rate, transfer.since) = (rate, now);
            transfer.version += 1;
            if let Some(milliseconds) = (transfer.left + rate.saturating_sub(1)).checked_div(rate) {
                due.push(Due { at: now.plus(milliseconds), transfer: id, version: transfer.version });
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Queue;

    /// When each transfer ends: (start, links, bytes).
    fn ends(bandwidth: &[Bandwidth], transfers: &[(u64, &[Link], u64)]) -> Vec<u64> {
        let mut links = Links::new(bandwidth.to_vec());
        let mut queue = Queue::new();
        for (number, (start, ..)) in transfers.iter().enumerate() {
            queue.push(Moment(*start), (Some(number), Due { at: Moment(*start), transfer: 0, version: 0 }));
        }
        let (mut ids, mut ends) = (BTreeMap::new(), vec![0; transfers.len()]);
        while let Some((now, (begins, due))) = queue.pop_before(Moment(1_000_000)) {
            let changed = match begins {
                Some(number) => {
                    let (id, changed) = links.begin(now, transfers[number].1, transfers[number].2);
                    ids.insert(id, number);
                    changed
                }
                None => match links.finish(now, due.transfer, due.version) {
                    Some(changed) => {
                        ends[ids[&due.transfer]] = now.0;
                        changed
                    }
                    None => Vec::new(),
                },
            };
            changed.into_iter().for_each(|due| queue.push(due.at, (None, due)));
        }
        ends
    }

    const SLOW: Bandwidth = Bandwidth { up: 1_000, down: 4_000, bucket: u64::MAX };

    #[test]
    fn a_link_is_shared_equally_and_whoever_stays_gets_the_rest() {
        let up: &[Link] = &[Link::Up(0)];
        // Alone for a second, two at half speed, and alone again.
        assert_eq!(ends(&[SLOW], &[(0, up, 2_000), (1_000, up, 1_000)]), [3_000, 3_000]);
        assert_eq!(ends(&[SLOW], &[(0, up, 3_000), (1_000, up, 500)]), [3_500, 2_000]);
    }

    #[test]
    fn a_transfer_moves_at_the_smaller_share_of_its_ends() {
        let both: &[Link] = &[Link::Up(0), Link::Down(1)];
        assert_eq!(ends(&[SLOW, SLOW], &[(0, both, 1_000), (0, &[Link::Down(1)], 4_000)]), [1_000, 1_500]);
    }

    #[test]
    fn what_nothing_limits_arrives_at_once_and_a_dead_end_never() {
        let bandwidth = [Bandwidth::UNLIMITED, Bandwidth { bucket: 0, ..SLOW }];
        assert_eq!(ends(&bandwidth, &[(7, &[Link::Down(0)], u64::MAX), (7, &[Link::Bucket(1)], 1)]), [7, 0]);
    }
}
