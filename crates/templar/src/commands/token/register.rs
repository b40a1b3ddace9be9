//! `templar token register`.

use super::{Consent, HotkeyChoice, Shared, coldkey_address, connect, explained, submit};
use crate::config::Config;
use crate::failure::Advise;
use crate::{interrupt, keys};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use templar_base::{Netuid, PublicKey, Rao};
use templar_chain::{Bank, Call, Chain, ChainError, Event, Refusal, RpcChain};

/// Buy a slot in the subnet for a hotkey, so that it can mine or judge.
///
/// Shows the price, which is burned, and asks for confirmation. If the price rises above the shown one, or above
/// --max-price, before the slot is bought, nothing is paid.
///
/// Example: templar token register --wallet alice --hotkey miner --max-price 1.5
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Register {
    /// Highest price to pay, in TAO
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<Rao>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    hotkey: HotkeyChoice,
    #[command(flatten)]
    shared: Shared,
}

impl Register {
    /// Registers.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let hotkey = self.hotkey.address(&config)?;
        let coldkey_address = coldkey_address(&config)?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let price = chain.registration_cost(netuid).await?;
            explained(self.check(&chain, netuid, &hotkey, price).await)?;
            let free = chain.account(&coldkey_address).await?.balance;
            if free < price {
                // The chain's own name for this speaks of stake.
                let short = anyhow::anyhow!("a slot costs {price} TAO, and {coldkey_address} has {free} TAO free");
                return Err(short).advise("send it more with `templar token transfer` from another wallet");
            }
            let what = format!("a slot in subnet {netuid} for {hotkey} costs {price} TAO, paid by {coldkey_address}");
            self.consent.ask(&what, "Pay?", "not registered")?;
            let coldkey = keys::coldkey(&config)?;
            // What was shown is the limit where no other is given; a lower price is taken as it comes.
            let max_price = Some(self.max_price.unwrap_or(price));
            let receipt = submit(&chain, &coldkey, Call::Register { netuid, hotkey, max_price }).await?;
            let events = chain.events(receipt.block, receipt.block).await?;
            let bought = events.iter().find_map(|record| match &record.event {
                Event::Registered { uid, hotkey: whose, burned, .. } if *whose == hotkey => Some((*uid, *burned)),
                _ => None,
            });
            let what = "the ledger accepted the registration but does not report the slot";
            let (uid, burned) = bought.context(what).advise("see it with `templar token metagraph`")?;
            let facts = json!({
                "transaction": receipt.transaction,
                "block": receipt.block,
                "netuid": netuid,
                "hotkey": hotkey,
                "coldkey": coldkey.public(),
                "uid": uid,
                "burned_rao": burned,
            });
            self.shared.query.output.facts(&facts, |_| {
                let next = "Next: `templar miner`, or `templar token stake` and `templar validator`";
                format!(
                    "{hotkey} holds slot {uid} of subnet {netuid} since block {}, for {burned} TAO\n{next}",
                    receipt.block
                )
            })
        })
    }

    /// What the ledger would reject, in its own words, before the operator is asked.
    async fn check(&self, chain: &RpcChain, netuid: Netuid, hotkey: &PublicKey, price: Rao) -> Result<(), ChainError> {
        let metagraph = chain.metagraph(netuid, None).await?;
        let refusal = match (metagraph.neuron(hotkey), self.max_price) {
            (Some(neuron), _) => Refusal::HotKeyAlreadyRegisteredInSubNet { hotkey: *hotkey, uid: neuron.uid },
            (None, Some(limit)) if price > limit => Refusal::RegistrationPriceLimitExceeded { price, limit },
            _ => return Ok(()),
        };
        Err(ChainError::Refused { refusal })
    }
}
