//! The flat buffers of an engine.

use std::fmt;

/// One of an engine's flat buffers: a value for each parameter, in the canonical order of [`crate::ParamLayout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Buffer {
    /// The parameters.
    Parameters,
    /// The gradient of the last [`crate::Engine::gradient`] or [`crate::Engine::train_step`]; zeros before the first.
    Gradient,
    /// The optimiser's running mean of the gradient; zeros before the first step.
    FirstMoment,
    /// The optimiser's running mean of the squared gradient; zeros before the first step, and where Muon works.
    SecondMoment,
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parameters => "parameters",
            Self::Gradient => "gradient",
            Self::FirstMoment => "first moment",
            Self::SecondMoment => "second moment",
        })
    }
}
