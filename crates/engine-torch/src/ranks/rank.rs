//! One rank: its process, its pipes, and what it wrote last.

use super::Launch;
use crate::frame::{self, FrameError};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is kept of a rank's standard error.
const SAID_BYTES: usize = 2 << 10;
/// Lines of it that an error shows.
const SAID_LINES: usize = 8;
/// How long a rank whose pipe ended may take to end itself, before its exit status is called unknown.
const ENDING: Duration = Duration::from_secs(2);

/// What comes from a rank.
pub(super) enum Heard {
    Answer(Value),
    Broken(FrameError),
    /// The end of its answers.
    End,
}

/// A process that PyTorch runs in.
pub(super) struct Rank {
    child: Child,
    /// None once it was asked to end.
    input: Option<ChildStdin>,
    said: Arc<Mutex<VecDeque<u8>>>,
    /// Reads what it says, to the end.
    listener: Option<JoinHandle<()>>,
}

impl Rank {
    /// Starts the process of this number; `heard` gets its answers.
    pub(super) fn start(launch: &Launch, number: usize, heard: SyncSender<(usize, Heard)>) -> io::Result<Self> {
        let mut command = Command::new(&launch.python);
        command.arg(&launch.script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in environment(launch, number) {
            command.env(name, value);
        }
        // Ctrl-C in a terminal reaches the engine's process alone, which ends the ranks in order; and what a rank
        // starts itself, such as compilers, can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let mut rank = Self { child, input, said: Arc::clone(&said), listener: None };
        if let Some(output) = output {
            let thread = std::thread::Builder::new().name(format!("rank {number}"));
            thread.spawn(move || listen(&mut BufReader::new(output), number, &heard))?;
        }
        if let Some(errors) = errors {
            let thread = std::thread::Builder::new().name(format!("rank {number} errors"));
            rank.listener = Some(thread.spawn(move || keep_last(errors, &said))?);
        }
        Ok(rank)
    }

    /// Writes a frame, which fits into the pipe. A pipe that broke is seen by the end of the answers.
    pub(super) fn send(&mut self, frame: &[u8]) {
        if let Some(input) = &mut self.input
            && input.write_all(frame).and_then(|()| input.flush()).is_err()
        {
            self.input = None;
        }
    }

    /// The last lines of its standard error.
    pub(super) fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = said.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().rev().take(SAID_LINES).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Its exit status in words, now that its answers ended.
    pub(super) fn how_it_ended(&mut self) -> String {
        self.input = None;
        let end = Instant::now() + ENDING;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.hear_out(end);
                    return status.to_string();
                }
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return "its output closed".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Waits until all that it said was read. What it started itself may hold the pipe open for longer.
    fn hear_out(&self, until: Instant) {
        while self.listener.as_ref().is_some_and(|listener| !listener.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and what it started.
    pub(super) fn kill(&mut self) {
        self.input = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            #[cfg(unix)]
            if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = self.child.kill();
        }
        // It was killed, which nothing can put off, so this does not wait for long.
        let _ = self.child.wait();
    }
}

/// What a rank finds in its environment beside what is there.
fn environment(launch: &Launch, number: usize) -> Vec<(&'static str, String)> {
    let number = number.to_string();
    vec![
        ("RANK", number.clone()),
        ("LOCAL_RANK", number),
        ("WORLD_SIZE", launch.ranks.to_string()),
        ("TEMPLAR_RANKS_FOLDER", launch.folder.to_string_lossy().into_owned()),
        // PyTorch would take all cores in every rank.
        ("OMP_NUM_THREADS", launch.threads.max(1).to_string()),
        // Threads that spin while they wait take a busy machine's cores from each other: measured, products took 46 ms
        // on two spinning threads of a busy machine, 31 ms on two that sleep.
        ("OMP_WAIT_POLICY", "PASSIVE".to_owned()),
        // glibc keeps freed blocks: with these a rank's peak fell from 2.6 to 1.7 GB for 100 million parameters.
        ("MALLOC_MMAP_THRESHOLD_", "1048576".to_owned()),
        ("MALLOC_TRIM_THRESHOLD_", "1048576".to_owned()),
        ("PYTORCH_ALLOC_CONF", "expandable_segments:True".to_owned()),
    ]
}

fn listen(output: &mut impl Read, number: usize, heard: &SyncSender<(usize, Heard)>) {
    loop {
        let (what, is_last) = match frame::read(output) {
            Ok(Some(answer)) => (Heard::Answer(answer), false),
            Ok(None) => (Heard::End, true),
            Err(error) => (Heard::Broken(error), true),
        };
        if heard.send((number, what)).is_err() || is_last {
            return;
        }
    }
}

fn keep_last(mut errors: impl Read, said: &Mutex<VecDeque<u8>>) {
    let mut bytes = [0; 1024];
    loop {
        match errors.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend(&bytes[..count]);
                let extra = said.len().saturating_sub(SAID_BYTES);
                said.drain(..extra);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
