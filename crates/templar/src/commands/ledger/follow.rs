//! `templar ledger follow` and `templar ledger verify`: replaying the blocks of an authority.

use crate::config::{Config, DataFlag, LedgerFlag};
use crate::failure::Advise;
use crate::interrupt;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_base::{BlockHash, BlockNumber, StateRoot};
use templar_chain::{Chain, ChainError, RpcChain};
use templar_ledger::{Ledger, Replica, fetch_snapshot};
use templar_screen::{Progress, is_output_lost};

/// Replay a running ledger from its first block, compare every state root, and follow each new block.
///
/// A follower trusts the block authority only in its choice of transactions: a block that breaks a rule, creates money or
/// rewrites the past has another root than its header states, and is reported at once. It trusts a server in nothing:
/// each block carries the authority's signature, whose key is part of the chain's name. --chain gives the name that you
/// expect, from the run's genesis document or from `templar ledger`; without it, the server's word is taken for it.
///
/// If the ledger no longer keeps its first block (see `history_blocks` of its profile), --from-snapshot starts from the
/// whole state after a late block. Its digest must be the one in that block's signed header. The copy is kept in the data
/// folder, and the same command resumes from it.
///
/// Example: templar ledger follow --ledger ws://127.0.0.1:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Follow {
    /// Stop at the newest block
    #[arg(long)]
    once: bool,
    /// Start from a snapshot of the state, and keep the copy in the data folder
    #[arg(long)]
    from_snapshot: bool,
    /// Name of the chain that is meant: `ledger` in a run's genesis document
    #[arg(long, value_name = "HASH")]
    chain: Option<BlockHash>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    data: DataFlag,
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
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
}

impl Follow {
    /// Follows until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.ledger).with(&self.data);
        interrupt::runtime(1)?.block_on(async {
            let chain = crate::role::connect(&config).await.advise("name a running ledger with --ledger")?;
            let asked_to_stop = interrupt::asked_to_stop()?;
            tokio::select! {
                followed = self.follow(&chain, &config) => followed,
                () = asked_to_stop => Ok(()),
            }
        })
    }

    async fn follow(&self, chain: &RpcChain, config: &Config) -> anyhow::Result<()> {
        let (output, served) = (self.output, chain.genesis().await?);
        if let Some(meant) = self.chain.filter(|meant| *meant != served) {
            let what = Err(anyhow::anyhow!("the ledger at {} keeps chain {served}, not {meant}", config.ledger()));
            return what.advise("name the ledger of that chain with --ledger");
        }
        let mut replica = self.begin(chain, config).await?;
        let first = replica.head().number;
        let mut heads = chain.subscribe_heads().await?;
        let newest = heads.next().await?.number;
        let mut progress = Progress::new(config.is_quiet);
        let mut show =
            |done: u64| progress.show(done as f64 / newest.0.max(1) as f64, &format!("replaying block {done}"));
        catch_up(chain, &mut replica, newest, &mut show).await?;
        drop(progress);
        output.event(&facts(&replica, "caught_up"), |_| {
            let (chain, to) = (replica.state().genesis_hash(), replica.head().number);
            format!("chain {chain}: blocks {first} to {to} keep the rules; {}", marks(&replica))
        })?;
        if self.once {
            return Ok(());
        }
        loop {
            if is_output_lost() {
                // All that it does is to print.
                return Ok(());
            }
            let head = heads.next().await?;
            catch_up(chain, &mut replica, head.number, &mut |_| {}).await?;
            output.event(&facts(&replica, "block"), |_| {
                format!("block {}: {}", replica.head().number, marks(&replica))
            })?;
        }
    }

    /// A copy at the first block, or the one in the data folder, which starts from a snapshot.
    async fn begin(&self, chain: &RpcChain, config: &Config) -> anyhow::Result<Replica> {
        if !self.from_snapshot {
            let first = chain.block(BlockNumber(0)).await;
            let first = first.advise("follow it with --from-snapshot, or verify a copy of its folder that is older")?;
            return Ok(Replica::at_genesis(chain.profile().await?, &first.block)?);
        }
        let genesis = chain.genesis().await?;
        let folder = config.data_folder().join("follower").join(genesis.to_string());
        let what = || format!("cannot use the copy in {}", folder.display());
        if let Some(replica) = Replica::open(&folder).with_context(what)? {
            let next = replica.head().number.plus(1);
            if let Err(error @ ChainError::Pruned { .. }) = chain.block(next).await {
                let advice = format!("remove {} and restart from a newer snapshot", folder.display());
                return Err(error).context("the copy is too old to resume from").advise(advice);
            }
            return Ok(replica);
        }
        let mut progress = Progress::new(config.is_quiet);
        let mut show = |done: usize, all: usize| {
            progress.show(done as f64 / all.max(1) as f64, &format!("fetching part {done} of {all} of the state"));
        };
        let fetched = fetch_snapshot(chain, &folder, genesis, &mut show).await;
        fetched.with_context(|| format!("cannot start from a snapshot of {}", config.ledger()))
    }
}

fn facts(replica: &Replica, event: &str) -> serde_json::Value {
    let head = replica.head();
    let chain = replica.state().genesis_hash();
    json!({"event": event, "chain": chain, "block": head.number, "hash": head.hash(), "root": replica.state().root()})
}

fn marks(replica: &Replica) -> String {
    format!("root {}, hash {}", replica.state().root(), replica.head().hash())
}

async fn catch_up(
    chain: &RpcChain,
    replica: &mut Replica,
    to: BlockNumber,
    done: &mut (dyn FnMut(u64) + Send),
) -> anyhow::Result<()> {
    while replica.head().number < to {
        let next = replica.head().number.plus(1);
        let block = chain.block(next).await.with_context(|| format!("cannot fetch block {next}"))?;
        replica.follow(&block)?;
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
        let mut replica = Replica::at_genesis(ledger.state().profile().clone(), &first)?;
        let mut progress = Progress::new(config.is_quiet);
        for number in 1..=head.number.0 {
            replica.follow(&ledger.signed_block(BlockNumber(number))?)?;
            progress.show(number as f64 / head.number.0 as f64, &format!("replaying block {number}"));
        }
        drop(progress);
        if replica.state().root() != root {
            anyhow::bail!(
                "the folder's state has root {root}, but the replay gives {}; restore it from a copy",
                replica.state().root()
            );
        }
        self.output.facts(&facts(&replica, "verified"), |_| {
            format!("{}: blocks 0 to {} keep the rules; root {root}", folder.display(), head.number)
        })
    }
}
