//! Flags, pipes, limits, machine-readable output.
