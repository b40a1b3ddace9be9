//! The processes of a local network: started, watched, restarted when they die, stopped together.

use crate::{ChildError, Folder};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// A child that keeps dying is restarted after pauses up to this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How much lower the priority of miners and of the gateway is than that of the other processes, in the system's units (0 to 19).
const MINER_NICENESS: i32 = 5;
/// A child that ended by itself this often in a row, and never lived for a while, is not restarted: half a minute with the
/// pauses. Kills do not count, since whoever kills may do so for long; nor does what befalls a child that has worked, since
/// that may pass.
const MOST_ENDS: u32 = 20;
/// A child that lived this long has worked.
const WORKED: Duration = Duration::from_secs(10);
/// From the end of a log, what may be the reason of an end.
const REASON_BYTES: u64 = 4 << 10;
/// How long a child may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(8);
/// Logs are cut at a start when they are larger than this.
const LOG_BYTES: u64 = 4 << 20;

/// Set for the processes of a network: they stop when their standard input ends, which happens however the process that
/// started them ends.
pub const STOP_WITH_STDIN: &str = "TEMPLAR_STOP_WITH_STDIN";

/// How to start one process. It has no `Debug`: its variables are secrets.
#[derive(Clone)]
pub struct Recipe {
    /// Its name, such as `miner-0`.
    pub name: String,
    /// Arguments of the program.
    pub arguments: Vec<String>,
    /// Environment variables, for secrets.
    pub variables: Vec<(String, String)>,
}

struct Member {
    recipe: Recipe,
    child: Option<Child>,
    /// How often it died without living for a while in between.
    deaths: u32,
    /// How often in a row it ended by itself.
    ends: u32,
    /// Whether it once lived for a while.
    has_worked: bool,
    started: Instant,
    restart_at: Option<Instant>,
}

/// The processes of a network. They end with this process, however it ends: each watches its standard input.
pub struct Children {
    program: PathBuf,
    members: BTreeMap<String, Member>,
}

fn spawn(program: &Path, folder: &Folder, recipe: &Recipe) -> Result<Child, ChildError> {
    let path = folder.log(&recipe.name);
    let failed = |source| ChildError::Log { path: path.clone(), source };
    std::fs::create_dir_all(folder.path().join("logs")).map_err(failed)?;
    let too_long = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES);
    let log = OpenOptions::new().create(true).write(true).append(!too_long).truncate(too_long).open(&path);
    let log = log.map_err(failed)?;
    let metrics = format!("file:{}", folder.metrics(&recipe.name).map_err(failed)?.display());
    let mut command = Command::new(program);
    command
        .args(&recipe.arguments)
        .args(["--metrics", &metrics])
        .envs(recipe.variables.iter().map(|(name, value)| (name, value)));
    command.env(STOP_WITH_STDIN, "1");
    command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log).kill_on_drop(true);
    // Ctrl-C in the terminal reaches this process alone, which then stops the others in order.
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn().map_err(|source| ChildError::Start { name: recipe.name.clone(), source })?;
    lower_priority(&child, recipe);
    Ok(child)
}

/// Miners compute all the time, a gateway as long as it is asked, and all nodes wait for the validators: so those two have
/// a lower priority.
fn lower_priority(child: &Child, recipe: &Recipe) {
    let process = child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if recipe.arguments.first().is_some_and(|role| role == "miner" || role == "gateway") && process.is_some() {
        // Where the system does not allow it, a window takes a little longer.
        let _ = rustix::process::setpriority_process(process, MINER_NICENESS);
    }
}

fn control(action: &'static str, name: &str) -> impl Fn(std::io::Error) -> ChildError {
    let name = name.to_owned();
    move |source| ChildError::Control { action, name: name.clone(), source }
}

