//! `templar access`.

use super::token::{Consent, HotkeyChoice, Query, Shared, coldkey_address, connect, explained, submit};
use crate::config::{Config, Setting, WalletFlags};
use crate::failure::Advise;
use crate::output::Output;
use crate::{interrupt, keys};
use clap::{Args, Subcommand};
use serde_json::json;
use templar_base::{Alpha, Netuid, PublicKey};
use templar_chain::access::{Access as _, AccessAccountView, AccessCall};
use templar_chain::{Call, RpcChain};
use templar_gateway::{KeyHash, RemoteGateway, new_key};
use templar_screen::{access, check_output};

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
    /// Make and take back the API keys of an account
    #[command(subcommand)]
    Key(KeyAction),
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    New(NewKey),
    Revoke(RevokeKey),
}

/// Make an API key for an account at a gateway and print it, once.
///
/// The account's key signs its hash, and the gateway never gets to see more than that hash until the key is used.
///
/// Example: templar access key new --gateway http://127.0.0.1:8000 --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct NewKey {
    #[command(flatten)]
    holder: Holder,
}

/// Take an API key back, for ever.
///
/// Example: templar access key revoke tk-0123 --gateway http://127.0.0.1:8000 --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct RevokeKey {
    /// The key
    #[arg(value_name = "KEY")]
    api_key: String,
    #[command(flatten)]
    holder: Holder,
}

/// Whose account, and where.
#[derive(Debug, Args)]
struct Holder {
    /// Address of the gateway, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// The wallet's hotkey that the account is for, instead of its coldkey
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    output: Output,
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
            Action::Key(KeyAction::New(new)) => new.holder.put(config, new_key()?, false),
            Action::Key(KeyAction::Revoke(revoke)) => revoke.holder.put(config, revoke.api_key, true),
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

impl Holder {
    /// Makes a key stand for the account, or takes it back.
    fn put(self, config: Config, api_key: String, revoked: bool) -> anyhow::Result<()> {
        let mut config = config.with(&self.wallet);
        config.set(Setting::Hotkey, "--hotkey", self.hotkey.as_ref());
        check_output().advise("print to a terminal or into a file: the key is shown once")?;
        let gateway = RemoteGateway::at(&self.gateway)?;
        let account = if self.hotkey.is_some() { keys::hotkey(&config)? } else { keys::coldkey(&config)? };
        let hash = KeyHash::of(&api_key);
        let prepaid = interrupt::runtime(1)?.block_on(async {
            let prepaid = gateway.facts().await?;
            gateway.put(&prepaid, &account, hash, revoked).await?;
            anyhow::Ok(prepaid)
        })?;
        let shown = (!revoked).then_some(&api_key);
        let facts = json!({
            "api_key": shown, "hash": hash, "revoked": revoked, "account": account.public(), "gateway": prepaid.gateway,
        });
        self.output.facts(&facts, |_| match revoked {
            true => format!("revoked: the gateway {} takes that key no more", prepaid.gateway),
            false => format!("{api_key}\nKeep it: it is not shown again, and whoever has it spends from the account."),
        })
    }
}
