//! Helper threads that join the calling thread's work for a moment at a time.
//!
//! A training step has some hundred short pieces of parallel work, and waking a sleeping thread costs as much as some
//! of them: helpers look out for work for a little before they sleep. A helper that comes late, because the machine has
//! other work, is not waited for: the caller closes the job when nothing is left of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};

/// How often a thread looks before it sleeps: some 20 to 50 microseconds.
const LOOKS: usize = 500;

/// In [`Shared::state`]: the number of helpers at work, a bit for "open to helpers", and above it the job's number.
const OPEN: u64 = 1 << 16;
const JOB: u64 = OPEN << 1;
const AT_WORK: u64 = OPEN - 1;

/// A job: what each helper does, and who waits for its end.
struct Job<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    caller: Thread,
    has_panicked: AtomicBool,
}

struct Shared {
    state: AtomicU64,
    /// The [`Job`] of the current number, while it is open or a helper is at work.
    job: AtomicPtr<Job<'static>>,
    is_asleep: Vec<AtomicBool>,
    is_ending: AtomicBool,
}

/// Helper threads; they end when this is dropped.
pub(super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// This many helpers.
    pub(super) fn new(helpers: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: AtomicPtr::new(std::ptr::null_mut()),
            is_asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            is_ending: AtomicBool::new(false),
        });
        let mut crew = Self { shared, threads: Vec::new() };
        for helper in 0..helpers {
            let shared = Arc::clone(&crew.shared);
            let builder = thread::Builder::new().name(format!("engine-{}", helper + 1));
            crew.threads.push(builder.spawn(move || shared.help(helper))?);
        }
        Ok(crew)
    }

    /// Calls `work(0)` here, and at the same time `work(1)`, `work(2)`, .. on the helpers that come in time, of whom
    /// `wanted` are woken; returns when all that began are done. `work` must see for itself that everything gets done.
    ///
    /// `&mut`, since there is one job at a time.
    pub(super) fn run(&mut self, wanted: usize, work: &(dyn Fn(usize) + Sync)) {
        let job = Job { work, caller: thread::current(), has_panicked: AtomicBool::new(false) };
        self.shared.job.store((&raw const job).cast_mut().cast(), SeqCst);
        self.shared.state.fetch_add(JOB | OPEN, SeqCst);
        for (is_asleep, thread) in self.shared.is_asleep.iter().zip(&self.threads).take(wanted) {
            if is_asleep.swap(false, SeqCst) {
                thread.thread().unpark();
            }
        }
        // Closes the job and waits for the helpers even where `work` panics: they hold a reference to it.
        let closing = Closing(&self.shared);
        work(0);
        drop(closing);
        if job.has_panicked.load(SeqCst) {
            panic!("a thread of the engine panicked; its message stands above");
        }
    }
}

/// Closes the open job when it is dropped.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, SeqCst);
        let mut looks = 0;
        while self.0.state.load(SeqCst) & AT_WORK != 0 {
            looks += 1;
            // The last helper wakes us. A wake-up left over from before ends a sleep early: we look again.
            if looks < LOOKS { std::hint::spin_loop() } else { thread::park() }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A helper's panic was handed on by `run`.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The life of a helper.
    fn help(&self, helper: usize) {
        let mut last = 0;
        while let Some(state) = self.next_job(helper, last) {
            if self.state.compare_exchange(state, state + 1, SeqCst, SeqCst).is_err() {
                // Closed, or another helper came in: look again.
                continue;
            }
            last = state / JOB;
            // SAFETY: the job was open when we were counted in, and its caller waits until we are counted out.
            let job = unsafe { &*self.job.load(SeqCst) };
            if catch_unwind(AssertUnwindSafe(|| (job.work)(helper + 1))).is_err() {
                job.has_panicked.store(true, SeqCst);
            }
            let caller = job.caller.clone();
            self.state.fetch_sub(1, SeqCst);
            caller.unpark();
        }
    }

    /// Waits for an open job after number `last`; `None` at the end of the crew.
    fn next_job(&self, helper: usize, last: u64) -> Option<u64> {
        let is_next = |state: u64| state & OPEN != 0 && state / JOB > last;
        loop {
            for _ in 0..LOOKS {
                let state = self.state.load(SeqCst);
                if is_next(state) {
                    return Some(state);
                }
                std::hint::spin_loop();
            }
            if self.is_ending.load(SeqCst) {
                return None;
            }
            // Either we see the job that is opened after this, or its caller sees that we are asleep.
            self.is_asleep[helper].store(true, SeqCst);
            if !is_next(self.state.load(SeqCst)) && !self.is_ending.load(SeqCst) {
                thread::park();
            }
            self.is_asleep[helper].store(false, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_job_is_over_when_run_returns() {
        for helpers in [1, 2, 4] {
            let mut crew = Crew::new(helpers).unwrap();
            for job in 0..2000 {
                let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
                crew.run(helpers, &|_| {
                    while next.fetch_add(1, SeqCst) < 20 {
                        done.fetch_add(1, SeqCst);
                    }
                });
                assert_eq!(done.load(SeqCst), 20);
                if job % 500 == 0 {
                    // Long enough for the helpers to fall asleep.
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn a_panic_of_a_helper_reaches_the_caller_and_the_crew_lives_on() {
        let mut crew = Crew::new(1).unwrap();
        let began = AtomicBool::new(false);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            crew.run(1, &|slot| {
                if slot == 1 {
                    began.store(true, SeqCst);
                    panic!("on purpose");
                }
                while !began.load(SeqCst) {
                    thread::yield_now();
                }
            });
        }));
        assert!(failed.is_err());
        let helped = AtomicBool::new(false);
        crew.run(1, &|slot| {
            helped.fetch_or(slot == 1, SeqCst);
            while !helped.load(SeqCst) {
                thread::yield_now();
            }
        });
    }
}
