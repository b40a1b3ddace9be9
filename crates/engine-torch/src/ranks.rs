//! The ranks: processes that PyTorch runs in, started, asked and watched together.
//!
//! Every request goes to every rank, and every rank answers. After anything else than an answer in time from each of
//! them all are killed: a rank alone would wait for the others in a collective operation.

mod rank;

use crate::TorchError;
use crate::error::LAST_WORDS;
use crate::frame;
use crate::options::Deadlines;
use rank::{Heard, Rank};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Answers of all ranks that wait to be looked at; a rank that sends more waits.
const QUEUE: usize = 64;
/// The version of the worker's protocol.
const PROTOCOL: u64 = 1;
/// What the ranks have left for an answer once one of them refused a request, since they may wait for that one.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(5);
/// How long ranks may take to end when they are asked to.
const CLOSING: Duration = Duration::from_secs(3);

/// How to start the ranks.
pub(crate) struct Launch {
    pub python: PathBuf,
    pub script: PathBuf,
    /// The folder of the exchange, which the first rank removes if this process is killed.
    pub folder: PathBuf,
    pub ranks: usize,
    /// Threads of each.
    pub threads: usize,
    pub deadlines: Deadlines,
}

/// What the ranks said when they were ready.
pub(crate) struct Hello {
    /// PyTorch's version.
    pub torch: String,
}

/// All ranks of an engine.
pub(crate) struct Ranks {
    members: Vec<Rank>,
    heard: Receiver<(usize, Heard)>,
    next_id: u64,
    /// Why they are gone.
    gone: Option<String>,
}

impl Ranks {
    /// Starts them, and waits until each has loaded PyTorch.
    pub(crate) fn start(launch: &Launch) -> Result<(Self, Hello), TorchError> {
        let (sender, heard) = sync_channel(QUEUE);
        let mut ranks = Self { members: Vec::new(), heard, next_id: 0, gone: None };
        for number in 0..launch.ranks {
            let started = Rank::start(launch, number, sender.clone());
            let no_python = |source| TorchError::NoPython { python: launch.python.clone(), source };
            ranks.members.push(started.map_err(no_python)?);
        }
        let hello =
            match ranks.collect("loading PyTorch", launch.deadlines.start, |answer| answer.get("hello").is_some()) {
                Ok(hello) => hello,
                Err(error) => return Err(no_torch(launch, error)),
            };
        let text = |name: &str| hello[0].get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(reason) = text("missing") {
            ranks.kill("they have no PyTorch");
            return Err(TorchError::NoTorch { python: launch.python.clone(), reason });
        }
        if hello.iter().any(|hello| hello["hello"] != json!(PROTOCOL)) {
            return Err(ranks.broken(0, "loading PyTorch", "it speaks another version of the protocol".to_owned()));
        }
        Ok((ranks, Hello { torch: text("torch").unwrap_or_default() }))
    }

    /// Asks all ranks, and gives what each answers, in their order. `doing` says in errors what was waited for.
    pub(crate) fn ask(
        &mut self,
        doing: &'static str,
        deadline: Duration,
        mut request: Value,
    ) -> Result<Vec<Value>, TorchError> {
        if let Some(reason) = &self.gone {
            return Err(TorchError::Gone { reason: reason.clone() });
        }
        self.next_id += 1;
        let id = json!(self.next_id);
        request["id"] = id.clone();
        let frame = frame::encode(&request).ok_or(TorchError::RequestTooLong)?;
        for member in &mut self.members {
            // A rank that does not read is seen by its silence, or by the end of its answers.
            member.send(&frame);
        }
        let answers = self.collect(doing, deadline, |answer| answer["id"] == id)?;
        answers.into_iter().map(|mut answer| Ok(answer["done"].take())).collect()
    }

