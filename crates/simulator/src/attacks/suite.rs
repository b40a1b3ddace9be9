//! Every attack under every judging with every seed, by two threads, resumable.

use super::arena::play;
use super::catalogue::{Attack, attacks};
use super::ground::ArenaSizes;
use super::judging::JudgingName;
use super::outcome::{ARENA_VERSION, ArenaRun};
use super::row::Row;
use crate::model::ModelError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use templar_disk::{DiskError, Folder};

/// What is played.
#[derive(Debug, Clone)]
pub struct AttackOptions {
    /// Seeds, from 0 on.
    pub seeds: u64,
    /// Attacks by name; all where there are none.
    pub attacks: Vec<String>,
    /// Judgings by name; `ours` and `original` where there are none.
    pub judgings: Vec<String>,
    /// The sizes of each run.
    pub sizes: ArenaSizes,
    /// Runs at a time.
    pub threads: usize,
    /// Where finished runs are kept, one file each, and read from the next time.
    pub out: Option<PathBuf>,
}

impl AttackOptions {
    /// All attacks under the default judgings, in the sizes of a quick or of a full table.
    pub fn new(is_full: bool) -> Self {
        let sizes = if is_full { ArenaSizes::FULL } else { ArenaSizes::QUICK };
        Self { seeds: 2, attacks: Vec::new(), judgings: Vec::new(), sizes, threads: 2, out: None }
    }
}

/// The suite could not be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// No attack of this name.
    #[error("there is no attack `{name}`; the attacks are: {}", attacks().iter().map(|attack| attack.name).collect::<Vec<_>>().join(", "))]
    UnknownAttack {
        /// The name.
        name: String,
    },
    /// No judging of this name.
    #[error("there is no judging `{name}`; the judgings are: {}", JudgingName::ALL.map(JudgingName::name).join(", "))]
    UnknownJudging {
        /// The name.
        name: String,
    },
    /// A number that makes no table.
    #[error("{what} is {value}; it has to be {wanted}")]
    Size {
        /// What it is the number of.
        what: &'static str,
        /// The number.
        value: u64,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A run failed; a fault of this program.
    #[error("the run `{run}` failed: {source}")]
    Run {
        /// Attack, judging and seed.
        run: String,
        /// What failed.
        source: ModelError,
    },
    /// A finished run cannot be kept or read back.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file in the folder of finished runs is not one.
    #[error("{file} is not a finished run of this version ({reason}); delete it, or name another folder with --out")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A report could not be delivered.
    #[error("{0}")]
    Report(String),
}

/// A run of the suite that is finished.
#[derive(Debug)]
pub struct FinishedRun<'a> {
    /// Finished runs, this one included.
    pub done: usize,
    /// All runs.
    pub all: usize,
    /// The run.
    pub run: &'a ArenaRun,
}

impl FinishedRun<'_> {
    /// One line for people.
    pub fn text(&self) -> String {
        let Self { done, all, run } = self;
        let attack = run.attack.as_deref().unwrap_or("no attack");
        format!("{done} of {all}: {attack} under {}, seed {}: loss {:.3}", run.judging, run.seed, run.final_loss())
    }
}

#[derive(Clone, Copy)]
struct Job {
    attack: Option<&'static Attack>,
    judging: JudgingName,
    seed: u64,
}

impl Job {
    fn name(&self) -> String {
        let attack = self.attack.map_or("none", |attack| attack.name);
        format!("{attack}-{}-{}", self.judging.name(), self.seed)
    }
}

/// Plays the suite: `finished` hears of each run as it ends, `report` gets the rows in the order of the table, each once
/// its runs are there. Results depend on the options alone, not on the threads.
pub fn run_attacks(
    options: &AttackOptions,
    mut finished: impl FnMut(FinishedRun<'_>),
    mut report: impl FnMut(&Row) -> Result<(), String>,
) -> Result<(), AttackError> {
    check(options)?;
    let (chosen, judgings) = (chosen_attacks(&options.attacks)?, chosen_judgings(&options.judgings)?);
    let jobs = jobs(&chosen, &judgings, options.seeds);
    let folder = options.out.as_ref().map(Folder::new);
    if let Some(folder) = &folder {
        folder.create()?;
    }
    let mut runs: Vec<Option<ArenaRun>> = vec![None; jobs.len()];
    let (mut done, mut rows) = (0, 0);
    each_finished(options, &jobs, folder.as_ref(), |number, run| {
        done += 1;
        finished(FinishedRun { done, all: jobs.len(), run: &run });
        runs[number] = Some(run);
        while let Some(row) = row(&chosen, &judgings, options.seeds as usize, &runs, rows) {
            report(&row).map_err(AttackError::Report)?;
            rows += 1;
        }
        Ok(())
    })
}

fn check(options: &AttackOptions) -> Result<(), AttackError> {
    let least = |what, value: u64, least: u64, wanted| match value < least {
        true => Err(AttackError::Size { what, value, wanted }),
        false => Ok(()),
    };
    least("--seeds", options.seeds, 1, "at least 1")?;
    least("--windows", options.sizes.windows, 8, "at least 8: attacks begin in an eighth of a run")
}

fn chosen_attacks(names: &[String]) -> Result<Vec<&'static Attack>, AttackError> {
    let unknown = names.iter().find(|name| !attacks().iter().any(|attack| attack.name == **name));
    if let Some(name) = unknown {
        return Err(AttackError::UnknownAttack { name: name.clone() });
    }
    Ok(attacks().iter().filter(|attack| names.is_empty() || names.iter().any(|name| attack.name == name)).collect())
}

