//! The engine of a run's model.

use crate::NodeError;
use templar_base::InnerOptimiser;
use templar_engine::{CpuBackend, DeviceName, Engine, OpenRequest, OptimiserConfig};
use templar_record::Rules;

/// An engine that computes with the run's numerics, on this many threads.
pub fn open_engine(run: &Rules, threads: usize) -> Result<Box<dyn Engine>, NodeError> {
    let request = OpenRequest::new(run.genesis.model.clone())
        .with_optimiser(optimiser_config(&run.genesis.inner))
        .with_threads(threads);
    let engine = templar_engine::open(&DeviceName::cpu(), &[&CpuBackend], request)?;
    let actual = engine.numerics().to_string();
    if actual != run.genesis.numerics {
        return Err(NodeError::Numerics { wanted: run.genesis.numerics.clone(), actual });
    }
    Ok(engine)
}

fn optimiser_config(inner: &InnerOptimiser) -> OptimiserConfig {
    let InnerOptimiser { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices, .. } = *inner;
    OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices }
}
