//! Governance, access and market on a whole ledger: what keys ask for, what becomes of the money.

use crate::support::replayed;
use proptest::prelude::*;
use std::path::Path;
use templar_base::random::Stream;
use templar_base::{Alpha, Beacon, Keypair, Netuid, PublicKey, RAO_PER_TAO, Rao, RunSetting, SettingChange};
use templar_chain::access::{AccessCall, AccessEvent, MeteringRecord, Service, Units};
use templar_chain::governance::{Action, Ballot, GovernanceCall, GovernanceRefusal, ProposalId, Status};
use templar_chain::market::Interval;
use templar_chain::{Bank, Call, Chain, ChainError, Event, Refusal, Transaction};
use templar_ledger::{
    BlockInput, Escrow, Ledger, LoadRule, LocalChain, Meter, MeterError, Profile, RequestId, apply, check_conservation,
};

const TAO: u64 = RAO_PER_TAO;

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// Alice and Bob with a hotkey each, and stake behind it.
struct Town {
    chain: LocalChain,
    profile: Profile,
    alice: Keypair,
    bob: Keypair,
    gateway: Keypair,
}

impl Town {
    async fn new() -> Self {
        let (alice, bob, gateway) = (key("Alice"), key("Bob"), key("Gateway"));
        let mut profile = Profile::local(alice.public(), &[bob.public(), gateway.public()]);
        // Epochs pay stakers: few of them, so that amounts can be foretold.
        profile.tempo = 50;
        profile.governance.voting_blocks = 6;
        profile.access.closing_blocks = 4;
        // Fees and lasting stake have tests of their own; here amounts are to be foretold.
        profile.load = LoadRule::without_fees();
        profile.governance.lasting_epochs = 0;
        let chain = LocalChain::in_memory(&profile).unwrap().with_block_on_submit();
        let town = Self { chain, profile, alice, bob, gateway };
        for (owner, tao) in [(&town.alice, 300), (&town.bob, 100)] {
            let netuid = town.profile.netuid;
            let hotkey = town.hotkey(owner);
            town.submit(owner, Call::Register { netuid, hotkey, max_price: None }).await.unwrap();
            town.submit(owner, Call::AddStake { hotkey, netuid, amount: Rao::from_rao(tao * TAO) }).await.unwrap();
        }
        town
    }

