//! `templar token transfer`.

use super::{Shared, connect, submit};
use crate::config::Config;
use crate::failure::{Advise, Usage};
use crate::{interrupt, keys};
use clap::Args;
use serde_json::json;
use templar_base::{PublicKey, Rao};
use templar_chain::{Bank, Call};

/// Send TAO from the wallet's coldkey to another address.
///
/// Example: templar token transfer 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty 12.5 --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Transfer {
    /// Address that receives
    #[arg(value_name = "TO")]
    to: PublicKey,
    /// Amount in TAO, with at most nine decimals
    #[arg(value_name = "AMOUNT")]
    amount: Rao,
    #[command(flatten)]
    shared: Shared,
}

impl Transfer {
    /// Sends.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let (to, amount) = (self.to, self.amount);
        if amount == Rao::ZERO {
            return Err(Usage("the amount is 0".to_owned())).advise("name an amount in TAO, such as 1.5");
        }
        interrupt::runtime(1)?.block_on(async {
            // Before the password is asked for: without a ledger it would be for nothing.
            let chain = connect(&config).await?;
            let coldkey = keys::coldkey(&config)?;
            let from = coldkey.public();
            let receipt = submit(&chain, &coldkey, Call::Transfer { to, amount }).await?;
            let left = chain.account(&from).await?.balance;
            let facts = json!({
                "transaction": receipt.transaction,
                "block": receipt.block,
                "from": from,
                "to": to,
                "amount_rao": amount,
                "free_rao": left,
            });
            self.shared.query.output.facts(&facts, |_| {
                format!("sent {amount} TAO to {to} in block {}\n{left} TAO are left free in {from}", receipt.block)
            })
        })
    }
}
