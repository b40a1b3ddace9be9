//! How many connections each address has.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The open connections of a server by address.
#[derive(Debug, Default)]
pub(super) struct ConnectionCounts {
    counts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One counted connection; it is counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection {
    counts: Arc<ConnectionCounts>,
    address: IpAddr,
}

impl ConnectionCounts {
    /// Counts one more connection, or `None` if the address has `most` already. Loopback is always admitted: all nodes
    /// of one machine share it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<CountedConnection> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(CountedConnection { counts: Arc::clone(self), address })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_at_most_its_connections_and_loopback_any_number() {
        let counts = Arc::new(ConnectionCounts::default());
        let [stranger, other, own] = ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|text| text.parse().unwrap());
        let first = counts.admit(stranger, 2).unwrap();
        let _second = counts.admit(stranger, 2).unwrap();
        assert!(counts.admit(stranger, 2).is_none());
        assert!(counts.admit(other, 2).is_some());
        drop(first);
        assert!(counts.admit(stranger, 2).is_some());
        let held: Vec<_> = (0..5).map(|_| counts.admit(own, 2).unwrap()).collect();
        drop(held);
        assert_eq!(counts.counts.lock().unwrap().len(), 1);
    }
}
