//! `templar model import` and `templar model export`.

use crate::config::Config;
use crate::failure::{Advise, Usage};
use crate::output::{Output, count, size, table};
use crate::progress::Progress;
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use templar_corpus::Tokenizer;
use templar_engine::ParamLayout;
use templar_engine::checkpoint::{INDEX_FILE, Precision, Shards, config_to_json, generation_config_to_json};
use templar_model::folder::{replace_with, write_file};
use templar_model::{CONFIG_FILE, FileError, GENERATION_FILE, Model, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE};

/// Bring in a model of another program: a Hugging Face folder, or a GGUF file of llama.cpp.
///
/// Hugging Face: Llama, Mistral without a window, Qwen3; f32, bf16, f16, in one file or in shards. GGUF: Llama and Qwen3
/// in F32, F16, BF16, Q8_0, Q4_0, Q4_1; its vocabulary becomes a tokenizer.json. The result is a folder as
/// `templar model train` makes it, in f32.
///
/// Example: templar model import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Import {
    /// Model folder or .gguf file
    source: PathBuf,
    /// Model folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    /// Reads the one and writes the other.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        convert(&self.source, &self.out, Precision::F32, u64::MAX, self.json, &config)
    }
}

/// Write a model as a Hugging Face folder for other programs.
///
/// `transformers` computes the same logits with the result (to about 1e-5 in f32).
///
/// Example: templar model export first --dtype bf16 --shard-size 2000 --out first-bf16
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Export {
    /// Checkpoint folder
    folder: PathBuf,
    /// Model folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How the parameters are stored
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Dtype,
    /// The most megabytes of a file; a larger model becomes several
    #[arg(long, value_name = "MB", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..1_000_000_000))]
    shard_size: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// Exact
    F32,
    /// Half the size, 3 digits, the whole range
    Bf16,
    /// Half the size, 4 digits, up to 65504
    F16,
}

impl Export {
    /// Reads the one and writes the other.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let precision = match self.dtype {
            Dtype::F32 => Precision::F32,
            Dtype::Bf16 => Precision::Bf16,
            Dtype::F16 => Precision::F16,
        };
        convert(&self.folder, &self.out, precision, self.shard_size * 1_000_000, self.json, &config)
    }
}

fn convert(
    source: &Path,
    out: &Path,
    precision: Precision,
    shard_bytes: u64,
    json: bool,
    config: &Config,
) -> anyhow::Result<()> {
    let mut progress = Progress::new(config.is_quiet || json);
    let _lock = super::lock(out)?;
    if std::fs::read_dir(out).map_or(out.exists(), |mut all| all.next().is_some()) {
        return Err(Usage(format!("{} exists and is left as it is", out.display()))).advise("choose another --out");
    }
    progress.say("reading the model");
    let model = Model::open(source)
        .with_context(|| format!("cannot use the model {}", source.display()))
        .advise("give a Hugging Face folder of a Llama model, or a .gguf file")?;
    if precision == Precision::F16
        && let Some(value) = model.parameters.iter().find(|value| value.abs() > 65504.0)
    {
        return Err(anyhow::anyhow!("the parameter {value} is too large for f16")).advise("take --dtype bf16");
    }
    let shards = Shards::new(&ParamLayout::new(&model.config), precision, shard_bytes);
    replace_with(out, |folder| -> Result<(), FileError> {
        for file in 0..shards.count() {
            progress.show(file as f64 / shards.count() as f64, &format!("writing {}", shards.file_name(file)));
            write_file(&folder.join(shards.file_name(file)), &shards.file(file, &model.parameters))?;
        }
        if let Some(index) = shards.index() {
            write_file(&folder.join(INDEX_FILE), index.as_bytes())?;
        }
        let text = config_to_json(&model.config, &model.special, precision);
        write_file(&folder.join(CONFIG_FILE), text.as_bytes())?;
        write_file(&folder.join(GENERATION_FILE), generation_config_to_json(&model.special).as_bytes())?;
        if let Ok(tokenizer) = &model.tokenizer {
            write_file(&folder.join(TOKENIZER_FILE), tokenizer)?;
            write_file(&folder.join(TOKENIZER_CONFIG_FILE), tokenizer_config(&model, tokenizer).as_bytes())?;
        }
        Ok(())
    })?;
    drop(progress);
    report(&model, out, &shards, precision, json)
}

/// The class that reads any tokenizer.json, and the names of the special tokens.
fn tokenizer_config(model: &Model, tokenizer: &[u8]) -> String {
    let tokenizer = Tokenizer::from_json(tokenizer).ok();
    let name = |token: Option<u32>| token.and_then(|token| tokenizer.as_ref()?.token(token));
    let mut fields = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
    });
    for (field, token) in [
        ("bos_token", model.special.begin),
        ("eos_token", model.special.end.first().copied()),
        ("pad_token", model.special.padding),
    ] {
        if let Some(name) = name(token) {
            fields[field] = Value::String(name);
        }
    }
    if let Some(template) = &model.chat_template {
        fields["chat_template"] = json!(template);
    }
    format!("{fields:#}\n")
}

fn report(model: &Model, out: &Path, shards: &Shards, precision: Precision, json: bool) -> anyhow::Result<()> {
    let files: Vec<String> = (0..shards.count()).map(|file| shards.file_name(file)).collect();
    let bytes = model.parameters.len() as u64 * precision.bytes() as u64;
    let facts = json!({
        "folder": out,
        "parameters": model.parameters.len(),
        "files": files,
        "bytes": bytes,
        "tokenizer": model.tokenizer.is_ok(),
        "tokenizer_missing": model.tokenizer.as_ref().err(),
    });
    Output::new(json).facts(&facts, |paint| {
        let tokenizer = match &model.tokenizer {
            Ok(_) => TOKENIZER_FILE.to_owned(),
            Err(reason) => paint.yellow(&format!("none: {reason}")),
        };
        let rows = [
            ("folder", paint.bold(&out.display().to_string())),
            ("parameters", count(model.parameters.len() as u64)),
            ("size", format!("{} in {} file(s)", size(bytes), files.len())),
            ("tokenizer", tokenizer),
        ];
        table(paint, None, &rows.map(|(name, value)| vec![name.to_owned(), value]))
    })
}
