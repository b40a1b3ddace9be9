//! Model folders, GGUF files, prompts.

use crate::program::Place;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use templar_engine::checkpoint::{Precision, SpecialTokens, config_to_json, write_safetensors};
use templar_engine::{ModelConfig, ParamLayout, initial_parameters};

/// A byte-level vocabulary without merges: 256 bytes, then special tokens.
fn byte_names(specials: &[&str]) -> Vec<String> {
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut hidden = 256..;
    let letter = |byte: u32| {
        let code = if is_printable(&byte) { byte } else { hidden.next().unwrap() };
        char::from_u32(code).unwrap().to_string()
    };
    (0..256).map(letter).chain(specials.iter().map(|name| (*name).to_owned())).collect()
}

fn special(name: &str, id: usize) -> Value {
    json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}

fn byte_tokenizer(specials: &[&str]) -> Value {
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
fn prepend(name: &str, id: usize) -> Value {
    let special = json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({"type": "TemplateProcessing", "single": [special, text("A")], "pair": [special, text("A"), text("B")],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
}

fn sizes(vocab_size: usize) -> ModelConfig {
    ModelConfig { tie_word_embeddings: false, max_position_embeddings: 64, ..ModelConfig::tiny(vocab_size) }
}

/// A model folder of these sizes with random parameters; `change` may alter its `config.json`.
fn folder(place: &Place, name: &str, config: &ModelConfig, tokenizer: &Value, change: impl Fn(&mut Value)) -> PathBuf {
    folder_with(place, name, config, tokenizer, &initial_parameters(config, [1; 32]), change)
}

fn folder_with(
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

fn plain(place: &Place, name: &str) -> PathBuf {
    folder(place, name, &sizes(257), &byte_tokenizer(&["<|endoftext|>"]), |_| ())
}

/// Parameters of a model whose likeliest next token is always the same.
fn constant(config: &ModelConfig, token: usize) -> Vec<f32> {
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
fn rename(folder: &Path, name: impl Fn(&str) -> String) {
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
struct GgufFile {
    pairs: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn gguf_text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

impl GgufFile {
    fn size(&mut self, key: &str, value: usize) {
        self.pairs.push((key.to_owned(), 4, (value as u32).to_le_bytes().to_vec()));
    }

    fn number(&mut self, key: &str, value: f32) {
        self.pairs.push((key.to_owned(), 6, value.to_le_bytes().to_vec()));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), 8, gguf_text(value)));
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        let all: Vec<u8> = values.iter().flat_map(|value| gguf_text(value)).collect();
        let head = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        self.pairs.push((key.to_owned(), 9, [head, all].concat()));
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), 0, bytes));
    }

    /// The model of these sizes with random parameters; the rows of q and k stay in their order.
    fn model(config: &ModelConfig) -> Self {
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

    fn bytes(&self) -> Vec<u8> {
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

fn generated(place: &Place, model: &str, more: &[&str]) -> Value {
    let start = ["model", "generate", model, "--max-tokens", "6", "--temperature", "0", "--json"];
    place.json(&[&start[..], more].concat())
}

#[test]
fn what_a_gguf_file_holds_and_is_not_computed_with_is_rejected_by_name() {
    let place = Place::new();
    let model = GgufFile::model(&sizes(257));
    place.write("plain.gguf", model.bytes());
    assert_eq!(generated(&place, "plain.gguf", &["--prompt", "abc"])["prompt_tokens"], 3);
    for (name, change) in [
        (
            "blk.0.attn_q.bias",
            (&|file: &mut GgufFile| file.floats("blk.0.attn_q.bias", &[16], &[4.0; 16])) as &dyn Fn(&mut _),
        ),
        ("llama.rope.scale_linear", &|file: &mut GgufFile| file.number("llama.rope.scale_linear", 4.0)),
        ("llama.rope.scaling.factor", &|file: &mut GgufFile| file.number("llama.rope.scaling.factor", 4.0)),
        ("llama.attn_logit_softcapping", &|file: &mut GgufFile| file.number("llama.attn_logit_softcapping", 50.0)),
        ("llama.attention.sliding_window", &|file: &mut GgufFile| file.size("llama.attention.sliding_window", 8)),
        ("llama.expert_count", &|file: &mut GgufFile| file.size("llama.expert_count", 8)),
        ("blk.0.ffn_gate_inp.weight", &|file: &mut GgufFile| {
            file.floats("blk.0.ffn_gate_inp.weight", &[2, 16], &[0.5; 32])
        }),
    ] {
        let mut changed = model.clone();
        change(&mut changed);
        place.write("changed.gguf", changed.bytes());
        for command in [&["generate"][..], &["import", "--out", "never"]] {
            let error = place.failure(1, &[&["model"], command, &["changed.gguf"]].concat());
            assert!(error.contains(name), "{name}: {error}");
        }
        let seen = place.json(&["model", "inspect", "changed.gguf", "--tensors", "--json"]);
        assert!(seen["problem"].as_str().unwrap().contains(name), "{seen}");
        assert!(seen["tensors"].as_array().unwrap().len() >= model.tensors.len());
    }
    assert!(!place.path("never").exists());
}

#[test]
fn what_a_folder_holds_and_is_not_computed_with_is_rejected_by_name() {
    let place = Place::new();
    for (name, value) in [
        ("attn_logit_softcapping", json!(50.0)),
        ("num_local_experts", json!(8)),
        ("partial_rotary_factor", json!(0.5)),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})),
        ("attention_bias", json!(true)),
        ("quantization_config", json!({"quant_method": "gptq"})),
    ] {
        let change = |fields: &mut Value| {
            fields.as_object_mut().unwrap().remove("rope_parameters");
            fields[name] = value.clone();
        };
        folder(&place, "changed", &sizes(257), &byte_tokenizer(&["<|endoftext|>"]), change);
        let error = place.failure(1, &["model", "import", "changed", "--out", "never"]);
        assert!(error.contains(name), "{name}: {error}");
        let seen = place.json(&["model", "inspect", "changed", "--json"]);
        assert!(seen["problem"].as_str().unwrap().contains(name), "{seen}");
    }
    let biased = plain(&place, "biased");
    rename(&biased, |name| name.replace("model.norm.weight", "model.layers.0.self_attn.q_proj.bias"));
    let error = place.failure(1, &["model", "generate", "biased"]);
    assert!(error.contains("q_proj.bias") && error.contains("biases are not supported"), "{error}");
    fs::write(plain(&place, "adapter").join("adapter_config.json"), "{}").unwrap();
    assert!(place.failure(1, &["model", "import", "adapter", "--out", "never"]).contains("adapter"));
}

#[test]
fn the_parts_of_a_gguf_model_are_read_together() {
    let place = Place::new();
    let whole = GgufFile::model(&sizes(257));
    place.write("whole.gguf", whole.bytes());
    for number in 0..2 {
        let mut part = whole.clone();
        if number == 1 {
            part.pairs.retain(|(key, ..)| key == "general.architecture");
        }
        part.size("split.no", number);
        part.size("split.count", 2);
        part.tensors = whole.tensors.iter().skip(number).step_by(2).cloned().collect();
        place.write(&format!("m-0000{}-of-00002.gguf", number + 1), part.bytes());
    }
    let wanted = &generated(&place, "whole.gguf", &["--prompt", "abc"])["token_ids"];
    for part in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        assert_eq!(&generated(&place, part, &["--prompt", "abc"])["token_ids"], wanted);
        let seen = place.json(&["model", "inspect", part, "--tensors", "--json"]);
        assert_eq!((seen["tensors"].as_array().unwrap().len(), &seen["problem"]), (whole.tensors.len(), &Value::Null));
    }
    fs::remove_file(place.path("m-00002-of-00002.gguf")).unwrap();
    for command in [&["generate"][..], &["import", "--out", "never"]] {
        let error = place.failure(1, &[&["model"], command, &["m-00001-of-00002.gguf"]].concat());
        assert!(error.contains("m-00002-of-00002.gguf is missing"), "{error}");
    }
    assert!(place.stdout(&["model", "inspect", "m-00001-of-00002.gguf"]).contains("is missing"));
}

