//! `templar token stake` and `templar token unstake`: buying the subnet's token and selling it.

use super::{Consent, HotkeyChoice, Shared, coldkey_address, connect, explained, submit};
use crate::config::Config;
use crate::failure::Usage;
use crate::output::Output;
use crate::{interrupt, keys};
use clap::Args;
use serde_json::json;
use templar_base::{Alpha, PublicKey, Rao};
use templar_chain::market::{Market, Order, Quote, Slippage};
use templar_chain::{Bank, Call, ChainError, Event, PriceLimit, Refusal, RpcChain, check_known};
use templar_screen::market::Portion;

/// Buy the subnet's token with TAO and stake it behind a hotkey: its weight when it judges.
///
/// Shows a quote and asks for confirmation. The whole amount is traded within the slippage, or nothing; with --partial,
/// as much as the slippage allows.
///
/// Example: templar token stake 500 --wallet alice --hotkey validator --slippage 1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Stake {
    /// Amount in TAO, with at most nine decimals
    #[arg(value_name = "AMOUNT")]
    amount: Rao,
    #[command(flatten)]
    trade: Trade,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

/// Sell stake behind a hotkey for TAO, which is free at once.
///
/// Shows a quote and asks for confirmation. The whole amount is traded within the slippage, or nothing; with --partial,
/// as much as the slippage allows.
///
/// Example: templar token unstake all --wallet alice --hotkey validator
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Unstake {
    /// Amount in alpha, the subnet's token, with at most nine decimals, or `all`
    #[arg(value_name = "AMOUNT")]
    amount: Portion,
    #[command(flatten)]
    trade: Trade,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

/// How a trade is made.
#[derive(Debug, Args)]
struct Trade {
    /// Largest move of the price against you, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0.5")]
    slippage: Slippage,
    /// Trade as much as the slippage allows, instead of all or nothing
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    consent: Consent,
}

impl Stake {
    /// Buys.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let (hotkey, amount) = (self.hotkey.address(&config)?, self.amount);
        let payer = coldkey_address(&config)?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let available = chain.account(&payer).await?.balance;
            if available < amount {
                let refusal = Refusal::NotEnoughBalanceToStake { needed: amount, available };
                return explained(Err(ChainError::Refused { refusal }));
            }
            explained(check_known(&chain, netuid, hotkey).await)?;
            let quote = explained(chain.quote(netuid, Order::Buy(amount)).await)?;
            let most = self.trade.slippage.most(quote.price_before);
            self.trade.agree(&quote, &format!("pay {} TAO for {} alpha", quote.tao, quote.alpha), ("at most", most))?;
            let limit = PriceLimit { rao_per_alpha: most, allow_partial: self.trade.partial };
            let call = Call::AddStakeLimit { hotkey, netuid, amount, limit };
            trade(&config, &chain, (hotkey, payer), call, self.shared.query.output).await
        })
    }
}

impl Unstake {
    /// Sells.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let hotkey = self.hotkey.address(&config)?;
        let holder = coldkey_address(&config)?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            explained(check_known(&chain, netuid, hotkey).await)?;
            let available = chain.stake(&hotkey, &holder).await?;
            let amount = match self.amount {
                Portion::All if available == Alpha::ZERO => {
                    return Err(
                        Usage(format!("{holder} has no stake behind {hotkey}: there is nothing to sell")).into()
                    );
                }
                Portion::All => available,
                Portion::Amount(amount) => amount,
            };
            if amount > available {
                let refusal = Refusal::NotEnoughStakeToWithdraw { needed: amount, available };
                return explained(Err(ChainError::Refused { refusal }));
            }
            let quote = explained(chain.quote(netuid, Order::Sell(amount)).await)?;
            let least = self.trade.slippage.least(quote.price_before);
            let what = format!("sell {} alpha for {} TAO", quote.alpha, quote.tao);
            self.trade.agree(&quote, &what, ("at least", least))?;
            let limit = PriceLimit { rao_per_alpha: least, allow_partial: self.trade.partial };
            let call = Call::RemoveStakeLimit { hotkey, netuid, amount, limit };
            trade(&config, &chain, (hotkey, holder), call, self.shared.query.output).await
        })
    }
}

impl Trade {
    /// Shows the quote, and asks.
    fn agree(&self, quote: &Quote, what: &str, (bound, limit): (&str, Rao)) -> anyhow::Result<()> {
        let (before, after, fee) = (quote.price_before, quote.price_after, Alpha::from_rao(quote.fee));
        let what = format!(
            "{what}, of which {fee} is the pool's fee; the price goes from {before} to {after} TAO, {bound} {limit}"
        );
        self.consent.ask(&what, "Trade?", "not traded")
    }
}

/// Signs, waits, and reports the result.
async fn trade(
    config: &Config,
    chain: &RpcChain,
    (hotkey, holder): (PublicKey, PublicKey),
    call: Call,
    output: Output,
) -> anyhow::Result<()> {
    let coldkey = keys::coldkey(config)?;
    let receipt = submit(chain, &coldkey, call).await?;
    let events = chain.events(receipt.block, receipt.block).await?;
    let traded = events.iter().find_map(|record| match &record.event {
        Event::StakeAdded { hotkey: whose, coldkey, paid, alpha } if (*whose, *coldkey) == (hotkey, holder) => {
            Some(("paid", *paid, *alpha))
        }
        Event::StakeRemoved { hotkey: whose, coldkey, alpha, received } if (*whose, *coldkey) == (hotkey, holder) => {
            Some(("received", *received, *alpha))
        }
        _ => None,
    });
    let (stake, free) = (chain.stake(&hotkey, &holder).await?, chain.account(&holder).await?.balance);
    let facts = json!({
        "transaction": receipt.transaction,
        "block": receipt.block,
        "coldkey": holder,
        "hotkey": hotkey,
        "tao_rao": traded.map(|(_, tao, _)| tao),
        "alpha_rao": traded.map(|(_, _, alpha)| alpha),
        "stake_rao": stake,
        "free_rao": free,
    });
    output.facts(&facts, |_| {
        let done = match traded {
            Some(("paid", tao, alpha)) => format!("paid {tao} TAO for {alpha} alpha behind {hotkey}"),
            Some((_, tao, alpha)) => format!("sold {alpha} alpha behind {hotkey} for {tao} TAO"),
            None => "the trade is done".to_owned(),
        };
        format!("{done} in block {}\n{stake} alpha are staked there, {free} TAO are free", receipt.block)
    })
}
