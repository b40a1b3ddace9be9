//! `templar ledger follow` and `templar ledger verify`: replaying what an authority has made.

use crate::config::{Config, DataFlag, LedgerFlag};
use crate::failure::Advise;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_base::BlockNumber;
use templar_ledger::{Block, Chain, Header, Ledger, RpcChain, State, StateRoot, check_conservation, replay};

/// Replay a running ledger from its first block, compare every root, and go on with each new block.
///
/// Whoever does this trusts the block authority in nothing but its choice of transactions: a block that breaks a rule,
/// makes money or rewrites the past has another root than its header says, and is told at once. The ledger must still
/// keep its first block (see `history_blocks` of its profile).
///
/// Example: templar ledger follow --ledger ws://127.0.0.1:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Follow {
    /// Stop at the newest block instead of going on
    #[arg(long)]
    once: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerFlag,
}

/// Replay the blocks in a stopped ledger's folder from the first one and compare every root.
///
/// Example: templar ledger verify
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Verify {
    /// Folder of the ledger, instead of the one in the data folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
}

/// A state that stands where its replayed blocks end.
struct Replica {
    state: State,
    head: Header,
}

impl Replica {
    /// Stands at block 0 of the ledger whose first block this is.
    fn begin(profile: templar_ledger::Profile, first: &Block) -> anyhow::Result<Self> {
        let state = State::genesis(profile)?;
        if state.root() != first.header.state_root || first.header.number != BlockNumber(0) {
            anyhow::bail!("the ledger's first block is not that of its profile; do not trust it");
        }
        Ok(Self { state, head: first.header.clone() })
    }

    fn apply(&mut self, block: &Block) -> anyhow::Result<()> {
        replay(&mut self.state, &self.head, block)?;
        self.head = block.header.clone();
        Ok(())
    }

    fn facts(&self, event: &str) -> serde_json::Value {
        json!({"event": event, "block": self.head.number, "root": self.state.root()})
    }
}

impl Follow {
    /// Follows until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.ledger);
        interrupt::runtime(1)?.block_on(async {
            let chain = crate::role::connect(&config).await.advise("name a running ledger with --ledger")?;
            tokio::select! {
                followed = self.follow(&chain, &config) => followed,
                stopped = interrupt::asked_to_stop() => stopped,
            }
        })
    }

    async fn follow(&self, chain: &RpcChain, config: &Config) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let first = chain.block(BlockNumber(0)).await;
        let first = first.advise("follow it from the start, or verify a copy of its folder that is older")?;
        let mut replica = Replica::begin(chain.profile().await?, &first)?;
        let mut heads = chain.subscribe_heads().await?;
        let newest = heads.next().await?.number;
        let mut progress = Progress::new(config.is_quiet);
        let mut show =
            |done: u64| progress.show(done as f64 / newest.0.max(1) as f64, &format!("replaying block {done}"));
        catch_up(chain, &mut replica, newest, &mut show).await?;
        drop(progress);
        check_conservation(&replica.state)?;
        output.event(&replica.facts("caught_up"), |_| {
            format!("blocks 0 to {newest} keep the rules; root {}", replica.state.root())
        })?;
        if self.once {
            return Ok(());
        }
        loop {
            let head = heads.next().await?;
            catch_up(chain, &mut replica, head.number, &mut |_| {}).await?;
            check_conservation(&replica.state)?;
            output
                .event(&replica.facts("block"), |_| format!("block {}: root {}", head.number, replica.state.root()))?;
        }
    }
}

async fn catch_up(
    chain: &RpcChain,
    replica: &mut Replica,
    to: BlockNumber,
    done: &mut (dyn FnMut(u64) + Send),
) -> anyhow::Result<()> {
    while replica.head.number < to {
        let next = replica.head.number.plus(1);
        let block = chain.block(next).await.with_context(|| format!("cannot fetch block {next}"))?;
        replica.apply(&block)?;
        done(next.0);
    }
    Ok(())
}

impl Verify {
    /// Replays the folder.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let folder = self.folder.clone().unwrap_or_else(|| config.ledger_folder());
        let ledger = Ledger::reopen(&folder).with_context(|| format!("cannot open the ledger in {}", folder.display()));
        let ledger = ledger.advise("a running ledger is replayed with `templar ledger follow`")?;
        let (head, root): (_, StateRoot) = (ledger.head(), ledger.state().root());
        let first = ledger.block(BlockNumber(0)).advise("its history no longer reaches back to the first block")?;
        let mut replica = Replica::begin(ledger.state().profile().clone(), &first)?;
        let mut progress = Progress::new(config.is_quiet);
        for number in 1..=head.number.0 {
            replica.apply(&ledger.block(BlockNumber(number))?)?;
            progress.show(number as f64 / head.number.0 as f64, &format!("replaying block {number}"));
        }
        drop(progress);
        check_conservation(&replica.state)?;
        if replica.state.root() != root {
            anyhow::bail!(
                "the folder's state has root {root}, replay gives {}; restore it from a copy",
                replica.state.root()
            );
        }
        Output::new(self.json).facts(&replica.facts("verified"), |_| {
            format!("{}: blocks 0 to {} keep the rules; root {root}", folder.display(), head.number)
        })
    }
}
