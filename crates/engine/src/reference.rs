//! What another implementation computed for a model, and how far this engine is from it.

mod training;

pub use training::TrainingDifference;

use crate::checkpoint::{CheckpointError, StoredTensor, stored_tensors};
use crate::{Batch, Buffer, Engine, EngineError, GenerateOptions, OptimiserConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use training::TrainingRun;

/// The file beside a model with loss, gradients and greedy tokens.
pub const EXPECTED_JSON: &str = "expected.json";
/// The file beside a model with inputs and logits.
pub const EXPECTED_TENSORS: &str = "expected.safetensors";

/// Expected figures that cannot be read, or that belong to another model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The JSON file is broken.
    #[error("{EXPECTED_JSON}: {0}")]
    Json(String),
    /// The tensor file is broken.
    #[error("{EXPECTED_TENSORS}: {0}")]
    File(#[from] CheckpointError),
    /// A tensor of the file is missing or makes no sense.
    #[error("{EXPECTED_TENSORS}: tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Gradients of a tensor that the model does not have.
    #[error("{EXPECTED_JSON} has the gradient of `{0}`, which the model does not have")]
    Gradient(String),
    /// There is nothing to compare.
    #[error("neither {EXPECTED_JSON} nor {EXPECTED_TENSORS} holds anything to compare")]
    Empty,
    /// The engine refuses the inputs.
    #[error("the engine refuses the expected inputs: {0}")]
    Engine(#[from] EngineError),
}

/// The gradient of one tensor, in short.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GradientSummary {
    /// Its shape.
    #[serde(default)]
    pub shape: Option<Vec<usize>>,
    /// Its L2 norm.
    pub norm: f64,
    /// Its first values.
    #[serde(default)]
    pub first: Vec<f64>,
}

#[derive(Deserialize)]
struct Document {
    loss: Option<f64>,
    gradients: Option<BTreeMap<String, GradientSummary>>,
    greedy_prompt: Option<Vec<u32>>,
    greedy_tokens: Option<Vec<u32>>,
    training: Option<Vec<TrainingRun>>,
}

/// Opens an engine with these settings of the optimiser and the model's parameters in it.
pub type OpenModel<'a> = &'a dyn Fn(OptimiserConfig) -> Result<Box<dyn Engine>, EngineError>;

/// What another implementation computed for a model; what it has not stays away.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// `[sequences, length]` tokens.
    inputs: Option<Inputs>,
    /// `[sequences, length, vocab]`.
    logits: Option<(Vec<f32>, usize)>,
    loss: Option<f64>,
    gradients: BTreeMap<String, GradientSummary>,
    /// A prompt, and the same with its greedy continuation.
    greedy: Option<(Vec<u32>, Vec<u32>)>,
    training: Vec<TrainingRun>,
}

#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    tokens: Vec<u32>,
    sequences: usize,
    length: usize,
}

impl Reference {
    /// Reads the two files.
    ///
    /// `expected.safetensors`: `input_ids` [sequences, length], `logits` [sequences, length, vocab], `loss` (one value).
    /// `expected.json`: `loss`, the mean over the positions that have a next token; `gradients`, for each tensor its L2
    /// `norm` and `first` values; `greedy_prompt`, and `greedy_tokens` that begin with it; `training`, a list of runs on
    /// the inputs with their settings, their `losses` and how far each tensor `moved`.
    pub fn parse(json: &str, tensors: &[u8]) -> Result<Self, ReferenceError> {
        let document: Document = serde_json::from_str(json).map_err(|error| ReferenceError::Json(error.to_string()))?;
        let tensors = stored_tensors(tensors, 0)?;
        let get = |name: &'static str| (name, tensors.get(name));
        let inputs = read_inputs(get("input_ids"))?;
        let logits = read_logits(get("logits"), inputs.as_ref())?;
        let stored_loss = match get("loss") {
            (_, None) => None,
            (name, Some(tensor)) => {
                let values = tensor.to_f32().map_err(|reason| ReferenceError::Tensor { name, reason })?;
                values.first().map(|&value| f64::from(value))
            }
        };
        let greedy = match (document.greedy_prompt, document.greedy_tokens) {
            (Some(prompt), Some(all)) if all.starts_with(&prompt) && !prompt.is_empty() => Some((prompt, all)),
            (None, None) => None,
            _ => return Err(ReferenceError::Json("`greedy_tokens` do not begin with a `greedy_prompt`".into())),
        };
        let loss = document.loss.or(stored_loss);
        let gradients = document.gradients.unwrap_or_default();
        let training = document.training.unwrap_or_default();
        let reference = Self { inputs, logits, loss, gradients, greedy, training };
        match reference.inputs {
            None if reference.greedy.is_none() => Err(ReferenceError::Empty),
            _ => Ok(reference),
        }
    }

