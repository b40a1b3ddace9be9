//! Feeds a decoder the files of its corpus, while the allocator counts. Every crate's test of its decoders includes this.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts what is out and the most that ever was.
struct Counting;

static OUT: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only counters are moved beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let out = OUT.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(out, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        OUT.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory in bytes that `work` had at once beyond what was there before.
pub fn most_bytes_of<T>(work: impl FnOnce() -> T) -> usize {
    let before = OUT.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    drop(work());
    MOST.load(Ordering::Relaxed).saturating_sub(before)
}

/// A decoder, and the most memory in bytes that it may take: so much, and so much for each byte that it is given.
pub struct Decoder {
    pub name: &'static str,
    pub decode: fn(&[u8]),
    pub most_bytes: usize,
    pub most_bytes_per_byte: usize,
}

/// Decodes every file of `tests/corpus/<name>/` of the crate in `root`, whole and cut short. Call it from the only test
/// of its program: what another one allocates would be counted as well.
pub fn replay(root: &str, decoders: &[Decoder]) {
    for decoder in decoders {
        let folder = Path::new(root).join("tests/corpus").join(decoder.name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} has no file", folder.display());
        // What is made once belongs to no input.
        (decoder.decode)(&[]);
        for path in paths {
            let bytes = std::fs::read(&path).unwrap();
            let lengths = [bytes.len(), bytes.len().saturating_sub(1), bytes.len() / 2, bytes.len() / 3];
            for length in lengths {
                let used = most_bytes_of(|| (decoder.decode)(&bytes[..length]));
                let most = decoder.most_bytes + length * decoder.most_bytes_per_byte;
                assert!(used <= most, "{}: {used} bytes over {most} for {length} of {}", decoder.name, path.display());
            }
        }
    }
}
