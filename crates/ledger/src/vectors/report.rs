//! What a check found, and why a file cannot be checked.

use serde::Serialize;

/// What a file of reference figures holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Epochs that a chain's runtime computed.
    RuntimeEpochs,
    /// Epochs that a model computed.
    ModelEpochs,
    /// Published runs of several epochs.
    PublishedEpochs,
    /// Single figures of prices, emission and the pool.
    Figures,
}

/// A file that cannot be checked; whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// Not JSON.
    #[error("the file is not JSON: {0}; give a file of reference figures")]
    NotJson(String),
    /// JSON that holds none of the known kinds.
    #[error(
        "the file holds no reference figures: neither `cases` with `expect` or `epochs`, nor figures such as \
         `balancer_swaps`; give a file of one of these kinds"
    )]
    UnknownKind,
    /// A field is missing.
    #[error("{path} is missing; add it to the file")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// A field is not what it should be.
    #[error("{path} is {found}, but must be {wanted}; correct the file")]
    Malformed {
        /// Where.
        path: String,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
}

/// One figure that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which case of the file.
    pub case: String,
    /// Which figure of the case.
    pub figure: String,
    /// What the file says.
    pub expected: String,
    /// What was computed here.
    pub found: String,
    /// How far they may be apart.
    pub tolerance: String,
    /// Whether they are further apart than that.
    pub is_over: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What the file holds.
    pub kind: FileKind,
    /// Cases that were recomputed.
    pub cases: usize,
    /// Figures that were compared.
    pub figures: usize,
    /// Those that differ, in the file's order.
    pub differences: Vec<Difference>,
    /// Figures that were not compared, and why.
    pub skipped: Vec<String>,
}

impl CheckReport {
    pub(super) fn new(kind: FileKind) -> Self {
        Self { kind, cases: 0, figures: 0, differences: Vec::new(), skipped: Vec::new() }
    }

    /// Whether every figure is within its tolerance.
    pub fn is_within_tolerance(&self) -> bool {
        self.differences.iter().all(|difference| !difference.is_over)
    }

    pub(super) fn skip(&mut self, what: &str) {
        if !self.skipped.iter().any(|known| known == what) {
            self.skipped.push(what.to_owned());
        }
    }

    /// Compares two whole numbers.
    pub(super) fn compare(&mut self, case: &str, figure: &str, expected: u128, found: u128, tolerance: u128) {
        self.figures += 1;
        if expected != found {
            self.differences.push(Difference {
                case: case.to_owned(),
                figure: figure.to_owned(),
                expected: expected.to_string(),
                found: found.to_string(),
                tolerance: tolerance.to_string(),
                is_over: expected.abs_diff(found) > tolerance,
            });
        }
    }
}
