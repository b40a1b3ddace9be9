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
mod check;
mod document;
mod epochs;
mod figures;
mod report;

pub use check::check;
pub use report::{CheckReport, Difference, FileKind, VectorError};
