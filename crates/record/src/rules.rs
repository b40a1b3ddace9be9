//! What follows from a genesis document alone.

use crate::RecordError;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use templar_base::{BlockHash, FirstParameters, Genesis, RunId};
use templar_engine::{MemoryNeeds, ParamLayout, checkpoint, initial_parameters};
use templar_gradient::{GradientLayout, state_hash};
use templar_round::Phases;

/// A run's rules, ready for use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The genesis document.
    pub genesis: Arc<Genesis>,
    /// The run's name: the hash of the document.
    pub id: RunId,
    /// The deadlines of its windows.
    pub phases: Phases,
    /// How its pseudo-gradients are cut.
    pub layout: GradientLayout,
}

/// The layout of the pseudo-gradients of a run: the model's tensors, cut into chunks as the outer rule says.
pub fn gradient_layout(genesis: &Genesis) -> Result<GradientLayout, RecordError> {
    let layout = ParamLayout::new(&genesis.model);
    let tensors = layout
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.range.len(), genesis.outer.kept_per_chunk(&tensor.name)));
    let row_lengths: Vec<usize> = layout.tensors().iter().filter_map(|tensor| tensor.shape.last().copied()).collect();
    Ok(GradientLayout::new(tensors)?.with_row_lengths(&row_lengths)?.with_values(genesis.outer.values)?)
}

impl Rules {
    /// Checks the document and works out what follows from it.
    pub fn new(genesis: Genesis) -> Result<Self, RecordError> {
        genesis.check()?;
        let layout = gradient_layout(&genesis)?;
        Ok(Self { phases: Phases::of(&genesis), id: genesis.run_id(), layout, genesis: Arc::new(genesis) })
    }

    /// Whether a ledger, named by the hash of its first block, is the run's.
    pub fn check_ledger(&self, actual: BlockHash) -> Result<(), RecordError> {
        let wanted = self.genesis.ledger;
        if actual == wanted { Ok(()) } else { Err(RecordError::WrongLedger { wanted, actual }) }
    }

    /// The parameters at the start of window 0, checked against the genesis. `folder` is the model folder of a run that
    /// starts from one.
    pub fn first_parameters(&self, folder: Option<&Path>) -> Result<Vec<f32>, RecordError> {
        MemoryNeeds::check_parameters("the run's model", &self.genesis.model).map_err(RecordError::Memory)?;
        let params = match (&self.genesis.first_parameters, folder) {
            (FirstParameters::Seed(seed), _) => initial_parameters(&self.genesis.model, *seed.as_bytes()),
            (FirstParameters::Folder, None) => return Err(RecordError::FirstFolder),
            (FirstParameters::Folder, Some(folder)) => self.folder_parameters(folder)?,
        };
        let actual = state_hash(&params);
        if actual != self.genesis.first_state {
            return Err(RecordError::FirstState { wanted: self.genesis.first_state, actual });
        }
        Ok(params)
    }

    /// The parameters of a Hugging Face folder of the run's model, in one file or in shards.
    pub fn folder_parameters(&self, folder: &Path) -> Result<Vec<f32>, RecordError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Io { path, source }
        };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
            let entry = entry.map_err(failed(folder))?;
            // Follows links, as caches of models have them. One that leads nowhere is not there.
            if let (Ok(name), Ok(facts)) = (entry.file_name().into_string(), std::fs::metadata(entry.path())) {
                files.insert(name, facts.len());
            }
        }
        checkpoint::read_folder(&self.genesis.model, &files, |name| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(failed(&path))
        })
    }

    /// The values of a safetensors file of the run's model, one for each parameter.
    pub(crate) fn read_parameters(&self, path: &Path) -> Result<Vec<f32>, RecordError> {
        let bytes = std::fs::read(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })?;
        checkpoint::read_safetensors(&self.genesis.model, &[&bytes])
            .map_err(|source| RecordError::ModelFile { path: path.to_owned(), source })
    }
}
