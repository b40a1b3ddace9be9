//! What the ledger adds to the view of a network.

use crate::{FolderError, NETUID, View, Watch, read_settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use templar_base::{Alpha, BlockNumber, Genesis, Netuid, Uid, WindowClock};
use templar_chain::{Chain, RpcChain, RpcOptions};

/// How often stakes are read from the ledger.
const INTERVAL: Duration = Duration::from_secs(2);
/// A ledger that does not answer within this time leaves the old numbers.
const DEADLINE: Duration = Duration::from_millis(500);

/// The stakes on the ledger, read every two seconds.
#[derive(Debug, Default)]
pub struct Stakes {
    by_uid: BTreeMap<Uid, Alpha>,
    head: Option<BlockNumber>,
    read: Option<Instant>,
    answered: Option<Instant>,
}

impl Stakes {
    /// Reads them, unless that was done a moment ago.
    pub async fn refresh(&mut self, chain: &RpcChain, netuid: Netuid) {
        if self.read.is_some_and(|read| read.elapsed() < INTERVAL) {
            return;
        }
        self.read = Some(Instant::now());
        if let Ok(Ok(metagraph)) = tokio::time::timeout(DEADLINE, chain.metagraph(netuid, None)).await {
            self.by_uid = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.stake)).collect();
            self.head = Some(metagraph.block);
            self.answered = Some(Instant::now());
        }
    }

    /// When the ledger answered for the last time.
    pub fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// The newest block that the ledger named; none where it did not answer.
    pub fn head(&self) -> Option<BlockNumber> {
        self.head
    }

    /// Adds the stakes to the nodes of a view.
    pub fn add_to(&self, view: &mut View) {
        for node in &mut view.nodes {
            let uid = node.status.as_ref().map(|status| status.uid);
            node.stake = uid.and_then(|uid| self.by_uid.get(&uid).copied());
        }
    }
}

impl View {
    /// The newest block, with its window and the share of that which is over.
    pub(crate) fn set_block(&mut self, clock: &WindowClock, block: BlockNumber) {
        self.block = block;
        self.window = clock.window_of(block);
        let share = |window| block.blocks_since(clock.start_of(window)) as f64 / clock.blocks_per_window as f64;
        self.window_share = self.window.map_or(0.0, share);
    }
}

impl Watch {
    /// The network in `root` as it is now, from its journals and its ledger, and the ledger's newest block; no block where
    /// the ledger is away, which is a fact to show. None where there is no network.
    pub async fn look(root: &Path) -> Result<Option<(View, Option<BlockNumber>)>, FolderError> {
        let Some(settings) = read_settings(root)? else { return Ok(None) };
        let mut view = Self::in_folder(root).view(&[]);
        let mut stakes = Stakes::default();
        if let Ok(chain) = RpcChain::connect(&settings.ledger_url(), RpcOptions::default()).await {
            stakes.refresh(&chain, NETUID).await;
        }
        stakes.add_to(&mut view);
        let document = std::fs::read(root.join("genesis.json")).ok();
        if let Some(genesis) = document.and_then(|document| Genesis::from_json(&document).ok()) {
            view.window = genesis.clock.window_of(stakes.head().unwrap_or(view.block));
        }
        Ok(Some((view, stakes.head())))
    }

    /// The view of a running network: journals, stakes, and the share of the window that is over.
    pub fn view_of(&self, genesis: &Genesis, stakes: &Stakes, remarks: &[String], since: Duration) -> View {
        let mut view = self.view(remarks);
        view.seconds = since.as_secs_f64();
        view.set_block(&genesis.clock, view.block);
        stakes.add_to(&mut view);
        view
    }
}
