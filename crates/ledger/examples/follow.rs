//! Replays a running ledger from its first block and checks the state root of each, without trusting its server.
//!
//! `cargo run --release -p templar-ledger --example follow -- ws://127.0.0.1:9944`

use std::error::Error;
use templar_base::BlockNumber;
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_ledger::Replica;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("give the ledger's address, such as ws://127.0.0.1:9944")?;
    let chain = RpcChain::connect(&address, RpcOptions::default()).await?;
    let first = chain.block(BlockNumber(0)).await?;
    let mut replica = Replica::at_genesis(chain.profile().await?, &first.block)?;
    let mut heads = chain.subscribe_heads().await?;
    loop {
        let newest = heads.next().await?.number;
        while replica.head().number < newest {
            // An error names the rule that the block breaks.
            replica.follow(&chain.block(replica.head().number.plus(1)).await?)?;
        }
        println!("block {newest}: state root {}", replica.state().root());
    }
}
