//! Reference figures: files of cases that were computed elsewhere, recomputed here and compared.
//!
//! Four kinds of files are known, told apart by what is in them:
//!
//! | kind | what it holds | how exact |
//! | --- | --- | --- |
//! | [`FileKind::RuntimeEpochs`] | epochs of a chain's runtime (`runtime_spec_version`, `cases`) | bit for bit; bonds of rows with stake |
//! | [`FileKind::ModelEpochs`] | epochs of a model (`cases` with `expect`) | bit for bit; one in 65535 where liquid alpha is on |
//! | [`FileKind::PublishedEpochs`] | runs of epochs (`cases` with `epochs`), Yuma 3 | published decimals to 1e-4, model figures to one in 65535 |
//! | [`FileKind::Figures`] | prices, emission, swaps, lock costs | 2 rao, or 1e-12 of the figure |

mod case;
mod document;
mod epochs;
mod figures;

use document::Node;
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
    fn new(kind: FileKind) -> Self {
        Self { kind, cases: 0, figures: 0, differences: Vec::new(), skipped: Vec::new() }
    }

    /// Whether every figure is within its tolerance.
    pub fn is_within_tolerance(&self) -> bool {
        self.differences.iter().all(|difference| !difference.is_over)
    }

    fn skip(&mut self, what: &str) {
        if !self.skipped.iter().any(|known| known == what) {
            self.skipped.push(what.to_owned());
        }
    }

    /// Compares two whole numbers.
    fn compare(&mut self, case: &str, figure: &str, expected: u128, found: u128, tolerance: u128) {
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

/// Recomputes every case of a file of reference figures.
pub fn check(text: &str) -> Result<CheckReport, VectorError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| VectorError::NotJson(error.to_string()))?;
    let document = Node::root(&value);
    let Some(cases) = document.get("cases") else { return figures::check(&document) };
    let cases = cases.list()?;
    let has = |key: &str| cases.iter().any(|case| case.get(key).is_some());
    if has("epochs") {
        epochs::check_published(&cases)
    } else if has("expect") {
        let is_runtime = document.get("runtime_spec_version").is_some();
        epochs::check_single(if is_runtime { FileKind::RuntimeEpochs } else { FileKind::ModelEpochs }, &cases)
    } else {
        Err(VectorError::UnknownKind)
    }
}
