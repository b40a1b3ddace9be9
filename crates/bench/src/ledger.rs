//! The ledger: signed transfers per second, an epoch, opening after a year, and growth on disk.

use crate::{FileError, Progress, Section};
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use templar_base::random::Stream;
use templar_base::{BlockNumber, Keypair, PublicKey, RAO_PER_TAO, Rao, Uid};
use templar_chain::{Call, ChainError, LiquidAlpha, Transaction, YumaRule};
use templar_ledger::fixed::StakeWeight;
use templar_ledger::yuma::{EpochInput, EpochRow, epoch};
use templar_ledger::{
    BlockInput, BlockOrderError, Ledger, Profile, ProfileError, RegistrationPrice, State, StoreError, apply, s425,
};

/// Slots and validators of the measured subnet: the chain's own.
const SLOTS: u16 = 256;
const VALIDATORS: u16 = 64;
/// Blocks of twelve seconds in a day.
const BLOCKS_PER_DAY: u64 = 7_200;
/// Blocks in a year, of which the last ones are kept.
const BLOCKS_PER_YEAR: u64 = 365 * BLOCKS_PER_DAY;

/// A ledger that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerBenchError {
    /// The scratch folder.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The ledger's file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The measured ledger rejects a transaction.
    #[error("{0}")]
    Rejected(#[from] ChainError),
    /// The measured rules do not hold; a fault of this program.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Blocks out of order; a fault of this program.
    #[error(transparent)]
    Order(#[from] BlockOrderError),
    /// Transfers that have to succeed did not; a fault of this program.
    #[error("only {applied} of {wanted} transfers were applied; this is a fault of the program: report it")]
    NotApplied {
        /// Those that were.
        applied: usize,
        /// All of them.
        wanted: usize,
    },
    /// The opened ledger is shorter than the one that was closed.
    #[error(
        "the ledger has {kept} of {made} blocks after it was opened again; this is a fault of the program: report it"
    )]
    LostBlocks {
        /// Blocks that it has.
        kept: u64,
        /// Blocks that were made.
        made: u64,
    },
    /// Not every slot of the measured subnet could be registered; a fault of this program.
    #[error("the measured subnet has {filled} of {slots} slots filled; this is a fault of the program: report it")]
    NotFilled {
        /// Slots that are registered.
        filled: usize,
        /// All slots.
        slots: usize,
    },
}

/// What to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LedgerBench {
    /// Transfers to apply
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    pub transfers: u32,
    /// Blocks to make before opening; a week of them is all that a year's ledger keeps
    #[arg(long, value_name = "N", default_value_t = 50_400, value_parser = clap::value_parser!(u64).range(720..=1_000_000))]
    pub blocks: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    transfers_per_second: f64,
    queued_and_stored_transfers_per_second: f64,
    epoch_milliseconds: f64,
    epoch_liquid_alpha_milliseconds: f64,
    blocks: u64,
    blocks_per_second: f64,
    stands_for_blocks: u64,
    open_milliseconds: f64,
    bytes_on_disk: u64,
    growth_bytes_per_day: u64,
}

impl LedgerBench {
    /// Measures in a scratch folder, which is removed afterwards.
    pub fn run(&self, progress: &mut dyn Progress) -> Result<Figures, LedgerBenchError> {
        let folder = std::env::temp_dir().join(format!("templar-bench-ledger-{}", std::process::id()));
        let measured = self.measure(&folder, progress);
        // The folder is ours alone; the measurement's own error is the one to report.
        let removed = std::fs::remove_dir_all(&folder);
        let figures = measured?;
        removed.map_err(FileError::at("remove the folder", &folder))?;
        Ok(figures)
    }

