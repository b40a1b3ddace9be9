//! The rules of the ledger over whole histories: conservation, replay, refusals without effect.

use proptest::prelude::*;
use templar_base::{Beacon, BlockNumber, Keypair, Netuid, PublicKey, RAO_PER_TAO, Rao, Uid};
use templar_ledger::{
    Applied, BlockInput, Call, Event, Ledger, MAX_COMMITMENT_BYTES, Profile, Refusal, RegistrationPrice, State, Topic,
    Transaction, apply, check_conservation, replay,
};

const NETUID: Netuid = Netuid(3);

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

fn profile() -> Profile {
    let prices = RegistrationPrice {
        half_life_blocks: 5,
        rise_per_mille: 1_260,
        ..Profile::local(key("Alice").public(), &[]).registration_price
    };
    Profile {
        tempo: 4,
        max_uids: 5,
        max_validators: 3,
        immunity_blocks: 6,
        weights_rate_limit_blocks: 2,
        commitment_bytes_per_tempo: 700,
        commitment_retention_blocks: 10,
        registration_price: prices,
        ..Profile::local(key("Alice").public(), &[key("Bob").public(), key("Charlie").public()])
    }
}

/// A ledger's state with a convenient hand on it.
struct Bench {
    state: State,
}

impl Bench {
    fn new(profile: Profile) -> Self {
        Self { state: State::genesis(profile).unwrap() }
    }

    fn block(&mut self, calls: Vec<(&Keypair, Call)>) -> Applied {
        let number = self.state.block().plus(1);
        let mut nonces = std::collections::BTreeMap::<PublicKey, u64>::new();
        let mut transactions = Vec::new();
        for (signer, call) in calls {
            let nonce = nonces.entry(signer.public()).or_insert(self.state.account(&signer.public()).nonce);
            transactions.push(Transaction::sign(signer, call, *nonce, number, self.state.genesis_hash()));
            *nonce += 1;
        }
        let input = BlockInput { number, time_ms: number.0, beacon: Beacon::default(), transactions };
        let applied = apply(&mut self.state, &input).unwrap();
        check_conservation(&self.state).unwrap();
        assert_eq!(applied.root, self.state.root());
        applied
    }

    fn does(&mut self, signer: &Keypair, call: Call) {
        let applied = self.block(vec![(signer, call)]);
        assert_eq!(applied.receipts[0].result, Ok(()));
    }

    /// Applies a call that must be refused, and checks that the block leaves the root of an empty block.
    fn refused(&mut self, signer: &Keypair, call: Call) -> Refusal {
        let mut without = Bench { state: self.state.clone() };
        let (with, without) = (self.block(vec![(signer, call)]), without.block(vec![]));
        assert_eq!(with.root, without.root);
        assert_eq!(with.events, without.events);
        with.receipts[0].result.clone().unwrap_err()
    }

    fn run_to_epoch(&mut self) {
        self.block(vec![]);
        while !self.state.block().0.is_multiple_of(u64::from(self.state.profile().tempo)) {
            self.block(vec![]);
        }
    }
}

fn register(hotkey: &Keypair) -> Call {
    Call::Register { netuid: NETUID, hotkey: hotkey.public(), max_price: None }
}

fn stake(hotkey: &Keypair, tao: u64) -> Call {
    Call::AddStake { hotkey: hotkey.public(), netuid: NETUID, amount: Rao(tao * RAO_PER_TAO) }
}

fn unstake(hotkey: &Keypair, rao: u64) -> Call {
    Call::RemoveStake { hotkey: hotkey.public(), netuid: NETUID, amount: Rao(rao) }
}

fn weights(uids: &[u16], values: &[u16]) -> Call {
    Call::SetWeights {
        netuid: NETUID,
        uids: uids.iter().map(|uid| Uid(*uid)).collect(),
        values: values.to_vec(),
        version_key: 0,
    }
}

