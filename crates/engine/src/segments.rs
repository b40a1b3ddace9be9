//! Visits of a flat buffer segment by segment, with memory for one segment on the host.

use crate::{Buffer, Engine, EngineError};

/// Values of a segment: what the host holds of a model at once.
pub const SEGMENT: usize = 1_048_576;

/// Work on whole buffers of an [`Engine`] with one segment of scratch memory. Every engine has it.
///
/// ```
/// use templar_engine::{Buffer, CpuBackend, DeviceName, EngineError, OpenRequest, Segments, open, preset};
///
/// let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64)?))?;
/// engine.fill_segments(Buffer::Parameters, |_, values| {
///     values.fill(0.5);
///     Ok::<(), EngineError>(())
/// })?;
/// let mut sum = 0.0;
/// engine.for_each_segment(Buffer::Parameters, |_, values| {
///     sum += values.iter().map(|value| f64::from(*value)).sum::<f64>();
///     Ok::<(), EngineError>(())
/// })?;
/// assert_eq!(sum, 0.5 * engine.layout().total() as f64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Segments: Engine {
    /// Calls `visit(start, values)` for each segment of a buffer, in order.
    fn for_each_segment<E: From<EngineError>>(
        &mut self,
        what: Buffer,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        over_segments(self.layout().total(), |start, values| {
            self.read(what, start, values)?;
            visit(start, values)
        })
    }

    /// Overwrites a buffer with what `fill(start, values)` leaves in each segment, in order. `values` hold anything
    /// before.
    fn fill_segments<E: From<EngineError>>(
        &mut self,
        what: Buffer,
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        over_segments(self.layout().total(), |start, values| {
            fill(start, values)?;
            Ok(self.write(what, start, values)?)
        })
    }

    /// Changes a buffer in place: `change(start, values)` gets each segment and leaves what is written back.
    fn change_segments<E: From<EngineError>>(
        &mut self,
        what: Buffer,
        mut change: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        over_segments(self.layout().total(), |start, values| {
            self.read(what, start, values)?;
            change(start, values)?;
            Ok(self.write(what, start, values)?)
        })
    }

    /// A whole buffer on the host: another copy of the model. For tests and small tools.
    fn to_vec(&mut self, what: Buffer) -> Result<Vec<f32>, EngineError> {
        let mut values = vec![0.0; self.layout().total()];
        self.read(what, 0, &mut values)?;
        Ok(values)
    }
}

impl<T: Engine + ?Sized> Segments for T {}

fn over_segments<E>(total: usize, mut visit: impl FnMut(usize, &mut [f32]) -> Result<(), E>) -> Result<(), E> {
    let mut scratch = vec![0.0; total.min(SEGMENT)];
    for start in (0..total).step_by(SEGMENT) {
        visit(start, &mut scratch[..SEGMENT.min(total - start)])?;
    }
    Ok(())
}