fn chosen_judgings(names: &[String]) -> Result<Vec<JudgingName>, AttackError> {
    if names.is_empty() {
        return Ok(vec![JudgingName::Ours, JudgingName::Original]);
    }
    let by_name = |name: &String| JudgingName::ALL.into_iter().find(|judging| judging.name() == name);
    let unknown = |name: &String| AttackError::UnknownJudging { name: name.clone() };
    names.iter().map(|name| by_name(name).ok_or_else(|| unknown(name))).collect()
}

/// First the runs without attackers by judging, then row by row; each with all seeds.
fn jobs(chosen: &[&'static Attack], judgings: &[JudgingName], seeds: u64) -> Vec<Job> {
    let attacks = std::iter::once(None).chain(chosen.iter().copied().map(Some));
    let pairs = attacks.flat_map(|attack| judgings.iter().map(move |judging| (attack, *judging)));
    pairs.flat_map(|(attack, judging)| (0..seeds).map(move |seed| Job { attack, judging, seed })).collect()
}

/// The row of this number, once all of its runs are there.
fn row(
    chosen: &[&'static Attack],
    judgings: &[JudgingName],
    seeds: usize,
    runs: &[Option<ArenaRun>],
    number: usize,
) -> Option<Row> {
    let attack = chosen.get(number / judgings.len())?;
    let of = |row: usize| runs[row * seeds..(row + 1) * seeds].iter().map(Option::as_ref).collect::<Option<Vec<_>>>();
    let (base, own) = (of(number % judgings.len())?, of(judgings.len() + number)?);
    Row::of(attack, &own.into_iter().zip(base).collect::<Vec<_>>())
}

/// Plays the jobs by threads, and hands each result on as it comes.
fn each_finished(
    options: &AttackOptions,
    jobs: &[Job],
    folder: Option<&Folder>,
    mut finished: impl FnMut(usize, ArenaRun) -> Result<(), AttackError>,
) -> Result<(), AttackError> {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            let sender = sender.clone();
            let (next, stopped) = (&next, &stopped);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { return };
                    if sender.send((number, finish(options, job, folder))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let outcome = results.iter().try_for_each(|(number, run)| finished(number, run?));
        stopped.store(true, Ordering::Relaxed);
        outcome
    })
}

/// The result of a job: that of an earlier time, where it is of the same sizes, or a new one, which is kept.
fn finish(options: &AttackOptions, job: &Job, folder: Option<&Folder>) -> Result<ArenaRun, AttackError> {
    let file = format!("{}.json", job.name());
    if let Some(bytes) = folder.map(|folder| folder.read(&file)).transpose()?.flatten() {
        let unreadable =
            |error: serde_json::Error| AttackError::Unreadable { file: file.clone(), reason: error.to_string() };
        let kept: ArenaRun = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if kept.version != ARENA_VERSION {
            let reason = format!("it was played by version {} of the arena, this is {ARENA_VERSION}", kept.version);
            return Err(AttackError::Unreadable { file, reason });
        }
        if kept.sizes == options.sizes {
            return Ok(kept);
        }
    }
    let failed = |source| AttackError::Run { run: job.name(), source };
    let run = play(options.sizes, job.attack, job.judging, job.seed).map_err(failed)?;
    if let Some(folder) = folder {
        let unwritten = |error: serde_json::Error| AttackError::Report(error.to_string());
        folder.write(&file, &[&serde_json::to_vec_pretty(&run).map_err(unwritten)?])?;
    }
    Ok(run)
}
