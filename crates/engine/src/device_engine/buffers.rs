//! The flat buffers of an engine, in the memory of its device.

use crate::Buffer;
use crate::ops::Ops;

/// The optimiser's running means.
pub(super) struct Moments<B> {
    pub first: B,
    pub second: B,
}

/// Parameters, gradient and moments. What an engine that only judges does not need is allocated by its first use.
pub(super) struct Buffers<B> {
    /// Number of values of each.
    pub total: usize,
    pub parameters: B,
    pub gradient: Option<B>,
    pub moments: Option<Moments<B>>,
}

impl<B> Buffers<B> {
    pub(super) fn new<O: Ops<Owned = B>>(ops: &mut O, total: usize) -> Self {
        Self { total, parameters: ops.allocate(total), gradient: None, moments: None }
    }

    /// The memory of a buffer; none if nothing was written to it, which stands for zeros.
    pub(super) fn get(&self, what: Buffer) -> Option<&B> {
        match what {
            Buffer::Parameters => Some(&self.parameters),
            Buffer::Gradient => self.gradient.as_ref(),
            Buffer::FirstMoment => self.moments.as_ref().map(|moments| &moments.first),
            Buffer::SecondMoment => self.moments.as_ref().map(|moments| &moments.second),
        }
    }

    /// The memory of a buffer, to write to.
    pub(super) fn allocated<O: Ops<Owned = B>>(&mut self, ops: &mut O, what: Buffer) -> &mut B {
        let total = self.total;
        match what {
            Buffer::Parameters => &mut self.parameters,
            Buffer::Gradient => self.gradient.get_or_insert_with(|| ops.allocate(total)),
            Buffer::FirstMoment => &mut self.allocated_moments(ops).first,
            Buffer::SecondMoment => &mut self.allocated_moments(ops).second,
        }
    }

    pub(super) fn allocated_moments<O: Ops<Owned = B>>(&mut self, ops: &mut O) -> &mut Moments<B> {
        let total = self.total;
        self.moments.get_or_insert_with(|| Moments { first: ops.allocate(total), second: ops.allocate(total) })
    }
}
