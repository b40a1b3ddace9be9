//! Who is served next, and who makes room.
//!
//! A request needs one of the server's slots until its answer is sent. While slots are free, anybody takes as many as it
//! likes. When they are not, requests wait in a short queue by lane (an address; a write key of an address), and a slot
//! that becomes free goes to the lane that holds the fewest. That alone would not do against clients that hold their
//! slots as long as they like, so that slow transfers are cut off while others wait: first those of the lanes that hold
//! more than an even share, then whatever is slower than a part of what an even share of the server's link carries.
//! Some slots are for requests that are signed with a write key of the server: its own nodes can always write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ServerOptions;
use super::connections::Source;
use super::progress::Progress;

/// Of the slots, this part is for signed requests.
const SIGNED_PART: usize = 4;
/// The slowest transfer that is not cut off while others wait has this part of an even share of the link.
const LEAST_PART: f64 = 0.25;

/// Whose requests wait together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) source: Source,
    /// The write key that a request names. Whether the signature is right shows within its slot, at once.
    pub(super) key: Option<String>,
}

/// The slots of a server.
#[derive(Debug)]
pub(super) struct Slots {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Limits {
    total: usize,
    /// Of these, how many unsigned requests may have.
    unsigned: usize,
    waiting_per_lane: usize,
    wait: Duration,
    /// How long a client may keep the server waiting before it can be cut off.
    patience: Duration,
    /// Bytes a second.
    least_speed: f64,
}

#[derive(Debug, Default)]
struct State {
    /// Counts admissions, for the order of lanes that hold equally many slots.
    next: u64,
    held: BTreeMap<u64, Held>,
    unsigned: usize,
    lanes: BTreeMap<Lane, Queue>,
}

#[derive(Debug)]
struct Held {
    lane: Lane,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Queue {
    held: usize,
    /// When the lane got a slot last, or came.
    served: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    progress: Arc<Progress>,
    admitted: oneshot::Sender<Slot>,
}

/// One slot; it is free when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.release(self.number);
    }
}

impl Slots {
    pub(super) fn new(options: &ServerOptions) -> Self {
        let total = options.max_requests;
        let limits = Limits {
            total,
            unsigned: total - total / SIGNED_PART,
            waiting_per_lane: options.max_waiting_per_address,
            wait: options.slot_timeout,
            patience: options.patience_under_load,
            least_speed: options.bytes_per_second as f64 / total.max(1) as f64 * LEAST_PART,
        };
        Self { limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a request of this lane, now or when it is the lane's turn. `None` where too many of the lane wait, or
    /// none came in time.
    pub(super) async fn admit(self: &Arc<Self>, lane: Lane, progress: Arc<Progress>) -> Option<Slot> {
        let (admitted, slot) = oneshot::channel();
        {
            let mut state = self.lock();
            state.forget_gone();
            let next = state.next;
            let queue = state.lanes.entry(lane).or_insert_with(|| Queue { served: next, ..Queue::default() });
            if queue.waiting.len() >= self.limits.waiting_per_lane.max(1) {
                return None;
            }
            queue.waiting.push_back(Waiting { progress, admitted });
        }
        self.serve();
        timeout(self.limits.wait, slot).await.ok()?.ok()
    }

    /// Requests that have a slot, and those that wait for one.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.held.len(), state.lanes.values().map(|queue| queue.waiting.len()).sum())
    }

    fn release(self: &Arc<Self>, number: u64) {
        {
            let mut state = self.lock();
            let Some(Held { lane, progress }) = state.held.remove(&number) else { return };
            progress.end();
            state.unsigned -= usize::from(lane.key.is_none());
            if let Some(queue) = state.lanes.get_mut(&lane) {
                queue.held -= 1;
            }
            state.forget_gone();
        }
        self.serve();
    }

    /// Gives free slots to those who wait. What is sent to somebody who has left comes back through [`Slot`]'s drop,
    /// for which the lock must be free.
    fn serve(self: &Arc<Self>) {
        let mut served = Vec::new();
        {
            let mut state = self.lock();
            while let Some((number, Waiting { progress, admitted })) = state.next_in_turn(&self.limits) {
                progress.begin();
                served.push((admitted, Slot { slots: Arc::clone(self), number }));
            }
        }
        for (admitted, slot) in served {
            drop(admitted.send(slot));
        }
    }

    /// Cuts off slow transfers while others wait; to be called every some hundred milliseconds.
    pub(super) fn relieve(&self) {
        let victims = {
            let mut state = self.lock();
            state.forget_gone();
            state.victims(&self.limits)
        };
        for (lane, progress) in victims {
            let pace = progress.pace();
            tracing::debug!(?lane, bytes = pace.bytes, waited = ?pace.waited, "a slow transfer makes room for others");
            progress.cut();
        }
    }
}

impl State {
    /// Drops the places of clients that left the queue, and lanes without requests.
    fn forget_gone(&mut self) {
        self.lanes.retain(|_, queue| {
            queue.waiting.retain(|waiting| !waiting.admitted.is_closed());
            queue.held > 0 || !queue.waiting.is_empty()
        });
    }

