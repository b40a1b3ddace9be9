//! Large objects: in parts, several at a time, from whoever has them, each part checked by itself.
//!
//! An object of at most one part lies under its key. A larger one lies below `<key>.parts/<hash>/`: its parts, named
//! by their numbers in five digits or more, and `index`, which is written last. `hash` is BLAKE3 of the whole object,
//! as everywhere; because BLAKE3 is a tree, a list of the values of the parts' subtrees can be checked against it,
//! and then each part against the list. So whoever knows the hash of an object, from the ledger or from a signed
//! document, can take every part from any bucket that has it, and tell at once which bucket lies.
//!
//! This is no multipart upload of S3: parts are objects. They can be sent from where an upload broke off, they are
//! the same on every backend, and what is left behind goes with the next deletion of its folder.

mod download;
mod index;
mod upload;

pub use download::{Complaint, Delivery, LargeObject, download, download_to_file};
pub use index::PartIndex;
pub use upload::LargeSource;

/// The usual size of a part in bytes: large enough for throughput, small enough to be fetched again after a fault.
pub const PART_BYTES: u64 = 8 << 20;

/// Where the parts of an object lie.
fn folder_of(key: &str, hash: &[u8; 32]) -> String {
    format!("{key}.parts/{}", blake3::Hash::from_bytes(*hash).to_hex())
}

fn part_key(folder: &str, part: usize) -> String {
    format!("{folder}/{part:05}")
}

fn index_key(folder: &str) -> String {
    format!("{folder}/index")
}
