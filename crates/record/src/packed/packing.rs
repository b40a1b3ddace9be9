//! From a ledger and buckets that answer to a record.

use super::content::{BlockPart, Content, LedgerPart, WindowPart};
use super::objects::Collecting;
use super::{Gap, PackedError, PackedFacts, PackedRecord};
use crate::{PublicRecord, RecordError, Rules, finished_at, is_gone};
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{BlockNumber, PublicKey, Window};
use templar_chain::market::Interval;
use templar_chain::{ChainError, CommitmentRecord, MAX_ENTRIES, MAX_PROVED_KEYS, PublicChain, Topic};
use templar_round::{LASTING_WINDOWS, Phases};
use tokio::task::JoinSet;

/// Windows that are read at a time: a ledger answers a client a limited number of requests a second.
const AT_ONCE: usize = 4;
/// What the dashboard shows of the market, the votes and a key's history.
const CANDLES: u32 = 1_440;
const PROPOSALS: u32 = 64;
const HISTORY_EVENTS: u32 = 64;

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// The most windows, the newest.
    pub windows: u64,
    /// Whether payloads, aggregates and evidence are packed, as long as buckets hold them.
    pub with_objects: bool,
}

/// How far packing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackStage {
    /// Reading the ledger's answers about everything but windows.
    Ledger,
    /// Reading windows; the number of those that were read.
    Windows(usize),
    /// Fetching objects from buckets; windows that were gone through, and all of them.
    Objects(usize, usize),
}

/// Reads a run's record, as far as ledger and buckets hold it, the newest windows first. What cannot be had is named in
/// the facts; a ledger that does not answer fails the whole.
pub async fn pack(
    run: &Rules,
    record: &PublicRecord,
    chain: &Arc<dyn PublicChain>,
    options: PackOptions,
    report: &mut dyn FnMut(PackStage),
) -> Result<PackedRecord, RecordError> {
    report(PackStage::Ledger);
    let ledger = read_ledger(record, chain).await?;
    let head = ledger.head.number;
    let mut content = Content {
        genesis: run.genesis.as_ref().clone(),
        facts: PackedFacts {
            run: run.id,
            made_by: concat!("templar ", env!("CARGO_PKG_VERSION")).to_owned(),
            head,
            first: None,
            last: None,
            with_objects: options.with_objects,
            gaps: Vec::new(),
        },
        ledger,
        lists: BTreeMap::new(),
        blocks: BTreeMap::new(),
        windows: BTreeMap::new(),
        objects: BTreeMap::new(),
    };
    if let Some(current) = run.phases.window_of(head) {
        read_windows((run, record), &mut content, (current, head), options.windows, report).await?;
    }
    content.facts.first = content.windows.keys().next().copied();
    content.facts.last = content.windows.keys().next_back().copied();
    let known = PackedRecord::new(content.clone()).map_err(unusable)?.record();
    let collecting = Collecting { run, record, known: &known, content: &mut content, options };
    collecting.collect(report).await?;
    PackedRecord::new(content).map_err(unusable)
}

/// The rules are the caller's own.
fn unusable(error: PackedError) -> RecordError {
    RecordError::Packed(Box::new(error))
}

async fn read_ledger(record: &PublicRecord, chain: &Arc<dyn PublicChain>) -> Result<LedgerPart, RecordError> {
    let netuid = record.netuid;
    // The head first: what is committed after it may be missing without harm.
    let head = chain.head().await?;
    let metagraph = chain.metagraph(netuid, None).await?;
    let mut history = BTreeMap::new();
    for neuron in &metagraph.neurons {
        history.insert(neuron.hotkey, chain.history(&neuron.hotkey, None, HISTORY_EVENTS).await?);
    }
    let market = chain.market(netuid).await.ok();
    let (candles, epochs) = match market {
        None => (Vec::new(), Vec::new()),
        Some(_) => (chain.candles(netuid, Interval::Minute, CANDLES).await?, chain.epochs(netuid, MAX_ENTRIES).await?),
    };
    let proposals = match chain.proposals(netuid, PROPOSALS).await {
        Err(_) => None,
        Ok(all) => {
            let mut views = Vec::new();
            for proposal in all {
                views.extend(chain.proposal(netuid, proposal.id, None).await?);
            }
            Some(views)
        }
    };
    Ok(LedgerPart {
        head,
        metagraph,
        hyperparameters: chain.hyperparameters(netuid).await?,
        settings: chain.setting_changes(netuid).await?,
        last_reports: chain.last_reports(netuid).await?,
        buckets: chain.bucket_commitments(netuid).await?,
        market,
        candles,
        epochs,
        proposals,
        history,
    })
}

/// A window with the blocks that it refers to.
struct ReadWindow {
    window: Window,
    part: WindowPart,
    blocks: BTreeMap<BlockNumber, BlockPart>,
}

