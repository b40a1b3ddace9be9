//! Stake and market, epochs and pay, hidden weights, and the laws that hold after any history.

use crate::support::*;
use proptest::prelude::*;
use templar_base::{Alpha, BlockNumber, Keypair, RAO_PER_TAO, Rao, Uid};
use templar_chain::{Call, Event, PriceLimit, Receipt, Topic, Transaction, weights_hash};
use templar_ledger::{Ledger, PaidEpoch, PoolRule, Profile, ROOT, State, check_conservation, explain, replay};

/// Alice owns the subnet; Bob validates with Charlie's stake behind him; two miners of Charlie's.
fn network(profile: Profile) -> (Bench, [Keypair; 3]) {
    let (bob, charlie) = (key("Bob"), key("Charlie"));
    let hotkeys = [key("validator"), key("good"), key("poor")];
    let mut bench = Bench::new(profile);
    bench.does(&bob, register(&hotkeys[0]));
    bench.does(&charlie, register(&hotkeys[1]));
    bench.does(&charlie, register(&hotkeys[2]));
    bench.does(&bob, stake(&hotkeys[0], 30));
    bench.does(&charlie, stake(&hotkeys[0], 10));
    bench.run_to_epoch();
    (bench, hotkeys)
}

/// Runs to the next epoch's end; what it paid.
fn next_epoch(bench: &mut Bench) -> PaidEpoch {
    loop {
        if let Some(epoch) = bench.block(vec![]).epoch {
            return epoch;
        }
    }
}

#[test]
fn an_epoch_pays_owner_miners_and_validators_and_loses_nothing() {
    let (mut bench, [validator, good, poor]) = network(Profile { tempo: 10, ..profile() });
    let (alice, bob, charlie) = (key("Alice").public(), key("Bob").public(), key("Charlie").public());
    bench.does(&validator, weights(&[1, 2], &[60_000, 20_000]));
    let owner_before = bench.state.stake(&alice, &alice).as_rao();
    let of = |bench: &Bench, coldkey| bench.state.stake(&validator.public(), coldkey).as_rao();
    let (bob_before, charlie_before) = (of(&bench, &bob), of(&bench, &charlie));
    let epoch = next_epoch(&mut bench);

    // 10 alpha were issued for the epoch, beside those of the pool: 18 % the owner's, the rest in halves.
    let owner = bench.state.stake(&alice, &alice).as_rao() - owner_before;
    assert_eq!(owner, 10 * (RAO_PER_TAO * 11_796 / 65_535));
    assert_eq!(owner, epoch.owner_cut.as_rao());
    let rest = epoch.input.emission;
    assert!(rest >= 10 * RAO_PER_TAO - owner);
    let miners: u64 = epoch.payouts.iter().map(|payout| payout.incentive.as_rao()).sum();
    let validators: u64 = epoch.payouts.iter().map(|payout| payout.dividends.as_rao()).sum();
    assert!(miners.abs_diff(rest / 2) < 100 && validators.abs_diff(rest / 2) < 100, "{miners} {validators} of {rest}");
    assert_eq!(miners + validators + bench.state.subnet().pending_emission.as_rao(), rest);
    // Three quarters of the weight, three quarters of the pay.
    let earned = |hotkey: &Keypair| bench.state.alpha_behind(&hotkey.public()).as_rao();
    assert!(earned(&good).abs_diff(3 * earned(&poor)) < 200_000, "{} {}", earned(&good), earned(&poor));
    // Stakers share what the validator's take of 18 % leaves, by their stake.
    let take = epoch.payouts[0].take.as_rao();
    assert_eq!(take, validators * 11_796 / 65_535);
    let (bob_gain, charlie_gain) = (of(&bench, &bob) - bob_before, of(&bench, &charlie) - charlie_before);
    let expected = (charlie_gain as f64) * bob_before as f64 / charlie_before as f64;
    assert!((bob_gain - take).abs_diff(expected as u64) < 100, "{bob_gain} {charlie_gain} {take}");
    // Everything is explained, and the explanation agrees with the books to the rao.
    for uid in 0..3 {
        let explanation = explain(bench.state.profile().rule_set, &epoch, Uid(uid)).unwrap();
        assert!(explanation.agrees(), "{explanation:#?}");
    }
    assert_eq!(explain(bench.state.profile().rule_set, &epoch, Uid(3)), None);
}

