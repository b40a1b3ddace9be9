//! Signed headers: what one authority signs, what a copy checks, and what a node's client believes of a server.

use crate::support::{NETUID, commit, key, profile, register, stake};
use parity_scale_codec::{Decode, Encode};
use std::collections::BTreeSet;
use templar_base::{BlockNumber, Keypair};
use templar_chain::{
    AuthorityKey, AuthoritySigner, Certificate, CertificateError, ChainKey, Header, SignedBlock, SignedHeader, Topic,
    Transaction, seed_beacon,
};
use templar_ledger::{Ledger, Profile, ReplayError, Replica, ReplicaError, StoreError};

const SECRET: [u8; 32] = [5; 32];

/// A validator with a permit, a miner, and votes and seals of some windows in the state.
fn ledger() -> Ledger {
    let mut ledger = Ledger::in_memory(&Profile { commitment_bytes_per_tempo: 1 << 16, ..profile() }, SECRET).unwrap();
    let (alice, bob) = (key("Alice"), key("Bob"));
    does(&mut ledger, &alice, register(&key("validator")));
    does(&mut ledger, &bob, register(&key("miner")));
    does(&mut ledger, &alice, stake(&key("validator"), 500));
    for _ in 0..8 {
        ledger.make_block(1_000).unwrap();
    }
    for index in [2, 4, 6] {
        does(&mut ledger, &key("validator"), commit(Topic::Vote, index, 40));
        does(&mut ledger, &key("miner"), commit(Topic::Sealed, index, 30));
    }
    ledger
}

fn does(ledger: &mut Ledger, signer: &Keypair, call: templar_chain::Call) {
    let (nonce, head) = (ledger.next_nonce(&signer.public()), ledger.head().number);
    let transaction = Transaction::sign(signer, call, nonce, head.plus(5), ledger.state().genesis_hash());
    let hash = ledger.queue(transaction).unwrap();
    ledger.make_block(1_000).unwrap();
    assert_eq!(ledger.receipt(&hash).unwrap().unwrap().result, Ok(()));
}

fn replica(ledger: &Ledger) -> Replica {
    let first = ledger.block(BlockNumber(0)).unwrap();
    Replica::at_genesis(ledger.state().profile().clone(), &first).unwrap()
}

fn chain_key(ledger: &Ledger) -> ChainKey {
    ledger.state().chain_key().unwrap().clone()
}

#[test]
fn one_changed_bit_of_a_certificate_or_a_header_is_enough_to_reject_it() {
    let ledger = ledger();
    let (key, signed) = (chain_key(&ledger), ledger.signed_head());
    let certificate = signed.certificate.clone().unwrap();
    assert_eq!(key.verify(&signed.header, &certificate), Ok(()));
    let bytes = certificate.to_bytes();
    assert_eq!(bytes.len(), 131);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = Certificate::from_bytes(&changed) else { continue };
        assert!(key.verify(&signed.header, &changed).is_err(), "bit {bit} of the certificate");
    }
    let bytes = signed.header.encode();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = Header::decode(&mut &changed[..]) else { continue };
        assert!(key.verify(&changed, &certificate).is_err(), "bit {bit} of the header");
    }
    // Another chain with the same key, or another key, signs something else.
    let salted = Profile { salt: 9, ..ledger.state().profile().clone() };
    let sister = ChainKey::new(salted.genesis_hash(), &salted.authority_key).unwrap();
    let block = signed.header.number;
    assert_eq!(sister.verify(&signed.header, &certificate), Err(CertificateError::WrongVote { block }));
    let other = ChainKey::new(key.chain(), &AuthorityKey::of_seed(&[6; 32])).unwrap();
    assert_eq!(other.verify(&signed.header, &certificate), Err(CertificateError::WrongVote { block }));
    let unsigned = SignedHeader { certificate: None, ..signed };
    assert_eq!(unsigned.verify(&key), Err(CertificateError::Missing { block }));
    assert_eq!(ChainKey::new(key.chain(), &AuthorityKey::new([7; 96])).unwrap_err(), CertificateError::NotAKey);
}

