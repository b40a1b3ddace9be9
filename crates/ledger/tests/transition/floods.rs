//! What a flood costs who makes it, and that it delays no vote: fees, deposits, budgets, the lane, bounded commitments.

use crate::support::*;
use parity_scale_codec::Encode;
use templar_base::{BlockHash, BlockNumber, Keypair, Netuid, PublicKey, Rao};
use templar_chain::access::{AccessCall, MeteringRecord, Units};
use templar_chain::{
    Block, Call, ChainError, Header, Included, MAX_COMMITMENT_BYTES, MempoolError, Refusal, Topic, Transaction,
};
use templar_ledger::{
    COMMITMENT_OVERHEAD_BYTES, Ledger, LoadRule, Profile, ReplayError, State, check_conservation, replay,
};

/// The profile of the other tests, with fees.
fn dear() -> Profile {
    Profile { load: LoadRule::default(), ..profile() }
}

fn transfer(to: PublicKey, amount: u64) -> Call {
    Call::Transfer { to, amount: Rao::from_rao(amount) }
}

fn signed(ledger: &Ledger, signer: &Keypair, call: Call) -> Transaction {
    let nonce = ledger.next_nonce(&signer.public());
    Transaction::sign(signer, call, nonce, ledger.head().number.plus(64), ledger.state().genesis_hash())
}

