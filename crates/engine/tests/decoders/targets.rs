//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use std::sync::LazyLock;
use templar_engine::checkpoint::{
    Gguf, Precision, config_from_json, config_to_json, files_of_index, generation_config_from_json, gguf_config,
    gguf_parameters, gguf_tokenizer, read_safetensors,
};
use templar_engine::{ModelConfig, ParamLayout, preset};

/// A model so small that a fuzzer can write all of it.
pub static CONFIG: LazyLock<ModelConfig> = LazyLock::new(|| {
    let config = preset("nano", 16).expect("the preset exists");
    ModelConfig { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, head_dim: 2, ..config }
});

/// Models up to this size are read whole; larger ones only by their descriptions.
const MOST_PARAMETERS: usize = 1 << 16;

/// What is read as a model file has every parameter of the model.
pub fn safetensors(bytes: &[u8]) {
    if let Ok(parameters) = read_safetensors(&CONFIG, &[bytes]) {
        assert_eq!(parameters.len(), ParamLayout::new(&CONFIG).total());
    }
}

/// Any bytes are a GGUF file or none; what it describes as a model it has, or lacks with an error.
pub fn gguf(bytes: &[u8]) {
    let Ok(file) = Gguf::parse(bytes) else { return };
    let _ = gguf_tokenizer(&file);
    let Ok((config, _)) = gguf_config(&file) else { return };
    if config.parameter_count() <= MOST_PARAMETERS
        && let Ok(parameters) = gguf_parameters(&file, &config)
    {
        assert_eq!(parameters.len(), ParamLayout::new(&config).total());
    }
}

/// The JSON files of a model folder: what is read as a configuration is written and read again as itself.
pub fn model_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = generation_config_from_json(text);
    if let Ok(files) = files_of_index(text) {
        assert!(files.iter().all(|file| !file.contains(['/', '\\']) && !file.starts_with('.')));
    }
    if let Ok((config, tokens)) = config_from_json(text) {
        let again = config_from_json(&config_to_json(&config, &tokens, Precision::F32));
        assert_eq!(again.expect("a sound configuration is read again").0, config);
    }
}