    /// The hotkey of a coldkey.
    fn hotkey(&self, owner: &Keypair) -> PublicKey {
        let number = if owner.public() == self.alice.public() { 1 } else { 2 };
        Keypair::from_seed([number; 32]).public()
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Vec<Event>, Refusal> {
        let receipt = match self.chain.submit(signer, call).await {
            Ok(receipt) => receipt,
            Err(ChainError::Refused { refusal }) => return Err(refusal),
            Err(error) => panic!("{error}"),
        };
        self.chain.with(|ledger| check_conservation(ledger.state()).unwrap());
        let events = self.chain.events(receipt.block, receipt.block).await.unwrap();
        Ok(events.into_iter().map(|record| record.event).collect())
    }

    async fn govern(&self, signer: &Keypair, call: GovernanceCall) -> Result<Vec<Event>, Refusal> {
        self.submit(signer, Call::Governance { netuid: self.profile.netuid, call }).await
    }

    async fn access(&self, signer: &Keypair, call: AccessCall) -> Result<Vec<Event>, Refusal> {
        self.submit(signer, Call::Access { netuid: self.profile.netuid, call }).await
    }

    async fn propose(&self, signer: &Keypair, action: Action) -> Result<(), Refusal> {
        let title = format!("{action}");
        self.govern(signer, GovernanceCall::Propose { title, action }).await.map(|_| ())
    }

    async fn vote(&self, signer: &Keypair, id: u32, ballot: Ballot) -> Result<(), Refusal> {
        self.govern(signer, GovernanceCall::Vote { proposal: ProposalId(id), ballot }).await.map(|_| ())
    }

    fn status(&self, id: u32) -> Status {
        let view = self.chain.with(|ledger| ledger.proposal(self.profile.netuid, ProposalId(id), None)).unwrap();
        view.unwrap().proposal.status
    }

    fn advance(&self, blocks: u64) {
        for _ in 0..blocks {
            self.chain.advance(1).unwrap();
            self.chain.with(|ledger| check_conservation(ledger.state()).unwrap());
        }
    }

    async fn open(&self, payer: &Keypair, amount: u64) -> Result<Vec<Event>, Refusal> {
        let (gateway, key, hotkey) = (self.gateway.public(), payer.public(), self.hotkey(payer));
        self.access(payer, AccessCall::Open { gateway, key, hotkey, amount: Alpha::from_rao(amount) }).await
    }

    fn meter(&self, path: &Path) -> Meter {
        let genesis = self.chain.with(|ledger| ledger.state().genesis_hash());
        Meter::open(path, Keypair::from_uri("//Gateway").unwrap(), genesis).unwrap()
    }

    fn account(&self, payer: &Keypair) -> templar_chain::access::AccessAccountView {
        let (netuid, gateway) = (self.profile.netuid, self.gateway.public());
        self.chain.with(|ledger| ledger.access_account(netuid, &gateway, &payer.public())).unwrap().unwrap()
    }

    /// Replays everything from genesis, as a follower does, and ends at the same root.
    fn assert_replays(&self) {
        self.chain.with(replayed);
    }
}

#[tokio::test]
async fn a_setting_is_proposed_voted_on_and_adopted() {
    let town = Town::new().await;
    let before = town.chain.account(&town.alice.public()).await.unwrap().balance;
    town.propose(&town.alice, Action::Setting(RunSetting::Selected(7))).await.unwrap();
    let cost = town.profile.governance.proposal_cost;
    assert_eq!(
        town.chain.account(&town.alice.public()).await.unwrap().balance,
        Rao::from_rao(before.as_rao() - cost.as_rao())
    );
    town.vote(&town.bob, 0, Ballot::Yes).await.unwrap();
    town.vote(&town.alice, 0, Ballot::No).await.unwrap();
    // Bought after the snapshot: it has no voice in this proposal.
    let late = key("Gateway");
    let hotkey = town.hotkey(&town.bob);
    let netuid = town.profile.netuid;
    town.submit(&late, Call::AddStake { hotkey, netuid, amount: Rao::from_rao(900 * TAO) }).await.unwrap();
    let refusal = town.vote(&late, 0, Ballot::Yes).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Governance(GovernanceRefusal::NoStakeAtSnapshot { .. })), "{refusal}");
    town.vote(&town.alice, 0, Ballot::Abstain).await.unwrap();
    town.advance(6);
    assert_eq!(town.status(0), Status::Adopted);
    let changes = town.chain.setting_changes(netuid).await.unwrap();
    let decided_at = changes.changes[0].decided_at;
    assert_eq!(changes.changes, [SettingChange { decided_at, setting: RunSetting::Selected(7) }]);
    let refusal = town.vote(&town.alice, 0, Ballot::No).await.unwrap_err();
    assert_eq!(refusal.name(), "ProposalClosed");
    town.assert_replays();
}

#[tokio::test]
async fn a_refused_proposal_costs_nothing() {
    let town = Town::new().await;
    let account = town.chain.account(&town.alice.public()).await.unwrap();
    let root = town.chain.with(|ledger| ledger.state().escrow(Escrow::Treasury));
    let refusal = town.propose(&town.alice, Action::Setting(RunSetting::Selected(0))).await.unwrap_err();
    assert_eq!(refusal.name(), "ProposalOutOfBounds");
    let poor = key("Poor");
    town.submit(&town.alice, Call::Transfer { to: poor.public(), amount: Rao::from_rao(TAO) }).await.unwrap();
    let refusal = town.propose(&poor, Action::Setting(RunSetting::Selected(3))).await.unwrap_err();
    assert_eq!(refusal.name(), "NotEnoughStakeToPropose");
    assert_eq!(town.chain.account(&poor.public()).await.unwrap().balance, Rao::from_rao(TAO));
    let after = town.chain.account(&town.alice.public()).await.unwrap();
    assert_eq!((after.balance.as_rao() + TAO, after.nonce), (account.balance.as_rao(), account.nonce + 2));
    assert_eq!(town.chain.with(|ledger| ledger.state().escrow(Escrow::Treasury)), root);
}

