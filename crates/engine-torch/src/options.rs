//! How the ranks are run.

use std::path::PathBuf;
use std::time::Duration;
use templar_engine::NumericsId;

/// What products are computed in. Parameters, sums of gradients and moments are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// bf16: the class `torch-bf16`.
    #[default]
    Bf16,
    /// f32: the class `torch-f32`, for comparisons with other engines.
    F32,
}

impl Precision {
    /// The numerics class.
    pub fn numerics(self) -> NumericsId {
        match self {
            Self::Bf16 => NumericsId::TORCH_BF16,
            Self::F32 => NumericsId::TORCH_F32,
        }
    }

    /// Its name in the worker's protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

/// How long the engine waits for its ranks before it takes them for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a rank to load PyTorch: 1.2 s where nothing else runs, more from a cold disk.
    pub start: Duration,
    /// For making the model.
    pub open: Duration,
    /// For the first pass of a kind, whose speed is not known, and which may be compiled.
    pub first: Duration,
    /// The least for any other request. A pass has ten times what the slowest one took for as many tokens, if that is more.
    pub least: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { start: seconds(120), open: seconds(180), first: seconds(900), least: seconds(120) }
    }
}

/// How PyTorch is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchOptions {
    /// The Python interpreter, which has PyTorch.
    pub python: PathBuf,
    /// Processes, one for each GPU.
    pub ranks: usize,
    /// What products are computed in.
    pub precision: Precision,
    /// Whether the layers are compiled. On a CPU it takes a C++ compiler and some ten seconds, and brings nothing.
    pub compiles: bool,
    /// Positions that go through the model at once on a rank; a larger batch is cut into passes.
    pub rows: usize,
    /// Where the files of the exchange are; in memory where the system has a folder for that.
    pub scratch: Option<PathBuf>,
    /// How long the engine waits.
    pub deadlines: Deadlines,
}

impl TorchOptions {
    /// One rank of this interpreter, in bf16.
    pub fn new(python: impl Into<PathBuf>) -> Self {
        Self {
            python: python.into(),
            ranks: 1,
            precision: Precision::default(),
            compiles: false,
            rows: 16 << 10,
            scratch: None,
            deadlines: Deadlines::default(),
        }
    }
}