fn queue(ledger: &mut Ledger, signer: &Keypair, call: Call) -> Result<(), MempoolError> {
    match ledger.queue(signed(ledger, signer, call)) {
        Ok(_) => Ok(()),
        Err(ChainError::NotQueued { reason }) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

fn make_block(ledger: &mut Ledger) -> Block {
    let header = ledger.make_block(0).unwrap();
    check_conservation(ledger.state()).unwrap();
    ledger.block(header.number).unwrap()
}

fn does(ledger: &mut Ledger, signer: &Keypair, call: Call) {
    queue(ledger, signer, call).unwrap();
    let block = make_block(ledger);
    assert!(matches!(block.transactions[..], [Included::Applied(_)]), "{block:?}");
}

/// As large a call as a transaction holds; refused, since there are no such slots.
fn large() -> Call {
    weights(&(100..8_100).collect::<Vec<u16>>(), &[1; 8_000])
}

/// A ledger where a validator holds a permit and a miner a slot, both without any balance.
fn subnet(profile: Profile) -> (Ledger, Keypair, Keypair) {
    let mut ledger = Ledger::in_memory(&profile, [1; 32]).unwrap();
    let (bob, validator, miner) = (key("Bob"), key("validator"), key("miner"));
    does(&mut ledger, &bob, register(&validator));
    does(&mut ledger, &bob, register(&miner));
    does(&mut ledger, &bob, stake(&validator, 100));
    for _ in 0..profile.tempo {
        make_block(&mut ledger);
    }
    (ledger, validator, miner)
}

#[test]
fn a_refused_call_pays_its_fee_and_its_bytes_are_not_kept() {
    let mut ledger = Ledger::in_memory(&dear(), [1; 32]).unwrap();
    let bob = key("Bob");
    let (account, totals) = (ledger.account(&bob.public()), ledger.state().totals());
    let transaction = signed(&ledger, &bob, large());
    let (load, hash) = (transaction.head().load(), transaction.hash());
    assert!(load.bytes > 30_000);
    ledger.queue(transaction.clone()).unwrap();
    let block = make_block(&mut ledger);
    let fee = LoadRule::default().fee(load);
    assert_eq!(fee, Rao::from_rao(100 * load.bytes + 10_000));
    let after = ledger.account(&bob.public());
    assert_eq!((account.balance.as_rao() - after.balance.as_rao(), after.nonce), (fee.as_rao(), account.nonce + 1));
    // Recycled: what is issued falls by it, besides what the block issues.
    let (issued, emission) = (ledger.state().totals().issued.as_rao(), dear().block_emission.as_rao());
    assert_eq!((totals.issued.as_rao() + emission - issued, ledger.state().totals().recycled), (fee.as_rao(), fee));
    assert!(block.encode().len() < 600, "{} bytes are kept", block.encode().len());
    assert_eq!(ledger.receipt(&hash).unwrap().unwrap().result.unwrap_err().name(), "HotKeyNotRegisteredInSubNet");
    // It is decided: nobody makes it pay again.
    assert_eq!(ledger.queue(transaction).unwrap(), hash);
    assert!(make_block(&mut ledger).transactions.is_empty());
    replayed(&ledger);
}

#[test]
fn who_cannot_pay_is_in_no_queue_and_no_block() {
    let (alice, poor) = (key("Alice"), key("poor"));
    let mut bench = Bench::new(dear());
    bench.does(&alice, transfer(poor.public(), 1_000));
    // An authority that takes it in all the same makes nothing happen.
    let mut without = Bench { state: bench.state.clone() };
    let applied = bench.block(vec![(&poor, empty(&poor))]);
    assert_eq!(applied.root, without.block(vec![]).root);
    assert_eq!(applied.receipts[0].result.as_ref().unwrap_err().name(), "FeeNotCovered");

    let mut ledger = Ledger::in_memory(&dear(), [1; 32]).unwrap();
    let fee = LoadRule::default().fee(signed(&ledger, &poor, empty(&poor)).head().load()).as_rao();
    does(&mut ledger, &alice, transfer(poor.public(), 2 * fee + 5));
    // Two fees are covered, the third is not.
    queue(&mut ledger, &poor, empty(&poor)).unwrap();
    queue(&mut ledger, &poor, empty(&poor)).unwrap();
    let refused = queue(&mut ledger, &poor, empty(&poor)).unwrap_err();
    let (needed, available) = (Rao::from_rao(3 * fee), Rao::from_rao(2 * fee + 5));
    assert_eq!(refused, MempoolError::FeeNotCovered { needed, available });
    assert_eq!(make_block(&mut ledger).transactions.len(), 2);
    // What it has is spent between queue and block: the rest is in no block, and waits no longer.
    does(&mut ledger, &alice, transfer(poor.public(), 3 * fee));
    queue(&mut ledger, &poor, transfer(alice.public(), 2 * fee + 5)).unwrap();
    queue(&mut ledger, &poor, empty(&poor)).unwrap();
    assert_eq!(make_block(&mut ledger).transactions.len(), 1);
    assert_eq!(ledger.account(&poor.public()).balance, Rao::ZERO);
    assert!(make_block(&mut ledger).transactions.is_empty());
    replayed(&ledger);
}

#[test]
fn no_transfer_leaves_dust() {
    let (alice, poor, other) = (key("Alice"), key("poor"), key("other"));
    let load = LoadRule { existential_deposit: Rao::from_rao(500), ..LoadRule::without_fees() };
    let mut bench = Bench::new(Profile { load, ..profile() });
    assert_eq!(bench.refused(&alice, transfer(poor.public(), 499)).name(), "ExistentialDeposit");
    bench.does(&alice, transfer(poor.public(), 1_400));
    assert_eq!(bench.refused(&poor, transfer(other.public(), 901)).name(), "ExistentialDeposit");
    bench.does(&poor, transfer(other.public(), 900));
    bench.does(&poor, transfer(other.public(), 500));
    assert_eq!(bench.state.account(&poor.public()).balance, Rao::ZERO);
    // To oneself, and nothing at all, is no matter of deposits.
    bench.does(&other, transfer(other.public(), 1));
    bench.does(&other, transfer(poor.public(), 0));
    // A registered key with little is not touched: it stakes and earns as before.
    bench.does(&alice, transfer(key("hot").public(), 500));
    bench.does(&alice, register(&key("hot")));
    bench.does(&key("hot"), commit(Topic::Bucket, 0, 20));
}

#[test]
fn foreign_signatures_cost_by_number() {
    let (alice, bob) = (key("Alice"), key("Bob"));
    let mut bench = Bench::new(dear());
    let record = |number| MeteringRecord::sign(&alice, &BlockHash::default(), bob.public(), number, Units::default());
    let settle = |records: u64| {
        let records = (0..records).map(record).collect();
        Call::Access { netuid: NETUID, call: AccessCall::Settle { records } }
    };
    let mut paid = |call| {
        let before = bench.state.account(&bob.public()).balance.as_rao();
        bench.block(vec![(&bob, call)]);
        before - bench.state.account(&bob.public()).balance.as_rao()
    };
    let (one, many) = (paid(settle(1)), paid(settle(61)));
    assert!(many - one > 60 * LoadRule::default().rao_per_signature, "{one} {many}");
}

#[test]
fn a_full_queue_keeps_no_vote_out() {
    let senders: Vec<Keypair> = (0..300).map(|number| key(&format!("sender{number}"))).collect();
    let mut crowded = dear();
    crowded.initial_balances.extend(senders.iter().map(|sender| (sender.public(), Rao::from_whole(1))));
    let (mut ledger, validator, _) = subnet(crowded);
    let (genesis, until) = (ledger.state().genesis_hash(), ledger.head().number.plus(64));
    let call = transfer(key("Bob").public(), 1_000);
    let full = (0..).find_map(|place: usize| {
        let (sender, nonce) = (&senders[place % 300], (place / 300) as u64);
        let outcome = ledger.queue(Transaction::sign(sender, call.clone(), nonce, until, genesis));
        outcome.err().filter(|error| matches!(error, ChainError::NotQueued { reason: MempoolError::Full }))
    });
    assert!(full.is_some());
    queue(&mut ledger, &validator, commit(Topic::Vote, 1, 100)).unwrap();
    let block = make_block(&mut ledger);
    assert_eq!(ledger.commitments(NETUID, Topic::Vote, 1).unwrap().len(), 1, "the vote is in the next block");
    // The block holds what its budget allows, the rest waits for the next ones.
    let load = block.transactions.iter().map(|entry| entry.load().signatures).sum::<u64>();
    assert!(load > 2_000 && load <= u64::from(LoadRule::default().block_signatures), "{load}");
    assert_eq!(make_block(&mut ledger).transactions.len() as u64, u64::from(LoadRule::default().block_signatures));
}

#[test]
fn a_block_holds_no_more_bytes_than_its_budget() {
    let load = LoadRule { block_bytes: 1 << 17, ..LoadRule::default() };
    let mut ledger = Ledger::in_memory(&Profile { load: load.clone(), ..dear() }, [1; 32]).unwrap();
    for _ in 0..10 {
        queue(&mut ledger, &key("Bob"), large()).unwrap();
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 10 {
        let block = make_block(&mut ledger);
        assert!(block.transactions.iter().map(|entry| entry.load().bytes).sum::<u64>() <= load.block().bytes);
        sizes.push(block.transactions.len());
    }
    assert_eq!(sizes, [4, 4, 2]);
    replayed(&ledger);
    // A follower takes no block over the budget, and none with a transaction that may not be in it.
    let (parent, first) = (ledger.block(BlockNumber(0)).unwrap().header, ledger.block(BlockNumber(1)).unwrap());
    let judge = |transactions: Vec<Included>| {
        let header = Header { parent: parent.hash(), ..first.header.clone() };
        let mut state = State::genesis(ledger.state().profile().clone()).unwrap();
        replay(&mut state, &parent, &Block { header, transactions }).unwrap_err()
    };
    let five = [&first.transactions[..], &ledger.block(BlockNumber(2)).unwrap().transactions[..1]].concat();
    assert_eq!(judge(five), ReplayError::OverBudget(BlockNumber(1)));
    assert_eq!(judge(first.transactions[1..].to_vec()), ReplayError::WrongTransaction(BlockNumber(1)));
    let mut forged = first.transactions.clone();
    let Included::Refused { head, .. } = &mut forged[0] else { panic!("{forged:?}") };
    head.call_bytes += 1;
    assert_eq!(judge(forged), ReplayError::WrongTransaction(BlockNumber(1)));
}

#[test]
fn a_hotkey_sends_so_much_for_nothing_and_then_pays() {
    let (mut ledger, _, miner) = subnet(dear());
    // The largest refused calls: two of them are free in a tempo.
    queue(&mut ledger, &miner, large()).unwrap();
    queue(&mut ledger, &miner, large()).unwrap();
    let refused = queue(&mut ledger, &miner, large()).unwrap_err();
    assert!(matches!(refused, MempoolError::FreeBytesUsed { .. }) && refused.is_transient(), "{refused}");
    make_block(&mut ledger);
    assert!(matches!(queue(&mut ledger, &miner, large()), Err(MempoolError::FreeBytesUsed { .. })));
    // What is small still fits.
    queue(&mut ledger, &miner, commit(Topic::Sealed, 1, 9)).unwrap();
    make_block(&mut ledger);
    // A hotkey with a balance pays for what goes beyond.
    does(&mut ledger, &key("Bob"), transfer(miner.public(), 10_000_000));
    queue(&mut ledger, &miner, large()).unwrap();
    make_block(&mut ledger);
    assert!(ledger.account(&miner.public()).balance < Rao::from_rao(10_000_000));
    while !ledger.head().number.is_multiple_of(u64::from(dear().tempo)) {
        make_block(&mut ledger);
    }
    let before = ledger.account(&miner.public()).balance;
    queue(&mut ledger, &miner, large()).unwrap();
    make_block(&mut ledger);
    assert_eq!(ledger.account(&miner.public()).balance, before, "the next tempo is free again");
    replayed(&ledger);
}

#[test]
fn registered_keys_cannot_crowd_each_other_out_of_the_lane() {
    let (mut ledger, validator, miner) = subnet(Profile { max_uids: 40, ..dear() });
    let sybils: Vec<Keypair> = (0..30).map(|number| key(&format!("sybil{number}"))).collect();
    for sybil in &sybils {
        does(&mut ledger, &key("Bob"), register(sybil));
    }
    while !ledger.head().number.is_multiple_of(u64::from(dear().tempo)) {
        make_block(&mut ledger);
    }
    for sybil in sybils.iter().chain(&sybils) {
        queue(&mut ledger, sybil, large()).unwrap();
    }
    queue(&mut ledger, &validator, commit(Topic::Vote, 1, MAX_COMMITMENT_BYTES)).unwrap();
    queue(&mut ledger, &miner, commit(Topic::Sealed, 1, 80)).unwrap();
    let block = make_block(&mut ledger);
    assert!(block.transactions.len() < 40, "the rest waits");
    assert_eq!(ledger.commitments(NETUID, Topic::Vote, 1).unwrap().len(), 1);
    assert_eq!(ledger.commitments(NETUID, Topic::Sealed, 1).unwrap().len(), 1);
}

#[test]
fn votes_and_reports_are_for_holders_of_a_permit() {
    let (bob, validator, miner) = (key("Bob"), key("validator"), key("miner"));
    let mut bench = Bench::new(Profile { tempo: 10, ..profile() });
    bench.does(&bob, register(&validator));
    bench.does(&bob, register(&miner));
    bench.does(&bob, stake(&validator, 10));
    assert_eq!(bench.refused(&validator, commit(Topic::Vote, 1, 9)).name(), "TopicNeedsPermit");
    bench.run_to_epoch();
    bench.does(&validator, commit(Topic::Vote, 1, 9));
    bench.does(&validator, commit(Topic::Applied, 1, 9));
    assert_eq!(bench.refused(&miner, commit(Topic::Vote, 1, 9)).name(), "TopicNeedsPermit");
    let refusal = bench.refused(&miner, commit(Topic::Applied, 1, 9));
    assert!(refusal.is_transient(), "{refusal}");
    bench.does(&miner, commit(Topic::Sealed, 1, 9));
}

#[test]
fn no_window_is_ahead_of_the_chain() {
    let (bob, miner) = (key("Bob"), key("miner"));
    let mut bench = Bench::new(profile());
    bench.does(&bob, register(&miner));
    // Block 2: a window has one block at least.
    let refusal = bench.refused(&miner, commit(Topic::Sealed, 3, 9));
    assert_eq!(refusal, Refusal::IndexAhead { index: 3, now: BlockNumber(2) });
    bench.does(&miner, commit(Topic::Sealed, 3, 9));
    assert_eq!(bench.refused(&miner, commit(Topic::Sealed, u64::MAX, 9)).name(), "IndexAhead");
}

#[test]
fn a_key_has_so_many_commitments_of_a_topic_and_cannot_take_any_back() {
    let (bob, miner) = (key("Bob"), key("miner"));
    let load = LoadRule { commitments_per_topic: 3, ..LoadRule::without_fees() };
    let mut bench = Bench::new(Profile { commitment_bytes_per_tempo: 1 << 20, load, ..profile() });
    bench.does(&bob, register(&miner));
    for _ in 0..4 {
        bench.block(vec![]);
    }
    for index in 0..3 {
        bench.does(&miner, commit(Topic::Sealed, index, 9));
    }
    assert_eq!(bench.refused(&miner, commit(Topic::Sealed, 4, 9)).name(), "TooManyCommitments");
    assert_eq!(bench.refused(&miner, commit(Topic::Sealed, 0, 9)).name(), "CommitmentExists");
    bench.does(&miner, commit(Topic::Bucket, 0, 9));
    // The retention drops the oldest.
    for _ in 0..8 {
        bench.block(vec![]);
    }
    bench.does(&miner, commit(Topic::Sealed, 4, 9));
    assert_eq!(COMMITMENT_OVERHEAD_BYTES, 256);
}

#[test]
fn fees_are_part_of_the_genesis() {
    let free = Profile { load: LoadRule::without_fees(), ..dear() };
    assert_ne!(free.genesis_hash(), dear().genesis_hash());
    assert!(Profile { load: LoadRule { lane_per_mille: 1_000, ..LoadRule::default() }, ..dear() }.check().is_err());
    // A profile that was written before there were fees reads with the usual ones.
    let mut written = serde_json::to_value(dear()).unwrap();
    written.as_object_mut().unwrap().remove("load");
    assert_eq!(serde_json::from_value::<Profile>(written).unwrap(), dear());
    assert_eq!(dear().netuid, Netuid(3));
}
