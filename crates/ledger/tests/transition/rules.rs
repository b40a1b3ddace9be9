//! The rules of the ledger: refusals without effect, slots, commitments, history, replay.

use crate::support::*;
use templar_base::{Beacon, BlockNumber, Keypair, Netuid, Rao, Uid};
use templar_chain::{Call, Event, MAX_COMMITMENT_BYTES, Refusal, Topic, Transaction};
use templar_ledger::{BlockInput, Ledger, Profile, State, apply, replay};

#[test]
fn every_refusal_bears_its_name_and_leaves_no_trace_but_its_nonce() {
    let (alice, bob, validator, miner) = (key("Alice"), key("Bob"), key("validator"), key("miner"));
    let mut bench = Bench::new(profile());
    let transfer = |amount| Call::Transfer { to: bob.public(), amount: Rao::from_rao(amount) };
    let mut names = Vec::new();
    names.push(bench.refused(&alice, transfer(u64::MAX)).name());
    names.push(bench.refused(&alice, stake(&validator, 1)).name());
    names.push(bench.refused(&validator, commit(Topic::Vote, 1, 3)).name());
    let cheap = Call::Register { netuid: NETUID, hotkey: validator.public(), max_price: Some(Rao::from_rao(1)) };
    names.push(bench.refused(&alice, cheap).name());
    names.push(bench.refused(&miner, register(&validator)).name());
    let elsewhere = Call::Register { netuid: Netuid(4), hotkey: validator.public(), max_price: None };
    names.push(bench.refused(&alice, elsewhere).name());
    bench.does(&alice, register(&validator));
    bench.does(&bob, register(&miner));
    names.push(bench.refused(&alice, register(&validator)).name());
    names.push(bench.refused(&alice, register(&miner)).name());
    names.push(bench.refused(&validator, weights(&[1], &[1])).name());
    names.push(bench.refused(&alice, stake(&validator, 1_000_000)).name());
    names.push(
        bench
            .refused(&alice, Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount: Rao::from_rao(1) })
            .name(),
    );
    bench.does(&bob, stake(&miner, 5));
    bench.does(&alice, stake(&validator, 100));
    names.push(bench.refused(&alice, unstake(&validator, u64::MAX)).name());
    let held = bench.state.stake(&miner.public(), &bob.public()).as_rao();
    names.push(bench.refused(&bob, unstake(&miner, held - 1)).name());
    bench.run_to_epoch();
    names.push(bench.refused(&validator, weights(&[1, 1], &[1, 2])).name());
    names.push(bench.refused(&validator, weights(&[1, 2], &[1])).name());
    names.push(bench.refused(&validator, weights(&[9], &[1])).name());
    names.push(bench.refused(&validator, weights(&[1], &[0])).name());
    bench.does(&validator, weights(&[1], &[5]));
    names.push(bench.refused(&validator, weights(&[1], &[5])).name());
    bench.does(&miner, commit(Topic::Sealed, 0, 10));
    names.push(bench.refused(&miner, commit(Topic::Sealed, 0, 11)).name());
    names.push(bench.refused(&miner, commit(Topic::Bucket, 1, 11)).name());
    names.push(bench.refused(&miner, commit(Topic::Sealed, 1, MAX_COMMITMENT_BYTES + 1)).name());
    bench.run_to_epoch();
    bench.does(&miner, commit(Topic::Sealed, 1, MAX_COMMITMENT_BYTES));
    names.push(bench.refused(&miner, commit(Topic::Sealed, 2, 200)).name());
    assert_eq!(
        names.join(" "),
        "InsufficientBalance HotKeyAccountNotExists AccountNotAllowedCommit RegistrationPriceLimitExceeded \
         NotEnoughBalanceToStake SubnetNotExists HotKeyAlreadyRegisteredInSubNet NonAssociatedColdKey \
         NotEnoughStakeToSetWeights NotEnoughBalanceToStake AmountTooLow NotEnoughStakeToWithdraw AmountTooLow \
         DuplicateUids WeightVecNotEqualSize UidVecContainInvalidOne WeightVecLengthIsLow SettingWeightsTooFast \
         CommitmentExists BucketIndexNotZero CommitmentTooLong SpaceLimitExceeded"
    );
}