#[test]
fn the_owner_is_not_paid_for_mining() {
    let alice = key("Alice");
    let (mut bench, [validator, ..]) = network(Profile { tempo: 10, ..profile() });
    let own = key("own");
    bench.does(&alice, register(&own));
    bench.run_to_epoch();
    bench.does(&validator, weights(&[1, 3], &[1, 1]));
    let (burned, staked) =
        (bench.state.subnet().alpha_burned.as_rao(), bench.state.stake(&own.public(), &alice.public()).as_rao());
    let epoch = next_epoch(&mut bench);
    assert!(epoch.payouts[3].is_burned && epoch.payouts[3].incentive > Alpha::ZERO);
    assert!(bench.state.subnet().alpha_burned.as_rao() >= burned + epoch.payouts[3].incentive.as_rao());
    // Its part of the emission is now staked behind its slot.
    assert_eq!(bench.state.stake(&own.public(), &alice.public()).as_rao(), staked + epoch.owner_cut.as_rao());
}

#[test]
fn without_weights_validators_get_everything_and_without_validators_it_waits() {
    let mut bench = Bench::new(Profile { tempo: 10, ..profile() });
    let epoch = next_epoch(&mut bench);
    assert_eq!(epoch.payouts, []);
    assert_eq!(bench.state.subnet().pending_emission.as_rao(), epoch.input.emission);
    let (mut bench, [_, good, _]) = network(Profile { tempo: 10, ..profile() });
    let epoch = next_epoch(&mut bench);
    assert_eq!((epoch.payouts[1].incentive, epoch.payouts[1].dividends), (Alpha::ZERO, Alpha::ZERO));
    assert!(epoch.payouts[0].dividends.as_rao() + 100 > epoch.input.emission);
    assert_eq!(bench.state.alpha_behind(&good.public()), Alpha::ZERO);
}

#[test]
fn root_stake_counts_by_its_weight_and_is_paid_in_tao() {
    let charlie = key("Charlie");
    let (mut bench, [validator, ..]) = network(Profile { tempo: 10, ..profile() });
    let before = bench.state.stake_weight(&validator.public()).to_int();
    let root = |amount| Call::AddStake { hotkey: validator.public(), netuid: ROOT, amount: Rao::from_rao(amount) };
    bench.does(&charlie, root(100 * RAO_PER_TAO));
    let gained = bench.state.stake_weight(&validator.public()).to_int() - before;
    assert!(gained.abs_diff(18 * RAO_PER_TAO) < 100, "{gained}");
    bench.does(&validator, weights(&[1], &[1]));
    let epoch = next_epoch(&mut bench);
    let payout = &epoch.payouts[0];
    assert!(payout.to_root_stakers > Alpha::ZERO && payout.root_tao > Rao::ZERO);
    let held = bench.state.root_stake(&validator.public(), &charlie.public());
    assert_eq!(held.as_rao(), 100 * RAO_PER_TAO + payout.root_tao.as_rao());
    let all = Call::RemoveStake { hotkey: validator.public(), netuid: ROOT, amount: Alpha::from_rao(held.as_rao()) };
    bench.does(&charlie, all);
    assert_eq!(bench.state.root_behind(&validator.public()), Rao::ZERO);
}