    /// Takes a slot, if one is free, for the first that waits of the lane that holds the fewest.
    fn next_in_turn(&mut self, limits: &Limits) -> Option<(u64, Waiting)> {
        if self.held.len() >= limits.total {
            return None;
        }
        let is_open = self.unsigned < limits.unsigned;
        let waiting =
            self.lanes.iter_mut().filter(|(lane, queue)| !queue.waiting.is_empty() && (lane.key.is_some() || is_open));
        let (lane, queue) = waiting.min_by_key(|(_, queue)| (queue.held, queue.served))?;
        let first = queue.waiting.pop_front()?;
        self.next += 1;
        (queue.served, queue.held) = (self.next, queue.held + 1);
        self.unsigned += usize::from(lane.key.is_none());
        let held = Held { lane: lane.clone(), progress: Arc::clone(&first.progress) };
        self.held.insert(self.next, held);
        Some((self.next, first))
    }

    /// The transfers that make room for those who wait.
    fn victims(&self, limits: &Limits) -> Vec<(Lane, Arc<Progress>)> {
        let waiting = |(_, queue): &(&Lane, &Queue)| !queue.waiting.is_empty();
        let signed_waits = self.lanes.iter().filter(waiting).any(|(lane, _)| lane.key.is_some());
        // An unsigned request is not helped by a slot that is for signed ones.
        let unsigned_only = !signed_waits && self.unsigned >= limits.unsigned;
        let counts = |lane: &Lane| !unsigned_only || lane.key.is_none();
        let (mut held, mut leaving) = (BTreeMap::<&Lane, Vec<&Arc<Progress>>>::new(), 0);
        for Held { lane, progress } in self.held.values().filter(|held| counts(&held.lane)) {
            if progress.is_cut() {
                leaving += 1;
            } else {
                held.entry(lane).or_default().push(progress);
            }
        }
        let lanes = self.lanes.keys().filter(|lane| counts(lane)).count();
        let pool = if unsigned_only { limits.unsigned } else { limits.total };
        let fair = (pool / lanes.max(1)).max(1);
        let all_waiting: usize = self.lanes.values().map(|queue| queue.waiting.len()).sum();
        let below = |queue: &Queue| queue.waiting.len().min(fair.saturating_sub(queue.held));
        let starving: usize = self.lanes.values().map(below).sum();
        let mut victims = Vec::new();
        let slowest = |transfers: &[&Arc<Progress>], most: f64| {
            let paces = transfers.iter().enumerate().map(|(place, progress)| (place, progress.pace()));
            let slow = paces.filter(|(_, pace)| pace.waited >= limits.patience && pace.speed() < most);
            slow.min_by(|a, b| a.1.compare(&b.1)).map(|(place, _)| place)
        };
        // Whoever holds more than its share, where others have less than theirs.
        while victims.len() + leaving < starving {
            let over = held.iter_mut().filter(|(_, transfers)| transfers.len() > fair);
            let Some((lane, transfers)) = over.max_by_key(|(_, transfers)| transfers.len()) else { break };
            let lane = *lane;
            match slowest(transfers, f64::INFINITY) {
                Some(place) => victims.push((lane.clone(), Arc::clone(transfers.swap_remove(place)))),
                // None of its transfers is waited for.
                None => drop(held.remove(lane)),
            }
        }
        // Whoever is too slow while anybody waits.
        for (lane, transfers) in &mut held {
            while victims.len() + leaving < all_waiting
                && let Some(place) = slowest(transfers, limits.least_speed)
            {
                victims.push(((*lane).clone(), Arc::clone(transfers.swap_remove(place))));
            }
        }
        victims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    fn slots(total: usize, patience: Duration) -> Arc<Slots> {
        let options = ServerOptions {
            max_requests: total,
            max_waiting_per_address: 3,
            slot_timeout: Duration::from_secs(5),
            patience_under_load: patience,
            ..ServerOptions::default()
        };
        Arc::new(Slots::new(&options))
    }

    fn lane(address: &str, key: Option<&str>) -> Lane {
        Lane { source: Source::of(address.parse().unwrap()), key: key.map(str::to_owned) }
    }

    /// A request of a client that is waited for from the beginning, and moved this much.
    async fn slow(slots: &Arc<Slots>, lane: Lane, bytes: usize) -> (Slot, Arc<Progress>) {
        let progress = Arc::<Progress>::default();
        let slot = slots.admit(lane, Arc::clone(&progress)).await.unwrap();
        progress.moved(bytes);
        progress.waits(&Context::from_waker(Waker::noop()));
        (slot, progress)
    }

    async fn until(done: impl Fn() -> bool) {
        while !done() {
            tokio::task::yield_now().await;
        }
    }

    fn waiting(slots: &Arc<Slots>) -> usize {
        slots.lock().lanes.values().map(|queue| queue.waiting.len()).sum()
    }

    fn cut(held: &[(Slot, Arc<Progress>)]) -> Vec<bool> {
        held.iter().map(|(_, progress)| progress.is_cut()).collect()
    }

    /// A request in the background; its slot is held until the task ends.
    fn ask(slots: &Arc<Slots>, lane: Lane) -> tokio::task::JoinHandle<Option<Slot>> {
        let slots = Arc::clone(slots);
        tokio::spawn(async move { slots.admit(lane, Arc::default()).await })
    }

    #[tokio::test]
    async fn free_slots_are_anybodys_and_a_freed_one_goes_to_whoever_has_the_fewest() {
        let slots = slots(4, Duration::ZERO);
        let (many, few) = (lane("192.0.2.1", None), lane("192.0.2.2", None));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(slow(&slots, many.clone(), 0).await);
        }
        let again = ask(&slots, many.clone());
        until(|| waiting(&slots) == 1).await;
        let first = ask(&slots, few.clone());
        until(|| waiting(&slots) == 2).await;
        held.pop();
        let first = first.await.unwrap();
        assert!(first.is_some() && !again.is_finished());
        held.pop();
        assert!(again.await.unwrap().is_some());
        drop((held, first));
        assert!(slots.lock().held.is_empty() && slots.lock().unsigned == 0);
    }

