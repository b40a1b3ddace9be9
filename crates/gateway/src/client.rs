//! Who asks: what fairness and limits go by.

use std::net::{IpAddr, Ipv6Addr};

use templar_base::PublicKey;

/// Who asks for texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// The holder of a prepaid account, by all its keys.
    Account(PublicKey),
    /// Somebody at an address, where no keys are asked for.
    Address(Source),
}

/// An IPv4 address, or the /64 of an IPv6 address, which one subscriber has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(long) if !long.is_loopback() => Self(IpAddr::V6(Ipv6Addr::from(u128::from(long) >> 64 << 64))),
            address => Self(address),
        }
    }

    /// This machine, whose programs share an address.
    pub(crate) fn is_local(self) -> bool {
        self.0.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_is_one_source_and_a_mapped_address_is_the_ipv4_one() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert!(source("::1").is_local() && source("127.0.0.9").is_local() && !source("192.0.2.1").is_local());
    }
}
