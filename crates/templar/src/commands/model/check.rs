//! `templar model check`.

use crate::bounds;
use crate::config::{Config, ThreadsFlag};
use crate::failure::Advise;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use templar_engine::{Buffer, EXPECTED_JSON, EXPECTED_TENSORS, OpenRequest, Reference, Tolerance};
use templar_model::{Model, open_engine};
use templar_screen::{Progress, reference};

/// Compare a model with the figures of another implementation.
///
/// The folder also has `expected.safetensors` (input_ids, logits) and `expected.json` (loss, gradients, greedy_prompt,
/// greedy_tokens); `scripts/reference_models.py` creates such folders with PyTorch. Exit code 1 if an error is over its
/// tolerance.
///
/// Example: templar model check llama_untied
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// Model folder
    folder: PathBuf,
    /// Largest error of a logit
    #[arg(long, value_name = "X", default_value_t = Tolerance::default().logits, allow_hyphen_values = true, value_parser = bounds::tolerance)]
    logits_tolerance: f64,
    /// Largest error of the loss, as a share of it
    #[arg(long, value_name = "X", default_value_t = Tolerance::default().loss, allow_hyphen_values = true, value_parser = bounds::tolerance)]
    loss_tolerance: f64,
    /// Largest error of a gradient, as a share of its tensor's norm
    #[arg(long, value_name = "X", default_value_t = Tolerance::default().gradients, allow_hyphen_values = true, value_parser = bounds::tolerance)]
    gradients_tolerance: f64,
    /// Largest relative error of a training's losses and of its parameter updates
    #[arg(long, value_name = "X", default_value_t = Tolerance::default().training, allow_hyphen_values = true, value_parser = bounds::tolerance)]
    training_tolerance: f64,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Check {
    /// Computes, prints the errors, and fails where one is too large.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads);
        let tolerance = self.tolerance();
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        progress.say("reading the model");
        let reference = self.reference()?;
        let model = Model::open(&self.folder)
            .with_context(|| format!("cannot use the model {}", self.folder.display()))
            .advise("give a Hugging Face folder of a Llama model")?;
        let threads = config.threads()?;
        progress.say("computing logits, gradients and tokens");
        let open = |optimiser| {
            let request = OpenRequest::new(model.config.clone()).with_optimiser(optimiser).with_threads(threads);
            let mut engine = open_engine(request)?;
            engine.write(Buffer::Parameters, 0, &model.parameters)?;
            Ok(engine)
        };
        let comparison = reference.compare(&open, tolerance)?;
        drop(progress);
        let is_within = comparison.is_within();
        let facts = reference::facts(&self.folder, &comparison);
        self.output.facts(&facts, |paint| reference::model(paint, &comparison))?;
        if is_within {
            return Ok(());
        }
        Err(anyhow::anyhow!("{} computes other figures than the expected ones", self.folder.display()))
            .advise("the table shows which; check that model and expected figures have the same origin")
    }

    fn tolerance(&self) -> Tolerance {
        let (logits, loss, gradients) = (self.logits_tolerance, self.loss_tolerance, self.gradients_tolerance);
        Tolerance { logits, loss, gradients, training: self.training_tolerance }
    }

    fn reference(&self) -> anyhow::Result<Reference> {
        let path = |name: &str| self.folder.join(name);
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let advice = "put the expected figures beside the model; `scripts/reference_models.py` shows how to make them";
        let json = read(&path(EXPECTED_JSON)).advise(advice)?;
        let tensors = read(&path(EXPECTED_TENSORS)).advise(advice)?;
        let json = String::from_utf8(json).with_context(|| format!("{EXPECTED_JSON} is not UTF-8"))?;
        Reference::parse(&json, &tensors).advise(advice)
    }
}
