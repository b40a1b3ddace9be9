//! Memory whose first value starts a cache line, so that no vector of 16 values lies across two lines.

use crate::ops::{OpsError, OpsResult};
use std::borrow::{Borrow, BorrowMut};

/// Values of a cache line.
const LINE: usize = 16;

/// Some values, the first of them at the start of a cache line.
#[derive(Default)]
pub struct Aligned {
    values: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// Zeros, if there is room for them.
    pub(crate) fn new(len: usize) -> OpsResult<Self> {
        let mut trial = Vec::<f32>::new();
        // A failed allocation would end the process: whether the system refuses is tried first, which costs two calls.
        trial
            .try_reserve_exact(len.saturating_add(LINE))
            .map_err(|_| OpsError::OutOfMemory { bytes: (len as u64).saturating_mul(size_of::<f32>() as u64) })?;
        drop(std::hint::black_box(trial));
        Ok(Self::zeros(len))
    }

    fn zeros(len: usize) -> Self {
        let values = vec![0.0f32; len + LINE];
        // Where it cannot be told (as under an interpreter), speed is lost and nothing else.
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start }
    }

    /// The first `len` values, whatever they are; the memory grows if there are fewer. For working memory of a bounded
    /// size.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.values.len() < len + LINE {
            // The old memory goes before the new one comes.
            *self = Self::default();
            *self = Self::zeros(len);
        }
        &mut self.values[self.start..]
    }
}

impl Borrow<[f32]> for Aligned {
    fn borrow(&self) -> &[f32] {
        self.values.get(self.start..).unwrap_or_default()
    }
}

impl BorrowMut<[f32]> for Aligned {
    fn borrow_mut(&mut self) -> &mut [f32] {
        self.values.get_mut(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_no_machine_has_is_an_error() {
        for len in [usize::MAX, usize::MAX / 8] {
            assert!(matches!(Aligned::new(len), Err(OpsError::OutOfMemory { .. })));
        }
        assert_eq!(Borrow::<[f32]>::borrow(&Aligned::new(3).unwrap())[..3], [0.0; 3]);
    }
}
