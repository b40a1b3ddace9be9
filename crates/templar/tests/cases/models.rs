//! Model folders, GGUF files, prompts.

use crate::model_files::*;
use crate::program::Place;
use serde_json::{Value, json};
use std::fs;
use templar_engine::ModelConfig;

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

#[test]
fn what_is_no_model_is_named_with_what_to_give_instead() {
    let place = Place::new();
    let model = plain(&place, "m");
    let copy = |name: &str, file: &str, as_name: &str| {
        fs::create_dir_all(place.path(name)).unwrap();
        fs::copy(model.join(file), place.path(name).join(as_name)).unwrap();
    };
    let refused = |path: &str| place.failure(1, &["model", "generate", path]);
    assert!(refused("m/model.safetensors").contains("one file of a model in a folder: give the folder, m"));
    assert!(refused("m/config.json").contains("give the folder, m"));
    assert!(refused("meta/Some-Model-1B").contains("there is nothing at meta/Some-Model-1B"));
    // As PEFT writes an adapter: without a config.json.
    copy("lora", "model.safetensors", "adapter_model.safetensors");
    place.write("lora/adapter_config.json", "{}");
    assert!(refused("lora").contains("makes this an adapter"));
    copy("other-name", "config.json", "config.json");
    copy("other-name", "model.safetensors", "model.fp16.safetensors");
    assert!(refused("other-name").contains("model.fp16.safetensors is there"));
    copy("original", "config.json", "config.json");
    place.write("original/consolidated.00.pth", "PK");
    assert!(refused("original").contains("consolidated.00.pth is there, which is pickled"));
    fs::create_dir(place.path("only-gguf")).unwrap();
    place.write("only-gguf/tiny.gguf", GgufFile::model(&sizes(257)).bytes());
    assert!(refused("only-gguf").contains("give the file itself, only-gguf/tiny.gguf"));
    generated(&place, "only-gguf/tiny.gguf", &[]);
    place.write("old.bin", b"tjgg\x03\0\0\0");
    assert!(refused("old.bin").contains("before GGUF"));
    place.write("empty.gguf", "");
    assert!(refused("empty.gguf").contains("empty: fetch it again"));
}

#[test]
fn values_of_one_byte_are_told_by_their_type_and_not_by_the_size_of_the_file() {
    let place = Place::new();
    let folder = plain(&place, "m");
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..data]).unwrap();
    for tensor in header.values_mut().filter(|tensor| tensor.get("dtype").is_some()) {
        tensor["dtype"] = json!("F8_E4M3");
        for at in 0..2 {
            tensor["data_offsets"][at] = json!(tensor["data_offsets"][at].as_u64().unwrap() / 4);
        }
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], header.as_bytes(), &vec![0; (bytes.len() - data) / 4]].concat()).unwrap();
    let error = place.failure(1, &["model", "generate", "m"]);
    assert!(error.contains("type F8_E4M3") && !error.contains("too few"), "{error}");
    let problem = place.json(&["model", "inspect", "m", "--json"])["problem"].to_string();
    assert!(problem.contains("type F8_E4M3"), "{problem}");
    fs::write(&path, "<!DOCTYPE html><html></html>").unwrap();
    assert!(place.failure(1, &["model", "generate", "m"]).contains("a page of the web"));
}

#[test]
fn values_with_which_nothing_can_be_computed_are_named_by_their_tensor() {
    let place = Place::new();
    let path = plain(&place, "m").join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    for command in [&["model", "import", "m", "--out", "i"][..], &["model", "generate", "m", "--prompt", "a"]] {
        let error = place.failure(1, command);
        assert!(error.contains(".weight has NaN among its values"), "{error}");
    }
    assert!(!place.path("i").exists());
}

#[test]
fn two_models_in_one_folder_are_not_chosen_between() {
    let place = Place::new();
    let folder = plain(&place, "m");
    fs::copy(folder.join("model.safetensors"), folder.join("model-00001-of-00001.safetensors")).unwrap();
    generated(&place, "m", &[]);
    let index = json!({"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}});
    place.write("m/model.safetensors.index.json", index.to_string());
    let error = place.failure(1, &["model", "generate", "m"]);
    assert!(error.contains("model.safetensors is there too"), "{error}");
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    generated(&place, "m", &[]);
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_told_by_import_and_inspect() {
    let place = Place::new();
    let folder = plain(&place, "m");
    let told = |part: &str| {
        let seen = place.json(&["model", "inspect", "m", "--json"]);
        assert!(seen["tokenizer_problem"].to_string().contains(part), "{seen}");
        assert!(place.stdout(&["model", "inspect", "m"]).contains("no tokenizer"));
        assert!(place.failure(1, &["model", "generate", "m"]).contains(part));
        let _ = fs::remove_dir_all(place.path("i"));
        let imported = place.json(&["model", "import", "m", "--out", "i", "--json"]);
        let (missing, problem) = (imported["tokenizer_missing"].to_string(), imported["tokenizer_problem"].to_string());
        assert!(missing.contains(part) || problem.contains(part), "{imported}");
    };
    place.write("m/tokenizer.json", "<html>sign in</html>");
    told("web page");
    let larger = byte_tokenizer(&["<|endoftext|>", "<a>", "<b>"]);
    place.write("m/tokenizer.json", larger.to_string());
    told("another model's");
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    place.write("m/tokenizer.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0");
    told("save_pretrained");
    let marked = format!("\u{feff}{}", byte_tokenizer(&["<|endoftext|>"]));
    place.write("m/tokenizer.json", marked);
    assert_eq!(place.json(&["model", "inspect", "m", "--json"])["tokenizer_problem"], Value::Null);
    generated(&place, "m", &[]);
}

#[test]
fn a_gguf_file_whose_tensors_are_not_where_they_belong_is_damaged() {
    let place = Place::new();
    let model = GgufFile::model(&sizes(257));
    let bytes = model.bytes();
    let name = gguf_text("output.weight");
    let place_of_offset = bytes.windows(name.len()).position(|part| part == name).unwrap() + name.len() + 4 + 2 * 8 + 4;
    let moved = |by: i64| {
        let mut bytes = bytes.clone();
        let field = &mut bytes[place_of_offset..place_of_offset + 8];
        let offset = i64::from_le_bytes(field.try_into().unwrap()) + by;
        field.copy_from_slice(&offset.to_le_bytes());
        place.write("moved.gguf", bytes);
        place.failure(1, &["model", "generate", "moved.gguf"])
    };
    assert!(moved(-64).contains("overlap those of another tensor"));
    assert!(moved(-4).contains("alignment"));
    let mut big_endian = bytes.clone();
    big_endian[4..8].reverse();
    place.write("b.gguf", big_endian);
    assert!(place.failure(1, &["model", "generate", "b.gguf"]).contains("big-endian"));
    // What is not needed does not matter: an author in Latin-1, a list of lists.
    let mut odd = model.clone();
    odd.pairs.push(("general.author".to_owned(), 8, [&3u64.to_le_bytes()[..], b"Zo\xeb"].concat()));
    let inner = [&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &7u32.to_le_bytes()].concat();
    odd.pairs.push(("general.lists".to_owned(), 9, [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &inner].concat()));
    place.write("odd.gguf", odd.bytes());
    generated(&place, "odd.gguf", &[]);
    let mut adapter = GgufFile::default();
    adapter.text("general.architecture", "llama");
    adapter.text("general.type", "adapter");
    place.write("lora.gguf", adapter.bytes());
    assert!(place.failure(1, &["model", "generate", "lora.gguf"]).contains("not a model but: adapter"));
}
