//! A ledger as it was packed: it answers what is in the file, and nothing else.

use super::content::{BlockPart, Content};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use templar_base::{Alpha, BlockNumber, Keypair, Netuid, PublicKey, Rao};
use templar_chain::governance::{Governance, Proposal, ProposalId, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, Market, MarketSummary, Order, Quote};
use templar_chain::{
    Account, Bank, BlockHeader, Call, Chain, ChainError, CommitmentRecord, Commitments, EventRecord, HeadStream,
    Hyperparameters, IndexedCommitment, Metagraph, Newest, Receipt, SettingChanges, Topic, Totals,
};
use tokio::sync::watch;

/// A ledger out of a file. No block follows the one at which it was packed.
#[derive(Clone)]
pub struct RecordedChain {
    content: Arc<Content>,
    netuid: Netuid,
    newest: watch::Sender<Newest>,
}

impl fmt::Debug for RecordedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedChain").field("head", &self.content.ledger.head.number).finish_non_exhaustive()
    }
}

fn not_recorded<T>(what: impl Into<String>) -> Result<T, ChainError> {
    Err(ChainError::NotRecorded { what: what.into() })
}

/// The last `limit` of a list.
fn last<T: Clone>(all: &[T], limit: u32) -> Vec<T> {
    all[all.len().saturating_sub(limit as usize)..].to_vec()
}

impl RecordedChain {
    pub(super) fn new(content: Arc<Content>, netuid: Netuid) -> Self {
        let (newest, _) = watch::channel(Some(Ok(content.ledger.head.clone())));
        Self { content, netuid, newest }
    }

    fn check(&self, netuid: Netuid) -> Result<(), ChainError> {
        if netuid == self.netuid { Ok(()) } else { not_recorded(format!("subnet {}", netuid.get())) }
    }

    /// A block that the record refers to. Others are told of as pruned, so that a reader takes what there is.
    fn block(&self, block: BlockNumber, has: impl Fn(&BlockPart) -> bool) -> Result<&BlockPart, ChainError> {
        let head = self.content.ledger.head.number;
        if block > head {
            return Err(ChainError::NoSuchBlock { block, head });
        }
        let oldest = || self.content.blocks.iter().find(|(_, part)| has(part)).map_or(head, |(block, _)| *block);
        let part = self.content.blocks.get(&block).filter(|part| has(part));
        part.ok_or_else(|| ChainError::Pruned { block, oldest: oldest() })
    }
}

#[async_trait]
impl Chain for RecordedChain {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        Ok(self.content.ledger.head.clone())
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        Ok(self.block(block, |_| true)?.header.clone())
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        Ok(HeadStream::new(self.newest.subscribe(), Arc::new(self.clone())))
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.check(netuid)?;
        let Some(block) = at else { return Ok(self.content.ledger.metagraph.clone()) };
        let part = self.block(block, |part| part.metagraph.is_some())?;
        part.metagraph.clone().ok_or(ChainError::Pruned { block, oldest: block })
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.check(netuid)?;
        Ok(self.content.ledger.hyperparameters.clone())
    }

    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        self.check(netuid)?;
        Ok(self.content.ledger.settings.clone())
    }

    async fn submit(&self, _signer: &Keypair, _call: Call) -> Result<Receipt, ChainError> {
        not_recorded("a ledger that takes transactions")
    }
}

#[async_trait]
impl Commitments for RecordedChain {
    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.check(netuid)?;
        if topic == Topic::Bucket {
            return Ok(self.content.ledger.buckets.clone());
        }
        let Some(part) = self.content.windows.get(&templar_base::Window(index)) else {
            return not_recorded(format!("the commitments of window {index}"));
        };
        Ok(match topic {
            Topic::Sealed => part.sealed.clone(),
            Topic::Held => part.held.clone(),
            Topic::VoteSeal => part.vote_seals.clone(),
            Topic::Vote => part.votes.clone(),
            Topic::Applied => part.reports.clone(),
            Topic::Bucket => Vec::new(),
        })
    }

    async fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ChainError> {
        self.check(netuid)?;
        Ok(self.content.ledger.last_reports.clone())
    }
}

#[async_trait]
impl Bank for RecordedChain {
    async fn account(&self, _key: &PublicKey) -> Result<Account, ChainError> {
        not_recorded("balances")
    }

    async fn stake(&self, _hotkey: &PublicKey, _coldkey: &PublicKey) -> Result<Alpha, ChainError> {
        not_recorded("whose stake is behind whom")
    }

    async fn registration_cost(&self, _netuid: Netuid) -> Result<Rao, ChainError> {
        not_recorded("the price of a slot")
    }

    async fn events(&self, _from: BlockNumber, _to: BlockNumber) -> Result<Vec<EventRecord>, ChainError> {
        not_recorded("the events of blocks")
    }

    async fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError> {
        let Some(events) = self.content.ledger.history.get(key) else {
            return not_recorded(format!("the history of {key}"));
        };
        let is_wanted = |event: &&EventRecord| before.is_none_or(|before| event.block < before);
        Ok(events.iter().filter(is_wanted).take(limit as usize).cloned().collect())
    }

    async fn totals(&self) -> Result<Totals, ChainError> {
        not_recorded("the ledger's sums")
    }
}

#[async_trait]
impl Market for RecordedChain {
    async fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError> {
        self.check(netuid)?;
        self.content.ledger.market.map_or_else(|| not_recorded("the market"), Ok)
    }

    async fn quote(&self, _netuid: Netuid, _order: Order) -> Result<Quote, ChainError> {
        not_recorded("what an order would bring")
    }

    async fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError> {
        self.check(netuid)?;
        match interval {
            Interval::Minute => Ok(last(&self.content.ledger.candles, limit)),
            Interval::Hour | Interval::Day => not_recorded(format!("candles of {interval}")),
        }
    }

    async fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError> {
        self.check(netuid)?;
        Ok(last(&self.content.ledger.epochs, limit))
    }
}

#[async_trait]
impl Governance for RecordedChain {
    async fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError> {
        self.check(netuid)?;
        match &self.content.ledger.proposals {
            Some(all) => Ok(all.iter().take(limit as usize).map(|view| view.proposal.clone()).collect()),
            None => not_recorded("proposals"),
        }
    }

    async fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError> {
        self.check(netuid)?;
        let found = self.content.ledger.proposals.iter().flatten().find(|view| view.proposal.id == id);
        Ok(found.map(|view| {
            let is_wanted = |vote: &&(PublicKey, _, _)| after.is_none_or(|after| vote.0 > after);
            ProposalView { votes: view.votes.iter().filter(is_wanted).copied().collect(), ..view.clone() }
        }))
    }
}
