//! `templar wallet history`.

use crate::bounds;
use crate::commands::token::{Shared, coldkey_address};
use crate::config::Config;
use clap::Args;
use serde_json::json;
use templar_base::{BlockNumber, Netuid, PublicKey};
use templar_chain::{Bank, RpcChain};
use templar_screen::account;

/// Show what happened to an account: transfers, trades, slots, pay, votes, prepaid access; the newest first.
///
/// The ledger keeps this history as long as it keeps blocks.
///
/// Example: templar wallet history --wallet alice --last 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct History {
    /// Address of a coldkey or a hotkey; the wallet's coldkey by default
    #[arg(value_name = "ADDRESS")]
    address: Option<PublicKey>,
    /// Number of events, 256 at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = bounds::newest())]
    last: u32,
    /// Only events before this block
    #[arg(long, value_name = "BLOCK")]
    before: Option<BlockNumber>,
    #[command(flatten)]
    shared: Shared,
}

impl History {
    /// Shows the events.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let address = self.address.map_or_else(|| coldkey_address(&config), Ok)?;
        let ask = async |chain: &RpcChain, _: Netuid| chain.history(&address, self.before, self.last).await;
        let events = self.shared.query.ask(config, ask)?;
        let facts = json!({"address": address, "events": events});
        self.shared.query.output.facts(&facts, |paint| account::history(paint, &address, &events))
    }
}