#[tokio::test]
async fn revenue_is_split_and_the_treasury_is_spent_by_vote_alone() {
    let town = Town::new().await;
    let folder = tempfile::tempdir().unwrap();
    let meter = town.meter(&folder.path().join("meter.redb"));
    town.open(&town.bob, 20 * TAO).await.unwrap();
    let terms = town.profile.access.clone();
    meter.reserve(RequestId([1; 16]), &town.account(&town.bob), &terms, (Service::Generation, 100_000)).unwrap();
    meter.charge(RequestId([1; 16]), 100_000).unwrap();
    meter.settle(&town.chain, town.profile.netuid).await.unwrap();
    // A tenth of a token for a thousand tokens of text: ten in all.
    assert_eq!(town.account(&town.bob).account.charged, Alpha::from_rao(10 * TAO));
    let overview = town.chain.with(|ledger| ledger.access_overview(town.profile.netuid)).unwrap();
    assert_eq!((overview.totals.burned, overview.treasury), (Alpha::from_rao(3 * TAO), Alpha::from_rao(TAO)));

    let (carol, hotkey) = (key("Carol").public(), town.hotkey(&town.alice));
    // A key has one proposal open: three make three.
    let (netuid, amount) = (town.profile.netuid, Rao::from_rao(5 * TAO));
    town.submit(&town.gateway, Call::AddStake { hotkey, netuid, amount }).await.unwrap();
    let spend = |amount| Action::Spend { to: carol, hotkey, amount: Alpha::from_rao(amount) };
    town.propose(&town.alice, spend(TAO / 2)).await.unwrap();
    town.propose(&town.bob, spend(TAO * 2)).await.unwrap();
    let price = Action::Price { service: Service::Generation, per_thousand: Alpha::from_rao(TAO) };
    town.propose(&town.gateway, price).await.unwrap();
    for id in 0..3 {
        town.vote(&town.alice, id, Ballot::Yes).await.unwrap();
    }
    town.advance(12);
    assert_eq!([town.status(0), town.status(1), town.status(2)], [Status::Adopted, Status::Failed, Status::Adopted]);
    let paid = town.chain.with(|ledger| ledger.state().stake(&hotkey, &carol));
    assert!(paid.as_rao().abs_diff(TAO / 2) <= 1, "{paid}");
    let overview = town.chain.with(|ledger| ledger.access_overview(town.profile.netuid)).unwrap();
    assert_eq!(
        (overview.treasury, overview.terms.generation_per_thousand),
        (Alpha::from_rao(TAO / 2), Alpha::from_rao(TAO))
    );
    town.assert_replays();
}

#[tokio::test]
async fn what_is_unused_comes_back() {
    let town = Town::new().await;
    let hotkey = town.hotkey(&town.bob);
    let staked = town.chain.stake(&hotkey, &town.bob.public()).await.unwrap();
    let refusal = town.open(&town.bob, 1).await.unwrap_err();
    assert_eq!(refusal.name(), "DepositTooLow");
    let refusal = town.open(&town.bob, staked.as_rao() + 1).await.unwrap_err();
    assert_eq!(refusal.name(), "InsufficientAlpha");
    town.open(&town.bob, 2 * TAO).await.unwrap();
    let held = town.chain.stake(&hotkey, &town.bob.public()).await.unwrap();
    assert!((staked.as_rao() - 2 * TAO).abs_diff(held.as_rao()) <= 1, "{held}");
    let (gateway, key) = (town.gateway.public(), town.bob.public());
    town.access(&town.bob, AccessCall::Close { gateway, key }).await.unwrap();
    town.advance(4);
    let events = town.chain.with(|ledger| ledger.history(&key, None, 10)).unwrap();
    let closed = events.iter().find_map(|record| match &record.event {
        Event::Access(AccessEvent::Closed { refunded, .. }) => Some(*refunded),
        _ => None,
    });
    assert_eq!(closed, Some(Alpha::from_rao(2 * TAO)));
    town.assert_replays();
}

