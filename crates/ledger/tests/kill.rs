//! A ledger that is killed keeps every block that it announced, and a folder is guarded.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use templar_base::random::Stream;
use templar_base::{BlockNumber, Keypair, Rao};
use templar_chain::{AuthorityKey, Call, Header, Transaction};
use templar_ledger::{Ledger, Profile, State, StoreError, check_conservation, replay};

/// Set for the child process that is to be killed: the folder it works in.
const CHILD_FOLDER: &str = "TEMPLAR_LEDGER_KILL_TEST_FOLDER";

/// Transactions of each block.
const TRANSFERS: u64 = 20;

fn profile() -> Profile {
    // A thousand kills must not outgrow the history that the replica replays.
    let local = Profile::local(Keypair::from_uri("//Alice").unwrap().public(), &[]);
    Profile { history_blocks: 1_000_000, ..local }.with_authority(&[1; 32])
}

/// One block under load.
fn work(ledger: &mut Ledger) -> BlockNumber {
    let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap().public());
    let (first, head) = (ledger.next_nonce(&alice.public()), ledger.head().number);
    for nonce in first..first + TRANSFERS {
        let call = Call::Transfer { to: bob, amount: Rao::from_rao(1_000) };
        ledger.queue(Transaction::sign(&alice, call, nonce, head.plus(5), ledger.state().genesis_hash())).unwrap();
    }
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

/// Starts a child and kills it after some time, counted from its start or from its first announcement; gives the last
/// block that it announced.
fn run_and_kill(folder: &Path, patience: Duration, is_working: bool) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_makes_blocks_until_it_is_killed", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, announced) = std::sync::mpsc::channel::<u64>();
    std::thread::spawn(move || {
        let mut numbers = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("block ")?.parse().ok());
        numbers.all(|number| sender.send(number).is_ok())
    });
    let first = if is_working { announced.recv().ok() } else { None };
    std::thread::sleep(patience);
    child.kill().unwrap();
    child.wait().unwrap();
    announced.iter().last().or(first)
}

/// Kills at random instants: while the process starts, opens, signs, applies, writes. `TEMPLAR_KILL_ROUNDS` asks for
/// more of them than the suite has time for; `TEMPLAR_KILL_SEED` for other instants.
#[test]
fn a_killed_ledger_keeps_every_announced_block() {
    let number =
        |name: &str, default: u64| -> u64 { std::env::var(name).map_or(default, |text| text.parse().unwrap()) };
    let (rounds, seed) = (number("TEMPLAR_KILL_ROUNDS", 25), number("TEMPLAR_KILL_SEED", 1) as u8);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Stream::new([seed; 32], "kills", 0);
    // A follower that has seen everything so far: each block must go on from where it stands.
    let mut replica = State::genesis(profile()).unwrap();
    let (mut head, mut announced) = (None::<Header>, 0);
    for round in 0..rounds {
        let (patience, is_working) = (Duration::from_micros(random.below(40_000)), random.below(3) > 0);
        announced = run_and_kill(folder.path(), patience, is_working).unwrap_or(announced);
        // Killed before its file had a name, there is no ledger yet, and nothing was announced.
        let ledger = match Ledger::reopen(folder.path()) {
            Err(StoreError::Missing(_)) if announced == 0 => continue,
            opened => opened.unwrap_or_else(|error| panic!("round {round}: {error}")),
        };
        assert!(ledger.head().number.0 >= announced, "round {round}: block {announced} is lost");
        assert_eq!(ledger.state().root(), ledger.head().state_root);
        check_conservation(ledger.state()).unwrap();
        let first = head.as_ref().map_or(0, |head| head.number.0 + 1);
        for number in first..=ledger.head().number.0 {
            let block = ledger.block(BlockNumber(number)).unwrap();
            if let Some(parent) = &head {
                replay(&mut replica, parent, &block).unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
            head = Some(block.header);
        }
        let nonce = replica.account(&Keypair::from_uri("//Alice").unwrap().public()).nonce;
        assert_eq!(nonce, ledger.head().number.0 * TRANSFERS, "round {round}");
    }
    let head = head.expect("no round was long enough for a ledger");
    println!("{rounds} kills, {} blocks, nothing lost", head.number);
    assert!(announced > 0);
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
    assert!(matches!(error, StoreError::Database(..)), "{error}");
}

#[test]
fn equal_ledgers_make_equal_blocks_and_the_secret_decides_hashes_and_beacons() {
    let make = |secret| {
        let local = Profile { authority_key: AuthorityKey::default(), ..profile() };
        let mut ledger = Ledger::in_memory(&local, secret).unwrap();
        work(&mut ledger);
        work(&mut ledger);
        ledger.signed_head()
    };
    assert_eq!(make([1; 32]), make([1; 32]));
    let (one, other) = (make([1; 32]).header, make([2; 32]).header);
    assert!(one.beacon != other.beacon && one.hash() != other.hash());
}