#[test]
fn beacons_follow_from_the_key_and_the_number_and_nothing_of_a_block_enters() {
    let (busy, mut idle) = (ledger(), Ledger::in_memory(busy_profile(), SECRET).unwrap());
    for time_ms in 1..=busy.head().number.0 {
        idle.make_block(time_ms * 77).unwrap();
    }
    let mut seen = BTreeSet::new();
    for number in (0..=busy.head().number.0).map(BlockNumber) {
        let (one, other) = (busy.signed_header(number).unwrap(), idle.signed_header(number).unwrap());
        assert_eq!(one.header.beacon, other.header.beacon, "block {number}");
        assert!(seen.insert(one.header.beacon));
        if number.0 >= 2 {
            let before = busy.signed_header(BlockNumber(number.0 - 1)).unwrap().certificate.unwrap();
            assert_eq!(one.header.seeds, [before.seed]);
            assert_eq!(one.header.beacon, seed_beacon(&before.seed));
        }
    }
    assert_ne!(busy.head().hash, idle.head().hash);
    // Another secret gives others, but for the first two blocks, which everybody can foresee.
    let mut other = Ledger::in_memory(busy_profile(), [6; 32]).unwrap();
    for _ in 0..3 {
        other.make_block(1).unwrap();
        assert!(!seen.contains(&other.head().beacon));
    }
}

/// The rules of [`ledger`].
fn busy_profile() -> &'static Profile {
    static PROFILE: std::sync::LazyLock<Profile> =
        std::sync::LazyLock::new(|| Profile { commitment_bytes_per_tempo: 1 << 16, ..profile() });
    &PROFILE
}

/// An empty block on a ledger's head as its own authority could make it, changed, and signed by it.
fn signed_next(ledger: &mut Ledger, change: impl FnOnce(&mut Header)) -> (SignedBlock, SignedBlock) {
    let number = ledger.make_block(5_000).unwrap().number;
    let right = ledger.signed_block(number).unwrap();
    let mut changed = right.block.clone();
    change(&mut changed.header);
    let signer = AuthoritySigner::new(&SECRET, &ledger.state().genesis_hash());
    let certificate = Some(signer.certify(&changed.header));
    (right, SignedBlock { block: changed, certificate })
}

/// The seed of a view, which its authority alone can make.
fn seed_of(ledger: &Ledger, view: u64) -> templar_chain::BlsSignature {
    let signer = AuthoritySigner::new(&SECRET, &ledger.state().genesis_hash());
    signer.certify(&Header { view, ..ledger.signed_head().header }).seed
}

#[test]
fn an_authority_that_signs_a_false_seed_beacon_or_root_is_found_out() {
    type Change = fn(&Ledger, &mut Header);
    let changes: [(&str, Change); 6] = [
        ("a beacon of its choice", |_, header| header.beacon = Default::default()),
        ("the seed of another view", |ledger, header| header.seeds = vec![seed_of(ledger, 99)]),
        ("no seed", |_, header| header.seeds.clear()),
        ("a skipped view without its seed", |_, header| header.view += 1),
        ("another root of records", |_, header| header.records_root = Default::default()),
        ("something in the room for later", |_, header| header.extra = vec![1]),
    ];
    for (what, change) in changes {
        let mut ledger = ledger();
        let mut replica = replica(&ledger);
        for number in 1..=ledger.head().number.0 {
            replica.follow(&ledger.signed_block(BlockNumber(number)).unwrap()).unwrap();
        }
        let seen = ledger.signed_head();
        let asked = Ledger::in_memory(ledger.state().profile(), SECRET).unwrap();
        let (_, changed) = signed_next(&mut ledger, |header| change(&asked, header));
        let error = replica.follow(&changed).unwrap_err();
        let is_right = matches!(
            error,
            ReplicaError::Replay(
                ReplayError::WrongRandomness(..) | ReplayError::WrongRoot(_) | ReplayError::UnknownExtra(_)
            )
        );
        assert!(is_right, "{what}: {error}");
        assert_eq!(*replica.head(), seen.header);
    }
}