/// A gateway that is killed at any moment and asked everything again charges each request once, and loses none that it
/// has charged.
#[tokio::test]
async fn a_gateway_killed_anywhere_charges_once_and_loses_nothing() {
    let town = Town::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meter.redb");
    town.open(&town.bob, 50 * TAO).await.unwrap();
    let terms = town.profile.access.clone();
    let mut random = Stream::new([5; 32], "gateway", 0);
    let (mut meter, mut served) = (town.meter(&path), 0u64);
    for request in 0..40u8 {
        let (id, most) = (RequestId([request + 1; 16]), 1 + random.below(5_000));
        let units = random.below(most + 1);
        for _ in 0..1 + random.below(3) {
            meter.reserve(id, &town.account(&town.bob), &terms, (Service::Generation, most)).unwrap();
            if random.below(2) == 0 {
                drop(meter);
                meter = town.meter(&path);
                assert!(meter.unfinished().unwrap().iter().any(|(open, ..)| *open == id));
            }
        }
        for _ in 0..1 + random.below(3) {
            assert_eq!(meter.charge(id, units).unwrap(), units);
            if random.below(2) == 0 {
                drop(meter);
                meter = town.meter(&path);
            }
        }
        served += units;
        match random.below(4) {
            // The records reach the ledger and the gateway dies before it hears of it.
            0 => {
                let records = meter.unsettled(8).unwrap();
                town.access(&town.gateway, AccessCall::Settle { records }).await.unwrap();
                drop(meter);
                meter = town.meter(&path);
            }
            1 => drop(meter.settle(&town.chain, town.profile.netuid).await.unwrap()),
            _ => {}
        }
    }
    meter.settle(&town.chain, town.profile.netuid).await.unwrap();
    assert_eq!(meter.unsettled(8).unwrap(), []);
    let account = town.account(&town.bob).account;
    assert_eq!(account.settled.generation, served);
    assert_eq!(account.balance.as_rao() + account.charged.as_rao(), 50 * TAO);
    assert_eq!(account.charged.as_rao(), served * (TAO / 10) / 1_000);
}

#[tokio::test]
async fn a_gateway_serves_no_more_than_is_paid_for() {
    let town = Town::new().await;
    let folder = tempfile::tempdir().unwrap();
    let meter = town.meter(&folder.path().join("meter.redb"));
    town.open(&town.bob, TAO).await.unwrap();
    let (terms, account) = (town.profile.access.clone(), town.account(&town.bob));
    let generation = |units| (Service::Generation, units);
    meter.reserve(RequestId([1; 16]), &account, &terms, generation(6_000)).unwrap();
    let dear = meter.reserve(RequestId([2; 16]), &account, &terms, generation(5_000));
    assert!(matches!(dear, Err(MeterError::NotEnough { .. })), "{dear:?}");
    assert!(matches!(meter.charge(RequestId([1; 16]), 6_001), Err(MeterError::OverReservation { .. })));
    assert!(matches!(meter.charge(RequestId([2; 16]), 1), Err(MeterError::Unknown(_))));
    meter.charge(RequestId([1; 16]), 4_000).unwrap();
    meter.reserve(RequestId([2; 16]), &account, &terms, generation(6_000)).unwrap();
    meter.release(RequestId([2; 16])).unwrap();
    meter.reserve(RequestId([3; 16]), &account, &terms, generation(6_000)).unwrap();
    let reused = meter.reserve(RequestId([3; 16]), &account, &terms, generation(5_000));
    assert!(matches!(reused, Err(MeterError::Reused(_))));
    let other = Meter::open(&folder.path().join("meter.redb"), key("Mallory"), Default::default());
    assert!(other.is_err());
}