#[test]
fn envelopes_are_checked_before_the_call() {
    let (alice, bob) = (key("Alice"), key("Bob"));
    let mut bench = Bench::new(profile());
    let genesis = bench.state.genesis_hash();
    let call = Call::Transfer { to: bob.public(), amount: Rao::from_rao(1) };
    let now = BlockNumber(1);
    let good = Transaction::sign(&alice, call.clone(), 0, now, genesis);
    let wrong = vec![
        Transaction { signer: bob.public(), ..good.clone() },
        Transaction::sign(&alice, call.clone(), 1, now, genesis),
        Transaction::sign(&alice, call.clone(), 0, BlockNumber(0), genesis),
        Transaction::sign(&alice, call.clone(), 0, BlockNumber(1_000), genesis),
        Transaction::sign(&alice, call, 0, now, Default::default()),
        good.clone(),
        good,
    ];
    let input = BlockInput { number: now, time_ms: 0, beacon: Beacon::default(), transactions: wrong };
    let applied = apply(&mut bench.state, &input).unwrap();
    let names: Vec<String> = applied
        .receipts
        .iter()
        .map(|receipt| receipt.result.as_ref().map_or_else(Refusal::name, |()| "ok".into()))
        .collect();
    assert_eq!(
        names,
        ["BadProof", "BadNonce", "AncientBirthBlock", "MortalityTooLong", "BadGenesis", "ok", "BadNonce"]
    );
    assert!(apply(&mut bench.state, &input).is_err(), "a block applies once");
}

#[test]
fn a_full_subnet_replaces_the_least_earner_and_spares_the_immune_and_the_owner() {
    let (alice, bob) = (key("Alice"), key("Bob"));
    let mut bench = Bench::new(Profile { max_uids: 3, immunity_blocks: 4, tempo: 1_000, ..profile() });
    let hotkeys: Vec<Keypair> = (0..6).map(|number| key(&format!("hot{number}"))).collect();
    bench.does(&alice, register(&hotkeys[0]));
    bench.does(&bob, register(&hotkeys[1]));
    for _ in 0..4 {
        bench.block(vec![]);
    }
    bench.does(&bob, register(&hotkeys[2]));
    bench.does(&bob, register(&hotkeys[3]));
    assert_eq!(bench.state.uid_of(&hotkeys[3].public()), Some(Uid(1)), "the oldest without immunity goes");
    assert_eq!(bench.state.uid_of(&hotkeys[1].public()), None);
    assert_eq!(bench.state.uid_of(&hotkeys[0].public()), Some(Uid(0)), "the owner stays");
    let applied = bench.block(vec![(&bob, register(&hotkeys[4]))]);
    assert!(
        applied.events.iter().any(
            |event| matches!(event, Event::Registered { replaced: Some(gone), .. } if *gone == hotkeys[2].public())
        ),
        "all are immune: the oldest goes"
    );
}

/// Signs a call and makes the block that holds it.
fn send(ledger: &mut Ledger, signer: &Keypair, call: Call) {
    let nonce = ledger.next_nonce(&signer.public());
    let (head, genesis) = (ledger.head().number, ledger.state().genesis_hash());
    ledger.queue(Transaction::sign(signer, call, nonce, head.plus(1), genesis)).unwrap();
    ledger.make_block(0).unwrap();
}

#[test]
fn commitments_count_once_and_are_dropped_after_the_retention() {
    let (bob, miner) = (key("Bob"), key("miner"));
    let mut ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    send(&mut ledger, &bob, register(&miner));
    send(&mut ledger, &miner, commit(Topic::Sealed, 1, 3));
    send(&mut ledger, &miner, commit(Topic::Bucket, 0, 4));
    send(&mut ledger, &miner, commit(Topic::Bucket, 0, 5));
    let sealed = ledger.commitments(NETUID, Topic::Sealed, 1).unwrap();
    assert_eq!((sealed.len(), sealed[0].block), (1, BlockNumber(2)));
    assert_eq!(ledger.commitments(NETUID, Topic::Bucket, 0).unwrap()[0].data.len(), 5);
    for _ in 0..10 {
        ledger.make_block(0).unwrap();
    }
    assert!(ledger.commitments(NETUID, Topic::Sealed, 1).unwrap().is_empty());
    assert_eq!(ledger.commitments(NETUID, Topic::Bucket, 0).unwrap().len(), 1, "buckets stay");
}

