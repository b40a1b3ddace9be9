//! How much memory this machine has for this process, and whether something fits into it.

use std::fmt;
use std::sync::OnceLock;

/// What the program itself takes besides a model: its code, stacks, the text at hand, the allocator's reserve.
const RESERVE: u64 = 64 << 20;

/// What sets the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryBound {
    /// What is built into the machine, with its swap.
    Machine,
    /// The control group of this process, such as a container's limit.
    ControlGroup,
    /// The address space that this process may have, `ulimit -v`.
    AddressSpace,
    /// The data that this process may have, `ulimit -d`.
    Data,
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "this machine has",
            Self::ControlGroup => "the container or control group of this process may use",
            Self::AddressSpace => "this process may use (`ulimit -v`)",
            Self::Data => "this process may use (`ulimit -d`)",
        })
    }
}

/// Memory under one bound, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRoom {
    /// What sets the limit.
    pub bound: MemoryBound,
    /// All that there may be.
    pub total: u64,
    /// What of it is in use by no process.
    pub free: u64,
}

/// More memory is needed than there is; whoever chose the size is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs {} of memory, and {}", bytes(*needed), has(room))]
pub struct TooLittleMemory {
    /// What needs the memory, such as "training the preset 72b".
    pub what: String,
    /// Bytes that it needs.
    pub needed: u64,
    /// The bound that it does not fit into.
    pub room: MemoryRoom,
}

fn has(room: &MemoryRoom) -> String {
    let MemoryRoom { bound, total, free } = *room;
    let some = format!("{bound} {}", bytes(total));
    if free < total { format!("{some}, of which {} are free", bytes(free)) } else { some }
}

/// Bytes for people, in decimal units as `model presets` has them.
fn bytes(bytes: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let value = bytes as f64;
    match UNITS.into_iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", value / unit),
        None => format!("{bytes} bytes"),
    }
}

/// Checks that this many bytes fit into the memory of this machine, before they are allocated. Where a system does not
/// say what it has, everything fits.
pub fn check_memory(what: impl Into<String>, needed: u64) -> Result<(), TooLittleMemory> {
    check(&memory_rooms(), what, needed)
}

fn check(rooms: &[MemoryRoom], what: impl Into<String>, needed: u64) -> Result<(), TooLittleMemory> {
    let wanted = needed.saturating_add(RESERVE.min(needed));
    // The bound that is exceeded most tells most.
    match rooms.iter().filter(|room| room.free < wanted).min_by_key(|room| room.free) {
        Some(&room) => Err(TooLittleMemory { what: what.into(), needed, room }),
        None => Ok(()),
    }
}

/// The bounds of this process; empty where the system does not say.
pub fn memory_rooms() -> Vec<MemoryRoom> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_room(&text));
    let mut rooms: Vec<MemoryRoom> = machine.into_iter().chain(control_group_room()).collect();
    rooms.extend(process_rooms());
    rooms
}

/// From `/proc/meminfo`. Swap counts: a model in it is slow and lives.
fn machine_room(meminfo: &str) -> Option<MemoryRoom> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = field("MemTotal")?.saturating_add(field("SwapTotal").unwrap_or(0));
    let free = field("MemAvailable")?.saturating_add(field("SwapFree").unwrap_or(0)).min(total);
    Some(MemoryRoom { bound: MemoryBound::Machine, total, free })
}

/// The tightest limit on the way from this process's control group to the root, in both versions of the interface.
fn control_group_room() -> Option<MemoryRoom> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut found: Option<MemoryRoom> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, [limit, usage]) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current"]),
            some if some.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes"])
            }
            _ => continue,
        };
        for folder in std::path::Path::new(path).ancestors() {
            let folder = std::path::Path::new(root).join(folder.strip_prefix("/").unwrap_or(folder));
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
            // "max" and absent files are no limit; version 1 has a number near 2^63 for none.
            let Some(total) = number(limit).filter(|&total| total < 1 << 60) else { continue };
            let used = number(usage).unwrap_or(0);
            // Pages of files that can go at any time count as used.
            let statistics = read("memory.stat").unwrap_or_default();
            let cached = ["total_inactive_file ", "inactive_file "]
                .into_iter()
                .find_map(|name| statistics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()));
            let free = total.saturating_sub(used.saturating_sub(cached.unwrap_or(0)));
            if found.is_none_or(|tightest| free < tightest.free) {
                found = Some(MemoryRoom { bound: MemoryBound::ControlGroup, total, free });
            }
        }
    }
    found
}

#[cfg(unix)]
fn process_rooms() -> Vec<MemoryRoom> {
    use rustix::process::{Resource, getrlimit};
    // In kilobytes, from `/proc/self/status`; where it is missing, nothing counts as used.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let used = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.unwrap_or(0).saturating_mul(1024)
    };
    let bounds = [(MemoryBound::AddressSpace, Resource::As, "VmSize:"), (MemoryBound::Data, Resource::Data, "VmData:")];
    let room = |(bound, resource, name)| {
        let total = getrlimit(resource).current?;
        Some(MemoryRoom { bound, total, free: total.saturating_sub(used(name)) })
    };
    bounds.into_iter().filter_map(room).collect()
}

#[cfg(not(unix))]
fn process_rooms() -> Vec<MemoryRoom> {
    Vec::new()
}

/// Threads that an engine can use: more than a machine's cores only cost, and a machine has fewer than this. Each has a
/// stack and working memory of its own.
pub const MAX_THREADS: usize = 1024;

/// Cores that this process may use, at least one.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bound: MemoryBound, total: u64, free: u64) -> MemoryRoom {
        MemoryRoom { bound, total, free }
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_there_is() {
        let machine = room(MemoryBound::Machine, 24_000_000_000, 22_000_000_000);
        let limit = room(MemoryBound::AddressSpace, 12_000_000_000, 12_000_000_000);
        let text = |rooms: &[MemoryRoom], needed| check(rooms, "the preset 72b", needed).unwrap_err().to_string();
        assert_eq!(
            text(&[machine], 1_200_000_000_000),
            "the preset 72b needs 1.2 TB of memory, and this machine has 24.0 GB, of which 22.0 GB are free"
        );
        assert_eq!(
            text(&[machine, limit], 19_400_000_000),
            "the preset 72b needs 19.4 GB of memory, and this process may use (`ulimit -v`) 12.0 GB"
        );
        assert!(check(&[machine], "a", 21_900_000_000).is_ok());
        assert!(check(&[machine], "a", u64::MAX).is_err());
        assert!(check(&[], "a", u64::MAX).is_ok());
    }

    #[test]
    fn the_systems_figures_are_read_and_nonsense_is_none() {
        let text = "MemTotal:       24 kB\nMemFree: 1 kB\nMemAvailable:   10 kB\nSwapTotal: 2 kB\nSwapFree: 1 kB\n";
        assert_eq!(machine_room(text), Some(room(MemoryBound::Machine, 26 << 10, 11 << 10)));
        for text in ["", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB", "MemTotal 1"] {
            assert_eq!(machine_room(text), None, "{text}");
        }
        for room in memory_rooms() {
            assert!(room.free <= room.total, "{room:?}");
        }
        assert!(cores() >= 1);
    }
}
