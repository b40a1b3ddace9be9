//! The hash that commits a hotkey to weights, as the chain computes it.

use blake2::Blake2b;
use blake2::digest::Digest;
use blake2::digest::consts::U32;
use parity_scale_codec::Encode;
use templar_base::{Netuid, PublicKey, Uid};

/// The hash that commits a hotkey to weights: `blake2b-256(SCALE(hotkey, netuid, uids, values, salt, version_key))`.
pub fn weights_hash(
    hotkey: &PublicKey,
    netuid: Netuid,
    uids: &[Uid],
    values: &[u16],
    salt: &[u16],
    version_key: u64,
) -> [u8; 32] {
    let uids: Vec<u16> = uids.iter().map(|uid| uid.0).collect();
    let bytes = (hotkey.as_bytes(), netuid.0, uids, values, salt, version_key).encode();
    Blake2b::<U32>::digest(&bytes).into()
}
