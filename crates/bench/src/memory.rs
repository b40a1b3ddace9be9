//! The memory of this process, as Linux reports it; other systems report none.

use std::fs;
use std::time::Instant;

/// What a piece of work took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    pub seconds: f64,
    /// Bytes that the process held at the peak beyond what it held before; none where the system does not report them.
    pub peak_bytes: Option<u64>,
}

/// A line of `/proc/self/status` in bytes, such as `VmHWM:`, the most memory that the process has held.
pub(crate) fn status_bytes(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Does a piece of work and measures what it takes. What the allocator had kept of earlier work is not seen as new
/// memory.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, Effort) {
    let before = restart_peak();
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    let peak_bytes = before.and_then(|before| Some(status_bytes("VmHWM:")?.saturating_sub(before)));
    (result, Effort { seconds, peak_bytes })
}

/// Lets the peak start from what is held now, and gives that.
fn restart_peak() -> Option<u64> {
    // Documented in proc(5): 5 resets the peak of this process alone.
    fs::write("/proc/self/clear_refs", "5").ok()?;
    status_bytes("VmRSS:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_is_that_of_the_work_alone() {
        let (length, effort) = measured(|| std::hint::black_box(vec![7u8; 64 << 20]).len());
        // A container may not let a process restart its peak.
        let Some(peak) = effort.peak_bytes else { return };
        assert!(peak >= length as u64 / 2, "{peak}");
    }
}