/// The balance of an account that was read before a settlement has what was settled in it still.
#[tokio::test]
async fn an_account_read_before_a_settlement_is_read_again() {
    let town = Town::new().await;
    let folder = tempfile::tempdir().unwrap();
    let meter = town.meter(&folder.path().join("meter.redb"));
    town.open(&town.bob, TAO).await.unwrap();
    let (terms, before) = (town.profile.access.clone(), town.account(&town.bob));
    let generation = |units| (Service::Generation, units);
    meter.reserve(RequestId([1; 16]), &before, &terms, generation(9_000)).unwrap();
    meter.charge(RequestId([1; 16]), 9_000).unwrap();
    meter.settle(&town.chain, town.profile.netuid).await.unwrap();
    let old = meter.reserve(RequestId([2; 16]), &before, &terms, generation(9_000));
    assert!(matches!(old, Err(MeterError::OldView)), "{old:?}");
    let now = town.account(&town.bob);
    let dear = meter.reserve(RequestId([2; 16]), &now, &terms, generation(9_000));
    assert!(matches!(dear, Err(MeterError::NotEnough { .. })), "{dear:?}");
    meter.reserve(RequestId([2; 16]), &now, &terms, generation(1_000)).unwrap();
}

#[tokio::test]
async fn trades_become_candles_and_a_market() {
    let town = Town::new().await;
    let (netuid, hotkey) = (town.profile.netuid, town.hotkey(&town.bob));
    for tao in [5, 7, 11] {
        town.submit(&town.bob, Call::AddStake { hotkey, netuid, amount: Rao::from_rao(tao * TAO) }).await.unwrap();
        town.advance(30);
    }
    let held = town.chain.stake(&hotkey, &town.bob.public()).await.unwrap();
    town.submit(&town.bob, Call::RemoveStake { hotkey, netuid, amount: Alpha::from_rao(held.as_rao() / 2) })
        .await
        .unwrap();
    let minutes = town.chain.with(|ledger| ledger.candles(netuid, Interval::Minute, 100)).unwrap();
    let hours = town.chain.with(|ledger| ledger.candles(netuid, Interval::Hour, 100)).unwrap();
    assert!(minutes.len() > 1 && hours.len() == 1, "{minutes:?}");
    assert_eq!(minutes.iter().map(|candle| candle.volume.as_rao()).sum::<u64>(), hours[0].volume.as_rao());
    let market = town.chain.with(|ledger| ledger.market(netuid)).unwrap();
    assert_eq!(market.price, hours[0].close);
    assert!(market.holders >= 2 && market.capitalisation > market.pool_tao, "{market:?}");
    assert_eq!(market.volume_day, hours[0].volume);
    let epochs = town.chain.with(|ledger| ledger.epochs(netuid, 100)).unwrap();
    assert!(!epochs.is_empty() && epochs.is_sorted_by_key(|epoch| epoch.block));
}

