//! What readers see: one immutable snapshot, replaced as a whole.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use templar_base::{
    Alpha, BlockNumber, ContentHash, EvaluationRule, Mark, PublicKey, RunId, SettingChange, StateHash, Uid, Window,
};
use templar_chain::governance::ProposalView;
use templar_chain::market::{Candle, EpochRecord, MarketSummary};
use templar_record::{Gap, Measured, WindowMoment, WindowRecord};

/// The ledger's newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeadView {
    /// Its number.
    pub block: BlockNumber,
    /// When it was made, in milliseconds since 1970 by the block authority's clock.
    pub time_ms: u64,
    /// The window that it is in; none before the run's start.
    pub window: Option<Window>,
}

/// What does not change while a run lasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFacts {
    /// The run's name: the hash of its genesis document.
    pub run: RunId,
    /// Its name for people; foreign text.
    pub name: String,
    /// The subnet.
    pub netuid: u16,
    /// Number of the model's parameters.
    pub parameters: u64,
    /// Blocks of a window.
    pub blocks_per_window: u64,
    /// The first block of window 0.
    pub start_block: BlockNumber,
    /// State hash of the first parameters.
    pub first_state: StateHash,
    /// Windows for which nodes keep their objects.
    pub retention_windows: u64,
    /// Windows between two checkpoints.
    pub checkpoint_windows: u64,
    /// Part of the payloads that are audited, in thousandths.
    pub audit_rate_per_mille: u32,
    /// What idle validators put to the model; none where the run has no tasks.
    pub evaluation: Option<EvaluationRule>,
    /// The file that all of it is read from; none where it is read from ledger and buckets.
    pub record_file: Option<RecordFile>,
}

/// A file that holds the record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordFile {
    /// BLAKE3 of its content.
    pub record: ContentHash,
    /// The ledger's block when it was packed.
    pub block: BlockNumber,
    /// The program that packed it; foreign text.
    pub made_by: String,
    /// What could not be packed, and why; foreign text.
    pub gaps: Vec<Gap>,
}

/// A slot of the subnet, and what the kept windows say of who holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotView {
    /// The slot.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: PublicKey,
    /// Who owns that key.
    pub coldkey: PublicKey,
    /// Whether it sealed a payload in a window that was read.
    pub is_miner: bool,
    /// Whether it voted in a window that was read.
    pub is_validator: bool,
    /// Where it stood in the newest window that was judged, in words; a refusal has its reason.
    pub standing: Option<String>,
    /// The same as more than half of the stake says.
    pub mark: Option<Mark>,
    /// What it brought then (φ), in nats.
    pub contribution: Option<Measured>,
    /// Its newest rating; 1 is an equal share.
    pub rating: Option<Measured>,
    /// Windows that were read in which it sealed.
    pub sealed_windows: u64,
    /// Windows that were read in which it was merged.
    pub selected_windows: u64,
    /// The second as a share of the first.
    pub selected_share: Option<f64>,
    /// Bytes that it sealed in the windows that were read.
    pub sealed_bytes: u64,
    /// The newest window in which it sealed or voted.
    pub last_seen: Option<Window>,
    /// Its part of the miners' pay of the last epoch, 0 to 1.
    pub incentive: f64,
    /// Its part of the validators' pay of the last epoch, 0 to 1.
    pub dividends: f64,
    /// Its pay for the last epoch, in rao of the subnet's token.
    pub emission_rao: Alpha,
    /// What its stake counts for, in rao of the subnet's token.
    pub stake_rao: Alpha,
    /// When it got the slot.
    pub registered_at: BlockNumber,
}

/// The market of the subnet's token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MarketView {
    /// At a glance.
    pub summary: MarketSummary,
    /// The newest candles of a minute, the oldest first.
    pub candles: Vec<Candle>,
    /// The newest epochs, the oldest first.
    pub epochs: Vec<EpochRecord>,
}

/// A proposal, its tally and its votes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProposalFacts {
    /// The proposal with the outcome as the votes stand; at most a page of its votes.
    #[serde(flatten)]
    pub view: ProposalView,
    /// What it would do, in words.
    pub action_text: String,
}

/// What the token's holders decide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GovernanceView {
    /// The newest proposals, newest first.
    pub proposals: Vec<ProposalFacts>,
    /// Settings of the run that were adopted, in order.
    pub settings: Vec<SettingFacts>,
}

/// A setting that was adopted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingFacts {
    /// The change.
    #[serde(flatten)]
    pub change: SettingChange,
    /// In words.
    pub text: String,
}

/// Evidence that an auditor published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceItem {
    /// Of which window the payload is.
    pub window: Window,
    /// Whose payload.
    pub uid: Uid,
    /// Who published it.
    pub auditor: PublicKey,
    /// The object's name in the auditor's bucket.
    pub key: String,
    /// Its size, as the bucket reports it.
    pub bytes: u64,
}

