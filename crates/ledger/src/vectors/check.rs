//! Tells the kinds of files apart and checks each.

use super::document::Node;
use super::report::{CheckReport, FileKind, VectorError};
use super::{epochs, figures};

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
