//! The engine's own threads, and memory that several of them write to.

use super::crew::Crew;
use super::memory::Aligned;
use crate::EngineError;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A thread's working memory; it only grows.
#[derive(Default)]
pub(crate) struct Scratch {
    buffers: [Aligned; 6],
}

impl Scratch {
    /// Six buffers of at least these lengths, with whatever was left in them.
    pub(crate) fn take(&mut self, lengths: [usize; 6]) -> [&mut [f32]; 6] {
        let mut lengths = lengths.into_iter();
        self.buffers.each_mut().map(|buffer| buffer.at_least(lengths.next().unwrap_or(0)))
    }
}

/// A fixed number of threads; the calling thread is one of them.
pub(crate) struct Pool {
    /// All but the calling thread.
    helpers: Option<Mutex<Crew>>,
    scratch: Vec<Mutex<Scratch>>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Result<Self, EngineError> {
        let crew = || Crew::new(threads - 1).map_err(|error| EngineError::Threads(error.to_string()));
        let helpers = if threads > 1 { Some(Mutex::new(crew()?)) } else { None };
        Ok(Self { helpers, scratch: (0..threads.max(1)).map(|_| Mutex::default()).collect() })
    }

    pub(crate) fn threads(&self) -> usize {
        self.scratch.len()
    }

    /// Carries out `task(0) .. task(tasks - 1)`, each once, in any order and on any thread; returns when all are done.
    ///
    /// Who carries out which task is left to chance, hence a task's result must not depend on it. A task must not run
    /// others.
    pub(crate) fn run(&self, tasks: usize, task: impl Fn(usize, &mut Scratch) + Sync) {
        let next = AtomicUsize::new(0);
        let work = |slot: usize| {
            // A panic while a scratch was held leaves nothing in it that a later task relies on.
            let mut scratch = self.scratch[slot].lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= tasks {
                    return;
                }
                task(index, &mut scratch);
            }
        };
        match &self.helpers {
            Some(helpers) if tasks > 1 => {
                // A crew is whole after a panic, too.
                let mut helpers = helpers.lock().unwrap_or_else(PoisonError::into_inner);
                helpers.run(tasks - 1, &work);
            }
            _ => work(0),
        }
    }

    /// Splits `0..len` into pieces of `piece` (the last may be shorter) and carries out `task(start, end)` for each.
    /// The pieces depend on `piece` alone, never on the threads.
    pub(crate) fn pieces(&self, len: usize, piece: usize, task: impl Fn(usize, usize, &mut Scratch) + Sync) {
        self.run(len.div_ceil(piece), |index, scratch| task(index * piece, len.min((index + 1) * piece), scratch));
    }
}

/// A slice whose parts several tasks write to at once.
pub(crate) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]`, which may go to another thread; sharing is ruled by the contract of `part`.
unsafe impl Send for Disjoint<'_> {}
// SAFETY: as above.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The values from `start` on, `len` of them.
    ///
    /// # Safety
    /// Two parts that are alive at the same time must not overlap.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "part outside the slice");
        // SAFETY: inside the slice by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// A pointer to the value at `start`, for a task that writes a block of a matrix of `rows` rows, `stride` apart,
    /// `columns` wide.
    pub(crate) fn block(&self, start: usize, rows: usize, columns: usize, stride: usize) -> *mut f32 {
        let end = if rows == 0 { start } else { start + (rows - 1) * stride + columns };
        assert!(end <= self.len, "block outside the slice");
        // SAFETY: inside the slice (or one past its end) by the assertion.
        unsafe { self.start.add(start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_for_any_number_of_threads() {
        for threads in [1, 2, 3, 5] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 97] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, |index, _| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn pieces_cover_the_whole() {
        let pool = Pool::new(2).unwrap();
        let mut values = vec![0.0; 130];
        let shared = Disjoint::new(&mut values);
        pool.pieces(130, 64, |start, end, _| {
            // SAFETY: the pieces do not overlap.
            unsafe { shared.part(start, end - start) }.fill(1.0);
        });
        assert!(values.iter().all(|&value| value == 1.0));
    }
}
