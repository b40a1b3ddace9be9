//! How patient a bucket handle is.

use std::time::Duration;

/// How patient a bucket handle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketOptions {
    /// The longest that one call may take, retries included.
    pub deadline: Duration,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// How often a call is tried at most while the server cannot be reached; at least once.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each one, and is shortened by up to half at random so
    /// that the nodes of a network do not come back all at once.
    pub first_pause: Duration,
    /// The longest pause between two attempts.
    pub longest_pause: Duration,
    /// Objects above this size in bytes are sent in parts (S3 only).
    pub multipart_above: u64,
    /// Size of a part in bytes; AWS wants 5 MiB or more for all but the last.
    pub part_bytes: usize,
    /// How many parts of one object travel at once; with `part_bytes` it bounds the memory of a transfer.
    pub parallel_parts: usize,
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(5),
            attempts: 5,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
            multipart_above: 64 << 20,
            part_bytes: 16 << 20,
            parallel_parts: 4,
        }
    }
}
