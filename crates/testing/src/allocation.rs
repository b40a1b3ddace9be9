//! How much memory something takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts the bytes in use and their maximum. A test program that measures memory names
/// it as its own:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: templar_testing::CountingAllocator = templar_testing::CountingAllocator;
///
/// assert!(templar_testing::peak_bytes_of(|| vec![0u8; 1000]) >= 1000);
/// ```
pub struct CountingAllocator;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    let in_use = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(in_use, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; only counters change beside it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The bytes in use.
pub fn bytes_in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// The most bytes that `work` had in use at once, beyond those in use before. Work of other threads is counted as well.
pub fn peak_bytes_of<T>(work: impl FnOnce() -> T) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    assert!(before > 0, "nothing is counted: declare `CountingAllocator` as the test's #[global_allocator]");
    PEAK.store(before, Ordering::Relaxed);
    drop(work());
    PEAK.load(Ordering::Relaxed).saturating_sub(before)
}
