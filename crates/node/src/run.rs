//! What a genesis document and a corpus come to.

use crate::NodeError;
use std::path::Path;
use std::sync::Arc;
use templar_base::{FirstParameters, Genesis, InnerOptimiser, RunId};
use templar_corpus::{AssignmentRule, Assignments, Corpus};
use templar_engine::{Batch, CpuEngine, Engine, OptimiserConfig, ParamLayout, checkpoint, initial_parameters};
use templar_gradient::{GradientLayout, state_hash};
use templar_round::Phases;

/// A run's rules and data, ready for use.
#[derive(Debug, Clone)]
pub struct Run {
    /// The rules.
    pub genesis: Arc<Genesis>,
    /// The run's name.
    pub id: RunId,
    /// The deadlines of its windows.
    pub phases: Phases,
    /// How its pseudo-gradients are cut.
    pub layout: GradientLayout,
    /// Who trains on what.
    pub assignments: Assignments,
}

/// The layout of the pseudo-gradients of a run.
pub fn gradient_layout(genesis: &Genesis) -> Result<GradientLayout, NodeError> {
    let layout = ParamLayout::new(&genesis.model);
    let tensors = layout
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.range.len(), genesis.outer.kept_per_chunk(&tensor.name)));
    let row_lengths: Vec<usize> = layout.tensors().iter().filter_map(|tensor| tensor.shape.last().copied()).collect();
    Ok(GradientLayout::new(tensors)?.with_row_lengths(&row_lengths)?.with_values(genesis.outer.values)?)
}

fn optimiser_config(inner: &InnerOptimiser) -> OptimiserConfig {
    let InnerOptimiser { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices, .. } = *inner;
    OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices }
}

impl Run {
    /// Checks that rules, data and this program fit each other.
    pub fn new(genesis: Genesis, corpus: Arc<Corpus>) -> Result<Self, NodeError> {
        genesis.check()?;
        corpus.check_names(genesis.data.manifest, genesis.data.tokenizer)?;
        let id = genesis.run_id();
        let assignments = corpus.assignments(id, AssignmentRule::of_genesis(&genesis.data)?)?;
        let layout = gradient_layout(&genesis)?;
        Ok(Self { phases: Phases::of(&genesis), id, layout, assignments, genesis: Arc::new(genesis) })
    }

    /// An engine for the run's model.
    pub(crate) fn engine(&self, threads: usize) -> Result<CpuEngine, NodeError> {
        let engine = CpuEngine::new(self.genesis.model.clone(), optimiser_config(&self.genesis.inner), threads)?;
        let actual = engine.numerics().to_string();
        if actual != self.genesis.numerics {
            return Err(NodeError::Numerics { wanted: self.genesis.numerics.clone(), actual });
        }
        Ok(engine)
    }

    /// The parameters at the start of window 0, checked against the genesis.
    pub(crate) fn first_parameters(&self, folder: Option<&Path>) -> Result<Vec<f32>, NodeError> {
        let params = match (&self.genesis.first_parameters, folder) {
            (FirstParameters::Seed(seed), _) => initial_parameters(&self.genesis.model, *seed.as_bytes()),
            (FirstParameters::Folder, None) => return Err(NodeError::FirstFolder),
            (FirstParameters::Folder, Some(folder)) => self.read_model_folder(folder)?,
        };
        let actual = state_hash(&params);
        if actual != self.genesis.first_state {
            return Err(NodeError::FirstState { wanted: self.genesis.first_state, actual });
        }
        Ok(params)
    }

    fn read_model_folder(&self, folder: &Path) -> Result<Vec<f32>, NodeError> {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).map_err(|source| crate::DataFolderError::Io { path, source })?;
        self.parameters_of(&bytes)
    }

    /// The parameters of a `model.safetensors` of this run's model.
    pub(crate) fn parameters_of(&self, safetensors: &[u8]) -> Result<Vec<f32>, NodeError> {
        checkpoint::read_safetensors(&self.genesis.model, &[safetensors])
            .map_err(|error| NodeError::Missing { what: error.to_string(), window: Default::default() })
    }

    /// Sequences of the run's length as one batch for the engine.
    pub(crate) fn batch(&self, sequences: &[Vec<u32>]) -> Batch {
        Batch::new(sequences.concat(), sequences.len(), self.genesis.data.sequence_length)
    }

    /// The text on which the model is never trained, in batches of the training's size.
    pub(crate) fn held_out(&self) -> Result<Vec<Batch>, NodeError> {
        let (count, length) = (self.genesis.judging.held_out_sequences, self.genesis.data.sequence_length);
        let sequences = self.assignments.corpus().held_out_sequences(count, length)?;
        Ok(sequences.chunks(self.genesis.data.sequences_per_batch).map(|chunk| self.batch(chunk)).collect())
    }
}
