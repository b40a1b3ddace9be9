//! `templar access`.

use super::token::{Consent, HotkeyChoice, Query, Shared, coldkey_address, connect, explained, submit};
use crate::config::Config;
use crate::output::{facts_table, table};
use crate::{interrupt, keys};
use clap::{Args, Subcommand};
use serde_json::json;
use templar_base::{Alpha, Netuid, PublicKey};
use templar_chain::access::{Access as _, AccessAccountView, AccessCall, AccessOverview, AccessTerms};
use templar_chain::{Call, RpcChain};

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
        self.query.output.facts(&overview, |_| terms(&overview))
    }
}

fn terms(overview: &AccessOverview) -> String {
    let AccessOverview { terms, totals, treasury } = overview;
    let AccessTerms { burned_per_mille, treasury_per_mille, closing_blocks, minimum_deposit, .. } = terms;
    let nodes = 1_000u16.saturating_sub(burned_per_mille.saturating_add(*treasury_per_mille));
    let mut rows = vec![
        ("a thousand tokens of text", format!("{} alpha", terms.generation_per_thousand)),
        ("a thousand seconds of a device", format!("{} alpha", terms.compute_per_thousand)),
        ("least deposit", format!("{minimum_deposit} alpha")),
        ("refund", format!("{closing_blocks} blocks after it is asked for")),
        (
            "revenue",
            format!("burned {burned_per_mille}, treasury {treasury_per_mille}, miners and validators {nodes} of 1000"),
        ),
        ("charged so far", format!("{} alpha, of which {} are burned", totals.revenue, totals.burned)),
        ("prepaid now", format!("{} alpha", totals.prepaid)),
        ("treasury", format!("{treasury} alpha")),
    ];
    for tier in &terms.tiers {
        let units = tier.units_per_epoch;
        let what = format!(
            "{} tokens and {} seconds an epoch, from {} alpha of stake on",
            units.generation, units.compute, tier.stake
        );
        rows.push(("with stake", what));
    }
    facts_table(&rows)
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
                Some(account) => describe(account),
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
            Some(account) => describe(account),
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
        self.query.output.facts(&json!({"accounts": accounts}), |paint| {
            if accounts.is_empty() {
                return format!("no account is prepaid at {}", self.gateway);
            }
            let row = |view: &AccessAccountView| {
                let closes = view.account.closes_at.map_or("-".to_owned(), |at| at.to_string());
                vec![view.key.to_string(), view.account.balance.to_string(), view.account.charged.to_string(), closes]
            };
            let rows: Vec<_> = accounts.iter().map(row).collect();
            table(paint, Some(&["key", "balance", "charged", "closes at"]), &rows)
        })
    }
}

fn describe(view: &AccessAccountView) -> String {
    let account = &view.account;
    let mut rows = vec![
        ("gateway", view.gateway.to_string()),
        ("key", view.key.to_string()),
        ("paid by", account.payer.to_string()),
        ("left", format!("{} alpha", account.balance)),
        ("charged", format!("{} alpha", account.charged)),
        ("served", format!("{} tokens, {} seconds", account.settled.generation, account.settled.compute)),
        (
            "with stake",
            format!("{} tokens, {} seconds until the epoch's end", view.allowance.generation, view.allowance.compute),
        ),
    ];
    if let Some(at) = account.closes_at {
        rows.push(("closes", format!("at block {at}")));
    }
    facts_table(&rows)
}