    /// An answer of each rank for which `is_one` holds. A refusal by all is given back; anything else ends the ranks.
    fn collect(
        &mut self,
        doing: &'static str,
        deadline: Duration,
        is_one: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>, TorchError> {
        let mut answers: Vec<Option<Value>> = self.members.iter().map(|_| None).collect();
        let mut end = Instant::now() + deadline;
        let mut refused: Option<(usize, String)> = None;
        while let Some(missing) = answers.iter().position(Option::is_none) {
            let (rank, heard) = match self.heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(match refused {
                        Some((rank, reason)) => self.failed(rank, doing, reason),
                        None => self.silent(missing, doing, deadline),
                    });
                }
            };
            let answer = match heard {
                Heard::Answer(answer) => answer,
                Heard::Broken(error) => return Err(self.broken(rank, doing, error.to_string())),
                Heard::End => return Err(self.ended(rank, doing)),
            };
            if let Some(reason) = answer.get("failed").and_then(Value::as_str) {
                return Err(self.failed(rank, doing, reason.to_owned()));
            }
            if !is_one(&answer) || answers[rank].is_some() {
                let shown: String = answer.to_string().chars().take(200).collect();
                return Err(self.broken(rank, doing, format!("it answered {shown}")));
            }
            if let Some(reason) = answer.get("refused").and_then(Value::as_str) {
                refused.get_or_insert_with(|| (rank, reason.to_owned()));
                end = end.min(Instant::now() + AFTER_A_REFUSAL);
            }
            answers[rank] = Some(answer);
        }
        let answers: Vec<Value> = answers.into_iter().flatten().collect();
        match refused {
            Some((_, reason)) if answers.iter().all(|answer| answer.get("refused").is_some()) => {
                Err(TorchError::Refused { doing, reason })
            }
            // Some did what this one refused: their states differ.
            Some((rank, reason)) => Err(self.failed(rank, doing, reason)),
            None => Ok(answers),
        }
    }

    fn silent(&mut self, rank: usize, doing: &'static str, deadline: Duration) -> TorchError {
        let said = self.members[rank].said();
        let error = TorchError::Silent { rank, doing, seconds: deadline.as_secs(), said };
        self.kill(&error.to_string());
        error
    }

    fn ended(&mut self, rank: usize, doing: &'static str) -> TorchError {
        let how = self.members[rank].how_it_ended();
        let error = TorchError::Ended { rank, doing, how, said: self.members[rank].said() };
        self.kill(&error.to_string());
        error
    }

    fn failed(&mut self, rank: usize, doing: &'static str, reason: String) -> TorchError {
        let error = TorchError::Failed { rank, doing, reason, said: self.members[rank].said() };
        self.kill(&error.to_string());
        error
    }

    /// Ends the ranks because of an answer that cannot be.
    pub(crate) fn broken(&mut self, rank: usize, doing: &'static str, what: String) -> TorchError {
        let error = TorchError::Protocol { rank, doing, what };
        self.kill(&error.to_string());
        error
    }

    /// Ends all ranks.
    fn kill(&mut self, reason: &str) {
        // Without what a rank wrote, which was reported once.
        let reason = reason.split(LAST_WORDS).next().unwrap_or_default();
        self.gone.get_or_insert_with(|| reason.to_owned());
        for member in &mut self.members {
            member.kill();
        }
    }

    /// Why they are gone, if so.
    pub(crate) fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Process ids, for tests that kill one.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.members.iter().map(Rank::process_id).collect()
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        if self.gone.is_none()
            && let Some(frame) = frame::encode(&json!({"do": "close"}))
        {
            for member in &mut self.members {
                member.send(&frame);
            }
            let end = Instant::now() + CLOSING;
            while Instant::now() < end && !self.members.iter_mut().all(Rank::has_ended) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill("the engine was closed");
    }
}

/// What an end before the first answer means: this is not a Python that the worker runs in.
fn no_torch(launch: &Launch, error: TorchError) -> TorchError {
    match error {
        TorchError::Ended { how, said, .. } => {
            let last = said.trim().lines().last().map_or(how, str::to_owned);
            TorchError::NoTorch { python: launch.python.clone(), reason: last }
        }
        other => other,
    }
}
