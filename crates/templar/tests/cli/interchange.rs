//! Models to and from other programs, and held to what another implementation computed.

use crate::program::{Place, text};
use std::fs;
use std::path::{Path, PathBuf};

/// A tiny random Llama as `transformers` saves it, with what PyTorch computes for it.
fn llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/vectors/llama_untied")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_model_is_held_to_the_expected_figures() {
    let place = Place::new();
    let folder = llama();
    let checked = place.json(&["model", "check", text(&folder), "--json"]);
    assert_eq!(checked["ok"], true, "{checked}");
    assert!(checked["logits"]["largest_error"].as_f64().unwrap() < 1e-4);
    assert_eq!(checked["gradients"]["tensors"].as_array().unwrap().len(), 21);
    assert_eq!(checked["greedy"]["tokens"], 24);
    assert!(place.stdout(&["model", "check", text(&folder)]).contains("greedy tokens"));
    let error = place.failure(1, &["model", "check", text(&folder), "--logits-tolerance", "1e-12"]);
    assert!(error.contains("computes other figures"), "{error}");
    let error = place.failure(2, &["model", "check", text(&folder), "--loss-tolerance", "nan"]);
    assert!(error.contains("'--loss-tolerance <X>': it must be a number from 0"), "{error}");

    let broken = place.path("broken");
    copy(&folder, &broken);
    fs::write(broken.join("expected.json"), "[]").unwrap();
    assert!(place.failure(1, &["model", "check", "broken"]).contains("expected.json"));
    fs::remove_file(broken.join("expected.json")).unwrap();
    assert!(place.failure(1, &["model", "check", "broken"]).contains("cannot read"));
}

#[test]
fn models_go_out_in_shards_and_come_back() {
    let place = Place::new();
    let folder = llama();
    let export = ["model", "export", text(&folder), "--out", "out", "--json"];
    let exported = place.json(&[&export[..], &["--dtype", "f32", "--shard-size", "1"]].concat());
    assert_eq!(exported["files"].as_array().unwrap().len(), 1);
    assert!(place.failure(2, &export).contains("exists and is left as it is"));
    let again = place.json(&["model", "import", "out", "--out", "back", "--json"]);
    assert_eq!(again["parameters"], exported["parameters"]);
    let parameters = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(parameters(&place.path("out")) == parameters(&place.path("back")));

    // What comes back computes the same.
    for file in ["expected.json", "expected.safetensors"] {
        fs::copy(folder.join(file), place.path("back").join(file)).unwrap();
    }
    assert_eq!(place.json(&["model", "check", "back", "--json"])["ok"], true);

    let half = place.json(&["model", "export", text(&folder), "--out", "half", "--dtype", "bf16", "--json"]);
    assert_eq!(half["bytes"].as_u64().unwrap() * 2, exported["bytes"].as_u64().unwrap());
    let seen = place.json(&["model", "inspect", "half", "--tensors", "--json"]);
    assert_eq!((&seen["types"][0], &seen["config"]["head_dim"]), (&"BF16".into(), &12.into()));
    assert_eq!(seen["tensors"].as_array().unwrap().len(), 21);
    assert!(place.stdout(&["model", "inspect", "half"]).contains("its own"));
    let error = place.failure(1, &["model", "generate", "half"]);
    assert!(error.contains("no usable tokenizer"), "{error}");

    let strange = place.write("model.gguf", "GGUFxxxx");
    for command in [&["inspect"][..], &["import", "--out", "x"]] {
        let error = place.failure(1, &[&["model"], command, &[text(&strange)]].concat());
        assert!(error.contains("GGUF version"), "{error}");
    }
}