    fn measure(&self, folder: &Path, progress: &mut dyn Progress) -> Result<Figures, LedgerBenchError> {
        progress.say("signing transfers");
        let secret = Ledger::draw_secret()?;
        let (profile, signed) = signed_transfers(self.transfers, &secret);
        progress.say("applying transfers");
        let transfers_per_second = apply_transfers(&profile, &signed)?;
        progress.say("queueing and storing transfers");
        let queued_and_stored = store_transfers((&profile, secret), &signed, &folder.join("transfers"))?;
        progress.say("epochs");
        let input = epoch_input(None);
        let liquid = epoch_input(Some(s425::LIQUID_ALPHA));
        let (epoch_milliseconds, epoch_liquid_alpha_milliseconds) = (epoch_time(&input), epoch_time(&liquid));
        let year = year(self.blocks, &folder.join("year"), progress)?;
        Ok(Figures {
            transfers_per_second,
            queued_and_stored_transfers_per_second: queued_and_stored,
            epoch_milliseconds,
            epoch_liquid_alpha_milliseconds,
            blocks: self.blocks,
            blocks_per_second: year.blocks_per_second,
            stands_for_blocks: BLOCKS_PER_YEAR,
            open_milliseconds: year.open_milliseconds,
            bytes_on_disk: year.bytes_on_disk,
            growth_bytes_per_day: year.growth_bytes_per_day,
        })
    }
}

/// Transfers of 200 senders, in rounds of one each.
fn signed_transfers(transfers: u32, secret: &[u8; 32]) -> (Profile, Vec<Vec<Transaction>>) {
    let senders: Vec<Keypair> = (0..200).map(|seed| Keypair::from_seed([seed; 32])).collect();
    let keys: Vec<PublicKey> = senders.iter().map(Keypair::public).collect();
    let profile = Profile::local(keys[0], &keys).with_authority(secret);
    let genesis = profile.genesis_hash();
    let call = Call::Transfer { to: PublicKey::new([9; 32]), amount: Rao::from_rao(1_000) };
    let rounds = u64::from(transfers).div_ceil(senders.len() as u64);
    let round = |number: u64| -> Vec<Transaction> {
        let valid_until = BlockNumber(number + 200);
        senders.iter().map(|sender| Transaction::sign(sender, call.clone(), number, valid_until, genesis)).collect()
    };
    (profile, (0..rounds).map(round).collect())
}

fn apply_transfers(profile: &Profile, signed: &[Vec<Transaction>]) -> Result<f64, LedgerBenchError> {
    let mut state = State::genesis(profile.clone())?;
    let inputs = signed.iter().cloned().zip(1..).map(|(transactions, number)| BlockInput {
        number: BlockNumber(number),
        time_ms: 0,
        beacon: Default::default(),
        transactions,
    });
    let inputs: Vec<BlockInput> = inputs.collect();
    let started = Instant::now();
    let mut applied = 0;
    for input in &inputs {
        let receipts = apply(&mut state, input)?.receipts;
        applied += receipts.iter().filter(|receipt| receipt.result.is_ok()).count();
    }
    let seconds = started.elapsed().as_secs_f64();
    let wanted: usize = signed.iter().map(Vec::len).sum();
    match applied == wanted {
        true => Ok(applied as f64 / seconds),
        false => Err(LedgerBenchError::NotApplied { applied, wanted }),
    }
}

fn store_transfers(
    (profile, secret): (&Profile, [u8; 32]),
    signed: &[Vec<Transaction>],
    folder: &Path,
) -> Result<f64, LedgerBenchError> {
    let mut ledger = Ledger::open(folder, profile, secret)?;
    let started = Instant::now();
    for transactions in signed {
        for transaction in transactions {
            ledger.queue(transaction.clone())?;
        }
        ledger.make_block(0)?;
    }
    Ok(signed.iter().map(Vec::len).sum::<usize>() as f64 / started.elapsed().as_secs_f64())
}

