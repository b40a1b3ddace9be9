//! Memory whose first value starts a cache line, so that no vector of 16 values lies across two lines.

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
    /// Zeros.
    pub(crate) fn new(len: usize) -> Self {
        let values = vec![0.0f32; len + LINE];
        // Where it cannot be told (as under an interpreter), speed is lost and nothing else.
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start }
    }

    /// The first `len` values, whatever they are; there will be as many.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.values.len() < len + LINE {
            // The old memory goes before the new one comes.
            *self = Self::default();
            *self = Self::new(len);
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
