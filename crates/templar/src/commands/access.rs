//! `templar access`.

use super::token::{Consent, HotkeyChoice, Query, Shared, coldkey_address, connect, explained, submit};
use crate::config::Config;
use crate::{interrupt, keys};
use clap::{Args, Subcommand};
use serde_json::json;
use templar_base::{Alpha, Netuid, PublicKey};
use templar_chain::access::{Access as _, AccessAccountView, AccessCall};
use templar_chain::{Call, RpcChain};
use templar_screen::access;

/// Prepay for the trained model and for compute with the subnet's token, for a key at a gateway.
///
/// The gateway charges what it serves at the current prices; the unused rest is refunded when the account is closed. At
/// most the prepaid amount is at risk.
///
/// Example: templar access open 2.5 --gateway 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Access {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Terms(Terms),
    Open(Open),
    Show(Show),
    Close(Close),
    Accounts(Accounts),
}

/// Show the prices, the tiers of stake, and the use of the revenue so far.
///
/// Example: templar access terms
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Terms {
    #[command(flatten)]
    query: Query,
}

/// Prepay from stake, or add to an existing account.
///
/// Example: templar access open 2.5 --gateway 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Open {
    /// Amount in alpha, with at most nine decimals
    #[arg(value_name = "AMOUNT")]
    amount: Alpha,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

/// Show an account: what is left, what was charged, what stake still covers.
///
/// Example: templar access show --gateway 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Show {
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    shared: Shared,
}

/// Close an account and get the unused rest back, after the blocks that the gateway has to settle.
///
/// Example: templar access close --gateway 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Close {
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    shared: Shared,
}

/// List the accounts at a gateway.
///
/// Example: templar access accounts --gateway 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Accounts {
    /// Address of the gateway
    #[arg(long, value_name = "SS58")]
    gateway: PublicKey,
    #[command(flatten)]
    query: Query,
}

/// Which account.
#[derive(Debug, Args)]
struct Account {
    /// Address of the gateway that serves
    #[arg(long, value_name = "SS58")]
    gateway: PublicKey,
    /// Address of the key that is served; the wallet's coldkey by default
    #[arg(long, value_name = "SS58")]
    key: Option<PublicKey>,
}

impl Account {
    fn key(&self, config: &Config) -> anyhow::Result<PublicKey> {
        self.key.map_or_else(|| coldkey_address(config), Ok)
    }
}

impl Access {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Terms(terms) => terms.run(config),
            Action::Open(open) => open.run(config),
            Action::Show(show) => show.run(config),
            Action::Close(close) => close.run(config),
            Action::Accounts(accounts) => accounts.run(config),
        }
    }
}

impl Terms {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let overview = self.query.ask(config, async |chain, netuid| chain.access_overview(netuid).await)?;
        self.query.output.facts(&overview, |_| access::terms(&overview))
    }
}

impl Open {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let (gateway, key, amount) = (self.account.gateway, self.account.key(&config)?, self.amount);
        let hotkey = self.hotkey.address(&config)?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let what = format!("prepay {amount} alpha of the stake behind {hotkey} for {key} at gateway {gateway}");
            self.consent.ask(&what, "Pay?", "not opened")?;
            let coldkey = keys::coldkey(&config)?;
            let call = AccessCall::Open { gateway, key, hotkey, amount };
            let receipt = submit(&chain, &coldkey, Call::Access { netuid, call }).await?;
            let account = explained(chain.access_account(netuid, &gateway, &key).await)?;
            let facts = json!({"transaction": receipt.transaction, "block": receipt.block, "account": account});
            self.shared.query.output.facts(&facts, |_| match &account {
                Some(account) => access::account(account),
                None => format!("opened in block {}", receipt.block),
            })
        })
    }
}

impl Show {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let (gateway, key) = (self.account.gateway, self.account.key(&config)?);
        let ask = async |chain: &RpcChain, netuid: Netuid| chain.access_account(netuid, &gateway, &key).await;
        let account = self.shared.query.ask(config, ask)?;
        self.shared.query.output.facts(&json!({"account": account}), |_| match &account {
            Some(account) => access::account(account),
            None => format!("nothing is prepaid for {key} at {gateway}; open an account with `templar access open`"),
        })
    }
}

impl Close {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let (gateway, key) = (self.account.gateway, self.account.key(&config)?);
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let coldkey = keys::coldkey(&config)?;
            let call = AccessCall::Close { gateway, key };
            let receipt = submit(&chain, &coldkey, Call::Access { netuid, call }).await?;
            let account = explained(chain.access_account(netuid, &gateway, &key).await)?;
            let closes_at = account.as_ref().and_then(|account| account.account.closes_at);
            let facts = json!({"transaction": receipt.transaction, "block": receipt.block, "closes_at": closes_at});
            self.shared.query.output.facts(&facts, |_| match closes_at {
                Some(at) => format!("the account closes at block {at}; the unused rest is then stake again"),
                None => "the account is closed, and the unused rest is stake again".to_owned(),
            })
        })
    }
}

impl Accounts {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let accounts = self.query.ask(config, async |chain, netuid| {
            let mut all: Vec<AccessAccountView> = Vec::new();
            loop {
                let more = chain.access_accounts(netuid, &self.gateway, all.last().map(|account| account.key)).await?;
                if more.is_empty() {
                    return Ok(all);
                }
                all.extend(more);
            }
        })?;
        let facts = json!({"accounts": accounts});
        self.query.output.facts(&facts, |paint| access::accounts(paint, &self.gateway, &accounts))
    }
}