/// What a committee may do and a lone authority does not: a view is skipped, and the block carries its seed too. A copy
/// takes it, and the beacon is that of the first view after the block before last, skipped or not.
#[test]
fn a_skipped_view_leaves_its_seed_and_changes_no_beacon() {
    let mut ledger = Ledger::in_memory(&profile(), SECRET).unwrap();
    let mut replica = replica(&ledger);
    for _ in 0..3 {
        ledger.make_block(1).unwrap();
        replica.follow(&ledger.signed_block(ledger.head().number).unwrap()).unwrap();
    }
    let seeds: Vec<_> = (0..8).map(|view| seed_of(&ledger, view)).collect();
    let (right, skipping) = signed_next(&mut ledger, |header| {
        header.view = 6;
        header.seeds = seeds[3..6].to_vec();
    });
    assert_eq!((skipping.block.header.parent_view(), right.block.header.view), (3, 4));
    assert_eq!(skipping.block.header.beacon, seed_beacon(&seeds[3]));
    replica.follow(&skipping).unwrap();
    let next = Header {
        number: BlockNumber(5),
        view: 7,
        seeds: vec![seeds[6]],
        beacon: seed_beacon(&seeds[4]),
        ..skipping.block.header.clone()
    };
    let key = chain_key(&ledger);
    assert_eq!(next.check_randomness(&skipping.block.header, &key, None), Ok(()));
    let drawn = Header { beacon: seed_beacon(&seeds[6]), ..next };
    let block = BlockNumber(5);
    let error = drawn.check_randomness(&skipping.block.header, &key, None).unwrap_err();
    assert_eq!(error, CertificateError::WrongBeacon { block }, "the seed that came of the skipping is not drawn");
}

#[test]
fn a_copy_takes_no_block_that_the_authority_did_not_sign() {
    let ledger = ledger();
    let mut replica = replica(&ledger);
    let first = ledger.signed_block(BlockNumber(1)).unwrap();
    let of_second = ledger.signed_block(BlockNumber(2)).unwrap().certificate;
    for certificate in [None, of_second] {
        let error = replica.follow(&SignedBlock { certificate, ..first.clone() }).unwrap_err();
        assert!(matches!(error, ReplicaError::Replay(ReplayError::NotSigned(BlockNumber(1), _))), "{error}");
    }
    replica.follow(&first).unwrap();
}

#[test]
fn records_are_proved_present_and_absent_at_every_block() {
    let mut ledger = ledger();
    let hotkeys = ["validator", "miner", "Alice", "stranger"].map(|name| key(name).public());
    for _ in 0..12 {
        let signed = ledger.signed_head();
        let (root, block) = (signed.header.records_root, signed.header.number);
        signed.verify(&chain_key(&ledger)).unwrap();
        for (topic, index) in (0..8).flat_map(|index| [(Topic::Vote, index), (Topic::Sealed, index)]) {
            let proved = ledger.prove_records(NETUID, (topic, index), &hotkeys).unwrap();
            assert_eq!((&proved.header, proved.proofs.len()), (&signed, hotkeys.len()));
            let found = hotkeys.iter().zip(&proved.proofs);
            let found = found.filter_map(|(hotkey, proof)| proof.find(&root, *hotkey, (topic, index)).unwrap());
            let mut found: Vec<_> = found.collect();
            found.sort_by_key(|record| record.hotkey);
            assert_eq!(found, ledger.commitments(NETUID, topic, index).unwrap(), "block {block}");
        }
        // Commitments of earlier blocks run out meanwhile.
        ledger.make_block(2_000).unwrap();
    }
    assert_eq!(ledger.commitments(NETUID, Topic::Vote, 2).unwrap(), []);
    let many = vec![hotkeys[0]; 257];
    assert!(ledger.prove_records(NETUID, (Topic::Vote, 2), &many).is_err());
}

#[test]
fn a_profile_without_a_key_gets_that_of_its_ledger_and_one_with_another_key_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let draft = profile();
    let ledger = Ledger::open(folder.path(), &draft, SECRET).unwrap();
    let named = draft.clone().with_authority(&SECRET);
    assert_eq!((ledger.state().profile(), ledger.state().genesis_hash()), (&named, named.genesis_hash()));
    drop(ledger);
    // The draft asks for the same rules, whoever signs; the secret is the folder's.
    for again in [&draft, &named] {
        assert_eq!(Ledger::open(folder.path(), again, [1; 32]).unwrap().state().profile(), &named);
    }
    let other = draft.with_authority(&[6; 32]);
    assert!(matches!(Ledger::open(folder.path(), &other, SECRET), Err(StoreError::WrongChain { .. })));
    let elsewhere = tempfile::tempdir().unwrap();
    let error = Ledger::open(elsewhere.path(), &other, SECRET).unwrap_err();
    assert!(matches!(error, StoreError::OtherAuthority { .. }) && error.to_string().contains("authority_key"));
}