#[test]
fn a_trade_moves_the_price_and_a_limit_holds_it() {
    let (bob, charlie) = (key("Bob"), key("Charlie"));
    let reserves = PoolRule { tao: Rao::from_whole(100), alpha: Alpha::from_whole(100), ..profile().pool };
    let (mut bench, [validator, good, _]) = network(Profile { pool: reserves, ..profile() });
    let price = |bench: &Bench| bench.state.subnet().pool.price().rao_per_alpha().as_rao();
    let now = price(&bench);
    let limit = PriceLimit { rao_per_alpha: Rao::from_rao(now + now / 10), allow_partial: false };
    let amount = Rao::from_whole(900);
    let buy = |limit| Call::AddStakeLimit { hotkey: validator.public(), netuid: NETUID, amount, limit };
    assert_eq!(bench.refused(&bob, buy(limit)).name(), "SlippageTooHigh");
    bench.does(&bob, buy(PriceLimit { allow_partial: true, ..limit }));
    let risen = price(&bench);
    assert!(risen <= limit.rao_per_alpha.as_rao() && risen > now, "{now} {risen}");
    let held = bench.state.stake(&validator.public(), &bob.public());
    let moved = Call::MoveStake { from: validator.public(), to: good.public(), netuid: NETUID, amount: held };
    bench.does(&bob, moved);
    let held = bench.state.stake(&good.public(), &bob.public());
    let sell = |rao_per_alpha| Call::RemoveStakeLimit {
        hotkey: good.public(),
        netuid: NETUID,
        amount: held,
        limit: PriceLimit { rao_per_alpha: Rao::from_rao(rao_per_alpha), allow_partial: true },
    };
    bench.does(&bob, sell(now));
    assert!(price(&bench) + 1 >= now && price(&bench) < risen, "{now} {risen} {}", price(&bench));
    let amount = Alpha::from_rao(u64::MAX);
    let too_much = Call::MoveStake { from: good.public(), to: validator.public(), netuid: NETUID, amount };
    assert_eq!(bench.refused(&bob, too_much).name(), "NotEnoughStakeToWithdraw");
    let own = Call::MoveStake { from: good.public(), to: good.public(), netuid: NETUID, amount: Alpha::from_rao(1) };
    assert_eq!(bench.refused(&charlie, own).name(), "SameHotkey");
}

#[test]
fn a_validator_may_lower_its_part_at_once_and_raise_it_once_in_a_while() {
    let bob = key("Bob");
    let (mut bench, [validator, ..]) = network(profile());
    let set = |take| Call::SetTake { hotkey: validator.public(), take };
    assert_eq!(bench.refused(&bob, set(20_000)).name(), "DelegateTakeTooHigh");
    assert_eq!(bench.refused(&key("Charlie"), set(1)).name(), "NonAssociatedColdKey");
    bench.does(&bob, set(1_000));
    bench.does(&bob, set(2_000));
    assert_eq!(bench.refused(&bob, set(3_000)).name(), "DelegateTxRateLimitExceeded");
    bench.does(&bob, set(0));
    assert_eq!(bench.state.take_of(&validator.public()), 0);
}

#[test]
fn hidden_weights_are_revealed_in_their_epoch_and_at_no_other_time() {
    let hiding = |tempo, weights_rate_limit_blocks| {
        network(Profile { commit_reveal: true, tempo, weights_rate_limit_blocks, ..profile() })
    };
    let (mut bench, [validator, ..]) = hiding(10, 1);
    let (uids, values, salt) = (vec![Uid(1), Uid(2)], vec![3u16, 1], vec![7u16; 8]);
    let hash = weights_hash(&validator.public(), NETUID, &uids, &values, &salt, 0);
    let commit = Call::CommitWeights { netuid: NETUID, hash };
    let reveal = |values: &[u16]| Call::RevealWeights {
        netuid: NETUID,
        uids: uids.clone(),
        values: values.to_vec(),
        salt: salt.clone(),
        version_key: 0,
    };
    assert_eq!(bench.refused(&validator, weights(&[1], &[1])).name(), "CommitRevealEnabled");
    assert_eq!(bench.refused(&validator, reveal(&values)).name(), "NoWeightsCommitFound");
    bench.does(&validator, commit.clone());
    assert_eq!(bench.refused(&validator, reveal(&values)).name(), "RevealTooEarly");
    bench.run_to_epoch();
    assert_eq!(bench.refused(&validator, reveal(&[1, 3])).name(), "InvalidRevealCommitHashNotMatch");
    bench.does(&validator, reveal(&values));
    assert_eq!(bench.refused(&validator, reveal(&values)).name(), "NoWeightsCommitFound");
    let epoch = next_epoch(&mut bench);
    assert!(epoch.payouts[1].incentive.as_rao() > 2 * epoch.payouts[2].incentive.as_rao());
    // A commit whose epoch passes is lost, and too many cannot wait.
    bench.does(&validator, commit.clone());
    bench.run_to_epoch();
    bench.run_to_epoch();
    assert_eq!(bench.refused(&validator, reveal(&values)).name(), "ExpiredWeightCommit");
    let (mut bench, _) = hiding(100, 0);
    for _ in 0..10 {
        bench.does(&validator, commit.clone());
    }
    assert_eq!(bench.refused(&validator, commit.clone()).name(), "TooManyUnrevealedCommits");
    let (mut open, _) = network(profile());
    assert_eq!(open.refused(&validator, commit).name(), "CommitRevealDisabled");
}