#[test]
fn a_chat_template_is_kept_wherever_it_is_stored() {
    let place = Place::new();
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let named = json!([{"name": "default", "template": template}, {"name": "tool_use", "template": "x"}]);
    let configs = [json!({"chat_template": template}), json!({"chat_template": named, "eos_token": "<|endoftext|>"})];
    for (number, config) in configs.iter().enumerate() {
        let folder = plain(&place, &format!("t{number}"));
        fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    let folder = plain(&place, "t2");
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
    fs::create_dir(folder.join("additional_chat_templates")).unwrap();
    fs::write(folder.join("additional_chat_templates/tool_use.jinja"), "x").unwrap();
    for command in ["import", "export"] {
        for number in 0..3 {
            let out = format!("{command}{number}");
            let facts = place.json(&["model", command, &format!("t{number}"), "--out", &out, "--json"]);
            assert_eq!(facts["chat_template"], true);
            let config = fs::read(place.path(&out).join("tokenizer_config.json")).unwrap();
            let config: Value = serde_json::from_slice(&config).unwrap();
            match number {
                2 => {
                    assert_eq!(fs::read_to_string(place.path(&out).join("chat_template.jinja")).unwrap(), template);
                    assert!(place.path(&out).join("additional_chat_templates/tool_use.jinja").is_file());
                }
                number => assert_eq!(config["chat_template"], configs[number]["chat_template"]),
            }
        }
    }
    let mut file = GgufFile::model(&sizes(257));
    file.text("tokenizer.chat_template", template);
    file.text("tokenizer.chat_template.tool_use", "x");
    file.texts("tokenizer.chat_templates", &["tool_use".to_owned()]);
    place.write("t.gguf", file.bytes());
    place.stdout(&["model", "import", "t.gguf", "--out", "g"]);
    let config: Value = serde_json::from_slice(&fs::read(place.path("g/tokenizer_config.json")).unwrap()).unwrap();
    assert_eq!(config["chat_template"], named);
}

#[test]
fn a_number_without_bound_matters_only_in_a_field_that_is_used() {
    let place = Place::new();
    for word in ["Infinity", "-Infinity", "NaN"] {
        let folder = plain(&place, "m");
        let text = fs::read_to_string(folder.join("config.json")).unwrap();
        let with = |field: &str| format!("{{\"{field}\": [0.0, {word}], {}", &text.trim_start()[1..]);
        fs::write(folder.join("config.json"), with("time_step_limit")).unwrap();
        let seen = place.json(&["model", "inspect", "m", "--json"]);
        assert_eq!((&seen["problem"], &seen["unused_fields"]), (&Value::Null, &json!(["time_step_limit"])));
        let used = text.replace("\"rms_norm_eps\":", &format!("\"rms_norm_eps\": {word}, \"x\":"));
        fs::write(folder.join("config.json"), used).unwrap();
        assert!(place.failure(1, &["model", "generate", "m"]).contains("rms_norm_eps"));
    }
}

#[test]
fn a_pointer_in_the_place_of_a_file_is_named() {
    let place = Place::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    plain(&place, "m");
    for name in ["m/model.safetensors", "m/tokenizer.json", "m/config.json"] {
        let kept = fs::read(place.path(name)).unwrap();
        place.write(name, pointer);
        let error = place.failure(1, &["model", "generate", "m"]);
        assert!(error.contains("a Git LFS pointer") && error.contains("git lfs pull"), "{name}: {error}");
        place.write(name, kept);
    }
    place.write("m/model.safetensors", pointer);
    assert!(place.failure(1, &["model", "inspect", "m"]).contains("a Git LFS pointer"));
    place.write("m.gguf", pointer);
    assert!(place.failure(1, &["model", "inspect", "m.gguf"]).contains("a Git LFS pointer"));
}

#[test]
fn a_quantised_file_may_have_a_finer_head() {
    let place = Place::new();
    let wide = ModelConfig { hidden_size: 256, head_dim: 256, intermediate_size: 256, ..sizes(257) };
    let model = GgufFile::model(&wide);
    let packed = |kind: u32, block: usize| {
        let mut file = model.clone();
        let (_, _, code, data) = file.tensors.iter_mut().find(|(name, ..)| name == "output.weight").unwrap();
        (*code, *data) = (kind, vec![0; 257 * block]);
        file.bytes()
    };
    place.write("q6_k.gguf", packed(14, 210));
    assert_eq!(place.json(&["model", "inspect", "q6_k.gguf", "--json"])["types"], json!(["F32", "Q6_K"]));
    generated(&place, "q6_k.gguf", &[]);
    place.write("q3_k.gguf", packed(11, 110));
    assert!(place.failure(1, &["model", "generate", "q3_k.gguf"]).contains("output.weight`: its type Q3_K"));
    let seen = place.stdout(&["model", "inspect", "q3_k.gguf", "--tensors"]);
    assert!(seen.contains("cannot be used") && seen.contains("blk.0.ffn_up.weight"), "{seen}");
}

#[test]
fn one_prefix_of_all_names_is_seen_through() {
    let place = Place::new();
    plain(&place, "m");
    let wanted = &generated(&place, "m", &["--prompt", "abc"])["token_ids"];
    for prefix in ["_orig_mod.", "module."] {
        rename(&plain(&place, "wrapped"), |name| format!("{prefix}{name}"));
        assert_eq!(&generated(&place, "wrapped", &["--prompt", "abc"])["token_ids"], wanted);
    }
    let tied = ModelConfig { tie_word_embeddings: true, ..sizes(257) };
    let bare = folder(&place, "bare", &tied, &byte_tokenizer(&["<|endoftext|>"]), |_| ());
    let wanted = &generated(&place, "bare", &["--prompt", "abc"])["token_ids"];
    rename(&bare, |name| name.trim_start_matches("model.").to_owned());
    assert_eq!(&generated(&place, "bare", &["--prompt", "abc"])["token_ids"], wanted);
}

#[test]
fn the_end_of_text_that_a_models_files_number_counts() {
    let place = Place::new();
    let tokenizer = byte_tokenizer(&["<BOT>", "<EOT>"]);
    let own = |fields: &mut Value| {
        fields["bos_token_id"] = json!(256);
        fields["eos_token_id"] = json!(257);
    };
    let config = sizes(258);
    folder_with(&place, "own", &config, &tokenizer, &constant(&config, 257), own);
    let ended = generated(&place, "own", &["--prompt", "abc"]);
    assert_eq!((&ended["finish"], &ended["text"]), (&json!("stop_token"), &json!("")));
    place.stdout(&["model", "import", "own", "--out", "copy"]);
    assert_eq!(generated(&place, "copy", &["--prompt", "abc"])["finish"], "stop_token");
    place.write("book.txt", "A line of a book that is long enough.\n".repeat(2000));
    let build = ["corpus", "build", "--text", "book.txt", "--tokenizer", "own/tokenizer.json", "--out", "corpus"];
    place.stdout(&build);
    let manifest: Value = serde_json::from_slice(&fs::read(place.path("corpus/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["end_of_text"], 257);
    place.stdout(&["corpus", "inspect", "corpus"]);
    // A training from the model keeps its tokens.
    let train = ["model", "train", "--from", "own", "--text", "book.txt", "--steps", "1", "--batch", "1", "--out", "t"];
    place.stdout(&train);
    let config: Value = serde_json::from_slice(&fs::read(place.path("t/config.json")).unwrap()).unwrap();
    assert_eq!((&config["bos_token_id"], &config["eos_token_id"]), (&json!(256), &json!(257)));
}

#[test]
fn an_evaluation_follows_a_short_sighted_model() {
    let place = Place::new();
    plain(&place, "m");
    place.write("book.txt", "A line of a book that is long enough.\n".repeat(200));
    let measured = place.json(&["model", "evaluate", "m", "--text", "book.txt", "--json"]);
    assert_eq!((&measured["sequence_length"], &measured["sequences"]), (&json!(64), &json!(32)));
    let asked = ["model", "evaluate", "m", "--text", "book.txt", "--sequence-length", "100"];
    assert!(place.failure(2, &asked).contains("sees 64 tokens"));
}

/// A vocabulary in which `▁` stands for a space, with a begin token that the post-processor adds.
fn word_tokenizer() -> (Vec<&'static str>, Value) {
    let names = vec!["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "▁b"];
    let vocab: serde_json::Map<_, _> =
        names.iter().zip(0..).map(|(name, id)| ((*name).to_owned(), json!(id))).collect();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let added: Vec<Value> = (0..3).map(|id| special(names[id], id)).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
        "pre_tokenizer": null, "post_processor": prepend("<s>", 1),
        "decoder": {"type": "Sequence", "decoders": [replace("▁", " "), {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "vocab": vocab,
            "merges": [["▁", "a"], ["▁", "b"]]}});
    (names, tokenizer)
}

#[test]
fn a_continuation_keeps_its_first_space() {
    let place = Place::new();
    let (names, tokenizer) = word_tokenizer();
    let config = sizes(names.len());
    folder_with(&place, "m", &config, &tokenizer, &constant(&config, 7), |_| ());
    let start = ["model", "generate", "m", "--prompt", "a", "--max-tokens", "3", "--temperature", "0"];
    assert_eq!(place.stdout(&start), "a b b b\n");
    let facts = place.json(&[&start[..], &["--json"]].concat());
    assert_eq!((&facts["text"], &facts["prompt_tokens"]), (&json!(" b b b"), &json!(2)));
    let stopped = place.json(&[&start[..], &["--stop", " b", "--json"]].concat());
    assert_eq!((&stopped["text"], &stopped["finish"]), (&json!(""), &json!("stop_string")));
    // Several texts at once, and a conversation.
    assert!(place.stdout(&[&start[..], &["--prompt", "b"]].concat()).contains("[2] b b b b"));
    let chat = place.run_with(&["model", "chat", "m", "--max-tokens", "2", "--temperature", "0"], "a\n\n");
    assert_eq!(String::from_utf8(chat.stdout).unwrap(), " b b\n b b\n");
}

#[test]
fn a_prompt_begins_as_the_models_own_files_say_and_never_twice() {
    let place = Place::new();
    let count = |model: &str, prompt: &str| generated(&place, model, &["--prompt", prompt])["prompt_tokens"].clone();
    let names = ["<|begin_of_text|>", "<|end_of_text|>"];
    let ids = |fields: &mut Value| {
        fields["bos_token_id"] = json!(256);
        fields["eos_token_id"] = json!(257);
    };
    let mut tokenizer = byte_tokenizer(&names);
    folder(&place, "plain", &sizes(258), &tokenizer, ids);
    assert_eq!(count("plain", "abc"), 3);
    // A special token that the prompt spells is one token.
    assert_eq!(count("plain", "abc<|end_of_text|>"), 4);
    let flagged = folder(&place, "flagged", &sizes(258), &tokenizer, ids);
    let settings = json!({"add_bos_token": true, "bos_token": {"content": names[0]}});
    fs::write(flagged.join("tokenizer_config.json"), settings.to_string()).unwrap();
    tokenizer["post_processor"] = prepend(names[0], 256);
    folder(&place, "post", &sizes(258), &tokenizer, ids);
    place.stdout(&["model", "import", "flagged", "--out", "copy"]);
    for model in ["post", "flagged", "copy"] {
        assert_eq!(count(model, "abc"), 4, "{model}");
        assert_eq!(count(model, "<|begin_of_text|>abc"), 4, "{model}");
        assert_eq!(count(model, ""), 1, "{model}");
    }
    let mut file = GgufFile::model(&sizes(257));
    file.size("tokenizer.ggml.bos_token_id", 256);
    place.write("plain.gguf", file.bytes());
    file.pairs.push(("tokenizer.ggml.add_bos_token".to_owned(), 7, vec![1]));
    place.write("begin.gguf", file.bytes());
    assert_eq!((count("plain.gguf", "abc"), count("begin.gguf", "abc")), (json!(3), json!(4)));
    place.stdout(&["model", "import", "begin.gguf", "--out", "imported"]);
    assert_eq!(count("imported", "abc"), 4);
}

#[test]
fn names_of_tensors_cannot_move_the_cursor() {
    let place = Place::new();
    let forged = "\u{1b}[2J\u{1b}[Hall is well\u{7}";
    let mut file = GgufFile::model(&sizes(257));
    file.floats(forged, &[4], &[0.0; 4]);
    place.write("m.gguf", file.bytes());
    let folder = plain(&place, "m");
    rename(&folder, |name| if name == "model.norm.weight" { forged.to_owned() } else { name.to_owned() });
    for model in ["m.gguf", "m"] {
        let seen = place.stdout(&["model", "inspect", model, "--tensors"]);
        let refused = place.failure(1, &["model", "import", model, "--out", "never"]);
        for text in [seen, refused] {
            assert!(!text.contains(['\u{1b}', '\u{7}']) && text.contains("\\x1b[2J"), "{text}");
        }
        // Programs get it as it is.
        let seen = place.json(&["model", "inspect", model, "--tensors", "--json"]);
        assert!(seen["tensors"].as_array().unwrap().iter().any(|tensor| tensor["name"] == forged));
    }
    // So does a pipe of what a model writes.
    let config = sizes(257);
    let tokenizer = byte_tokenizer(&["<|endoftext|>"]);
    folder_with(&place, "says", &config, &tokenizer, &constant(&config, 0x1b), |_| ());
    let said = place.stdout(&["model", "generate", "says", "--prompt", "x", "--max-tokens", "2", "--temperature", "0"]);
    assert_eq!(said, "x\u{1b}\u{1b}\n");
}

#[test]
fn a_chat_continues_a_line_as_generate_does() {
    let place = Place::new();
    plain(&place, "m");
    let options = ["--max-tokens", "8", "--temperature", "0"];
    let chat = place.run_with(&[&["model", "chat", "m"][..], &options].concat(), "The people of\n");
    let said = String::from_utf8_lossy(&chat.stdout).into_owned();
    let generate = [&["model", "generate", "m", "--prompt", "The people of", "--json"][..], &options].concat();
    assert_eq!(said.trim_end_matches('\n'), place.json(&generate)["text"].as_str().unwrap());
    // A model that ends every text says so.
    let config = sizes(257);
    folder_with(&place, "ends", &config, &byte_tokenizer(&["<|endoftext|>"]), &constant(&config, 256), |_| ());
    let chat = place.run_with(&["model", "chat", "ends", "--temperature", "0"], "a\nb\n");
    assert_eq!(String::from_utf8_lossy(&chat.stderr).matches("ends the text here").count(), 2);
}

#[test]
fn numbers_out_of_their_range_are_rejected_before_any_work() {
    let place = Place::new();
    let generate = ["model", "generate", "missing"];
    for (flag, value) in [
        ("--temperature", "NaN"),
        ("--temperature", "-1"),
        ("--top-k", "-5"),
        ("--top-p", "0"),
        ("--repetition-penalty", "inf"),
        ("--max-tokens", "99999999999"),
    ] {
        let output = place.run(&[&generate[..], &[flag, value]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.contains(flag) && !error.contains("-- -"), "{error}");
    }
    assert!(place.failure(2, &[&generate[..], &["--threads", "99999"]].concat()).contains("take 1 to"));
    let train = ["model", "train", "--out", "t", "--text", "missing.txt"];
    for (flag, value) in [
        ("--learning-rate", "NaN"),
        ("--learning-rate", "-1"),
        ("--flat", "2"),
        ("--final-share", "1.5"),
        ("--sequence-length", "100000"),
        ("--batch", "4000000000"),
        ("--vocab-size", "1000000000"),
        ("--minutes", "NaN"),
        ("--threads", "99999"),
    ] {
        let error = place.failure(2, &[&train[..], &[flag, value]].concat());
        assert!(error.contains(flag.trim_start_matches('-')) && !error.contains("missing.txt"), "{flag}: {error}");
    }
    assert!(!place.path("t").exists());
}

#[test]
fn the_last_loss_of_a_training_is_that_of_an_evaluation() {
    let place = Place::new();
    let train = ["model", "train", "--synthetic", "400000", "--vocab-size", "300", "--preset", "nano", "--steps", "1"];
    let more = ["--batch", "1", "--sequence-length", "64", "--out", "t", "--json"];
    let lines = place.stdout(&[&train[..], &more].concat());
    let summary: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let measured = place.json(&["model", "evaluate", "t", "--json"]);
    let (trained, measured) = (summary["last_held_out_loss"].as_f64().unwrap(), measured["loss"].as_f64().unwrap());
    assert!((trained - measured).abs() < 1e-5, "{trained} {measured}");
}
