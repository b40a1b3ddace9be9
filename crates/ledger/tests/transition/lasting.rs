//! Stake that lasted: borrowed stake has no vote and opens no tier, and what has voted stays.

use crate::support::*;
use templar_base::{Alpha, BlockNumber, Keypair, PublicKey, RAO_PER_TAO, Rao, RunSetting};
use templar_chain::access::{AccessCall, AccessEvent, MeteringRecord, Units};
use templar_chain::governance::{Action, Ballot, GovernanceCall, ProposalId};
use templar_chain::{Call, Event};
use templar_ledger::{LoadRule, Profile};

fn governed() -> Profile {
    let mut profile = profile();
    profile.governance.voting_blocks = 6;
    profile.access.tiers[0].stake = Alpha::from_whole(20);
    profile
}

fn propose(selected: u16) -> Call {
    let action = Action::Setting(RunSetting::Selected(selected));
    let call = GovernanceCall::Propose { title: String::new(), action };
    Call::Governance { netuid: NETUID, call }
}

fn vote(id: u32) -> Call {
    let call = GovernanceCall::Vote { proposal: ProposalId(id), ballot: Ballot::Yes };
    Call::Governance { netuid: NETUID, call }
}

/// Bob and Charlie stake behind one hotkey and hold for eight epochs.
fn settled() -> (Bench, Keypair) {
    let hotkey = key("validator");
    let mut bench = Bench::new(governed());
    bench.does(&key("Bob"), register(&hotkey));
    bench.does(&key("Bob"), stake(&hotkey, 50));
    bench.does(&key("Charlie"), stake(&hotkey, 30));
    for _ in 0..8 {
        bench.run_to_epoch();
    }
    (bench, hotkey)
}

#[test]
fn stake_of_a_moment_neither_proposes_nor_votes() {
    let (mut bench, hotkey) = settled();
    let alice = key("Alice");
    bench.does(&alice, stake(&hotkey, 5_000));
    // What she earned as the subnet's owner is all that has lasted, and less than a proposal takes.
    assert_eq!(bench.refused(&alice, propose(7)).name(), "NotEnoughStakeToPropose");
    bench.does(&key("Bob"), propose(8));
    let weight = |applied: templar_ledger::Applied| {
        applied.events.iter().find_map(|event| match event {
            Event::Governance(templar_chain::governance::GovernanceEvent::Voted { weight, .. }) => Some(*weight),
            _ => None,
        })
    };
    let bought = weight(bench.block(vec![(&alice, vote(0))])).unwrap_or_default();
    let lasted = weight(bench.block(vec![(&key("Bob"), vote(0))])).unwrap();
    assert!(bought < Alpha::from_whole(1), "5000 bought a moment ago count for {bought}");
    assert!(lasted > Alpha::from_whole(49), "{lasted}");
}

#[test]
fn stake_that_came_and_went_has_not_lasted() {
    let (mut bench, hotkey) = settled();
    let charlie = key("Charlie");
    let held = bench.state.stake(&hotkey.public(), &charlie.public()).as_rao();
    bench.does(&charlie, unstake(&hotkey, held));
    bench.does(&charlie, stake(&hotkey, 40));
    for _ in 0..7 {
        bench.run_to_epoch();
        assert_eq!(bench.refused(&charlie, propose(7)).name(), "NotEnoughStakeToPropose");
    }
    bench.run_to_epoch();
    bench.does(&charlie, propose(7));
}

#[test]
fn moving_stake_between_hotkeys_keeps_what_lasted() {
    let (mut bench, hotkey) = settled();
    let (bob, other) = (key("Bob"), key("other"));
    bench.does(&bob, register(&other));
    let amount = bench.state.stake(&hotkey.public(), &bob.public());
    bench.does(&bob, Call::MoveStake { from: hotkey.public(), to: other.public(), netuid: NETUID, amount });
    bench.does(&bob, propose(7));
}

