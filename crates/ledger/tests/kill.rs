//! A ledger that is killed keeps every block that it announced, and a folder is guarded.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use templar_base::{BlockNumber, Keypair, Rao};
use templar_ledger::{Call, Ledger, Profile, State, StoreError, Transaction, check_conservation, replay};

/// Set for the child process that is to be killed: the folder it works in.
const CHILD_FOLDER: &str = "TEMPLAR_LEDGER_KILL_TEST_FOLDER";

fn profile() -> Profile {
    Profile::local(Keypair::from_uri("//Alice").unwrap().public(), &[])
}

fn work(ledger: &mut Ledger) -> BlockNumber {
    let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap().public());
    let (nonce, head) = (ledger.next_nonce(&alice.public()), ledger.head().number);
    let call = Call::Transfer { to: bob, amount: Rao(1) };
    ledger.queue(Transaction::sign(&alice, call, nonce, head.plus(5), ledger.state().genesis_hash())).unwrap();
    ledger.make_block(head.0).unwrap().number
}

/// The child's life: blocks without end, each announced after it is made. Without a parent it does nothing.
#[test]
fn child_makes_blocks_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let mut ledger = Ledger::open(Path::new(&folder), &profile(), [1; 32]).unwrap();
    loop {
        println!("\nblock {}", work(&mut ledger));
    }
}

#[test]
fn a_killed_ledger_keeps_every_announced_block() {
    let folder = tempfile::tempdir().unwrap();
    let mut announced = 0;
    for blocks in [3, 17, 8] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_makes_blocks_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("block ")?.parse::<u64>().ok());
        announced = numbers.take(blocks).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let ledger = Ledger::open(folder.path(), &profile(), [2; 32]).unwrap();
        assert!(ledger.head().number.0 >= announced);
        assert_eq!(ledger.state().root(), ledger.head().state_root);
        check_conservation(ledger.state()).unwrap();
    }
    let ledger = Ledger::reopen(folder.path()).unwrap();
    let mut state = State::genesis(profile()).unwrap();
    let mut parent = ledger.block(BlockNumber(0)).unwrap().header;
    for number in 1..=announced {
        let block = ledger.block(BlockNumber(number)).unwrap();
        replay(&mut state, &parent, &block).unwrap();
        assert_eq!(state.account(&Keypair::from_uri("//Alice").unwrap().public()).nonce, number);
        parent = block.header;
    }
}

#[test]
fn a_folder_is_guarded_against_a_second_process_and_another_chain() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Ledger::reopen(folder.path()), Err(StoreError::Missing(_))));
    let ledger = Ledger::open(folder.path(), &profile(), [1; 32]).unwrap();
    assert!(matches!(Ledger::open(folder.path(), &profile(), [1; 32]), Err(StoreError::Locked(_))));
    drop(ledger);
    let other = Profile { salt: 5, ..profile() };
    assert!(matches!(Ledger::open(folder.path(), &other, [1; 32]), Err(StoreError::WrongChain { .. })));
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("ledger.redb"), b"not a ledger").unwrap();
    let error = Ledger::reopen(foreign.path()).unwrap_err();
    assert!(matches!(error, StoreError::Disk(..)), "{error}");
}

#[test]
fn equal_ledgers_make_equal_blocks_and_the_secret_decides_the_hashes() {
    let make = |secret| {
        let mut ledger = Ledger::in_memory(&profile(), secret).unwrap();
        work(&mut ledger);
        ledger.head()
    };
    assert_eq!(make([1; 32]), make([1; 32]));
    assert_ne!(make([1; 32]).beacon, make([2; 32]).beacon);
    assert_eq!(make([1; 32]).state_root, make([2; 32]).state_root);
}
