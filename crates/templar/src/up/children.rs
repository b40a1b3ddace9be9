//! The processes of a local network: started, watched, restarted when they die, stopped together.

use super::folder::Folder;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// A child that keeps dying is started again after pauses up to this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How far miners give way to the other processes, in the system's units (0 to 19).
const MINER_NICENESS: i32 = 5;
/// How long a child may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(8);
/// Logs are cut at a start when they are larger than this.
const LOG_BYTES: u64 = 4 << 20;

/// How to start one process. It has no `Debug`: its variables are secrets.
#[derive(Clone)]
pub struct Recipe {
    /// Its name, such as `miner-0`.
    pub name: String,
    /// Arguments of this very program.
    pub arguments: Vec<String>,
    /// Environment variables, for secrets.
    pub variables: Vec<(String, String)>,
}

struct Member {
    recipe: Recipe,
    child: Option<Child>,
    /// How often it died without living for a while in between.
    deaths: u32,
    started: Instant,
    restart_at: Option<Instant>,
}

/// The processes of a network. They end with this process, however it ends: each watches its standard input.
#[derive(Default)]
pub struct Children {
    members: BTreeMap<String, Member>,
}

/// This program's file. Where a newer build has taken its place meanwhile, Linux tells the old name with a remark.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find this program's own file")?;
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(path))
}

fn spawn(folder: &Folder, recipe: &Recipe) -> anyhow::Result<Child> {
    let logs = folder.path().join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let path = logs.join(format!("{}.log", recipe.name));
    let too_long = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES);
    let log = OpenOptions::new().create(true).write(true).append(!too_long).truncate(too_long).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new(program()?);
    command.args(&recipe.arguments).envs(recipe.variables.iter().map(|(name, value)| (name, value)));
    command.env(crate::interrupt::STOP_WITH_STDIN, "1");
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    // Ctrl-C in the terminal reaches this process alone, which then stops the others in order.
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {}", recipe.name))?;
    give_way(&child, recipe);
    Ok(child)
}

/// Miners compute all the time and validators now and then, for which everybody waits: so miners give way to them.
fn give_way(child: &Child, recipe: &Recipe) {
    let process = child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if recipe.arguments.first().is_some_and(|role| role == "miner") && process.is_some() {
        // Where the system does not allow it, a window takes a little longer.
        let _ = rustix::process::setpriority_process(process, MINER_NICENESS);
    }
}

impl Member {
    fn wait_for_restart(&mut self) {
        let pause = Duration::from_millis(100 << self.deaths.min(6)).min(LONGEST_PAUSE);
        self.deaths += 1;
        self.restart_at = Some(Instant::now() + pause);
    }
}

impl Children {
    /// Starts a process.
    pub fn start(&mut self, folder: &Folder, recipe: Recipe) -> anyhow::Result<()> {
        let child = Some(spawn(folder, &recipe)?);
        let name = recipe.name.clone();
        let member = Member { recipe, child, deaths: 0, started: Instant::now(), restart_at: None };
        self.members.insert(name, member);
        self.write_processes(folder)
    }

    /// Looks after the processes: notes the dead and starts them again. Gives what an operator should know.
    pub fn tend(&mut self, folder: &Folder) -> anyhow::Result<Vec<String>> {
        let mut news = Vec::new();
        for member in self.members.values_mut() {
            if let Some(child) = &mut member.child
                && let Some(status) = child.try_wait()?
            {
                if member.started.elapsed() > Duration::from_secs(30) {
                    member.deaths = 0;
                }
                member.child = None;
                member.wait_for_restart();
                let name = &member.recipe.name;
                news.push(format!("{name} ended ({status}); it starts again. Its log: logs/{name}.log"));
            }
            if member.restart_at.is_some_and(|at| at <= Instant::now()) {
                (member.started, member.restart_at) = (Instant::now(), None);
                match spawn(folder, &member.recipe) {
                    Ok(child) => member.child = Some(child),
                    // The disk may be full, or this program's file just being replaced.
                    Err(error) => {
                        member.wait_for_restart();
                        news.push(format!("{error:#}; it is tried again"));
                    }
                }
            }
        }
        self.write_processes(folder)?;
        Ok(news)
    }

    /// Which process is which, for `templar status` and for people.
    fn write_processes(&self, folder: &Folder) -> anyhow::Result<()> {
        let ids: BTreeMap<&str, Option<u32>> = self
            .members
            .iter()
            .map(|(name, member)| (name.as_str(), member.child.as_ref().and_then(Child::id)))
            .collect();
        let text = serde_json::to_vec_pretty(&ids)?;
        let path = folder.path().join("processes.json");
        if std::fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        folder.write("processes.json", &text)
    }

    /// Stops all processes: nodes first, then bucket and ledger, so that the nodes can still finish what they do.
    pub async fn stop(&mut self, folder: &Folder) -> anyhow::Result<()> {
        let (services, nodes): (Vec<_>, Vec<_>) = std::mem::take(&mut self.members)
            .into_values()
            .partition(|member| member.recipe.name == "ledger" || member.recipe.name == "bucket");
        for group in [nodes, services] {
            let mut waiting = Vec::new();
            for mut member in group {
                if let Some(mut child) = member.child.take() {
                    // Closing its standard input asks it to stop.
                    drop(child.stdin.take());
                    waiting.push(child);
                }
            }
            let deadline = tokio::time::Instant::now() + STOP_DEADLINE;
            for mut child in waiting {
                if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                    child.kill().await.context("cannot end a process of the network")?;
                }
            }
        }
        self.write_processes(folder)
    }
}
