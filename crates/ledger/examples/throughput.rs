//! Measures the ledger on one core: `cargo run --release -p templar-ledger --example throughput`.
//!
//! Prints signed transfers per second through the transition (signature checks included), through the queue and the
//! store, what an empty block costs to make and to follow, and how long a folder with that history takes to open.

use std::time::Instant;
use templar_base::{Beacon, BlockNumber, Keypair, PublicKey, Rao};
use templar_chain::{Call, Transaction};
use templar_ledger::{BlockInput, Ledger, Profile, Replica, State, apply};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const SENDERS: u8 = 200;
    const ROUNDS: u64 = 20;
    let senders: Vec<Keypair> = (0..SENDERS).map(|seed| Keypair::from_seed([seed; 32])).collect();
    let keys: Vec<PublicKey> = senders.iter().map(Keypair::public).collect();
    // The key is in the chain's name, which the transfers sign for.
    let secret = Ledger::draw_secret()?;
    let profile = Profile::local(keys[0], &keys).with_authority(&secret);
    let transfers = |round: u64| -> Vec<Transaction> {
        let genesis = profile.genesis_hash();
        let call = Call::Transfer { to: PublicKey::new([9; 32]), amount: Rao::from_rao(1_000) };
        let sign = |sender: &Keypair| {
            let valid_until = BlockNumber(round + 200);
            Transaction::sign(sender, call.clone(), round, valid_until, genesis)
        };
        senders.iter().map(sign).collect()
    };
    let signed: Vec<Vec<Transaction>> = (0..ROUNDS).map(transfers).collect();
    let total = f64::from(SENDERS) * ROUNDS as f64;

    let mut state = State::genesis(profile.clone())?;
    let started = Instant::now();
    for transactions in signed.clone() {
        let number = state.block().plus(1);
        let applied = apply(&mut state, &BlockInput { number, time_ms: 0, beacon: Beacon::default(), transactions })?;
        assert!(applied.receipts.iter().all(|receipt| receipt.result.is_ok()));
    }
    println!("transition                {:>8.0} transfers/s", total / started.elapsed().as_secs_f64());

    let folder = std::env::temp_dir().join(format!("templar-ledger-throughput-{}", std::process::id()));
    let mut ledger = Ledger::open(&folder, &profile, secret)?;
    let started = Instant::now();
    for transactions in signed {
        for transaction in transactions {
            ledger.queue(transaction)?;
        }
        ledger.make_block(0)?;
    }
    println!("queue, transition, store  {:>8.0} transfers/s", total / started.elapsed().as_secs_f64());

    let started = Instant::now();
    for _ in 0..2_000 {
        ledger.make_block(0)?;
    }
    println!("empty blocks, stored      {:>8.2} ms/block", started.elapsed().as_secs_f64() * 1_000.0 / 2_000.0);
    let mut replica = Replica::at_genesis(profile.clone(), &ledger.block(BlockNumber(0))?)?;
    let head = ledger.head().number.0;
    let blocks: Vec<_> = (1..=head).map(|number| ledger.signed_block(BlockNumber(number))).collect::<Result<_, _>>()?;
    let (busy, empty) = blocks.split_at(ROUNDS as usize);
    for block in busy {
        replica.follow(block)?;
    }
    let started = Instant::now();
    for block in empty {
        replica.follow(block)?;
    }
    println!("empty blocks, followed    {:>8.2} ms/block", started.elapsed().as_secs_f64() * 1_000.0 / 2_000.0);
    drop(ledger);
    let started = Instant::now();
    let ledger = Ledger::reopen(&folder)?;
    println!("open at block {:<11} {:>8.1} ms", ledger.head().number, started.elapsed().as_secs_f64() * 1_000.0);
    drop(ledger);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