    /// Computes the same with an engine. `open` opens one with these settings of the optimiser and writes the model's
    /// parameters into it.
    pub fn compare(&self, open: OpenModel, tolerance: Tolerance) -> Result<Comparison, ReferenceError> {
        let mut comparison = Comparison::default();
        let mut model = open(OptimiserConfig::default())?;
        let engine = model.as_mut();
        if let Some(inputs) = &self.inputs {
            if let Some((logits, vocab)) = &self.logits {
                comparison.logits = Some(compare_logits(engine, inputs, logits, *vocab, tolerance)?);
            }
            if inputs.length > 1 && (self.loss.is_some() || !self.gradients.is_empty()) {
                self.compare_gradients(engine, inputs, tolerance, &mut comparison)?;
            }
            for run in self.training.iter().filter(|_| inputs.length > 1) {
                comparison.training.push(run.compare(engine, open, inputs, tolerance)?);
            }
        }
        if let Some((prompt, all)) = &self.greedy {
            let options = GenerateOptions { max_new_tokens: all.len() - prompt.len(), ..Default::default() };
            let actual = engine.generator()?.generate(prompt, &options, &mut |_| true)?;
            let expected = &all[prompt.len()..];
            let differs = expected.iter().zip(&actual).position(|(expected, actual)| expected != actual);
            let first_difference = differs.or((actual.len() != expected.len()).then_some(actual.len()));
            let is_within = first_difference.is_none();
            comparison.greedy = Some(GreedyDifference { tokens: expected.len(), first_difference, is_within });
        }
        Ok(comparison)
    }

    fn compare_gradients(
        &self,
        engine: &mut dyn Engine,
        inputs: &Inputs,
        tolerance: Tolerance,
        to: &mut Comparison,
    ) -> Result<(), ReferenceError> {
        let batch = Batch::new(inputs.tokens.clone(), inputs.sequences, inputs.length - 1);
        let loss = engine.gradient(&batch)?;
        to.loss = self.loss.map(|expected| {
            // A mean over f32 losses has the precision of an f32, which grows with the loss.
            Difference::new((f64::from(loss) - expected).abs() / expected.abs().max(1.0), tolerance.loss)
        });
        for (name, expected) in &self.gradients {
            let is_head = name == "lm_head.weight" && engine.config().tie_word_embeddings;
            let known = if is_head { "model.embed_tokens.weight" } else { name };
            let tensor = engine.layout().tensor(known).cloned();
            let tensor = tensor.ok_or_else(|| ReferenceError::Gradient(name.clone()))?;
            if expected.shape.as_ref().is_some_and(|shape| *shape != tensor.shape) {
                return Err(ReferenceError::Json(format!("the gradient of `{name}` has another shape")));
            }
            let range = tensor.range.clone();
            let mut gradient = vec![0.0; range.len()];
            engine.read(Buffer::Gradient, range.start, &mut gradient)?;
            let error = gradient_error(&gradient, expected);
            to.gradients
                .push(NamedDifference { name: name.clone(), difference: Difference::new(error, tolerance.gradients) });
        }
        Ok(())
    }
}

