//! `templar token stake` and `templar token unstake`.

use super::{HotkeyChoice, SUBNET, Shared, connect, submit};
use crate::config::Config;
use crate::interrupt;
use crate::keys;
use crate::output::Output;
use clap::Args;
use serde_json::json;
use std::str::FromStr;
use templar_base::{Alpha, AmountError, Keypair, PublicKey, Rao};
use templar_ledger::{Call, Chain, Receipt, RpcChain};

/// Put TAO of the wallet's coldkey behind a hotkey: its weight when it judges.
///
/// Example: templar token stake 500 --wallet alice --hotkey validator
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Stake {
    /// Amount in TAO, with at most nine decimals
    #[arg(value_name = "AMOUNT")]
    amount: Rao,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

/// Take TAO back from behind a hotkey; it is free at once.
///
/// Example: templar token unstake all --wallet alice --hotkey validator
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Unstake {
    /// Amount in TAO, with at most nine decimals, or `all`
    #[arg(value_name = "AMOUNT")]
    amount: Portion,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

/// So much, or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Portion {
    All,
    Amount(Alpha),
}

impl FromStr for Portion {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Amount) }
    }
}

impl Stake {
    /// Stakes.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let (hotkey, amount) = (self.hotkey.address(&config)?, self.amount);
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let coldkey = keys::coldkey(&config)?;
            let call = Call::AddStake { hotkey, netuid: SUBNET, amount };
            let receipt = submit(&chain, &coldkey, call).await?;
            report(&chain, &coldkey, hotkey, &format!("paid {amount} TAO for stake"), &receipt, self.shared.json).await
        })
    }
}

impl Unstake {
    /// Takes stake back.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let hotkey = self.hotkey.address(&config)?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let coldkey = keys::coldkey(&config)?;
            let amount = match self.amount {
                Portion::Amount(amount) => amount,
                Portion::All => chain.stake(&hotkey, &coldkey.public()).await?,
            };
            let call = Call::RemoveStake { hotkey, netuid: SUBNET, amount };
            let receipt = submit(&chain, &coldkey, call).await?;
            report(&chain, &coldkey, hotkey, &format!("sold {amount} alpha of the stake"), &receipt, self.shared.json).await
        })
    }
}

/// Says what was done and where the coldkey stands now.
async fn report(
    chain: &RpcChain,
    coldkey: &Keypair,
    hotkey: PublicKey,
    done: &str,
    receipt: &Receipt,
    is_json: bool,
) -> anyhow::Result<()> {
    let coldkey = coldkey.public();
    let stake = chain.stake(&hotkey, &coldkey).await?;
    let free = chain.account(&coldkey).await?.balance;
    let facts = json!({
        "transaction": receipt.transaction,
        "block": receipt.block,
        "coldkey": coldkey,
        "hotkey": hotkey,
        "done": done,
        "stake_rao": stake,
        "free_rao": free,
    });
    Output::new(is_json).facts(&facts, |_| {
        let block = receipt.block;
        format!("{done} on {hotkey} in block {block}\n{stake} alpha are staked there, {free} TAO are free")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_or_all() {
        assert_eq!("all".parse::<Portion>().unwrap(), Portion::All);
        assert_eq!("1.5".parse::<Portion>().unwrap(), Portion::Amount(Alpha(1_500_000_000)));
        assert!("some".parse::<Portion>().is_err());
    }
}
