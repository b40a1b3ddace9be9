//! Whether all nodes of a network fit into the memory of this machine.

use crate::SetupError;
use templar_base::Genesis;
use templar_record::MemoryOutlook;

/// Compares what the nodes of a run of this shape need with what this machine has, before anything is made.
pub(crate) fn check(preset: &str, genesis: &Genesis, miners: usize, validators: usize) -> Result<(), SetupError> {
    let of_node = MemoryOutlook::of(genesis);
    let of_miners = of_node.miner_bytes.saturating_mul(miners as u64);
    let needed = of_node.validator_bytes.saturating_mul(validators as u64).saturating_add(of_miners);
    match available() {
        Some(available) if needed > available => {
            Err(SetupError::TooLittleMemory { preset: preset.to_owned(), miners, validators, needed, available })
        }
        _ => Ok(()),
    }
}

/// Bytes that processes may still take: what the system has free, with its swap, and within the limit of the address
/// space; none where the system does not say.
fn available() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let free = field("MemAvailable")?.saturating_add(field("SwapFree").unwrap_or(0));
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let limit = limit.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Some(limit.map_or(free, |limit| free.min(limit)))
}