fn read_inputs((name, tensor): (&'static str, Option<&StoredTensor>)) -> Result<Option<Inputs>, ReferenceError> {
    let Some(tensor) = tensor else { return Ok(None) };
    let bad = |reason: String| ReferenceError::Tensor { name, reason };
    let (sequences, length) = match tensor.shape[..] {
        [sequences, length] => (sequences, length),
        [length] => (1, length),
        _ => return Err(bad("it is not [sequences, length]".into())),
    };
    let tokens = tensor.to_tokens().map_err(bad)?;
    if tokens.is_empty() {
        return Err(bad("it is empty".into()));
    }
    Ok(Some(Inputs { tokens, sequences, length }))
}

fn read_logits(
    (name, tensor): (&'static str, Option<&StoredTensor>),
    inputs: Option<&Inputs>,
) -> Result<Option<(Vec<f32>, usize)>, ReferenceError> {
    let Some(tensor) = tensor else { return Ok(None) };
    let bad = |reason: String| ReferenceError::Tensor { name, reason };
    let values = tensor.to_f32().map_err(bad)?;
    let rows = inputs.map_or(0, |inputs| inputs.tokens.len());
    let vocab = tensor.shape.last().copied().unwrap_or(0);
    if vocab == 0 || rows.checked_mul(vocab) != Some(values.len()) {
        return Err(bad(format!("shape {:?} does not fit the {rows} tokens of `input_ids`", tensor.shape)));
    }
    Ok(Some((values, vocab)))
}

fn compare_logits(
    engine: &mut dyn Engine,
    inputs: &Inputs,
    expected: &[f32],
    vocab: usize,
    tolerance: Tolerance,
) -> Result<Difference, ReferenceError> {
    if engine.config().vocab_size != vocab {
        let reason = format!("it has {vocab} logits to a token where the model has {}", engine.config().vocab_size);
        return Err(ReferenceError::Tensor { name: "logits", reason });
    }
    // A target behind the last position, so that every input has one.
    let rows = inputs.tokens.chunks_exact(inputs.length);
    let tokens = rows.flat_map(|row| row.iter().copied().chain([0])).collect();
    let logits = engine.logits(&Batch::new(tokens, inputs.sequences, inputs.length))?;
    let differences = logits.iter().zip(expected).map(|(ours, theirs)| f64::from((ours - theirs).abs()));
    Ok(Difference::new(largest(differences), tolerance.logits))
}

/// Of norm and first values, the largest difference as a share of the expected norm (of 1 where that is 0).
fn gradient_error(values: &[f32], expected: &GradientSummary) -> f64 {
    let unit = if expected.norm > 0.0 { expected.norm } else { 1.0 };
    let norm = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    let firsts = values.iter().zip(&expected.first).map(|(&ours, theirs)| (f64::from(ours) - theirs).abs());
    largest(firsts.chain([(norm - expected.norm).abs()])) / unit
}

/// What is no number counts as infinitely far.
fn largest(differences: impl Iterator<Item = f64>) -> f64 {
    differences
        .fold(0.0, |largest, difference| if difference.is_nan() { f64::INFINITY } else { largest.max(difference) })
}

/// How far the figures may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// Of a logit.
    pub logits: f64,
    /// Of the loss, as a share of it.
    pub loss: f64,
    /// Of a gradient, as a share of its tensor's norm.
    pub gradients: f64,
    /// Of the losses of a training and of the ways that tensors went, as a share.
    pub training: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { logits: 1e-4, loss: 1e-5, gradients: 1e-5, training: 1e-3 }
    }
}

/// A largest error, and whether it is within its tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The error.
    pub largest_error: f64,
    /// What it may be.
    pub tolerance: f64,
    /// Whether it is no more than that.
    #[serde(rename = "ok")]
    pub is_within: bool,
}

impl Difference {
    fn new(largest_error: f64, tolerance: f64) -> Self {
        Self { largest_error, tolerance, is_within: largest_error <= tolerance }
    }
}

/// The error of a tensor's gradient.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedDifference {
    /// The tensor.
    pub name: String,
    /// The error.
    #[serde(flatten)]
    pub difference: Difference,
}

/// How a greedy continuation compares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GreedyDifference {
    /// Number of tokens compared.
    pub tokens: usize,
    /// The first of them that differs.
    pub first_difference: Option<usize>,
    /// Whether none does.
    #[serde(rename = "ok")]
    pub is_within: bool,
}

/// How far this engine is from a reference; none of what the reference does not have.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Comparison {
    /// The largest difference of any logit.
    pub logits: Option<Difference>,
    /// The difference of the loss, relative where the loss is over 1.
    pub loss: Option<Difference>,
    /// The relative difference of each tensor's gradient.
    pub gradients: Vec<NamedDifference>,
    /// The greedy continuation.
    pub greedy: Option<GreedyDifference>,
    /// The trainings.
    pub training: Vec<TrainingDifference>,
}

impl Comparison {
    /// The gradient that is furthest off.
    pub fn worst_gradient(&self) -> Option<&NamedDifference> {
        let error = |named: &&NamedDifference| named.difference.largest_error;
        self.gradients.iter().max_by(|a, b| error(a).total_cmp(&error(b)))
    }

    /// Whether everything is within its tolerance.
    pub fn is_within(&self) -> bool {
        let singles = [self.logits, self.loss].into_iter().flatten();
        let gradients = self.gradients.iter().map(|named| named.difference);
        let mut all = singles.chain(gradients).chain(self.training.iter().map(|run| run.difference));
        all.all(|difference| difference.is_within) && self.greedy.is_none_or(|greedy| greedy.is_within)
    }
}
