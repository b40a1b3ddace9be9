//! The files of a Hugging Face model folder by name: what is written into one, and which of its files hold the
//! parameters. Where the folder is stored is the caller's business.

use super::{
    CheckpointError, INDEX_FILE, ParameterReader, Precision, SpecialTokens, check_types, config_to_json,
    files_of_index, generation_config_to_json, stored_tensors,
};
use std::collections::BTreeMap;
use templar_base::ModelConfig;

/// The sizes of the model.
pub const CONFIG_FILE: &str = "config.json";
/// The parameters, where one file holds all.
pub const PARAMETERS_FILE: &str = "model.safetensors";
/// The tokens that begin and end a text.
pub const GENERATION_FILE: &str = "generation_config.json";
/// The tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// An index names each tensor of a model, and is no longer than this.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// The files of a folder besides its parameters, by name. `tokenizer` is the text of its `tokenizer.json`.
pub fn settings_files(
    config: &ModelConfig,
    tokens: &SpecialTokens,
    precision: Precision,
    tokenizer: Option<&[u8]>,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![
        (CONFIG_FILE, config_to_json(config, tokens, precision).into_bytes()),
        (GENERATION_FILE, generation_config_to_json(tokens).into_bytes()),
    ];
    files.extend(tokenizer.map(|tokenizer| (TOKENIZER_FILE, tokenizer.to_vec())));
    files
}

/// The files that hold a folder's parameters: `model.safetensors`, or what the index lists, or all shards in order of
/// their names.
///
/// `files` has all names of the folder with their sizes in bytes; `read` is asked for the index only.
pub fn parameter_files<E: From<CheckpointError>>(
    files: &BTreeMap<String, u64>,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<Vec<String>, E> {
    let bad = |reason: String| CheckpointError::Field { field: INDEX_FILE.to_owned(), reason };
    let is_single = files.contains_key(PARAMETERS_FILE);
    let is_shard = |name: &&String| name.starts_with("model-") && name.ends_with(".safetensors");
    if is_single && !(files.contains_key(INDEX_FILE) && files.keys().any(|name| is_shard(&name))) {
        return Ok(vec![PARAMETERS_FILE.to_owned()]);
    }
    match files.get(INDEX_FILE) {
        Some(bytes) if *bytes > MAX_INDEX_BYTES => {
            Err(bad(format!("it is {bytes} bytes, over the limit of {MAX_INDEX_BYTES}")).into())
        }
        Some(_) => {
            let text = String::from_utf8(read(INDEX_FILE)?).map_err(|_| bad("it is not UTF-8".to_owned()))?;
            let names = files_of_index(&text)?;
            if is_single && names != [PARAMETERS_FILE] {
                let reason = format!("it lists other files, and {PARAMETERS_FILE} is there too: remove the old ones");
                return Err(bad(reason).into());
            }
            match names.iter().find(|name| !files.contains_key(*name)) {
                Some(name) => Err(CheckpointError::NoParameters { file: name.clone(), instead: String::new() }.into()),
                None => Ok(names),
            }
        }
        None => {
            let shards: Vec<String> = files.keys().filter(is_shard).cloned().collect();
            match shards.is_empty() {
                true => Err(CheckpointError::NoParameters {
                    file: PARAMETERS_FILE.to_owned(),
                    instead: instead_of_parameters(files),
                }
                .into()),
                false => Ok(shards),
            }
        }
    }
}

/// What a folder has in place of its parameters, and what to do with it.
fn instead_of_parameters(files: &BTreeMap<String, u64>) -> String {
    let find = |endings: &[&str]| files.keys().find(|name| endings.iter().any(|ending| name.ends_with(ending)));
    match (find(&[".gguf"]), find(&[".safetensors"]), find(&[".bin", ".pth", ".pt", ".ckpt"])) {
        (Some(name), ..) => format!(", and {name} is there: give that file itself"),
        (_, Some(name), _) => format!(", and {name} is there: if it has the parameters, name it {PARAMETERS_FILE}"),
        (.., Some(name)) => format!(", and {name} is there, which is pickled: save the model as safetensors"),
        _ => String::new(),
    }
}

/// The parameters of a folder in canonical order, from one file or from shards; holds one file at a time.
///
/// `files` has all names of the folder with their sizes in bytes, `read` returns the bytes of one.
pub fn read_folder<E: From<CheckpointError>>(
    config: &ModelConfig,
    files: &BTreeMap<String, u64>,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<Vec<f32>, E> {
    let names = parameter_files(files, &mut read)?;
    let mut reader = match ParameterReader::new(config, names.iter().filter_map(|name| files.get(name)).sum()) {
        Err(error @ CheckpointError::TooSmall { .. }) => {
            // A file that is none, or values of one byte, are the cause then.
            for (number, name) in names.iter().enumerate() {
                let bytes = read(name)?;
                let tensors = stored_tensors(&bytes, number)?;
                check_types(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype.as_str())))?;
            }
            return Err(error.into());
        }
        reader => reader?,
    };
    for name in &names {
        reader.read(&read(name)?)?;
    }
    Ok(reader.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Shards;
    use crate::{ParamLayout, initial_parameters, preset};

    type Files = BTreeMap<String, Vec<u8>>;

    fn sizes(files: &Files) -> BTreeMap<String, u64> {
        files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect()
    }

    fn read(config: &ModelConfig, files: &Files) -> Result<Vec<f32>, CheckpointError> {
        read_folder(config, &sizes(files), |name| Ok(files[name].clone()))
    }

    #[test]
    fn one_file_or_shards_with_or_without_an_index_give_the_same_parameters() {
        let config = preset("nano", 300).unwrap();
        let parameters = initial_parameters(&config, [2; 32]);
        for largest in [100_000, u64::MAX] {
            let shards = Shards::new(&ParamLayout::new(&config), Precision::F32, largest);
            let mut files: Files =
                (0..shards.count()).map(|file| (shards.file_name(file), shards.file(file, &parameters))).collect();
            files.insert("README.md".to_owned(), Vec::new());
            assert_eq!(read(&config, &files).unwrap(), parameters);
            if let Some(index) = shards.index() {
                files.insert(INDEX_FILE.to_owned(), index.into_bytes());
                assert_eq!(read(&config, &files).unwrap(), parameters);
                files.remove(&shards.file_name(1));
                assert!(matches!(read(&config, &files), Err(CheckpointError::NoParameters { .. })));
            }
        }
        assert!(matches!(read(&config, &Files::new()), Err(CheckpointError::NoParameters { .. })));
    }
}
