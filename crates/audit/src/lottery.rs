//! Who is audited in a window, and by whom.

use templar_base::random::Stream;
use templar_base::{AuditLots, AuditRule, Beacon, PER_MILLE, PublicKey, Uid};

/// Auditors of one payload.
const AUDITORS: usize = 2;

/// The draw of a run. The beacon is that of a block after the window's outcome was applied: who is drawn is known to
/// nobody while there is still something to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lottery {
    rate_per_mille: u64,
    ramp_windows: u64,
}

/// An elector that can audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auditor {
    /// Its slot.
    pub uid: Uid,
    /// The key that owns it: two auditors of one payload have different ones.
    pub coldkey: PublicKey,
}

impl Lottery {
    /// The draw under these rules; nobody is drawn where audits are off.
    pub fn of(rule: &AuditRule, ramp_windows: u64) -> Self {
        Self { rate_per_mille: u64::from(rule.rate_per_mille), ramp_windows }
    }

    /// Whether the payload of `uid` is audited, in the `age`-th window of its key, counted from 0. Within the ramp the
    /// chance is `max(p, 1/(age + 1))`: a key that was replaced after a fraud is looked at first of all. Doubled lots are
    /// twice that chance.
    pub fn draws(&self, beacon: &Beacon, uid: Uid, age: u64, lots: AuditLots) -> bool {
        if self.rate_per_mille == 0 {
            return false;
        }
        let factor = match lots {
            AuditLots::Usual => 1u64,
            AuditLots::Doubled => 2,
            AuditLots::Certain => return true,
        };
        let per_mille = u64::from(PER_MILLE);
        let (chances, of) = if age < self.ramp_windows {
            let of = per_mille.saturating_mul(age.saturating_add(1));
            (self.rate_per_mille.saturating_mul(age.saturating_add(1)).max(per_mille), of)
        } else {
            (self.rate_per_mille, per_mille)
        };
        Stream::new(*beacon.as_bytes(), "audit lottery", u64::from(uid.0)).below(of) < chances.saturating_mul(factor)
    }

    /// Who audits the payload of `uid`: up to two of the electors, of different coldkeys, neither of them the miner's.
    pub fn auditors(beacon: &Beacon, uid: Uid, coldkey: PublicKey, electors: &[Auditor]) -> Vec<Uid> {
        let mut left: Vec<Auditor> = electors.iter().filter(|elector| elector.coldkey != coldkey).copied().collect();
        left.sort_by_key(|elector| elector.uid);
        let mut stream = Stream::new(*beacon.as_bytes(), "auditors", u64::from(uid.0));
        let mut drawn = Vec::with_capacity(AUDITORS);
        while drawn.len() < AUDITORS && !left.is_empty() {
            // An index under the length.
            let one = left[stream.below(left.len() as u64) as usize];
            drawn.push(one.uid);
            left.retain(|elector| elector.coldkey != one.coldkey);
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lottery(rate_per_mille: u32, ramp: u64) -> Lottery {
        Lottery::of(&AuditRule { rate_per_mille, ..AuditRule::default() }, ramp)
    }

    fn drawn(lottery: &Lottery, age: u64) -> usize {
        let beacon = Beacon::new([9; 32]);
        (0..10_000).filter(|uid| lottery.draws(&beacon, Uid(*uid), age, AuditLots::Usual)).count()
    }

    #[test]
    fn doubled_lots_are_twice_the_chance_and_who_owes_an_answer_is_drawn() {
        let beacon = Beacon::new([9; 32]);
        let drawn =
            |lottery: Lottery, lots| (0..10_000).filter(|uid| lottery.draws(&beacon, Uid(*uid), 100, lots)).count();
        assert!(drawn(lottery(100, 48), AuditLots::Doubled).abs_diff(2_000) < 150);
        assert_eq!(drawn(lottery(700, 48), AuditLots::Doubled), 10_000);
        assert_eq!(drawn(lottery(1, 48), AuditLots::Certain), 10_000);
        assert_eq!(drawn(lottery(0, 48), AuditLots::Certain), 0, "off");
        let usual = |uid: &u16| lottery(100, 48).draws(&beacon, Uid(*uid), 100, AuditLots::Usual);
        let doubled = |uid: u16| lottery(100, 48).draws(&beacon, Uid(uid), 100, AuditLots::Doubled);
        assert!((0..10_000).filter(usual).all(doubled), "who is drawn by one lot is drawn by two");
    }

    #[test]
    fn the_chance_is_the_rate_and_higher_in_the_first_windows() {
        let lottery_of_ten = lottery(100, 48);
        assert_eq!(drawn(&lottery_of_ten, 0), 10_000);
        for (age, expected) in [(1, 5000), (3, 2500), (20, 1000), (100, 1000)] {
            let count = drawn(&lottery_of_ten, age);
            assert!(count.abs_diff(expected) < 150, "age {age}: {count}");
        }
        assert_eq!(drawn(&lottery(0, 48), 0), 0, "off");
        assert_eq!(drawn(&lottery(1000, 4), u64::MAX), 10_000);
    }

    #[test]
    fn auditors_are_of_different_coldkeys_and_not_the_miners() {
        let key = |number: u8| PublicKey::new([number; 32]);
        let electors: Vec<Auditor> =
            [(1, 1), (2, 1), (3, 2), (4, 3)].map(|(uid, owner)| Auditor { uid: Uid(uid), coldkey: key(owner) }).into();
        for beacon in (0..50).map(|number| Beacon::new([number; 32])) {
            let two = Lottery::auditors(&beacon, Uid(7), key(3), &electors);
            assert_eq!(two.len(), 2);
            assert!(two.contains(&Uid(3)) && !two.contains(&Uid(4)), "{two:?}");
            let mut other_order = electors.clone();
            other_order.reverse();
            assert_eq!(Lottery::auditors(&beacon, Uid(7), key(3), &other_order), two);
        }
        assert_eq!(Lottery::auditors(&Beacon::default(), Uid(7), key(1), &electors[..3]), [Uid(3)]);
        assert_eq!(Lottery::auditors(&Beacon::default(), Uid(7), key(1), &[]), []);
    }
}