/// One random call: who signs, and what.
fn any_call() -> impl Strategy<Value = (usize, Call)> {
    let netuid = Netuid(3);
    let hotkey = |owner: usize| Keypair::from_seed([owner as u8 + 1; 32]).public();
    let coldkey = |owner: usize| key(["Alice", "Bob", "Gateway"][owner]).public();
    let govern = move |call| Call::Governance { netuid, call };
    let access = move |call| Call::Access { netuid, call };
    let action = move |kind: u8, value: u64| match kind {
        0 => Action::Setting(RunSetting::Selected(value as u16 % 70)),
        1 => Action::Revenue { burned_per_mille: value as u16 % 1_100, treasury_per_mille: value as u16 % 600 },
        2 => Action::Price { service: Service::Generation, per_thousand: Alpha::from_rao(value * 1_000_000) },
        _ => Action::Spend {
            to: coldkey(2),
            hotkey: hotkey(value as usize % 3),
            amount: Alpha::from_rao(value * 1_000_000),
        },
    };
    let call = prop_oneof![
        (0usize..2, 1u64..40).prop_map(move |(owner, tao)| {
            Call::AddStake { hotkey: hotkey(owner), netuid, amount: Rao::from_rao(tao * TAO) }
        }),
        (0usize..2, 1u64..40).prop_map(move |(owner, alpha)| {
            Call::RemoveStake { hotkey: hotkey(owner), netuid, amount: Alpha::from_rao(alpha * TAO) }
        }),
        (0usize..3, 0u64..50)
            .prop_map(move |(to, tao)| Call::Transfer { to: coldkey(to), amount: Rao::from_rao(tao * TAO) }),
        (0u8..4, 0u64..2_000).prop_map(move |(kind, value)| {
            govern(GovernanceCall::Propose { title: String::new(), action: action(kind, value) })
        }),
        (0u32..6, 0u8..3).prop_map(move |(id, ballot)| {
            let ballot = [Ballot::Yes, Ballot::Yes, Ballot::No][usize::from(ballot)];
            govern(GovernanceCall::Vote { proposal: ProposalId(id), ballot })
        }),
        (0usize..2, 0u64..30).prop_map(move |(owner, alpha)| {
            let (gateway, key, hotkey) = (coldkey(2), coldkey(owner), hotkey(owner));
            access(AccessCall::Open { gateway, key, hotkey, amount: Alpha::from_rao(alpha * TAO) })
        }),
        (0usize..2).prop_map(move |owner| access(AccessCall::Close { gateway: coldkey(2), key: coldkey(owner) })),
        (0usize..2, 0u64..3, 0u64..400_000).prop_map(move |(owner, serial, generation)| {
            let genesis = small_profile().genesis_hash();
            let units = Units { generation, compute: 0 };
            let record = MeteringRecord::sign(&key("Gateway"), &genesis, coldkey(owner), serial, units);
            access(AccessCall::Settle { records: vec![record] })
        }),
    ];
    (0usize..3, call)
}

fn small_profile() -> Profile {
    let mut profile = Profile::local(key("Alice").public(), &[key("Bob").public(), key("Gateway").public()]);
    profile.tempo = 4;
    profile.governance.voting_blocks = 5;
    profile.governance.quorum_per_mille = 10;
    profile.governance.lasting_epochs = 2;
    profile.access.closing_blocks = 3;
    profile
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever is staked, voted, prepaid, charged and closed: no TAO and no alpha is made or lost in any block, a
    /// replay comes to the same root, and so does what the disk holds.
    #[test]
    fn any_history_conserves_replays_and_restores(calls in proptest::collection::vec(any_call(), 10..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), &small_profile(), [3; 32]).unwrap();
        let signers = ["Alice", "Bob", "Gateway"].map(key);
        let start = (0..2usize).flat_map(|owner| {
            let (netuid, hotkey) = (Netuid(3), Keypair::from_seed([owner as u8 + 1; 32]).public());
            let amount = Rao::from_rao(100 * TAO);
            let register = Call::Register { netuid, hotkey, max_price: None };
            [(owner, register), (owner, Call::AddStake { hotkey, netuid, amount })]
        });
        for (place, (signer, call)) in start.chain(calls).enumerate() {
            let (signer, head) = (&signers[signer], ledger.head().number);
            let nonce = ledger.next_nonce(&signer.public());
            let genesis = ledger.state().genesis_hash();
            ledger.queue(Transaction::sign(signer, call, nonce, head.plus(9), genesis)).unwrap();
            if place % 3 == 1 {
                ledger.make_block(place as u64 * 20_000).unwrap();
                check_conservation(ledger.state()).unwrap();
            }
        }
        let (head, root) = (ledger.head(), ledger.state().root());
        let mut state = replayed(&ledger);
        drop(ledger);
        let again = Ledger::reopen(folder.path()).unwrap();
        prop_assert_eq!((again.head(), again.state().root()), (head.clone(), root));
        // What is derived from the tables is rebuilt too: both go on alike.
        let input = BlockInput { number: head.number.plus(1), time_ms: 1, beacon: Beacon::default(), transactions: Vec::new() };
        let mut restored = again.state().clone();
        prop_assert_eq!(apply(&mut restored, &input).unwrap().root, apply(&mut state, &input).unwrap().root);
    }
}