#[test]
fn every_block_issues_what_the_curve_says() {
    let mut bench = Bench::new(profile());
    let (issued, price) = (bench.state.totals().issued.as_rao(), bench.state.subnet().pool.price());
    for _ in 0..50 {
        bench.block(vec![]);
    }
    // At a price of one all TAO goes in at par, and nothing is left to buy with.
    assert_eq!(bench.state.totals().issued.as_rao() - issued, 50 * RAO_PER_TAO);
    assert_eq!(bench.state.subnet().pool.price(), price);
    assert!(bench.state.subnet().moving_price.to_bits() > 0);
}

/// A random call by a random key, sensible often enough to get somewhere.
fn any_call() -> impl Strategy<Value = (usize, Call)> {
    let amount = prop_oneof![0u64..10 * RAO_PER_TAO, Just(u64::MAX), 0u64..3_000_000];
    let row = proptest::collection::vec((0u16..6, any::<u16>()), 0..4);
    let kind = (0usize..9, 0usize..9, amount, 0u8..12, 0u64..3, row);
    kind.prop_map(|(signer, other, amount, kind, index, row)| {
        let (key, hotkey) = (keys()[other].public(), keys()[3 + other % 6].public());
        let (uids, values): (Vec<u16>, Vec<u16>) = row.iter().copied().unzip();
        let netuid = if index == 2 { ROOT } else { NETUID };
        let limit = PriceLimit { rao_per_alpha: Rao::from_rao(amount), allow_partial: index == 0 };
        let call = match kind {
            0 => Call::Transfer { to: key, amount: Rao::from_rao(amount) },
            1 | 2 => Call::Register { netuid: NETUID, hotkey, max_price: None },
            3 | 4 => Call::AddStake { hotkey, netuid, amount: Rao::from_rao(amount) },
            5 => Call::RemoveStake { hotkey, netuid, amount: Alpha::from_rao(amount) },
            6 => Call::AddStakeLimit { hotkey, netuid, amount: Rao::from_rao(amount), limit },
            7 => Call::RemoveStakeLimit { hotkey, netuid, amount: Alpha::from_rao(amount), limit },
            8 => {
                let to = keys()[3 + (other + 1) % 6].public();
                Call::MoveStake { from: hotkey, to, netuid, amount: Alpha::from_rao(amount) }
            }
            9 => weights(&uids, &values),
            10 => Call::SetTake { hotkey, take: values.first().copied().unwrap_or(9) },
            _ => commit([Topic::Bucket, Topic::Sealed, Topic::Vote][index as usize], index, row.len() * 100),
        };
        (signer, call)
    })
}