/// An epoch in which every validator weighs every slot and holds bonds of it.
fn epoch_input(liquid_alpha: Option<LiquidAlpha>) -> EpochInput {
    let mut random = Stream::new([7; 32], "bench ledger epoch", 0);
    let mut row = |uid: u16| {
        let is_validator = uid < VALIDATORS;
        let mut entries = || -> Vec<(u16, u16)> {
            let count = if is_validator { SLOTS } else { 0 };
            (0..count).map(|target| (target, random.next_u64() as u16)).collect()
        };
        let (weights, bonds) = (entries(), entries());
        let stake = if is_validator { 1 + random.next_u64() % (10_000 * RAO_PER_TAO) } else { 0 };
        EpochRow {
            stake: StakeWeight::from_int(stake),
            permit: is_validator,
            last_update: 900,
            registered_at: 1,
            oldest_commit: None,
            weights,
            bonds,
        }
    };
    EpochInput {
        block: 1_000,
        last_tempo: Some(640),
        rule: YumaRule { liquid_alpha, ..s425::YUMA },
        stake_threshold: 0,
        owner: None,
        emission: 300 * RAO_PER_TAO,
        rows: (0..SLOTS).map(&mut row).collect(),
    }
}

/// The median of eleven epochs, in milliseconds.
fn epoch_time(input: &EpochInput) -> f64 {
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(epoch(std::hint::black_box(input)));
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What a long-lived ledger costs.
struct Year {
    blocks_per_second: f64,
    open_milliseconds: f64,
    bytes_on_disk: u64,
    growth_bytes_per_day: u64,
}

/// Makes blocks under load, and opens what they leave.
fn year(blocks: u64, folder: &Path, progress: &mut dyn Progress) -> Result<Year, LedgerBenchError> {
    let mut subnet = Subnet::found(folder)?;
    let file = folder.join("ledger.redb");
    let bytes = || std::fs::metadata(&file).map(|facts| facts.len()).map_err(FileError::at("read the size of", &file));
    let (first_bytes, started) = (bytes()?, Instant::now());
    for made in 0..blocks {
        subnet.one_block(made)?;
        if made % 64 == 0 {
            progress
                .show(made as f64 / blocks as f64, &format!("block {} of {}", HumanCount(made), HumanCount(blocks)));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let bytes_on_disk = bytes()?;
    drop(subnet);
    let mut opened: Vec<f64> = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        let ledger = Ledger::reopen(folder)?;
        opened.push(started.elapsed().as_secs_f64() * 1_000.0);
        let kept = ledger.head().number.0;
        if kept < blocks {
            return Err(LedgerBenchError::LostBlocks { kept, made: blocks });
        }
    }
    opened.sort_by(f64::total_cmp);
    let growth = u128::from(bytes_on_disk.saturating_sub(first_bytes)) * u128::from(BLOCKS_PER_DAY);
    Ok(Year {
        blocks_per_second: blocks as f64 / seconds,
        open_milliseconds: opened[1],
        bytes_on_disk,
        growth_bytes_per_day: (growth / u128::from(blocks)) as u64,
    })
}

/// A full subnet under a steady load.
struct Subnet {
    ledger: Ledger,
    coldkey: Keypair,
    hotkeys: Vec<Keypair>,
    transfers: u64,
}

impl Subnet {
    fn found(folder: &Path) -> Result<Self, LedgerBenchError> {
        let coldkey = Keypair::from_seed([1; 32]);
        let flat = RegistrationPrice {
            initial: Rao::from_rao(RAO_PER_TAO / 10),
            minimum: Rao::from_rao(500_000),
            maximum: Rao::from_whole(100),
            half_life_blocks: 0,
            rise_per_mille: 1_000,
        };
        let funds = vec![(coldkey.public(), Rao::from_whole(1_000_000))];
        let profile = Profile {
            registration_price: flat,
            commit_reveal: false,
            // The chain's first reserves would not sell so much stake.
            pool: Profile::local(coldkey.public(), &[]).pool,
            ..Profile::mainnet_like(Keypair::from_seed([2; 32]).public(), funds)
        };
        let ledger = Ledger::open(folder, &profile, Ledger::draw_secret()?)?.without_sync();
        let hotkeys = (0..SLOTS).map(|uid| Keypair::from_seed(seed(uid))).collect();
        let mut subnet = Self { ledger, coldkey, hotkeys, transfers: 0 };
        let netuid = profile.netuid;
        for first in (0..usize::from(SLOTS)).step_by(32) {
            for uid in first..first + 32 {
                let hotkey = subnet.hotkeys[uid].public();
                subnet.send(None, Call::Register { netuid, hotkey, max_price: None })?;
                if uid < usize::from(VALIDATORS) {
                    let amount = Rao::from_whole(3_000);
                    subnet.send(None, Call::AddStake { hotkey, netuid, amount })?;
                }
            }
            subnet.ledger.make_block(0)?;
        }
        let (filled, slots) = (subnet.ledger.metagraph(netuid, None)?.neurons.len(), usize::from(SLOTS));
        match filled == slots {
            true => Ok(subnet),
            false => Err(LedgerBenchError::NotFilled { filled, slots }),
        }
    }

    /// A block with one transfer; at some of them a validator sets its weights, each once an epoch.
    fn one_block(&mut self, made: u64) -> Result<(), LedgerBenchError> {
        self.transfers += 1;
        let to = PublicKey::new(seed((self.transfers % 5_000) as u16));
        self.send(None, Call::Transfer { to, amount: Rao::from_rao(1_000) })?;
        let place = made % u64::from(s425::TEMPO);
        if made >= u64::from(s425::TEMPO) && place < u64::from(VALIDATORS) {
            let values = (0..SLOTS).map(|uid| (u64::from(uid) * 31 + made * 7) as u16 | 1).collect();
            let uids = (0..SLOTS).map(Uid).collect();
            let netuid = self.ledger.state().profile().netuid;
            self.send(Some(place as usize), Call::SetWeights { netuid, uids, values, version_key: 0 })?;
        }
        self.ledger.make_block(made * 12_000)?;
        Ok(())
    }

    fn send(&mut self, hotkey: Option<usize>, call: Call) -> Result<(), LedgerBenchError> {
        let signer = hotkey.map_or(&self.coldkey, |uid| &self.hotkeys[uid]);
        let nonce = self.ledger.next_nonce(&signer.public());
        let valid_until = self.ledger.head().number.plus(64);
        let genesis = self.ledger.state().genesis_hash();
        self.ledger.queue(Transaction::sign(signer, call, nonce, valid_until, genesis))?;
        Ok(())
    }
}

fn seed(number: u16) -> [u8; 32] {
    let mut seed = [3; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    seed
}

impl Figures {
    /// The figures for people.
    pub fn section(&self) -> Section {
        let count = |number: f64| HumanCount(number as u64);
        let rows = [
            ("signed transfers, all checks", format!("{} a second", count(self.transfers_per_second))),
            ("  queued and stored", format!("{} a second", count(self.queued_and_stored_transfers_per_second))),
            ("epoch, 256 slots, 64 validators", format!("{:.2} ms", self.epoch_milliseconds)),
            ("  with liquid alpha", format!("{:.2} ms", self.epoch_liquid_alpha_milliseconds)),
            ("blocks of a full subnet", format!("{} a second", count(self.blocks_per_second))),
            ("opening after a year", format!("{:.0} ms", self.open_milliseconds)),
            ("on disk then", DecimalBytes(self.bytes_on_disk).to_string()),
            ("growth until history is full", format!("{} a day", DecimalBytes(self.growth_bytes_per_day))),
        ];
        let note = format!(
            "a year is {} blocks, of which the ledger keeps {} and the state",
            HumanCount(self.stands_for_blocks),
            HumanCount(self.blocks)
        );
        let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Section { rows, notes: vec![note], ..Section::default() }
    }
}