fn commit(topic: Topic, index: u64, length: usize) -> Call {
    Call::Commit { netuid: NETUID, topic, index, data: vec![7; length] }
}

#[test]
fn every_refusal_bears_its_name_and_leaves_the_root() {
    let (alice, bob, validator, miner) = (key("Alice"), key("Bob"), key("validator"), key("miner"));
    let mut bench = Bench::new(profile());
    let transfer = |amount| Call::Transfer { to: bob.public(), amount: Rao(amount) };
    let mut names = Vec::new();
    names.push(bench.refused(&alice, transfer(u64::MAX)).name());
    names.push(bench.refused(&alice, stake(&validator, 1)).name());
    names.push(bench.refused(&validator, commit(Topic::Vote, 1, 3)).name());
    let cheap = Call::Register { netuid: NETUID, hotkey: validator.public(), max_price: Some(Rao(1)) };
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
        bench.refused(&alice, Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount: Rao(1) }).name(),
    );
    bench.does(&bob, stake(&miner, 5));
    bench.does(&alice, stake(&validator, 100));
    names.push(bench.refused(&alice, unstake(&validator, u64::MAX)).name());
    names.push(bench.refused(&bob, unstake(&miner, 5 * RAO_PER_TAO - 1)).name());
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
    bench.does(&miner, commit(Topic::Vote, 1, MAX_COMMITMENT_BYTES));
    names.push(bench.refused(&miner, commit(Topic::Vote, 2, 200)).name());
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
    let call = Call::Transfer { to: bob.public(), amount: Rao(1) };
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
fn an_epoch_pays_owner_miners_and_validators_and_loses_nothing() {
    let (alice, bob, charlie) = (key("Alice"), key("Bob"), key("Charlie"));
    let (validator, miner, idle) = (key("validator"), key("miner"), key("idle"));
    let mut bench = Bench::new(Profile { tempo: 10, ..profile() });
    bench.does(&bob, register(&validator));
    bench.does(&charlie, register(&miner));
    bench.does(&charlie, register(&idle));
    bench.does(&bob, stake(&validator, 30));
    bench.does(&charlie, stake(&validator, 10));
    bench.run_to_epoch();
    bench.does(&validator, weights(&[1], &[65535]));
    let before = bench.state.totals().issued;
    let owner_before = bench.state.account(&alice.public()).balance;
    bench.run_to_epoch();
    let issued = bench.state.totals().issued.0 - before.0;
    assert_eq!(issued, 10 * RAO_PER_TAO);
    let owner = bench.state.account(&alice.public()).balance.0 - owner_before.0;
    assert_eq!(owner, 10 * RAO_PER_TAO * 11_796 / 65_535);
    let rest = issued - owner;
    assert_eq!(bench.state.stake_behind(&miner.public()), Rao(rest / 2));
    assert_eq!(bench.state.stake_behind(&validator.public()), Rao(40 * RAO_PER_TAO + rest - rest / 2));
    // Stakers share in proportion, to the last rao.
    let (of_bob, of_charlie) = (
        bench.state.stake(&validator.public(), &bob.public()),
        bench.state.stake(&validator.public(), &charlie.public()),
    );
    assert!(of_bob.0 - 30 * RAO_PER_TAO <= 3 * (of_charlie.0 - 10 * RAO_PER_TAO) + 3);
    assert_eq!(bench.state.stake_behind(&idle.public()), Rao::ZERO);
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

#[test]
fn commitments_count_once_and_are_dropped_after_the_retention() {
    let (bob, miner) = (key("Bob"), key("miner"));
    let mut ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let send = |ledger: &mut Ledger, signer: &Keypair, call: Call| {
        let nonce = ledger.next_nonce(&signer.public());
        let (head, genesis) = (ledger.head().number, ledger.state().genesis_hash());
        ledger.queue(Transaction::sign(signer, call, nonce, head.plus(1), genesis)).unwrap();
        ledger.make_block(0).unwrap();
    };
    send(&mut ledger, &bob, register(&miner));
    send(&mut ledger, &miner, commit(Topic::Sealed, 5, 3));
    send(&mut ledger, &miner, commit(Topic::Bucket, 0, 4));
    send(&mut ledger, &miner, commit(Topic::Bucket, 0, 5));
    let sealed = ledger.commitments(NETUID, Topic::Sealed, 5).unwrap();
    assert_eq!((sealed.len(), sealed[0].block), (1, BlockNumber(2)));
    assert_eq!(ledger.commitments(NETUID, Topic::Bucket, 0).unwrap()[0].data.len(), 5);
    for _ in 0..10 {
        ledger.make_block(0).unwrap();
    }
    assert!(ledger.commitments(NETUID, Topic::Sealed, 5).unwrap().is_empty());
    assert_eq!(ledger.commitments(NETUID, Topic::Bucket, 0).unwrap().len(), 1, "buckets stay");
}

#[test]
fn a_refused_transaction_cannot_be_played_again() {
    let (alice, bob, poor) = (key("Alice"), key("Bob"), key("poor"));
    let mut ledger = Ledger::in_memory(&profile(), [1; 32]).unwrap();
    let genesis = ledger.state().genesis_hash();
    let until = BlockNumber(50);
    let fund = |amount| Call::Transfer { to: poor.public(), amount: Rao(amount) };
    ledger.queue(Transaction::sign(&alice, fund(5), 0, until, genesis)).unwrap();
    ledger.make_block(0).unwrap();
    let overdraft = Transaction::sign(&poor, Call::Transfer { to: bob.public(), amount: Rao(9) }, 0, until, genesis);
    let hash = ledger.queue(overdraft.clone()).unwrap();
    ledger.make_block(0).unwrap();
    assert!(ledger.receipt(&hash).unwrap().unwrap().result.is_err());
    ledger.queue(Transaction::sign(&alice, fund(50), 1, until, genesis)).unwrap();
    ledger.make_block(0).unwrap();
    assert_eq!(ledger.queue(overdraft).unwrap(), hash);
    ledger.make_block(0).unwrap();
    assert_eq!(ledger.account(&poor.public()).balance, Rao(55));
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

/// A random call by a random key, sensible often enough to get somewhere.
fn any_call() -> impl Strategy<Value = (usize, Call)> {
    let amount = prop_oneof![0u64..10 * RAO_PER_TAO, Just(u64::MAX), 0u64..3_000_000];
    let kind =
        (0usize..9, 0usize..9, amount, 0u8..6, 0u64..3, proptest::collection::vec((0u16..6, any::<u16>()), 0..4));
    kind.prop_map(|(signer, other, amount, kind, index, row)| {
        let key = keys()[other].public();
        let call = match kind {
            0 => Call::Transfer { to: key, amount: Rao(amount) },
            1 => Call::Register { netuid: NETUID, hotkey: key, max_price: None },
            2 => Call::AddStake { hotkey: key, netuid: NETUID, amount: Rao(amount) },
            3 => Call::RemoveStake { hotkey: key, netuid: NETUID, amount: Rao(amount) },
            4 => {
                weights(&row.iter().map(|it| it.0).collect::<Vec<_>>(), &row.iter().map(|it| it.1).collect::<Vec<_>>())
            }
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
    fn any_history_conserves_replays_and_restores(blocks in proptest::collection::vec(proptest::collection::vec(any_call(), 0..8), 1..24)) {
        let profile = profile();
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
        let mut follower = State::genesis(profile).unwrap();
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
}

#[test]
fn a_forged_block_is_not_replayed() {
    let mut ledger = Ledger::in_memory(&profile(), [3; 32]).unwrap();
    ledger.make_block(1).unwrap();
    let (parent, mut block) = (ledger.block(BlockNumber(0)).unwrap().header, ledger.block(BlockNumber(1)).unwrap());
    block.header.state_root = Default::default();
    assert!(replay(&mut State::genesis(profile()).unwrap(), &parent, &block).is_err());
}