fn keys() -> &'static [Keypair] {
    static KEYS: std::sync::OnceLock<Vec<Keypair>> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| ["Alice", "Bob", "Charlie", "h1", "h2", "h3", "h4", "h5", "h6"].into_iter().map(key).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_conserves_replays_and_restores(
        blocks in proptest::collection::vec(proptest::collection::vec(any_call(), 0..8), 1..24),
        is_pool_small in any::<bool>(),
    ) {
        let mut profile = profile();
        if is_pool_small {
            (profile.pool.tao, profile.pool.alpha) = (Rao::from_whole(5), Alpha::from_whole(9));
        }
        let mut ledger = Ledger::in_memory(&profile, [3; 32]).unwrap();
        let genesis = ledger.state().genesis_hash();
        for (time, calls) in blocks.into_iter().enumerate() {
            for (signer, call) in calls {
                let (signer, head) = (&keys()[signer], ledger.head().number);
                let nonce = ledger.next_nonce(&signer.public());
                let _ = ledger.queue(Transaction::sign(signer, call, nonce, head.plus(9), genesis));
            }
            ledger.make_block(time as u64).unwrap();
            prop_assert_eq!(check_conservation(ledger.state()), Ok(()));
        }
        // A follower that starts from the profile alone reaches the same roots.
        let mut follower = State::genesis(ledger.state().profile().clone()).unwrap();
        let mut parent = ledger.block(BlockNumber(0)).unwrap().header;
        prop_assert_eq!(follower.root(), parent.state_root);
        for number in 1..=ledger.head().number.0 {
            let block = ledger.block(BlockNumber(number)).unwrap();
            replay(&mut follower, &parent, &block).unwrap();
            parent = block.header;
        }
        prop_assert_eq!(follower.root(), ledger.head().state_root);
        prop_assert_eq!(parent.hash(), ledger.head().hash);
    }

    #[test]
    fn refused_calls_leave_no_trace_but_their_nonces(
        blocks in proptest::collection::vec(proptest::collection::vec(any_call(), 0..8), 1..12),
    ) {
        let mut bench = Bench::new(profile());
        for calls in blocks {
            let mut without = Bench { state: bench.state.clone() };
            let calls: Vec<(&Keypair, Call)> = calls.into_iter().map(|(signer, call)| (&keys()[signer], call)).collect();
            let applied = bench.block(calls.clone());
            let accepted = |((signer, call), receipt): ((_, Call), &Receipt)| {
                (signer, if receipt.result.is_ok() { call } else { empty(signer) })
            };
            let again = without.block(calls.into_iter().zip(&applied.receipts).map(accepted).collect());
            prop_assert_eq!(again.root, applied.root);
            prop_assert_eq!(events_of(&again), events_of(&applied));
        }
    }

    #[test]
    fn the_least_earner_that_may_go_goes(
        emissions in proptest::collection::vec(0u16..4, 3),
        ages in proptest::collection::vec(0u64..3, 3),
    ) {
        let bob = key("Bob");
        let mut bench = Bench::new(Profile { max_uids: 4, immunity_blocks: 1, tempo: 5, ..profile() });
        let hotkeys: Vec<Keypair> = (0..5).map(|number| key(&format!("p{number}"))).collect();
        bench.does(&bob, register(&hotkeys[0]));
        bench.does(&bob, stake(&hotkeys[0], 50));
        for (hotkey, age) in hotkeys[1..4].iter().zip(&ages) {
            bench.does(&bob, register(hotkey));
            for _ in 0..*age {
                bench.block(vec![]);
            }
        }
        bench.run_to_epoch();
        let row: Vec<u16> = emissions.iter().map(|emission| emission * 10_000).collect();
        if row.iter().any(|value| *value > 0) {
            bench.does(&hotkeys[0], weights(&[1, 2, 3], &row));
        }
        bench.run_to_epoch();
        let applied = bench.block(vec![(&bob, register(&hotkeys[4]))]);
        let gone = applied.events.iter().find_map(|event| match event {
            Event::Registered { replaced: Some(gone), .. } => Some(*gone),
            _ => None,
        });
        // Registrations went in the order of the uids, so of equals the lowest uid is the oldest.
        let least = (0..3).min_by_key(|place| (row[*place], *place)).unwrap();
        prop_assert_eq!(gone, Some(hotkeys[least + 1].public()));
    }
}
