//! Model folders and GGUF files as foreign tools write them, made for the cases.

use crate::program::Place;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use templar_engine::checkpoint::{Precision, SpecialTokens, config_to_json, write_safetensors};
use templar_engine::{ModelConfig, ParamLayout, initial_parameters};

/// A byte-level vocabulary without merges: 256 bytes, then special tokens.
pub fn byte_names(specials: &[&str]) -> Vec<String> {
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut hidden = 256..;
    let letter = |byte: u32| {
        let code = if is_printable(&byte) { byte } else { hidden.next().unwrap() };
        char::from_u32(code).unwrap().to_string()
    };
    (0..256).map(letter).chain(specials.iter().map(|name| (*name).to_owned())).collect()
}

pub fn special(name: &str, id: usize) -> Value {
    json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}

pub fn byte_tokenizer(specials: &[&str]) -> Value {
    let vocab: serde_json::Map<_, _> =
        byte_names(specials).into_iter().zip(0..).map(|(n, id)| (n, json!(id))).collect();
    let added: Vec<Value> = specials.iter().zip(256..).map(|(name, id)| special(name, id)).collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}})
}

/// The post-processor that puts one token before a text.
pub fn prepend(name: &str, id: usize) -> Value {
    let special = json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({"type": "TemplateProcessing", "single": [special, text("A")], "pair": [special, text("A"), text("B")],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
}

pub fn sizes(vocab_size: usize) -> ModelConfig {
    ModelConfig { tie_word_embeddings: false, max_position_embeddings: 64, ..ModelConfig::tiny(vocab_size) }
}

/// A model folder of these sizes with random parameters; `change` may alter its `config.json`.
pub fn folder(
    place: &Place,
    name: &str,
    config: &ModelConfig,
    tokenizer: &Value,
    change: impl Fn(&mut Value),
) -> PathBuf {
    folder_with(place, name, config, tokenizer, &initial_parameters(config, [1; 32]), change)
}

pub fn folder_with(
    place: &Place,
    name: &str,
    config: &ModelConfig,
    tokenizer: &Value,
    parameters: &[f32],
    change: impl Fn(&mut Value),
) -> PathBuf {
    let folder = place.path(name);
    fs::create_dir_all(&folder).unwrap();
    let tokens = SpecialTokens::default();
    let mut fields = serde_json::from_str(&config_to_json(config, &tokens, Precision::F32)).unwrap();
    change(&mut fields);
    fs::write(folder.join("config.json"), fields.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let bytes = write_safetensors(config, parameters, Precision::F32).unwrap();
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
    folder
}

pub fn plain(place: &Place, name: &str) -> PathBuf {
    folder(place, name, &sizes(257), &byte_tokenizer(&["<|endoftext|>"]), |_| ())
}

/// Parameters of a model whose likeliest next token is always the same.
pub fn constant(config: &ModelConfig, token: usize) -> Vec<f32> {
    let layout = ParamLayout::new(config);
    let mut parameters = vec![0.0; layout.total()];
    let width = config.hidden_size;
    for tensor in layout.tensors() {
        let values = &mut parameters[tensor.range.clone()];
        match tensor.name.as_str() {
            "model.embed_tokens.weight" => values.fill(1.0),
            "lm_head.weight" => {
                values.fill(-1.0 / width as f32);
                values[token * width..(token + 1) * width].fill(8.0 / width as f32);
            }
            name if name.ends_with("norm.weight") => values.fill(1.0),
            _ => {}
        }
    }
    parameters
}

/// Changes the names of the tensors in a safetensors file.
pub fn rename(folder: &Path, name: impl Fn(&str) -> String) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..data]).unwrap();
    let renamed: serde_json::Map<_, _> =
        header.into_iter().filter(|(n, _)| n != "__metadata__").map(|(n, entry)| (name(&n), entry)).collect();
    let header = Value::Object(renamed).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], header.as_bytes(), &bytes[data..]].concat()).unwrap();
}

/// A GGUF file: pairs of key, type and value, and tensors of name, shape (outermost first), type and bytes.
#[derive(Clone, Default)]
pub struct GgufFile {
    pub pairs: Vec<(String, u32, Vec<u8>)>,
    pub tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

pub fn gguf_text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

impl GgufFile {
    pub fn size(&mut self, key: &str, value: usize) {
        self.pairs.push((key.to_owned(), 4, (value as u32).to_le_bytes().to_vec()));
    }

    pub fn number(&mut self, key: &str, value: f32) {
        self.pairs.push((key.to_owned(), 6, value.to_le_bytes().to_vec()));
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), 8, gguf_text(value)));
    }

    pub fn texts(&mut self, key: &str, values: &[String]) {
        let all: Vec<u8> = values.iter().flat_map(|value| gguf_text(value)).collect();
        let head = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        self.pairs.push((key.to_owned(), 9, [head, all].concat()));
    }

    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), 0, bytes));
    }

    /// The model of these sizes with random parameters; the rows of q and k stay in their order.
    pub fn model(config: &ModelConfig) -> Self {
        let mut file = Self::default();
        file.text("general.architecture", "llama");
        for (key, value) in [
            ("block_count", config.num_hidden_layers),
            ("context_length", config.max_position_embeddings),
            ("embedding_length", config.hidden_size),
            ("feed_forward_length", config.intermediate_size),
            ("attention.head_count", config.num_attention_heads),
        ] {
            file.size(&format!("llama.{key}"), value);
        }
        file.number("llama.attention.layer_norm_rms_epsilon", 1e-5);
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", "gpt-2");
        file.texts("tokenizer.ggml.tokens", &byte_names(&["<|endoftext|>"]));
        file.texts("tokenizer.ggml.merges", &[]);
        file.size("tokenizer.ggml.eos_token_id", 256);
        let parameters = initial_parameters(config, [1; 32]);
        for tensor in ParamLayout::new(config).tensors() {
            let name = [
                ("model.layers.", "blk."),
                ("model.embed_tokens", "token_embd"),
                ("model.norm", "output_norm"),
                ("lm_head", "output"),
                ("input_layernorm", "attn_norm"),
                ("post_attention_layernorm", "ffn_norm"),
                ("self_attn.o_proj", "attn_output"),
                ("self_attn.", "attn_"),
                ("mlp.", "ffn_"),
                ("_proj", ""),
            ]
            .iter()
            .fold(tensor.name.clone(), |name, (from, to)| name.replace(from, to));
            file.floats(&name, &tensor.shape, &parameters[tensor.range.clone()]);
        }
        file
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&b"GGUF"[..], &3u32.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.pairs {
            bytes.extend([&gguf_text(key)[..], &kind.to_le_bytes(), value].concat());
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, shape, kind, values) in &self.tensors {
            bytes.extend(gguf_text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|&length| bytes.extend((length as u64).to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(values);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        [bytes, data].concat()
    }
}
