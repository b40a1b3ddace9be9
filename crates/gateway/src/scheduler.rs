//! Which texts are written next: one thread has the engines, and adds a token to each running text in turn.
//!
//! Texts wait in a lane for each client. A free place goes to the client with the fewest running texts, of equals to
//! the one after the client that came last, so that nobody's long queue delays another's first text. Texts join and
//! leave between two tokens. Of new prompts one piece is read in each round, so that a long prompt does not stop the
//! others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use templar_engine::{EngineError, Finish, GenerateOptions, Generation, TokenLogprobs};
use tokio::sync::mpsc;

use crate::Served;
use crate::client::Client;

/// Bounds of the scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Texts that are written at once.
    pub running: usize,
    /// Texts that wait, of all clients.
    pub waiting: usize,
    /// Texts that wait, of one client.
    pub waiting_per_client: usize,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self { running: 16, waiting: 256, waiting_per_client: 64 }
    }
}

/// What happens to a text of a request.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Which text of the request.
    pub index: usize,
    pub what: Progress,
}

/// What happens to a text.
#[derive(Debug)]
pub(crate) enum Progress {
    Token(u32, Option<TokenLogprobs>),
    End(Finish),
    Failed(EngineError),
}

/// A text to write.
pub(crate) struct Job {
    pub model: Arc<Served>,
    pub prompt: Arc<[u32]>,
    pub options: GenerateOptions,
    pub index: usize,
    /// Has room for everything that can come of the request's texts, so that sending never waits.
    pub pieces: mpsc::Sender<Piece>,
    /// Set by the reader when it has enough of this text.
    pub has_enough: Arc<AtomicBool>,
}

/// Why texts are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many texts wait.
    Full,
    /// Too many texts of this client wait.
    ClientFull,
    /// The scheduler stops, or its thread has failed.
    Stopped,
}

#[derive(Default)]
struct Queue {
    lanes: BTreeMap<Client, VecDeque<Job>>,
    waiting: usize,
    /// Texts that run, for whoever looks.
    running: usize,
    /// The client whose text began last.
    last: Option<Client>,
    is_stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    options: SchedulerOptions,
    /// Tokens written since the start.
    tokens: AtomicU64,
    /// Passes of an engine that wrote tokens.
    passes: AtomicU64,
}

/// What the scheduler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Texts that run.
    pub running: usize,
    /// Texts that wait.
    pub waiting: usize,
    /// Tokens written since the start.
    pub tokens: u64,
    /// Passes of an engine that wrote them.
    pub passes: u64,
}

