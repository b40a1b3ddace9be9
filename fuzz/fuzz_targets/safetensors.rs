//! The reader of model files: any bytes are the tensors of the model, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use templar_engine::checkpoint::read_safetensors;
use templar_engine::{ModelConfig, ParamLayout, preset};

static CONFIG: LazyLock<ModelConfig> = LazyLock::new(|| {
    let config = preset("nano", 16).expect("the preset exists");
    ModelConfig { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, head_dim: 2, ..config }
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parameters) = read_safetensors(&CONFIG, &[bytes]) {
        assert_eq!(parameters.len(), ParamLayout::new(&CONFIG).total());
    }
});
