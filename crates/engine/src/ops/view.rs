//! Places in device memory.

/// A place to read from, in values.
#[derive(Debug)]
pub struct View<'a, M: ?Sized> {
    /// The memory that holds the values.
    pub memory: &'a M,
    /// The first value.
    pub start: usize,
}

impl<M: ?Sized> Clone for View<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: ?Sized> Copy for View<'_, M> {}

impl<'a, M: ?Sized> View<'a, M> {
    /// The values of `memory` from `start` on.
    pub fn new(memory: &'a M, start: usize) -> Self {
        Self { memory, start }
    }
}

/// A place to write to, in values.
#[derive(Debug)]
pub struct ViewMut<'a, M: ?Sized> {
    /// The memory that holds the values.
    pub memory: &'a mut M,
    /// The first value.
    pub start: usize,
}

impl<'a, M: ?Sized> ViewMut<'a, M> {
    /// The values of `memory` from `start` on.
    pub fn new(memory: &'a mut M, start: usize) -> Self {
        Self { memory, start }
    }
}