/// The scheduler and its thread, which ends when this is dropped.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A text that is written.
struct Running {
    client: Client,
    job: Job,
    generation: Generation,
    /// Whether it had its first pass, which reads its prompt.
    has_begun: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheduler {
    pub(crate) fn start(options: SchedulerOptions) -> std::io::Result<Self> {
        let (queue, tokens, passes) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { queue, changed: Condvar::new(), options, tokens, passes });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("gateway-engine".to_owned()).spawn(move || {
            // Also where the thread panics: nobody may wait for it then.
            let _stopped = StopOnDrop(Arc::clone(&own));
            write_all(&own);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the texts of a request, all or none.
    pub(crate) fn submit(&self, client: Client, jobs: Vec<Job>) -> Result<(), Refused> {
        let mut queue = self.shared.lock();
        queue.drop_left();
        let own = queue.lanes.get(&client).map_or(0, VecDeque::len);
        if queue.is_stopped {
            return Err(Refused::Stopped);
        }
        if queue.waiting + jobs.len() > self.shared.options.waiting {
            return Err(Refused::Full);
        }
        if own + jobs.len() > self.shared.options.waiting_per_client {
            return Err(Refused::ClientFull);
        }
        queue.waiting += jobs.len();
        queue.lanes.entry(client).or_default().extend(jobs);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// What it does now.
    pub(crate) fn load(&self) -> Load {
        let mut queue = self.shared.lock();
        queue.drop_left();
        let (running, waiting) = (queue.running, queue.waiting);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Load { running, waiting, tokens: read(&self.shared.tokens), passes: read(&self.shared.passes) }
    }

    /// Ends all texts; what waits is dropped.
    pub(crate) fn stop(&self) {
        stop(&self.shared);
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        stop(&self.0);
    }
}

fn stop(shared: &Shared) {
    let mut queue = shared.lock();
    queue.is_stopped = true;
    (queue.waiting, queue.running) = (0, 0);
    queue.lanes.clear();
    shared.changed.notify_all();
}

impl Queue {
    /// Drops the texts that nobody waits for any more.
    fn drop_left(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.retain(|job| !job.is_left()));
        self.lanes.retain(|_, lane| !lane.is_empty());
        self.waiting = self.lanes.values().map(VecDeque::len).sum();
    }

    /// The next text to begin, where one waits; `load` is how many texts of a client run.
    fn next(&mut self, load: impl Fn(&Client) -> usize) -> Option<(Client, Job)> {
        let is_after_last = |client: &Client| self.last.as_ref().is_none_or(|last| client > last);
        let client = self.lanes.keys().min_by_key(|client| (load(client), !is_after_last(client)))?.clone();
        let lane = self.lanes.get_mut(&client)?;
        let job = lane.pop_front();
        if lane.is_empty() {
            self.lanes.remove(&client);
        }
        self.waiting -= usize::from(job.is_some());
        self.last = Some(client.clone());
        Some((client, job?))
    }
}

impl Job {
    /// Whether nobody reads this text any more.
    fn is_left(&self) -> bool {
        self.pieces.is_closed() || self.has_enough.load(Ordering::Relaxed)
    }

    fn tell(&self, what: Progress) {
        // There is room for all pieces; a reader that has gone is noticed before the next pass.
        let _ = self.pieces.try_send(Piece { index: self.index, what });
    }
}

/// Writes texts until the scheduler stops.
fn write_all(shared: &Shared) {
    let mut running: Vec<Running> = Vec::new();
    while admit(shared, &mut running) {
        running.retain(|text| !text.job.is_left());
        let mut models: Vec<Arc<Served>> = Vec::new();
        for text in &running {
            if !models.iter().any(|model| Arc::ptr_eq(model, &text.job.model)) {
                models.push(Arc::clone(&text.job.model));
            }
        }
        for model in models {
            let tokens = advance(&model, &mut running);
            shared.tokens.fetch_add(tokens, Ordering::Relaxed);
            shared.passes.fetch_add(u64::from(tokens > 0), Ordering::Relaxed);
        }
        running.retain(|text| text.generation.finish().is_none());
    }
}

/// Begins texts while there are places; waits where there is nothing to do. False when the scheduler stops.
fn admit(shared: &Shared, running: &mut Vec<Running>) -> bool {
    let mut queue = shared.lock();
    loop {
        if queue.is_stopped {
            return false;
        }
        while running.len() < shared.options.running {
            let load = |client: &Client| running.iter().filter(|text| text.client == *client).count();
            let Some((client, job)) = queue.next(load) else { break };
            if !job.is_left() {
                // The lock is held while its memory is allocated, which is short beside a token.
                running.extend(begin(client, job));
            }
        }
        queue.running = running.len();
        if !running.is_empty() {
            return true;
        }
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn begin(client: Client, job: Job) -> Option<Running> {
    let begun = job.model.engine().generator().and_then(|generator| generator.begin(&job.prompt, &job.options));
    match begun {
        Ok(generation) if generation.finish().is_none() => Some(Running { client, job, generation, has_begun: false }),
        Ok(generation) => {
            job.tell(Progress::End(generation.finish().unwrap_or(Finish::Length)));
            None
        }
        Err(error) => {
            job.tell(Progress::Failed(error));
            None
        }
    }
}

/// One round of a model's texts: a piece of the first unread prompt, and a token for each text whose prompt is read.
/// Returns the number of tokens written.
fn advance(model: &Arc<Served>, running: &mut [Running]) -> u64 {
    let mut engine = model.engine();
    let mut own: Vec<&mut Running> = running.iter_mut().filter(|text| Arc::ptr_eq(&text.job.model, model)).collect();
    let generator = match engine.generator() {
        Ok(generator) => generator,
        Err(error) => {
            own.into_iter().for_each(|text| text.fail(&error));
            return 0;
        }
    };
    if let Some(text) = own.iter_mut().find(|text| !text.has_begun) {
        match generator.read_ahead(&mut text.generation) {
            Ok(has_more) => text.has_begun = !has_more,
            Err(error) => text.fail(&error),
        }
    }
    own.retain(|text| text.has_begun && text.generation.finish().is_none());
    let advanced = {
        let mut generations: Vec<&mut Generation> = own.iter_mut().map(|text| &mut text.generation).collect();
        generator.advance(&mut generations)
    };
    match advanced {
        Ok(tokens) => {
            own.iter().zip(&tokens).for_each(|(text, token)| text.tell(*token));
            tokens.iter().flatten().count() as u64
        }
        Err(error) => {
            own.into_iter().for_each(|text| text.fail(&error));
            0
        }
    }
}

impl Running {
    /// Tells the reader of a token, and of the end.
    fn tell(&self, token: Option<u32>) {
        if let Some(token) = token {
            self.job.tell(Progress::Token(token, self.generation.logprobs().last().cloned()));
        }
        if let Some(finish) = self.generation.finish() {
            self.job.tell(Progress::End(finish));
        }
    }

    fn fail(&mut self, error: &EngineError) {
        self.generation.stop();
        self.job.tell(Progress::Failed(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Source;
    use crate::served::tests::tiny_model;
    use std::collections::BTreeMap;

    fn client(number: u8) -> Client {
        Client::Address(Source::of([192, 0, 2, number].into()))
    }

    fn job(index: usize) -> (Job, mpsc::Receiver<Piece>) {
        let (pieces, receiver) = mpsc::channel(64);
        let (model, options) = (tiny_model(), GenerateOptions { max_new_tokens: 20, ..Default::default() });
        (Job { model, prompt: [1, 2].into(), options, index, pieces, has_enough: Arc::default() }, receiver)
    }

    #[test]
    fn a_free_place_goes_to_whoever_has_least_and_in_turn() {
        let mut queue = Queue::default();
        let mut receivers = Vec::new();
        for (owner, count) in [(1, 4), (2, 2), (3, 1)] {
            for index in 0..count {
                let (job, receiver) = job(index);
                receivers.push(receiver);
                queue.lanes.entry(client(owner)).or_default().push_back(job);
                queue.waiting += 1;
            }
        }
        let mut order = Vec::new();
        let mut running: BTreeMap<Client, usize> = BTreeMap::new();
        while let Some((owner, job)) = queue.next(|client| running.get(client).copied().unwrap_or(0)) {
            *running.entry(owner.clone()).or_default() += 1;
            order.push((owner, job.index));
        }
        let wanted = [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)];
        assert_eq!(order, wanted.map(|(owner, index)| (client(owner), index)));
        assert_eq!((queue.waiting, queue.lanes.len()), (0, 0));
        // Where nobody has a running text, the turn goes round.
        let mut order = Vec::new();
        for owner in [3, 1, 2, 2] {
            let (job, receiver) = job(0);
            receivers.push(receiver);
            queue.lanes.entry(client(owner)).or_default().push_back(job);
        }
        queue.last = Some(client(1));
        queue.waiting = 4;
        while let Some((owner, _)) = queue.next(|_| 0) {
            order.push(owner);
        }
        assert_eq!(order, [2, 3, 1, 2].map(client));
    }

    #[test]
    fn the_queue_is_bounded_and_who_left_takes_no_place() {
        // Nothing runs, so that everything waits.
        let options = SchedulerOptions { running: 0, waiting: 3, waiting_per_client: 2 };
        let scheduler = Scheduler::start(options).unwrap();
        let submit = |owner: u8, count: usize| {
            let (jobs, receivers): (Vec<Job>, Vec<_>) = (0..count).map(job).unzip();
            scheduler.submit(client(owner), jobs).map(|()| receivers)
        };
        assert_eq!(submit(1, 3).unwrap_err(), Refused::ClientFull);
        let first = submit(1, 2).unwrap();
        assert_eq!(submit(2, 2).unwrap_err(), Refused::Full);
        let _second = submit(2, 1).unwrap();
        assert_eq!(scheduler.load(), Load { running: 0, waiting: 3, tokens: 0, passes: 0 });
        drop(first);
        assert_eq!(scheduler.load().waiting, 1);
        let _third = submit(1, 2).unwrap();
        scheduler.stop();
        assert_eq!(submit(3, 1).unwrap_err(), Refused::Stopped);
    }

    #[test]
    fn texts_of_all_clients_are_those_of_each_alone() {
        let scheduler = Scheduler::start(SchedulerOptions::default()).unwrap();
        let options = GenerateOptions { max_new_tokens: 20, ..Default::default() };
        let alone = tiny_model().engine().generator().unwrap().generate(&[1, 2], &options, &mut |_| true).unwrap();
        let mut receivers = Vec::new();
        for owner in 1..=3 {
            let (jobs, receiver): (Vec<Job>, Vec<_>) = (0..4).map(job).unzip();
            receivers.extend(receiver);
            scheduler.submit(client(owner), jobs).unwrap();
        }
        for mut receiver in receivers {
            let mut tokens = Vec::new();
            let finish = loop {
                match receiver.blocking_recv().unwrap().what {
                    Progress::Token(token, None) => tokens.push(token),
                    Progress::End(finish) => break finish,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((&tokens, finish), (&alone, Finish::Length));
        }
    }

    #[test]
    fn a_failing_text_is_told_and_others_go_on() {
        let scheduler = Scheduler::start(SchedulerOptions::default()).unwrap();
        let (mut broken, mut told) = job(0);
        broken.prompt = [u32::MAX].into();
        let (good, mut receiver) = job(1);
        scheduler.submit(client(1), vec![broken, good]).unwrap();
        assert!(matches!(told.blocking_recv().unwrap().what, Progress::Failed(_)));
        assert!(matches!(receiver.blocking_recv().unwrap().what, Progress::Token(..)));
    }
}