    #[tokio::test]
    async fn a_part_of_the_slots_is_for_signed_requests_only() {
        let slots = slots(4, Duration::ZERO);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(slow(&slots, lane("192.0.2.1", None), 0).await);
        }
        let stranger = ask(&slots, lane("192.0.2.2", None));
        until(|| waiting(&slots) == 1).await;
        assert!(slots.admit(lane("192.0.2.3", Some("miner-1")), Arc::default()).await.is_some());
        assert!(!stranger.is_finished());
        stranger.abort();
    }

    #[tokio::test]
    async fn a_queue_is_short_and_who_left_it_takes_no_place() {
        let slots = slots(0, Duration::ZERO);
        let one = lane("192.0.2.1", None);
        let asked: Vec<_> = (0..3).map(|_| ask(&slots, one.clone())).collect();
        until(|| waiting(&slots) == 3).await;
        assert!(slots.admit(one.clone(), Arc::default()).await.is_none());
        assert!(timeout(Duration::from_millis(5), slots.admit(lane("192.0.2.2", None), Arc::default())).await.is_err());
        for task in asked {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        slots.relieve();
        assert!(slots.lock().lanes.is_empty());
    }

    #[tokio::test]
    async fn who_holds_more_than_its_share_loses_its_slowest_transfers_while_others_wait() {
        let slots = slots(4, Duration::ZERO);
        let signed = |address| lane(address, Some("miner-1"));
        let mut held = Vec::new();
        for bytes in [usize::MAX >> 1, 0, usize::MAX >> 2, usize::MAX >> 1] {
            held.push(slow(&slots, signed("192.0.2.1"), bytes).await);
        }
        slots.relieve();
        assert_eq!(cut(&held), [false; 4], "nobody waits");
        let _one = ask(&slots, signed("192.0.2.2"));
        until(|| waiting(&slots) == 1).await;
        slots.relieve();
        assert_eq!(cut(&held), [false, true, false, false]);
        slots.relieve();
        assert_eq!(cut(&held), [false, true, false, false], "one is on its way out for the one that waits");
        let _two = ask(&slots, signed("192.0.2.3"));
        until(|| waiting(&slots) == 2).await;
        slots.relieve();
        assert_eq!(cut(&held), [false, true, true, false]);
    }

    #[tokio::test]
    async fn whoever_is_too_slow_is_cut_off_while_anybody_waits_and_not_before_patience_ends() {
        for (patience, is_cut) in [(Duration::ZERO, true), (Duration::from_secs(60), false)] {
            let slots = slots(2, patience);
            let one = lane("192.0.2.1", Some("miner-1"));
            let held = [slow(&slots, one.clone(), 0).await, slow(&slots, one.clone(), usize::MAX >> 1).await];
            let own = ask(&slots, one);
            until(|| waiting(&slots) == 1).await;
            slots.relieve();
            assert_eq!(cut(&held), [is_cut, false]);
            own.abort();
        }
    }
}
