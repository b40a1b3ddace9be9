//! What the files of a model hold, without reading the parameters into memory as values.

use crate::Companions;
use crate::checkpoint::usable_tokenizer;
use crate::gguf_files::GgufFiles;
use crate::source::{OpenError, check_kind, list, read, read_config, read_tokenizer, reasons, unused_keys};
use std::io::Cursor;
use std::path::Path;
use templar_base::ModelConfig;
use templar_engine::checkpoint::{
    CheckpointError, ParameterStream, SpecialTokens, check_types, gguf_config, gguf_fits, gguf_tokenizer,
    parameter_files, stored_tensors,
};

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// The name of its file.
    pub file: String,
    /// Its type, such as `BF16` or `Q4_0`.
    pub kind: String,
    /// Its shape, the slowest dimension first.
    pub shape: Vec<usize>,
    /// Its size in the file.
    pub bytes: usize,
}

/// Why a tokenizer cannot be used with a model, as far as its sizes are known.
fn tokenizer_problem(
    model: Option<&(ModelConfig, SpecialTokens)>,
    tokenizer: Result<Vec<u8>, String>,
    companions: &Companions,
) -> Option<String> {
    let (config, special) = model?;
    match tokenizer {
        Err(reason) => Some(reason),
        Ok(json) => {
            let usable = usable_tokenizer(Path::new(""), config.vocab_size, special, &json, companions);
            usable.err().map(|error| reasons(&error))
        }
    }
}

/// What a model folder or a GGUF file holds, whether or not it can be used.
#[derive(Debug)]
pub struct Inspection {
    /// The model's sizes, and the tokens that begin and end a text; none where its settings are not supported.
    pub model: Option<(ModelConfig, SpecialTokens)>,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
    /// Why its tokenizer cannot be used with it, if it cannot.
    pub tokenizer_problem: Option<String>,
    /// All stored tensors.
    pub tensors: Vec<TensorFacts>,
    /// Fields of `config.json` that are not used.
    pub unused: Vec<String>,
    /// Whether it says how a conversation is put into a prompt.
    pub has_chat_template: bool,
}

impl Inspection {
    /// Reads a folder, or a `.gguf` file. Fails where not even the tensors can be listed.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if path.is_file() { Self::of_gguf(path) } else { Self::of_folder(path) }
    }

    fn of_folder(folder: &Path) -> Result<Self, OpenError> {
        let listed = list(folder)?;
        check_kind(folder, &listed)?;
        let config = read_config(folder);
        if let Err(error @ OpenError::File(_)) = config {
            return Err(error);
        }
        let (mut problem, model) = match config {
            Ok(model) => (None, Some(model)),
            Err(error) => (Some(reasons(&error)), None),
        };
        let names = parameter_files(&listed, &mut |name| read(&folder.join(name)))?;
        let sizes: u64 = names.iter().filter_map(|name| listed.get(name)).sum();
        let mut fits = model.as_ref().map(|(config, _)| ParameterStream::new(config, sizes));
        let mut tensors = Vec::new();
        for (number, file) in names.iter().enumerate() {
            let bytes = read(&folder.join(file))?;
            for (name, stored) in stored_tensors(&bytes, number)? {
                let (kind, shape, bytes) = (stored.dtype, stored.shape, stored.bytes.len());
                tensors.push(TensorFacts { name, file: file.clone(), kind, shape, bytes });
            }
            fits = fits
                .map(|stream| stream.and_then(|mut stream| stream.check(&mut Cursor::new(&bytes)).map(|()| stream)));
        }
        if let Some(Err(error)) = fits.map(|stream| stream.and_then(ParameterStream::finish)) {
            // Values of one byte make files too small.
            let types = check_types(tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.kind.as_str())));
            let is_small = matches!(error, CheckpointError::TooSmall { .. });
            problem.get_or_insert(reasons(&types.err().filter(|_| is_small).unwrap_or(error)));
        }
        let unused = unused_keys(folder).unwrap_or_default();
        let companions = Companions::of_folder(folder)?;
        let has_chat_template = companions.has_chat_template();
        let tokenizer_problem = tokenizer_problem(model.as_ref(), read_tokenizer(folder, &listed), &companions);
        Ok(Self { model, problem, tokenizer_problem, tensors, unused, has_chat_template })
    }

    fn of_gguf(path: &Path) -> Result<Self, OpenError> {
        let broken = |source| OpenError::Gguf { path: path.to_owned(), source };
        let (files, mut problem) = match GgufFiles::read(path) {
            Err(error @ OpenError::PartMissing { .. }) => (GgufFiles::alone(path)?, Some(reasons(&error))),
            files => (files?, None),
        };
        let mut tensors = Vec::new();
        let parsed = files.parsed()?;
        for (name, file) in &parsed {
            tensors.extend(file.tensors.iter().map(|(tensor, stored)| TensorFacts {
                name: (*tensor).to_owned(),
                file: name.clone(),
                kind: stored.type_name(),
                shape: stored.shape.clone(),
                bytes: stored.size(),
            }));
        }
        let companions = parsed.first().map(|(_, file)| Companions::of_gguf(file)).unwrap_or_default();
        let tokenizer = parsed.first().map(|(_, file)| gguf_tokenizer(file).map(String::into_bytes));
        let has_chat_template = companions.has_chat_template();
        let mut model = None;
        if problem.is_none() {
            let read = files.whole().and_then(|whole| {
                let (config, special) = gguf_config(&whole).map_err(broken)?;
                let fits = gguf_fits(&whole, &config).map_err(broken);
                Ok(((config, special), fits))
            });
            match read {
                Ok((read, fits)) => {
                    model = Some(read);
                    problem = fits.err().map(|error| reasons(&error));
                }
                Err(error) => problem = Some(reasons(&error)),
            }
        }
        let tokenizer = tokenizer.map(|tokenizer| tokenizer.map_err(|error| error.to_string()));
        let tokenizer_problem =
            tokenizer.and_then(|tokenizer| tokenizer_problem(model.as_ref(), tokenizer, &companions));
        Ok(Self { model, problem, tokenizer_problem, tensors, unused: Vec::new(), has_chat_template })
    }

    /// Size of all tensors in the files.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes as u64).sum()
    }

    /// The types that occur, each once.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.tensors.iter().map(|tensor| tensor.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}
