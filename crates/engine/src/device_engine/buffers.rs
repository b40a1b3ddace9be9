//! The flat buffers of an engine, in the memory of its device.

use crate::Buffer;
use crate::ops::{Ops, OpsResult};

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
    pub(super) fn new<O: Ops<Owned = B>>(ops: &mut O, total: usize) -> OpsResult<Self> {
        Ok(Self { total, parameters: ops.allocate(total)?, gradient: None, moments: None })
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
    pub(super) fn allocated<O: Ops<Owned = B>>(&mut self, ops: &mut O, what: Buffer) -> OpsResult<&mut B> {
        Ok(match what {
            Buffer::Parameters => &mut self.parameters,
            Buffer::Gradient => self.gradient_and_parameters(ops)?.0,
            Buffer::FirstMoment => &mut self.in_training(ops)?.moments.first,
            Buffer::SecondMoment => &mut self.in_training(ops)?.moments.second,
        })
    }

    pub(super) fn gradient_and_parameters<O: Ops<Owned = B>>(&mut self, ops: &mut O) -> OpsResult<(&mut B, &B)> {
        Ok((allocated(&mut self.gradient, || ops.allocate(self.total))?, &self.parameters))
    }

    /// Everything that the optimiser reads and writes.
    pub(super) fn in_training<O: Ops<Owned = B>>(&mut self, ops: &mut O) -> OpsResult<Training<'_, B>> {
        let total = self.total;
        let gradient = allocated(&mut self.gradient, || ops.allocate(total))?;
        let moments =
            allocated(&mut self.moments, || Ok(Moments { first: ops.allocate(total)?, second: ops.allocate(total)? }))?;
        Ok(Training { parameters: &mut self.parameters, gradient, moments })
    }
}

/// All buffers, allocated.
pub(super) struct Training<'a, B> {
    pub parameters: &'a mut B,
    pub gradient: &'a B,
    pub moments: &'a mut Moments<B>,
}

fn allocated<T>(buffer: &mut Option<T>, allocate: impl FnOnce() -> OpsResult<T>) -> OpsResult<&mut T> {
    Ok(match buffer {
        Some(buffer) => buffer,
        None => buffer.insert(allocate()?),
    })
}