/// The last error in a log: what follows `error:`, with its causes.
fn last_error(log: &Path) -> Option<String> {
    let mut file = std::fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(REASON_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(REASON_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (_, last) = text.rsplit_once("error: ")?;
    let lines = last.lines().map(|line| line.trim().trim_start_matches("because: "));
    Some(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")).filter(|reason| !reason.is_empty())
}

impl Member {
    fn wait_for_restart(&mut self) {
        let pause = Duration::from_millis(100 << self.deaths.min(6)).min(LONGEST_PAUSE);
        self.deaths += 1;
        self.restart_at = Some(Instant::now() + pause);
    }
}

impl Children {
    /// No processes yet, all of this program: its file, which understands the commands of [`Recipe::arguments`].
    ///
    /// Where a newer build has replaced the file meanwhile, Linux appends a remark to the old name, which is removed.
    pub fn of_program(program: PathBuf) -> Self {
        let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
        Self { program: replaced.unwrap_or(program), members: BTreeMap::new() }
    }

    /// Starts a process.
    pub fn start(&mut self, folder: &Folder, recipe: Recipe) -> Result<(), ChildError> {
        let child = Some(spawn(&self.program, folder, &recipe)?);
        let name = recipe.name.clone();
        let started = Instant::now();
        let member = Member { recipe, child, deaths: 0, ends: 0, has_worked: false, started, restart_at: None };
        self.members.insert(name, member);
        self.write_processes(folder)
    }

    /// Restarts the processes that died. Returns what an operator should know.
    pub fn tend(&mut self, folder: &Folder) -> Result<Vec<String>, ChildError> {
        let mut news = Vec::new();
        for member in self.members.values_mut() {
            if let Some(child) = &mut member.child
                && let Some(status) = child.try_wait().map_err(control("watch", &member.recipe.name))?
            {
                if member.started.elapsed() > Duration::from_secs(30) {
                    (member.deaths, member.ends) = (0, 0);
                }
                member.has_worked |= member.started.elapsed() > WORKED;
                member.ends = if status.code().is_some() { member.ends + 1 } else { 0 };
                member.child = None;
                let (name, log) = (&member.recipe.name, folder.log(&member.recipe.name));
                if member.ends >= MOST_ENDS && !member.has_worked {
                    let reason = last_error(&log).unwrap_or_else(|| status.to_string());
                    return Err(ChildError::KeepsEnding { name: name.clone(), times: member.ends, reason, log });
                }
                news.push(format!("{name} ended ({status}); it is restarted. Its log: {}", log.display()));
                member.wait_for_restart();
            }
            if member.restart_at.is_some_and(|at| at <= Instant::now()) {
                (member.started, member.restart_at) = (Instant::now(), None);
                match spawn(&self.program, folder, &member.recipe) {
                    Ok(child) => member.child = Some(child),
                    // The disk may be full, or this program's file just being replaced.
                    Err(error) => {
                        member.wait_for_restart();
                        news.push(format!("{error}; it is retried"));
                    }
                }
            }
        }
        self.write_processes(folder)?;
        Ok(news)
    }

    /// Why a process has ended, if it has; before [`Children::tend`] restarts it.
    pub(crate) fn end_of(&mut self, folder: &Folder, name: &str) -> Result<Option<String>, ChildError> {
        let child = self.members.get_mut(name).and_then(|member| member.child.as_mut());
        let Some(child) = child else { return Ok(None) };
        let status = child.try_wait().map_err(control("watch", name))?;
        Ok(status.map(|status| last_error(&folder.log(name)).unwrap_or_else(|| status.to_string())))
    }

    /// Which process is which, for `templar status` and for people.
    fn write_processes(&self, folder: &Folder) -> Result<(), ChildError> {
        let ids: BTreeMap<&str, Option<u32>> = self
            .members
            .iter()
            .map(|(name, member)| (name.as_str(), member.child.as_ref().and_then(Child::id)))
            .collect();
        let path = folder.path().join("processes.json");
        let old = std::fs::read(&path).ok().and_then(|old| serde_json::from_slice(&old).ok());
        if old.is_some_and(|old: BTreeMap<String, Option<u32>>| {
            old.iter().map(|(name, id)| (name.as_str(), *id)).eq(ids.iter().map(|(name, id)| (*name, *id)))
        }) {
            return Ok(());
        }
        Ok(folder.write_json("processes.json", &ids)?)
    }

    /// Stops all processes: nodes first, then bucket and ledger, so that the nodes can still finish what they do.
    pub async fn stop(&mut self, folder: &Folder) -> Result<(), ChildError> {
        let (services, nodes): (Vec<_>, Vec<_>) = std::mem::take(&mut self.members)
            .into_values()
            .partition(|member| member.recipe.name == "ledger" || member.recipe.name == "bucket");
        for group in [nodes, services] {
            let mut waiting = Vec::new();
            for mut member in group {
                if let Some(mut child) = member.child.take() {
                    // Closing its standard input asks it to stop.
                    drop(child.stdin.take());
                    waiting.push((member.recipe.name, child));
                }
            }
            let deadline = tokio::time::Instant::now() + STOP_DEADLINE;
            for (name, mut child) in waiting {
                if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                    child.kill().await.map_err(control("stop", &name))?;
                }
            }
        }
        self.write_processes(folder)
    }
}
