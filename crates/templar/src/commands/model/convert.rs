//! `templar model import` and `templar model export`.

use super::lock;
use crate::config::Config;
use crate::failure::{Advise, Usage, advice};
use crate::output::Output;
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use templar_engine::checkpoint::Precision;
use templar_model::{ExportError, ExportOptions, Exported, Model, export};
use templar_screen::{Progress, model};

/// Import a model of another program: a Hugging Face folder, or a GGUF file of llama.cpp.
///
/// Hugging Face: Llama, Mistral without a window, Qwen3; f32, bf16, f16, in one file or in shards. GGUF: Llama and Qwen3
/// in F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, in one file or in parts; its vocabulary becomes a
/// tokenizer.json. What this program does not compute is rejected by its name. The result is a folder like those of
/// `templar model train`, in f32, with the model's chat templates and tokenizer settings.
///
/// Example: templar model import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Import {
    /// Model folder or .gguf file
    source: PathBuf,
    /// Model folder to create
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Import {
    /// Reads the one and writes the other.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let options = ExportOptions { precision: Precision::F32, shard_bytes: u64::MAX };
        convert(&self.source, &self.out, options, self.output, &config)
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
    /// Checkpoint folder, or a .gguf file
    folder: PathBuf,
    /// Model folder to create
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Type of the stored parameters
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Dtype,
    /// Largest file in megabytes; a larger model is split
    #[arg(long, value_name = "MB", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..1_000_000_000))]
    shard_size: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// Exact
    F32,
    /// Half the size, 3 digits, full range
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
        let options = ExportOptions { precision, shard_bytes: self.shard_size * 1_000_000 };
        convert(&self.folder, &self.out, options, self.output, &config)
    }
}

fn convert(source: &Path, out: &Path, options: ExportOptions, output: Output, config: &Config) -> anyhow::Result<()> {
    let mut progress = Progress::new(config.is_quiet || output.is_json());
    let _lock = lock(out)?;
    if std::fs::read_dir(out).map_or(out.exists(), |mut all| all.next().is_some()) {
        return Err(Usage(format!("{} exists and is left as it is", out.display()))).advise("choose another --out");
    }
    progress.say("reading the model");
    let model = Model::open(source)
        .with_context(|| format!("cannot use the model {}", source.display()))
        .advise("give a Hugging Face folder of a Llama model, or a .gguf file")?;
    let written = export(&model, out, options, |done, file| progress.show(done, &format!("writing {file}")));
    let written = written.map_err(|error| match error {
        ExportError::TooLargeForF16(_) => advice(error, "use --dtype bf16"),
        _ => error.into(),
    })?;
    drop(progress);
    report(&model, out, &written, output)
}

fn report(model: &Model, out: &Path, written: &Exported, output: Output) -> anyhow::Result<()> {
    let facts = json!({
        "folder": out,
        "parameters": model.parameters.len(),
        "files": written.files,
        "bytes": written.bytes,
        "tokenizer": model.tokenizer.is_ok(),
        "tokenizer_missing": model.tokenizer.as_ref().err(),
        "tokenizer_problem": model.tokenizer_problem(),
        "chat_template": model.companions.has_chat_template(),
        "unused_fields": model.unused,
    });
    output.facts(&facts, |paint| model::exported(paint, model, out, written))
}
