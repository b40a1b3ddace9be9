//! `templar token balance`.

use super::{Shared, coldkey_address, connect};
use crate::config::Config;
use crate::{interrupt, keys};
use clap::Args;
use serde_json::json;
use templar_base::PublicKey;
use templar_chain::{Bank, Chain, positions};
use templar_screen::table;

/// Show the free balance of a coldkey and what it has staked.
///
/// Example: templar token balance 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Balance {
    /// Address; the wallet's coldkey by default
    #[arg(value_name = "ADDRESS")]
    address: Option<PublicKey>,
    #[command(flatten)]
    shared: Shared,
}

impl Balance {
    /// Shows the balance.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let address = self.address.map_or_else(|| coldkey_address(&config), Ok)?;
        let (head, balance, positions) = interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let head = chain.head().await?.number;
            let balance = chain.account(&address).await?.balance;
            let positions = positions(&chain, netuid, &address, own_hotkeys(&config)).await?;
            anyhow::Ok((head, balance, positions))
        })?;
        let stakes: Vec<_> = positions
            .iter()
            .map(|position| json!({"hotkey": position.hotkey, "uid": position.uid, "stake_rao": position.stake}))
            .collect();
        let facts = json!({"address": address, "block": head, "free_rao": balance, "stakes": stakes});
        self.shared.query.output.facts(&facts, |paint| {
            let mut rows = vec![vec!["free".to_owned(), amount(balance, "TAO")]];
            for position in &positions {
                let slot = position.uid.map_or("no slot now".to_owned(), |uid| format!("slot {uid}"));
                rows.push(vec![
                    "staked".to_owned(),
                    amount(position.stake, "alpha"),
                    format!("on {} ({slot})", position.hotkey),
                ]);
            }
            format!("{address} at block {head}\n{}", table(paint, None, &rows))
        })
    }
}

fn amount(amount: impl ToString, token: &str) -> String {
    // Wide enough for the whole supply, so that the points of the amounts stand below each other.
    format!("{:>18} {token}", amount.to_string())
}

/// Hotkeys of the wallet: they may hold stake without having a slot. A wallet that cannot be read has none.
fn own_hotkeys(config: &Config) -> Vec<PublicKey> {
    let Ok(wallet) = keys::wallet(config) else { return Vec::new() };
    let names = wallet.hotkeys().unwrap_or_default();
    names.iter().filter_map(|name| wallet.hotkey_address(name).ok()).collect()
}
