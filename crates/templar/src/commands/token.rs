//! `templar token`.

mod balance;
mod emissions;
mod metagraph;
mod price;
mod register;
mod stake;
mod transfer;

use crate::config::{Config, HotkeyFlag, SubnetFlags, WalletFlags};
use crate::failure::{Advise, Usage};
use crate::output::Output;
use crate::{interrupt, keys};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::io::{self, BufRead, IsTerminal, Write};
use templar_base::{Keypair, Netuid, PublicKey};
use templar_chain::{Call, Chain, ChainError, Receipt, RpcChain};
use templar_screen::remedy::remedy;
use templar_wallet::WalletError;

/// See and move funds, take a slot in the subnet, buy and sell its token, and see its market.
///
/// The coldkey of the wallet signs and pays; its password is asked for if it has one. In JSON, amounts are in rao, of
/// which 1,000,000,000 are a TAO or a token.
///
/// Example: templar token balance --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Balance(balance::Balance),
    Transfer(transfer::Transfer),
    Register(register::Register),
    #[command(visible_alias = "buy")]
    Stake(stake::Stake),
    #[command(visible_alias = "sell")]
    Unstake(stake::Unstake),
    Metagraph(metagraph::ShowMetagraph),
    Price(price::Price),
    History(price::History),
    Emissions(emissions::Emissions),
}

impl Token {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Balance(balance) => balance.run(config),
            Action::Transfer(transfer) => transfer.run(config),
            Action::Register(register) => register.run(config),
            Action::Stake(stake) => stake.run(config),
            Action::Unstake(unstake) => unstake.run(config),
            Action::Metagraph(metagraph) => metagraph.run(config),
            Action::Price(price) => price.run(config),
            Action::History(history) => history.run(config),
            Action::Emissions(emissions) => emissions.run(config),
        }
    }
}

/// The flags of a subcommand that only reads the ledger.
#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    ledger: SubnetFlags,
}

impl Query {
    /// Asks the ledger about the subnet of the settings.
    pub fn ask<T>(
        &self,
        config: Config,
        ask: impl AsyncFnOnce(&RpcChain, Netuid) -> Result<T, ChainError>,
    ) -> anyhow::Result<T> {
        let config = config.with(&self.ledger);
        let netuid = config.netuid()?;
        interrupt::runtime(1)?.block_on(async { explained(ask(&connect(&config).await?, netuid).await) })
    }
}

/// The flags of a subcommand that also needs a wallet.
#[derive(Debug, Args)]
pub(super) struct Shared {
    #[command(flatten)]
    pub query: Query,
    #[command(flatten)]
    wallet: WalletFlags,
}

impl Shared {
    pub fn put_into(&self, config: Config) -> Config {
        config.with(&self.query.ledger).with(&self.wallet)
    }
}

/// `--yes`.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

impl Consent {
    /// Asks on the terminal unless `--yes` was given; without a terminal nobody can agree. `rejected` is what did not
    /// happen where the answer is no.
    pub fn ask(&self, what: &str, question: &str, rejected: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Usage(format!("{what}: there is no terminal to confirm that"))).advise("add --yes");
        }
        write!(io::stderr(), "{what}. {question} [y/N] ").context("cannot ask")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(anyhow::anyhow!("{rejected}: the answer was no, and nothing was paid")),
        }
    }
}

/// Which hotkey: one of the wallet's, or any by its address.
#[derive(Debug, Args)]
pub(super) struct HotkeyChoice {
    #[command(flatten)]
    named: HotkeyFlag,
    /// Address of a hotkey, instead of one of the wallet's
    #[arg(long, value_name = "SS58", conflicts_with = "hotkey")]
    hotkey_address: Option<PublicKey>,
}

impl HotkeyChoice {
    pub fn address(&self, config: &Config) -> anyhow::Result<PublicKey> {
        if let Some(address) = self.hotkey_address {
            return Ok(address);
        }
        let config = config.clone().with(&self.named);
        keys::hotkey_address(&config).advise("name a hotkey with --hotkey or --hotkey-address")
    }
}

/// Connects to the ledger.
pub(super) async fn connect(config: &Config) -> anyhow::Result<RpcChain> {
    let chain = crate::role::connect(config).await;
    chain.advise("start one with `templar ledger` or `templar up`, or name another with --ledger")
}

/// The coldkey's address, for which no password is needed.
pub(super) fn coldkey_address(config: &Config) -> anyhow::Result<PublicKey> {
    let address = keys::wallet(config)?.coldkey_address();
    // Only where an encrypted coldkey has lost its public half.
    if let Err(WalletError::Locked(_)) = address {
        return Ok(keys::coldkey(config)?.public());
    }
    Ok(address?)
}

/// Signs the call and waits for its block; a rejection comes with what to do.
pub(super) async fn submit(chain: &RpcChain, signer: &Keypair, call: Call) -> anyhow::Result<Receipt> {
    explained(chain.submit(signer, call).await)
}

/// A ledger's answer; a rejection comes with the command that helps.
pub(super) fn explained<T>(answer: Result<T, ChainError>) -> anyhow::Result<T> {
    match answer.as_ref().err().and_then(remedy) {
        Some(advice) => answer.advise(advice),
        None => Ok(answer?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::Alpha;
    use templar_chain::Refusal;

    #[test]
    fn a_refusal_keeps_the_chains_name() {
        let refusal = Refusal::NotEnoughStakeToWithdraw { needed: Alpha::from_rao(2), available: Alpha::from_rao(1) };
        let error = explained::<()>(Err(ChainError::Refused { refusal })).unwrap_err();
        assert!(error.to_string().contains("NotEnoughStakeToWithdraw"), "{error}");
    }
}
