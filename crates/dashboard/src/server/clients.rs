//! How many connections or streams each address has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who shares a client's share: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has for itself.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) if !long.is_loopback() => IpAddr::V6(Ipv6Addr::from(u128::from(long) >> 64 << 64)),
        address => address,
    }
}

/// Counts what is open, in all and by subscriber.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    most_each: usize,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    clients: Arc<Clients>,
    subscriber: IpAddr,
}

impl Clients {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more; none where there is no place for it.
    pub(super) fn admit(self: &Arc<Self>, subscriber: IpAddr) -> Option<Counted> {
        let mut open = self.lock();
        let own = open.get(&subscriber).copied().unwrap_or(0);
        if own >= self.most_each || open.values().sum::<usize>() >= self.most {
            return None;
        }
        open.insert(subscriber, own + 1);
        Some(Counted { clients: Arc::clone(self), subscriber })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.lock().values().sum()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.clients.lock();
        let left = open.get(&self.subscriber).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            open.remove(&self.subscriber);
        } else {
            open.insert(self.subscriber, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_has_its_share_and_gives_it_back() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        let clients = Arc::new(Clients::new(3, 2));
        let first = clients.admit(of("192.0.2.1")).unwrap();
        let _second = clients.admit(of("192.0.2.1")).unwrap();
        assert!(clients.admit(of("192.0.2.1")).is_none(), "its share is used up");
        let _third = clients.admit(of("192.0.2.2")).unwrap();
        assert!(clients.admit(of("192.0.2.3")).is_none(), "all places are taken");
        drop(first);
        assert!(clients.admit(of("192.0.2.3")).is_some());
        assert_eq!(clients.count(), 2, "the last was dropped at once");
    }
}
