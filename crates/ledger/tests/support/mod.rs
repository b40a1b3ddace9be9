//! A state with a convenient hand on it, and the calls that tests make.

#![allow(dead_code, reason = "each test program uses its part")]

use templar_base::{Alpha, Beacon, BlockNumber, Keypair, Netuid, PublicKey, RAO_PER_TAO, Rao, Uid};
use templar_chain::{Call, Event, Refusal, Topic, Transaction, YumaRule};
use templar_ledger::s425::YUMA;
use templar_ledger::{
    Applied, BlockInput, Ledger, LoadRule, Profile, RegistrationPrice, State, apply, check_conservation, replay,
};

pub const NETUID: Netuid = Netuid(3);

pub fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

pub fn profile() -> Profile {
    let prices = RegistrationPrice {
        half_life_blocks: 5,
        rise_per_mille: 1_260,
        ..Profile::local(key("Alice").public(), &[]).registration_price
    };
    Profile {
        tempo: 4,
        max_uids: 5,
        yuma: YumaRule { max_validators: 3, activity_cutoff_blocks: 100, ..YUMA },
        commit_reveal: false,
        immunity_blocks: 6,
        weights_rate_limit_blocks: 2,
        commitment_bytes_per_tempo: 1_000,
        commitment_retention_blocks: 10,
        registration_price: prices,
        // Fees have tests of their own; here amounts are to be foretold.
        load: LoadRule::without_fees(),
        ..Profile::local(key("Alice").public(), &[key("Bob").public(), key("Charlie").public()])
    }
}

/// A ledger's state with a convenient hand on it.
pub struct Bench {
    pub state: State,
}

impl Bench {
    pub fn new(profile: Profile) -> Self {
        Self { state: State::genesis(profile).unwrap() }
    }

    pub fn block(&mut self, calls: Vec<(&Keypair, Call)>) -> Applied {
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

    pub fn does(&mut self, signer: &Keypair, call: Call) {
        let applied = self.block(vec![(signer, call)]);
        assert_eq!(applied.receipts[0].result, Ok(()));
    }

    /// Applies a call that must be refused, and checks that it leaves what an empty call leaves: its nonce is used up.
    pub fn refused(&mut self, signer: &Keypair, call: Call) -> Refusal {
        let mut without = Bench { state: self.state.clone() };
        let with = self.block(vec![(signer, call)]);
        let without = without.block(vec![(signer, empty(signer))]);
        assert_eq!(with.root, without.root);
        assert_eq!(events_of(&with), events_of(&without));
        with.receipts[0].result.clone().unwrap_err()
    }

    pub fn run_to_epoch(&mut self) {
        self.block(vec![]);
        while !self.state.block().0.is_multiple_of(u64::from(self.state.profile().tempo)) {
            self.block(vec![]);
        }
    }
}

/// A call that does nothing.
pub fn empty(signer: &Keypair) -> Call {
    Call::Transfer { to: signer.public(), amount: Rao::ZERO }
}

/// What happened in a block, but for empty calls.
pub fn events_of(applied: &Applied) -> Vec<Event> {
    let is_empty =
        |event: &&Event| matches!(event, Event::Transferred { from, to, amount } if from == to && *amount == Rao::ZERO);
    applied.events.iter().filter(|event| !is_empty(event)).cloned().collect()
}

pub fn register(hotkey: &Keypair) -> Call {
    Call::Register { netuid: NETUID, hotkey: hotkey.public(), max_price: None }
}

pub fn stake(hotkey: &Keypair, tao: u64) -> Call {
    Call::AddStake { hotkey: hotkey.public(), netuid: NETUID, amount: Rao::from_rao(tao * RAO_PER_TAO) }
}

pub fn unstake(hotkey: &Keypair, amount: u64) -> Call {
    Call::RemoveStake { hotkey: hotkey.public(), netuid: NETUID, amount: Alpha::from_rao(amount) }
}

pub fn weights(uids: &[u16], values: &[u16]) -> Call {
    Call::SetWeights {
        netuid: NETUID,
        uids: uids.iter().map(|uid| Uid(*uid)).collect(),
        values: values.to_vec(),
        version_key: 0,
    }
}

pub fn commit(topic: Topic, index: u64, length: usize) -> Call {
    Call::Commit { netuid: NETUID, topic, index, data: vec![7; length] }
}

/// Replays the whole ledger as a follower does, ends at the same root, and gives the state.
pub fn replayed(ledger: &Ledger) -> State {
    let mut state = State::genesis(ledger.state().profile().clone()).unwrap();
    let mut parent = ledger.block(BlockNumber(0)).unwrap().header;
    for number in 1..=ledger.head().number.0 {
        let block = ledger.block(BlockNumber(number)).unwrap();
        replay(&mut state, &parent, &block).unwrap();
        parent = block.header;
    }
    assert_eq!(state.root(), ledger.state().root());
    state
}
