//! Reads the public record of a run: who has a slot, who sealed a payload in which window, what the validators voted and
//! applied. Needs no key, no bucket and no text.
//!
//! `cargo run --release -p templar-record --example read_record -- genesis.json ws://127.0.0.1:9944 [window]`

use std::error::Error;
use std::sync::Arc;
use templar_base::{Genesis, Window};
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_record::{PublicRecord, Rules, published_checkpoints};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(genesis), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("give a genesis document and a ledger's address".into());
    };
    let run = Rules::new(Genesis::from_json(&std::fs::read(genesis)?)?)?;
    let chain = Arc::new(RpcChain::connect(&address, RpcOptions::default()).await?);
    let head = chain.head().await?.number;
    let record = PublicRecord::new(chain, run.genesis.netuid);
    println!("run {} at block {head}", run.id);
    for slot in &record.metagraph(head).await?.neurons {
        println!("uid {}: {}", slot.uid, slot.hotkey);
    }
    if let Some(window) = arguments.next() {
        let window = Window(window.parse()?);
        let electors = record.electors(&run, window).await?;
        for vote in record.votes(&run, window, &electors).await?.1 {
            println!("window {window}: {vote:?}");
        }
        for report in record.reports(window).await? {
            println!("window {window}: {report:?}");
        }
    }
    for checkpoint in published_checkpoints(&run, &record, 3).await? {
        println!("checkpoint of window {}: {} offers", checkpoint.window, checkpoint.offers.len());
    }
    Ok(())
}
