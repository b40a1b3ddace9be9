//! How many connections each address has, and which one makes room when there are too many.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::Progress;

/// Connections beyond the limit while those that were cut for them end.
const OVERSHOOT: usize = 64;

/// Who shares a client's shares: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    address: IpAddr,
    is_local: bool,
}

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let is_local = address.is_loopback();
        match address {
            IpAddr::V6(long) if !is_local => {
                let network = u128::from(long) >> 64 << 64;
                Self { address: IpAddr::V6(Ipv6Addr::from(network)), is_local }
            }
            address => Self { address, is_local },
        }
    }
}

/// The open connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_per_source: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    total: usize,
    /// By source and by number, which rises.
    sources: BTreeMap<Source, BTreeMap<u64, Arc<Progress>>>,
}

/// One counted connection; it is counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection {
    connections: Arc<Connections>,
    source: Source,
    number: u64,
}

impl Connections {
    pub(super) fn new(most: usize, most_per_source: usize) -> Self {
        Self { most, most_per_source, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.lock().total
    }

    /// Counts one more connection, or `None` if its source has its share already. Where all places are taken, the
    /// source with the most connections loses one to a source with fewer. Loopback has no limit of its own: all nodes
    /// of one machine share it.
    pub(super) fn admit(self: &Arc<Self>, source: Source, progress: Arc<Progress>) -> Option<CountedConnection> {
        let mut state = self.lock();
        let own = state.sources.get(&source).map_or(0, BTreeMap::len);
        if own >= self.most_per_source && !source.is_local || state.total >= self.most + OVERSHOOT {
            return None;
        }
        if state.total >= self.most {
            let largest = state.sources.values().max_by_key(|connections| connections.len())?;
            if largest.len() <= own + 1 {
                return None;
            }
            // One that has no request first, then the slowest.
            largest.values().filter(|progress| !progress.is_cut()).min_by(|a, b| a.pace().compare(&b.pace()))?.cut();
        }
        let number = state.next;
        state.next += 1;
        state.total += 1;
        state.sources.entry(source).or_default().insert(number, progress);
        Some(CountedConnection { connections: Arc::clone(self), source, number })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.total -= 1;
        if let Some(connections) = state.sources.get_mut(&self.source) {
            connections.remove(&self.number);
            if connections.is_empty() {
                state.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn an_ipv6_subscriber_is_one_source_and_a_mapped_address_is_the_ipv4_one() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
        assert!(source("::1").is_local && source("127.0.0.9").is_local && !source("::2").is_local);
    }

    #[test]
    fn a_source_has_at_most_its_connections_and_loopback_any_number() {
        let connections = Arc::new(Connections::new(100, 2));
        let admit = |text| connections.admit(source(text), Arc::default());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some());
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        let held: Vec<_> = (0..5).map(|_| admit("127.0.0.1").unwrap()).collect();
        drop(held);
        assert_eq!(connections.lock().sources.len(), 1);
    }

    #[test]
    fn when_all_places_are_taken_the_largest_source_makes_room() {
        let connections = Arc::new(Connections::new(4, 100));
        let admit = |text, progress: &Arc<Progress>| connections.admit(source(text), Arc::clone(progress));
        let many: Vec<Arc<Progress>> = (0..4).map(|_| Arc::default()).collect();
        let _held: Vec<_> = many.iter().map(|progress| admit("192.0.2.1", progress).unwrap()).collect();
        many[0].begin();
        many[1].begin();
        let _other = admit("192.0.2.2", &Arc::default()).unwrap();
        let cut = |many: &[Arc<Progress>]| many.iter().map(|progress| progress.is_cut()).collect::<Vec<_>>();
        assert_eq!(cut(&many), [false, false, true, false], "one without a request");
        assert!(admit("192.0.2.1", &Arc::default()).is_none(), "the largest source itself gets no more");
    }
}
