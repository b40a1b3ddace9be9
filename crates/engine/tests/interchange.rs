//! GGUF files: made here by the format's description, read back, and broken in many ways.

use proptest::prelude::*;
use std::sync::LazyLock;
use templar_engine::checkpoint::{Gguf, GgufError, gguf_config, gguf_parameters, gguf_tokenizer};
use templar_engine::{ModelConfig, ParamLayout, RopeScaling, initial_parameters, preset};

/// Writes a GGUF file of version 3.
#[derive(Default)]
struct Writer {
    pairs: Vec<Vec<u8>>,
    tensors: Vec<(Vec<u8>, Vec<u8>)>,
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

impl Writer {
    fn pair(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.pairs.push([&text(key)[..], &kind.to_le_bytes(), value].concat());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.pair(key, 8, &text(value));
    }

    fn size(&mut self, key: &str, value: usize) {
        self.pair(key, 4, &(value as u32).to_le_bytes());
    }

    fn number(&mut self, key: &str, value: f32) {
        self.pair(key, 6, &value.to_le_bytes());
    }

    fn texts(&mut self, key: &str, values: &[&str]) {
        let all: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
        let head = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        self.pair(key, 9, &[head, all].concat());
    }

    /// `shape` is outermost first; the description goes without the offset.
    fn tensor(&mut self, name: &str, shape: &[usize], kind: u32, data: Vec<u8>) {
        let mut description = [text(name), (shape.len() as u32).to_le_bytes().to_vec()].concat();
        shape.iter().rev().for_each(|&length| description.extend((length as u64).to_le_bytes()));
        description.extend(kind.to_le_bytes());
        self.tensors.push((description, data));
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.tensor(name, shape, 0, values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = [&b"GGUF"[..], &3u32.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.pairs.len() as u64).to_le_bytes());
        bytes.extend(self.pairs.concat());
        let mut data = Vec::new();
        for (description, values) in &self.tensors {
            bytes.extend(description);
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(values);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        [bytes, data].concat()
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        rope_theta: 500_000.0,
        tie_word_embeddings: false,
        ..preset("nano", 40).unwrap()
    }
}

/// llama.cpp's order of a head's rows: those of the two halves in turn.
fn pairs_from_halves(values: &[f32], head_dim: usize, width: usize) -> Vec<f32> {
    let row = |head: usize, row: usize| &values[(head * head_dim + row) * width..][..width];
    let heads = values.len() / head_dim / width;
    let rows = (0..heads).flat_map(|head| (0..head_dim).map(move |place| (head, place)));
    rows.flat_map(|(head, place)| row(head, place % 2 * head_dim / 2 + place / 2).to_vec()).collect()
}

fn describe(writer: &mut Writer, config: &ModelConfig) {
    writer.text("general.architecture", "llama");
    for (key, value) in [
        ("block_count", config.num_hidden_layers),
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
        ("attention.head_count_kv", config.num_key_value_heads),
        ("rope.dimension_count", config.head_dim),
    ] {
        writer.size(&format!("llama.{key}"), value);
    }
    writer.number("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps);
    writer.number("llama.rope.freq_base", config.rope_theta as f32);
    writer.size("tokenizer.ggml.bos_token_id", 1);
    writer.size("tokenizer.ggml.eos_token_id", 2);
}

/// The model with these parameters, all in f32.
fn write_model(config: &ModelConfig, parameters: &[f32]) -> Writer {
    let mut writer = Writer::default();
    describe(&mut writer, config);
    for tensor in ParamLayout::new(config).tensors() {
        let values = &parameters[tensor.range.clone()];
        let name = tensor
            .name
            .replace("model.layers.", "blk.")
            .replace("model.embed_tokens", "token_embd")
            .replace("model.norm", "output_norm")
            .replace("lm_head", "output")
            .replace("input_layernorm", "attn_norm")
            .replace("post_attention_layernorm", "ffn_norm")
            .replace("self_attn.o_proj", "attn_output")
            .replace("self_attn.", "attn_")
            .replace("mlp.", "ffn_")
            .replace("_proj", "");
        let is_turned = name.contains("attn_q.") || name.contains("attn_k.");
        let values =
            if is_turned { pairs_from_halves(values, config.head_dim, config.hidden_size) } else { values.to_vec() };
        writer.floats(&name, &tensor.shape, &values);
    }
    writer
}

static MODEL: LazyLock<Vec<u8>> =
    LazyLock::new(|| write_model(&config(), &initial_parameters(&config(), [1; 32])).finish());

#[test]
fn a_model_reads_back() {
    let file = Gguf::parse(&MODEL).unwrap();
    let (read, special) = gguf_config(&file).unwrap();
    assert_eq!(read, config());
    assert_eq!((special.begin, &special.end[..]), (Some(1), &[2][..]));
    assert_eq!(gguf_parameters(&file, &read).unwrap(), initial_parameters(&config(), [1; 32]));
}

#[test]
fn packed_matrices_are_near_the_plain_ones() {
    let config = ModelConfig { tie_word_embeddings: true, ..config() };
    let parameters = initial_parameters(&config, [1; 32]);
    let mut writer = write_model(&config, &parameters);
    // Q8_0: a scale for 32 values, the largest of which becomes 127. One value over 2^-14 in 2^-14 steps is a half.
    let scale = 0.125f32 / 128.0;
    let mut packed = Vec::new();
    for block in parameters[..40 * 32].chunks(32) {
        packed.extend(0x1400u16.to_le_bytes());
        packed.extend(block.iter().map(|value| (value / scale).round() as i8 as u8));
    }
    writer.tensors.remove(0);
    writer.tensor("token_embd.weight", &[40, 32], 8, packed);
    let bytes = writer.finish();
    let file = Gguf::parse(&bytes).unwrap();
    let (read, _) = gguf_config(&file).unwrap();
    assert!(read.tie_word_embeddings);
    let again = gguf_parameters(&file, &read).unwrap();
    assert_eq!(again[40 * 32..], parameters[40 * 32..]);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= scale / 2.0 + 1e-7;
    assert!(again.iter().zip(&parameters).all(near));
}

#[test]
fn divisors_of_the_rotation_become_its_scaling() {
    let scaling = RopeScaling {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    // What llama.cpp's converter writes: by wavelength, 1, the factor, or between the two.
    let divisors: Vec<f32> = (0..4)
        .map(|pair| {
            let wavelength = 2.0 * std::f64::consts::PI * 500_000f64.powf(2.0 * f64::from(pair) / 8.0);
            let smooth = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / 32.0 + smooth)) as f32
        })
        .collect();
    let read = |divisors: &[f32]| {
        let mut writer = write_model(&config(), &initial_parameters(&config(), [1; 32]));
        writer.floats("rope_freqs.weight", &[divisors.len()], divisors);
        gguf_config(&Gguf::parse(&writer.finish()).unwrap()).map(|(config, _)| config.rope_scaling)
    };
    assert_eq!(read(&divisors).unwrap(), Some(scaling));
    assert_eq!(read(&[1.0; 4]).unwrap(), None);
    for strange in [&[1.0, 2.0, 32.0, 32.0][..], &[1.0; 3], &[f32::NAN, 1.0, 1.0, 2.0], &[0.5, 0.5, 0.5, 0.5]] {
        assert!(matches!(read(strange), Err(GgufError::Tensor { .. })), "{strange:?}");
    }
}

#[test]
fn the_begin_token_of_a_file_becomes_a_post_processor() {
    let read = |model: &str, change: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::default();
        writer.text("tokenizer.ggml.model", "gpt2");
        writer.text("tokenizer.ggml.pre", model);
        writer.texts("tokenizer.ggml.tokens", &["<s>", "a", "</s>"]);
        writer.texts("tokenizer.ggml.merges", &[]);
        writer.size("tokenizer.ggml.bos_token_id", 0);
        writer.size("tokenizer.ggml.eos_token_id", 2);
        change(&mut writer);
        let tokenizer = gguf_tokenizer(&Gguf::parse(&writer.finish()).unwrap())?;
        let fields: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
        let single = fields["post_processor"]["single"].as_array().cloned().unwrap_or_default();
        let names = single.iter().map(|part| part["SpecialToken"]["id"].as_str().unwrap_or("text").to_owned());
        Ok::<_, GgufError>(names.collect::<Vec<_>>())
    };
    let flag = |key: &'static str, value: u8| move |writer: &mut Writer| writer.pair(key, 7, &[value]);
    let nothing: [&str; 0] = [];
    assert_eq!(read("gpt-2", &|_| {}).unwrap(), nothing);
    assert_eq!(read("llama-bpe", &|_| {}).unwrap(), ["<s>", "text"]);
    assert_eq!(read("llama-bpe", &flag("tokenizer.ggml.add_bos_token", 0)).unwrap(), nothing);
    assert_eq!(read("gpt-2", &flag("tokenizer.ggml.add_bos_token", 1)).unwrap(), ["<s>", "text"]);
    assert_eq!(read("gpt-2", &flag("tokenizer.ggml.add_eos_token", 1)).unwrap(), ["text", "</s>"]);
    assert!(read("gpt-2", &flag("tokenizer.ggml.add_space_prefix", 0)).is_ok());
    assert!(read("gpt-2", &flag("tokenizer.ggml.add_space_prefix", 1)).is_err());
}

#[test]
fn a_vocabulary_becomes_a_tokenizer() {
    let mut writer = Writer::default();
    writer.text("tokenizer.ggml.model", "gpt2");
    writer.text("tokenizer.ggml.pre", "smollm");
    writer.texts("tokenizer.ggml.tokens", &["<|end|>", "a", "b", "ab", "\u{120}"]);
    writer.texts("tokenizer.ggml.merges", &["a b"]);
    let kinds: Vec<u8> = [3i32, 1, 1, 1, 1].iter().flat_map(|kind| kind.to_le_bytes()).collect();
    let head = [&5u32.to_le_bytes()[..], &5u64.to_le_bytes()].concat();
    writer.pair("tokenizer.ggml.token_type", 9, &[head, kinds].concat());
    let bytes = writer.finish();
    let tokenizer = gguf_tokenizer(&Gguf::parse(&bytes).unwrap()).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
    assert_eq!(tokenizer["model"]["vocab"]["ab"], 3);
    assert_eq!(tokenizer["model"]["merges"][0], serde_json::json!(["a", "b"]));
    assert_eq!(tokenizer["added_tokens"][0]["content"], "<|end|>");
    assert_eq!(tokenizer["added_tokens"].as_array().unwrap().len(), 1);
    assert_eq!(tokenizer["post_processor"], serde_json::Value::Null);

    let mut sentence_piece = Writer::default();
    sentence_piece.text("tokenizer.ggml.model", "llama");
    let bytes = sentence_piece.finish();
    let refused = gguf_tokenizer(&Gguf::parse(&bytes).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("only byte-level BPE"), "{refused}");
}

#[test]
fn errors_name_the_key_or_the_tensor() {
    assert_eq!(Gguf::parse(b"GGML"), Err(GgufError::Magic));
    assert_eq!(Gguf::parse(b"GGUF\x01\0\0\0"), Err(GgufError::Version(1)));
    let cut = Gguf::parse(&MODEL[..MODEL.len() - 40]).unwrap_err().to_string();
    assert!(cut.contains("its data lie outside the file"), "{cut}");

    let refused = |change: &dyn Fn(&mut Writer)| {
        let mut writer = write_model(&config(), &initial_parameters(&config(), [1; 32]));
        change(&mut writer);
        let bytes = writer.finish();
        let file = Gguf::parse(&bytes)?;
        gguf_config(&file).and_then(|(config, _)| gguf_parameters(&file, &config)).map(|_| ())
    };
    let message = |change: &dyn Fn(&mut Writer)| refused(change).unwrap_err().to_string();
    assert!(message(&|writer| writer.pairs[0] = Vec::new()).contains("cut off"));
    let without = message(&|writer| {
        writer.tensors.remove(4);
    });
    assert_eq!(without, "GGUF tensor `blk.0.attn_v.weight`: it is missing");
    let other = message(&|writer| writer.text("llama.rope.scaling.type", "yarn"));
    assert_eq!(other, "GGUF key `llama.rope.scaling.type`: `yarn` is not supported");
    let packed = message(&|writer| {
        writer.tensors.retain(|(description, _)| !description[8..].starts_with(b"output_norm"));
        writer.tensor("output_norm.weight", &[32], 20, vec![0; 18]);
    });
    assert!(packed.starts_with("GGUF tensor `output_norm.weight`: its type IQ4_NL is not supported; F32"), "{packed}");
    let strange = message(&|writer| writer.floats("blk.0.attn_q.bias", &[32], &[0.5; 32]));
    assert_eq!(strange, "GGUF tensor `blk.0.attn_q.bias`: biases are not supported");
    let scaled = message(&|writer| writer.number("llama.rope.scale_linear", 4.0));
    assert_eq!(scaled, "GGUF key `llama.rope.scale_linear`: 4 is not supported");
    let twice = message(&|writer| writer.size("llama.block_count", 2));
    assert_eq!(twice, "GGUF key `llama.block_count`: it occurs twice");
    // A file that promises far more than it holds.
    let huge = message(&|writer| writer.tensor("x", &[1 << 30, 1 << 30, 1 << 30], 0, Vec::new()));
    assert!(huge.contains("too large"), "{huge}");
}

#[test]
fn keys_that_change_what_a_model_computes_are_rejected_and_others_are_not() {
    let read = |change: &dyn Fn(&mut Writer)| {
        let mut writer = write_model(&config(), &initial_parameters(&config(), [1; 32]));
        change(&mut writer);
        gguf_config(&Gguf::parse(&writer.finish()).unwrap()).map(|_| ()).map_err(|error| error.to_string())
    };
    for (key, value) in [
        ("rope.scaling.factor", 8.0),
        ("attn_logit_softcapping", 50.0),
        ("logit_scale", 0.5),
        ("attention.scale", 0.5),
        ("attention.clamp_kqv", 8.0),
        ("something.new", 0.1),
    ] {
        let error = read(&|writer| writer.number(&format!("llama.{key}"), value)).unwrap_err();
        assert!(error.contains(key), "{key}: {error}");
    }
    for (key, value) in [
        ("attention.sliding_window", 8),
        ("expert_count", 4),
        ("pooling_type", 3),
        ("vocab_size", 41),
        ("attention.value_length", 4),
        ("nextn_predict_layers", 1),
    ] {
        let error = read(&|writer| writer.size(&format!("llama.{key}"), value)).unwrap_err();
        assert!(error.contains(key), "{key}: {error}");
    }
    read(&|writer| writer.text("general.type", "adapter")).unwrap_err();
    read(&|writer| {
        writer.number("llama.rope.scaling.factor", 1.0);
        writer.number("llama.attention.scale", 8f32.powf(-0.5));
        writer.size("llama.attention.sliding_window", 1 << 20);
        writer.size("llama.expert_count", 0);
        writer.size("llama.vocab_size", 40);
        writer.text("llama.rope.scaling.type", "none");
        writer.text("llama.tensor_data_layout", "Meta AI original pth");
        writer.text("general.license", "mit");
    })
    .unwrap();
}

#[test]
fn the_parts_of_a_model_are_read_together() {
    let parameters = initial_parameters(&config(), [1; 32]);
    let whole = write_model(&config(), &parameters);
    let count = whole.tensors.len();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for number in 0..2 {
        let mut part = Writer::default();
        if number == 0 {
            describe(&mut part, &config());
        }
        part.size("split.no", number);
        part.size("split.count", 2);
        part.size("split.tensors.count", count);
        part.tensors = whole.tensors.iter().skip(number).step_by(2).cloned().collect();
        parts.push(part.finish());
    }
    let parsed = |numbers: &[usize]| numbers.iter().map(|&number| Gguf::parse(&parts[number]).unwrap()).collect();
    let joined = Gguf::join(parsed(&[0, 1])).unwrap();
    assert_eq!(gguf_config(&joined).unwrap().0, config());
    assert_eq!(gguf_parameters(&joined, &config()).unwrap(), parameters);
    for wrong in [&[1, 0][..], &[0], &[0, 0], &[]] {
        assert!(Gguf::join(parsed(wrong)).is_err(), "{wrong:?}");
    }
    let alone = gguf_config(&Gguf::parse(&parts[0]).unwrap()).unwrap_err().to_string();
    assert!(alone.contains("part 1 of 2"), "{alone}");
}

#[test]
fn tensors_that_share_their_bytes_are_refused() {
    let mut writer = Writer::default();
    writer.floats("a", &[8], &[0.0; 8]);
    writer.floats("b", &[8], &[0.0; 8]);
    let mut bytes = writer.finish();
    // The second offset is 32; make it 0, and cut what is no longer named.
    let place = bytes.windows(8).rposition(|window| window == 32u64.to_le_bytes()).unwrap();
    bytes[place] = 0;
    bytes.truncate(bytes.len() - 32);
    assert!(Gguf::parse(&bytes).unwrap_err().to_string().contains("overlap"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn broken_files_are_refused_without_harm(place in 0usize..3000, value: u8, cut in 0usize..100_000) {
        let mut bytes = MODEL.clone();
        bytes[place] = value;
        for bytes in [&bytes[..], &bytes[..cut.min(bytes.len())]] {
            if let Ok(file) = Gguf::parse(bytes) {
                let _ = gguf_config(&file).and_then(|(config, _)| gguf_parameters(&file, &config));
                let _ = gguf_tokenizer(&file);
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Gguf::parse(&bytes);
        let headed = [&b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"[..], &bytes].concat();
        let _ = Gguf::parse(&headed);
    }
}