async fn read_windows(
    (run, record): (&Rules, &PublicRecord),
    content: &mut Content,
    (current, head): (Window, BlockNumber),
    most: u64,
    report: &mut dyn FnMut(PackStage),
) -> Result<(), RecordError> {
    let oldest = current.next().minus(most);
    // A ledger forgets commitments before blocks: without them a window would look as if nobody had taken part.
    let kept_blocks = content.ledger.hyperparameters.commitment_retention_blocks;
    let is_kept = |window: &Window| head.blocks_since(run.phases.start(*window)) <= kept_blocks;
    let all: Vec<Window> = oldest.until(current.next()).rev().take_while(is_kept).collect();
    for some in all.chunks(AT_ONCE) {
        report(PackStage::Windows(content.windows.len()));
        let mut tasks = JoinSet::new();
        for window in some {
            let (run, record, window) = (run.clone(), record.clone(), *window);
            tasks.spawn(async move { (window, read_window_part((&run, &record), window, head).await) });
        }
        let mut read = BTreeMap::new();
        while let Some(joined) = tasks.join_next().await {
            let (window, outcome) = joined?;
            read.insert(window, outcome);
        }
        for (window, outcome) in read.into_iter().rev() {
            match outcome {
                Ok(read) => take(content, read),
                // A ledger keeps the newest blocks: older windows are gone too.
                Err(error) if is_gone(&error) => {
                    content.facts.gaps.push(gap("windows", Window::ZERO, window, error.to_string()));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
    let first = all.last().copied().unwrap_or(current.next());
    if let Some(last) = first.previous().filter(|_| first > oldest) {
        let why = format!("the ledger keeps commitments for {kept_blocks} blocks");
        content.facts.gaps.push(gap("windows", Window::ZERO, last, why));
    } else if let Some(before) = oldest.previous() {
        let why = format!("only the newest {most} windows were asked for");
        content.facts.gaps.push(gap("windows", Window::ZERO, before, why));
    }
    Ok(())
}

/// Something that is missing of windows from the first to the last.
pub(super) fn gap(what: &str, first: Window, last: Window, why: impl Into<String>) -> Gap {
    let (what, why) = (what.to_owned(), why.into());
    let singular = what.strip_suffix('s').unwrap_or(&what);
    match (what.as_str(), first == last) {
        ("windows", true) => Gap { what: format!("{singular} {first}"), why },
        ("windows", false) => Gap { what: format!("windows {first} to {last}"), why },
        (_, true) => Gap { what: format!("{what} of window {first}"), why },
        (_, false) => Gap { what: format!("{what} of windows {first} to {last}"), why },
    }
}

fn take(content: &mut Content, read: ReadWindow) {
    content.windows.insert(read.window, read.part);
    for (block, part) in read.blocks {
        let known = content.blocks.entry(block).or_insert_with(|| BlockPart { metagraph: None, ..part.clone() });
        known.metagraph = known.metagraph.take().or(part.metagraph);
    }
}

/// The deadlines of a window, at which its timeline has times.
fn moments(phases: &Phases, window: Window) -> impl Iterator<Item = BlockNumber> {
    let moments = [
        phases.start(window),
        phases.seal(window),
        phases.end(window),
        phases.reveal(window),
        phases.judge(window),
        phases.open(window),
        phases.apply(window),
        finished_at(phases, window),
    ];
    moments.into_iter().chain(phases.hold(window))
}

async fn read_window_part(
    (run, record): (&Rules, &PublicRecord),
    window: Window,
    head: BlockNumber,
) -> Result<ReadWindow, RecordError> {
    let phases = &run.phases;
    let mut blocks = BTreeMap::new();
    for block in moments(phases, window).filter(|block| *block <= head) {
        let header = record.chain.header(block).await?;
        blocks.insert(block, BlockPart { header, metagraph: None });
    }
    // Whose stake counts goes by the ends of the windows before, too.
    let ends = window.minus(LASTING_WINDOWS).until(window.next()).map(|past| phases.end(past));
    for block in ends.filter(|block| *block <= head) {
        let metagraph = record.metagraph(block).await?.as_ref().clone();
        let header = record.chain.header(block).await?;
        blocks.insert(block, BlockPart { header, metagraph: Some(metagraph) });
    }
    // All that hold a permit: whose vote is right becomes an elector.
    let permitted: Vec<PublicKey> = match phases.end(window) <= head {
        true => record.metagraph(phases.end(window)).await?.validators().map(|neuron| neuron.hotkey).collect(),
        false => Vec::new(),
    };
    let of = async |topic| record.chain.commitments(record.netuid, topic, window.get()).await;
    let part = WindowPart {
        sealed: of(Topic::Sealed).await?,
        held: match phases.hold(window) {
            Some(_) => proved(record, Topic::Held, window, &permitted, of(Topic::Held).await?).await?,
            None => Vec::new(),
        },
        vote_seals: proved(record, Topic::VoteSeal, window, &permitted, of(Topic::VoteSeal).await?).await?,
        votes: proved(record, Topic::Vote, window, &permitted, of(Topic::Vote).await?).await?,
        reports: of(Topic::Applied).await?,
    };
    Ok(ReadWindow { window, part, blocks })
}

/// What permit holders committed counts only with a proof that it is all; what others did, as the ledger lists it.
async fn proved(
    record: &PublicRecord,
    topic: Topic,
    window: Window,
    hotkeys: &[PublicKey],
    mut listed: Vec<CommitmentRecord>,
) -> Result<Vec<CommitmentRecord>, ChainError> {
    listed.retain(|commitment| !hotkeys.contains(&commitment.hotkey));
    for some in hotkeys.chunks(MAX_PROVED_KEYS) {
        listed.extend(record.chain.commitments_of(record.netuid, topic, window.get(), some).await?);
    }
    listed.sort_by_key(|commitment| commitment.hotkey);
    Ok(listed)
}
