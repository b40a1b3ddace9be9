//! The engine of a run's model.

use crate::NodeError;
use templar_base::InnerOptimiser;
use templar_engine::{Engine, EngineSource, OpenRequest, OptimiserConfig};
use templar_record::Rules;

/// An engine of this source that computes with numerics that the run allows, on this many threads.
pub fn open_engine(run: &Rules, source: &EngineSource, threads: usize) -> Result<Box<dyn Engine>, NodeError> {
    let request = OpenRequest::new(run.genesis.model.clone())
        .with_optimiser(optimiser_config(&run.genesis.inner))
        .with_threads(threads);
    check_numerics(run, source)?;
    Ok(source.open(request)?)
}

/// Fails where the run does not allow the numerics of this source's engines.
pub fn check_numerics(run: &Rules, source: &EngineSource) -> Result<(), NodeError> {
    let actual = source.numerics().to_string();
    match run.genesis.allows_numerics(&actual) {
        true => Ok(()),
        false => Err(NodeError::Numerics { wanted: run.genesis.numerics_classes(), actual }),
    }
}

fn optimiser_config(inner: &InnerOptimiser) -> OptimiserConfig {
    let InnerOptimiser { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices, .. } = *inner;
    OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices }
}