/// What was agreed last must be told however long all nodes were away.
#[test]
fn the_newest_reports_of_a_registered_hotkey_outlive_the_retention() {
    let (alice, owner) = (key("Alice"), key("validator"));
    let mut ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let report = |ledger: &mut Ledger, topic, window| {
        send(ledger, &owner, commit(topic, window, 5));
        // A further one, so that a tempo's budget suffices.
        ledger.make_block(0).unwrap();
    };
    // The owner's key reports without a permit.
    send(&mut ledger, &alice, register(&owner));
    let indices =
        |ledger: &Ledger| ledger.last_reports(NETUID).unwrap().iter().map(|found| found.index).collect::<Vec<_>>();
    for window in 0..3 {
        report(&mut ledger, Topic::Applied, window);
        report(&mut ledger, Topic::Vote, window);
    }
    for _ in 0..40 {
        ledger.make_block(0).unwrap();
    }
    assert!(ledger.commitments(NETUID, Topic::Vote, 2).unwrap().is_empty());
    assert_eq!(indices(&ledger), [2, 1, 0]);
    for window in 3..9 {
        report(&mut ledger, Topic::Applied, window);
    }
    assert_eq!(indices(&ledger), [8, 7, 6, 5, 4, 3, 2, 1], "the oldest goes when there are more than eight");
    assert!(ledger.commitments(NETUID, Topic::Applied, 0).unwrap().is_empty());
}

#[test]
fn a_refused_transaction_cannot_be_played_again() {
    let (alice, bob, poor) = (key("Alice"), key("Bob"), key("poor"));
    let mut ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let genesis = ledger.state().genesis_hash();
    let until = BlockNumber(50);
    let fund = |amount| Call::Transfer { to: poor.public(), amount: Rao::from_rao(amount) };
    ledger.queue(Transaction::sign(&alice, fund(5), 0, until, genesis)).unwrap();
    ledger.make_block(0).unwrap();
    let overdraft =
        Transaction::sign(&poor, Call::Transfer { to: bob.public(), amount: Rao::from_rao(9) }, 0, until, genesis);
    let hash = ledger.queue(overdraft.clone()).unwrap();
    ledger.make_block(0).unwrap();
    assert!(ledger.receipt(&hash).unwrap().unwrap().result.is_err());
    ledger.queue(Transaction::sign(&alice, fund(50), 1, until, genesis)).unwrap();
    ledger.make_block(0).unwrap();
    assert_eq!(ledger.queue(overdraft).unwrap(), hash);
    ledger.make_block(0).unwrap();
    assert_eq!(ledger.account(&poor.public()).balance, Rao::from_rao(55));
}

#[test]
fn history_answers_for_the_past_and_is_pruned() {
    let (alice, hot) = (key("Alice"), key("hot"));
    let mut ledger = Ledger::in_memory(&Profile { history_blocks: 256, ..profile() }, [1; 32]).unwrap();
    let genesis = ledger.state().genesis_hash();
    for _ in 0..5 {
        ledger.make_block(0).unwrap();
    }
    ledger.queue(Transaction::sign(&alice, register(&hot), 0, BlockNumber(50), genesis)).unwrap();
    for _ in 0..295 {
        ledger.make_block(0).unwrap();
    }
    assert!(ledger.metagraph(NETUID, Some(BlockNumber(43))).is_err());
    assert_eq!(ledger.metagraph(NETUID, Some(BlockNumber(44))).unwrap().neurons.len(), 1);
    assert!(ledger.header(BlockNumber(43)).is_err());
    assert!(ledger.events(BlockNumber(44), BlockNumber(299)).is_ok());
    assert!(ledger.events(BlockNumber(44), BlockNumber(300)).is_err(), "too many at once");
    assert!(ledger.header(BlockNumber(301)).is_err());
}

#[test]
fn a_forged_block_is_not_replayed() {
    let mut ledger = Ledger::in_memory(&profile(), [3; 32]).unwrap();
    ledger.make_block(1).unwrap();
    let (parent, mut block) = (ledger.block(BlockNumber(0)).unwrap().header, ledger.block(BlockNumber(1)).unwrap());
    let start = State::genesis(ledger.state().profile().clone()).unwrap();
    assert!(replay(&mut start.clone(), &parent, &block).is_ok());
    block.header.state_root = Default::default();
    assert!(replay(&mut start.clone(), &parent, &block).is_err());
}