/// What audits found, as far as it is public.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EvidenceView {
    /// Whether the genesis turns audits on.
    pub is_on: bool,
    /// Windows that were looked through; none before the first was.
    pub from: Option<Window>,
    /// What auditors published about them, newest first.
    pub items: Vec<EvidenceItem>,
    /// Buckets of validators that did not answer.
    pub silent: usize,
}

/// Everything that readers see.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Rises with each snapshot.
    pub generation: u64,
    /// The ledger's newest block; none while it has not answered.
    pub head: Option<HeadView>,
    /// Finished windows that were read, each projected once.
    pub finished: BTreeMap<Window, Arc<WindowRecord>>,
    /// Windows that are not finished, the newest last.
    pub open: Vec<Arc<WindowRecord>>,
    /// Finished windows that are kept by the ledger and are not read yet.
    pub unread: usize,
    /// Finished windows that could not be read.
    pub unreadable: usize,
    /// All slots, by uid.
    pub slots: Arc<Vec<SlotView>>,
    /// The market; none where it was not read.
    pub market: Option<Arc<MarketView>>,
    /// Votes; none where they were not read.
    pub governance: Option<Arc<GovernanceView>>,
    /// Audits.
    pub evidence: Arc<EvidenceView>,
    /// Time between blocks, in milliseconds, as the ledger says.
    pub block_time_ms: Option<u64>,
    /// Why the ledger could not be read the last time; none where it was.
    pub problem: Option<String>,
}

/// What a run comes to, over the windows that were read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunTotals {
    /// Finished windows that were read.
    pub windows: usize,
    /// Of those, the ones in which nothing was merged.
    pub null_windows: usize,
    /// Why, and how often, the most frequent first.
    pub null_reasons: Vec<(String, usize)>,
    /// Tokens of merged payloads.
    pub tokens: u64,
    /// Size of all sealed payloads.
    pub sealed_bytes: u64,
    /// Merged tokens a second of the newest window with a length.
    pub tokens_per_second: Option<f64>,
    /// Loss on the text of judgement at the start of the first window that has one.
    pub first_loss: Option<f64>,
    /// The newest such loss, after the step.
    pub last_loss: Option<f64>,
    /// Validators that reported the agreed state after the newest finished window.
    pub in_sync: usize,
    /// Validators that reported any.
    pub reports: usize,
    /// Slots whose stake counted in it.
    pub electors: usize,
}

impl Snapshot {
    pub(crate) fn first() -> Self {
        Self {
            generation: 0,
            head: None,
            finished: BTreeMap::new(),
            open: Vec::new(),
            unread: 0,
            unreadable: 0,
            slots: Arc::default(),
            market: None,
            governance: None,
            evidence: Arc::default(),
            block_time_ms: None,
            problem: None,
        }
    }

    /// What is known of a window, finished or not.
    pub fn window(&self, window: Window) -> Option<&Arc<WindowRecord>> {
        self.finished.get(&window).or_else(|| self.open.iter().find(|view| view.window == window))
    }

    /// What holds a slot.
    pub fn slot(&self, uid: Uid) -> Option<&SlotView> {
        self.slots.iter().find(|slot| slot.uid == uid)
    }

    /// The sums over all windows that were read.
    pub fn totals(&self) -> RunTotals {
        let windows = || self.finished.values();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in windows().filter_map(|view| view.null_reason.as_deref()) {
            *reasons.entry(reason).or_default() += 1;
        }
        let mut null_reasons: Vec<(String, usize)> =
            reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        null_reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let (in_sync, reports) = windows().next_back().map_or((0, 0), |view| view.in_sync());
        RunTotals {
            windows: self.finished.len(),
            null_windows: windows().filter(|view| view.is_null).count(),
            null_reasons,
            tokens: windows().filter_map(|view| view.tokens).fold(0, u64::saturating_add),
            sealed_bytes: windows().map(|view| view.sealed_bytes).fold(0, u64::saturating_add),
            tokens_per_second: windows().rev().find_map(|view| view.tokens_per_second()),
            first_loss: windows().find_map(|view| view.loss_before),
            last_loss: windows().rev().find_map(|view| view.loss_after.or(view.loss_before)),
            in_sync,
            reports,
            electors: windows().next_back().map_or(0, |view| view.electors.len()),
        }
    }

    /// The timeline of the window that is being trained.
    pub(crate) fn current_timeline(&self) -> Option<(&Arc<WindowRecord>, &[WindowMoment])> {
        self.open.last().map(|view| (view, view.timeline.as_slice()))
    }
}
