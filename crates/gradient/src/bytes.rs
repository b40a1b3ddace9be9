//! Values as little-endian bytes.

/// Writes `values` to `out`, four bytes each; `out` is four times as long.
pub(crate) fn copy_little_endian(values: &[f32], out: &mut [u8]) {
    debug_assert_eq!(out.len(), 4 * values.len());
    for (target, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *target = value.to_le_bytes();
    }
}