#[test]
fn what_has_voted_stays_until_the_close() {
    let (mut bench, hotkey) = settled();
    let (bob, charlie) = (key("Bob"), key("Charlie"));
    bench.does(&bob, propose(7));
    bench.does(&charlie, vote(0));
    let held = bench.state.stake(&hotkey.public(), &charlie.public()).as_rao();
    let refusal = bench.refused(&charlie, unstake(&hotkey, held / 2));
    assert_eq!(refusal.name(), "StakeLocked");
    assert!(refusal.is_transient());
    let prepay = AccessCall::Open {
        gateway: key("gateway").public(),
        key: charlie.public(),
        hotkey: hotkey.public(),
        amount: Alpha::from_rao(held / 2),
    };
    assert_eq!(bench.refused(&charlie, Call::Access { netuid: NETUID, call: prepay }).name(), "StakeLocked");
    // What came after the snapshot is free, and who has not voted is.
    bench.does(&charlie, stake(&hotkey, 5));
    bench.does(&charlie, unstake(&hotkey, 3 * RAO_PER_TAO));
    bench.does(&bob, unstake(&hotkey, RAO_PER_TAO));
    bench.run_to_epoch();
    bench.run_to_epoch();
    bench.does(&charlie, unstake(&hotkey, held / 2));
}

#[test]
fn a_key_has_one_proposal_open() {
    let (mut bench, _) = settled();
    let bob = key("Bob");
    bench.does(&bob, propose(7));
    let refusal = bench.refused(&bob, propose(8));
    assert_eq!(refusal.name(), "OneProposalAtATime");
    bench.does(&key("Charlie"), propose(9));
    bench.run_to_epoch();
    bench.run_to_epoch();
    bench.does(&bob, propose(8));
}

#[test]
fn a_tier_is_used_once_an_epoch_however_often_its_stake_is_sold() {
    let hotkey = key("validator");
    let mut profile = Profile { tempo: 40, load: LoadRule::without_fees(), ..governed() };
    profile.access.tiers[0].units_per_epoch = Units { generation: 1_000, compute: 0 };
    let mut bench = Bench::new(profile);
    bench.does(&key("Bob"), register(&hotkey));
    bench.does(&key("Bob"), stake(&hotkey, 50));
    bench.run_to_epoch();
    let gateway = key("gateway");
    // Each payer has the stake when its turn comes, serves 1000 units, sells, and the next one buys.
    let turn = |bench: &mut Bench, payer: &Keypair, serial: u64| {
        let (served, genesis) = (payer.public(), bench.state.genesis_hash());
        let amount = Alpha::from_whole(1);
        let open = AccessCall::Open { gateway: gateway.public(), key: served, hotkey: hotkey.public(), amount };
        bench.does(payer, Call::Access { netuid: NETUID, call: open });
        let units = Units { generation: 1_000, compute: 0 };
        let records = vec![MeteringRecord::sign(&gateway, &genesis, served, serial, units)];
        let applied = bench.block(vec![(payer, Call::Access { netuid: NETUID, call: AccessCall::Settle { records } })]);
        applied.events.iter().find_map(|event| match event {
            Event::Access(AccessEvent::Settled { charge, .. }) => Some(charge.allowed.generation),
            _ => None,
        })
    };
    assert_eq!(turn(&mut bench, &key("Bob"), 0), Some(1_000));
    let held = bench.state.stake(&hotkey.public(), &key("Bob").public()).as_rao();
    bench.does(&key("Bob"), unstake(&hotkey, held));
    let fresh = key("fresh");
    let pass_on = |to: PublicKey| Call::Transfer { to, amount: Rao::from_whole(49) };
    bench.does(&key("Bob"), pass_on(fresh.public()));
    bench.does(&fresh, stake(&hotkey, 48));
    assert_eq!(turn(&mut bench, &fresh, 1), Some(0), "stake of this epoch covers nothing");
    assert!(bench.state.block() < BlockNumber(80));
    bench.run_to_epoch();
    let units = Units { generation: 2_000, compute: 0 };
    let records = vec![MeteringRecord::sign(&gateway, &bench.state.genesis_hash(), fresh.public(), 1, units)];
    let applied = bench.block(vec![(&fresh, Call::Access { netuid: NETUID, call: AccessCall::Settle { records } })]);
    let allowed = applied.events.iter().find_map(|event| match event {
        Event::Access(AccessEvent::Settled { charge, .. }) => Some(charge.allowed.generation),
        _ => None,
    });
    assert_eq!(allowed, Some(1_000), "in the next epoch it does");
}
