//! A model that is served: its tokenizer, its engine, and how answers name it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use templar_base::Window;
use templar_engine::{Engine, EngineError};
use templar_model::{Checkpoint, OpenError};

/// A model that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServedError {
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It does not fit into an engine, or the engine does not generate text.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How answers name a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name in the API, such as `first` or `local`.
    pub name: String,
    /// What `system_fingerprint` says: which parameters these are.
    pub fingerprint: String,
    /// The window whose start it is, where it comes from a run.
    pub window: Option<Window>,
}

/// A model that is served. Requests that have it keep it until they end; the newest one is what the gateway answers with.
pub struct Served {
    /// How answers name it.
    pub identity: Identity,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
    /// Without its parameters: the engine has them.
    pub(crate) checkpoint: Checkpoint,
    /// Locked by the scheduler's thread alone.
    engine: Mutex<Box<dyn Engine>>,
}

impl Identity {
    /// The model of a folder, or of a `.gguf` file, by its name.
    pub fn of_folder(path: &Path) -> Self {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = whole.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
        Self { fingerprint: format!("folder-{name}"), name, window: None }
    }
}

impl Served {
    /// Reads the model of a folder, or of a `.gguf` file, into an engine with this many threads.
    pub fn open(path: &Path, identity: Identity, threads: usize) -> Result<Self, ServedError> {
        let mut checkpoint = Checkpoint::open(path)?;
        let mut engine = checkpoint.engine(threads)?;
        engine.generator()?;
        checkpoint.parameters = Vec::new();
        Ok(Self { identity, created: unix_seconds(), checkpoint, engine: Mutex::new(engine) })
    }

    /// The most tokens of a prompt and its text together.
    pub fn positions(&self) -> usize {
        self.checkpoint.config.max_position_embeddings
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Box<dyn Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Now, in seconds since 1970; for answers, which nothing depends on.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, LazyLock};
    use templar_corpus::Tokenizer;
    use templar_engine::{initial_parameters, preset};

    /// A model that nobody has trained, with a vocabulary of bytes.
    pub(crate) fn tiny_model() -> Arc<Served> {
        static MODEL: LazyLock<Arc<Served>> = LazyLock::new(|| {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("tiny");
            let words = ["the people of the states and the union of the people"; 8];
            let tokenizer = Tokenizer::train_up_to(&words, 280).unwrap();
            let config = preset("nano", 280).unwrap();
            let outer =
                templar_gradient::OuterState { params: initial_parameters(&config, [3; 32]), momentum: Vec::new() };
            std::fs::create_dir_all(&path).unwrap();
            let end = tokenizer.end_of_text();
            templar_record::write_model_files(&config, &outer, tokenizer.to_json(), end, &path).unwrap();
            Arc::new(Served::open(&path, Identity::of_folder(&path), 1).unwrap())
        });
        Arc::clone(&MODEL)
    }

    #[test]
    fn a_folder_names_its_model() {
        let identity = &tiny_model().identity;
        assert_eq!((identity.name.as_str(), identity.fingerprint.as_str()), ("tiny", "folder-tiny"));
    }
}
