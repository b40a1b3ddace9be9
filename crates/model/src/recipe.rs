//! What the caller may choose of a training, and what follows where nothing is chosen.

use crate::Plan;
use crate::evaluation::piece_sequences;
use std::path::PathBuf;
use templar_base::{ContentHash, ModelConfig};
use templar_engine::{Decay, MatrixOptimiser, MemoryNeeds, TooLittleMemory, TrainingShape, check_memory};

/// The learning rate falls to this share of its peak by default.
pub(crate) const DEFAULT_FINAL_SHARE: f32 = 0.1;
/// Tokens of a sequence by default, where the model sees as many.
const DEFAULT_SEQUENCE_LENGTH: u32 = 256;
/// Sequences of a step by default.
const DEFAULT_BATCH: u32 = 16;
/// Steps of the warm-up by default, or a tenth of all steps if that is less.
const DEFAULT_WARM_UP: u64 = 50;
/// With an existing model the learning rate is this much lower: it would forget what it knows.
const FINE_TUNING_FACTOR: f32 = 0.1;

/// The usual highest learning rate of AdamW for a new model: the larger the model, the smaller.
pub fn usual_learning_rate(sizes: &ModelConfig) -> f32 {
    match sizes.parameter_count() {
        0..1_000_000 => 3e-3,
        1_000_000..4_000_000 => 2e-3,
        4_000_000..20_000_000 => 1.5e-3,
        20_000_000..60_000_000 => 1e-3,
        _ => 6e-4,
    }
}

/// What may be chosen of a training; none stands for the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recipe {
    /// The existing model to start from.
    pub from: Option<PathBuf>,
    /// Name of the model's sizes.
    pub preset: Option<String>,
    /// Tokens per sequence; by default 256, or as many as the model sees.
    pub sequence_length: Option<u32>,
    /// Sequences of a step; 16.
    pub batch: Option<u32>,
    /// Highest learning rate; by the size of the model.
    pub learning_rate: Option<f32>,
    /// Steps until the highest learning rate; 50, or a tenth of all steps if that is less.
    pub warm_up: Option<u64>,
    /// Share of the steps after the warm-up that keep the highest learning rate; 0.
    pub flat: Option<f64>,
    /// How the learning rate falls; cosine.
    pub decay: Option<Decay>,
    /// Learning rate at the end as a share of the highest; 0.1 by default.
    pub final_share: Option<f32>,
    /// Optimiser of the layers' matrices; AdamW.
    pub optimiser: Option<MatrixOptimiser>,
    /// Seed of the first parameters and of the order of the text; 0 by default.
    pub seed: Option<u64>,
}

/// A choice that cannot be; the caller is at fault. Each message starts with the name of the option.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A number is out of its range.
    #[error("{option} is {value}; it must be {rule}")]
    OutOfRange {
        /// The option, as the command line names it without its dashes.
        option: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        rule: &'static str,
    },
    /// The model sees fewer tokens than a sequence has.
    #[error("sequence-length is {length}, but {model} sees {longest} tokens: choose a length up to that")]
    TooLong {
        /// Tokens of a sequence.
        length: u32,
        /// The model.
        model: String,
        /// Tokens that it sees.
        longest: u32,
    },
    /// The option differs from the one that the training started with.
    #[error("{option} differs from the one that the training started with")]
    Differs {
        /// The option.
        option: &'static str,
    },
}

/// The corpus of a training, by its folder and the hash of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusName {
    /// Its folder.
    pub folder: PathBuf,
    /// The hash of its manifest.
    pub hash: ContentHash,
}

impl Recipe {
    /// The plan for a model of these sizes; `preset` names them where the recipe does not, `steps` is the limit in steps
    /// if there is one.
    pub fn plan(
        &self,
        preset: &str,
        sizes: &ModelConfig,
        steps: Option<u64>,
        corpus: CorpusName,
    ) -> Result<Plan, RecipeError> {
        let preset = match &self.from {
            Some(from) => from.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => self.preset.clone().unwrap_or_else(|| preset.to_owned()),
        };
        let longest = u32::try_from(sizes.max_position_embeddings).unwrap_or(u32::MAX);
        let length = self.sequence_length.unwrap_or(longest.min(DEFAULT_SEQUENCE_LENGTH));
        if length > longest {
            return Err(RecipeError::TooLong { length, model: preset, longest });
        }
        self.check_ranges()?;
        let warm_up = steps.map_or(DEFAULT_WARM_UP, |steps| (steps / 10).clamp(1, DEFAULT_WARM_UP));
        Ok(Plan {
            preset,
            from: self.from.clone(),
            corpus: corpus.folder,
            corpus_hash: corpus.hash,
            sequence_length: length,
            batch: self.batch.unwrap_or(DEFAULT_BATCH),
            learning_rate: self.learning_rate.unwrap_or_else(|| self.default_learning_rate(sizes)),
            warm_up_steps: self.warm_up.unwrap_or(warm_up),
            flat_share: self.flat.unwrap_or(0.0),
            decay: self.decay.unwrap_or(Decay::Cosine),
            final_share: self.final_share.unwrap_or(DEFAULT_FINAL_SHARE),
            optimiser: self.optimiser.unwrap_or(MatrixOptimiser::AdamW),
            seed: self.seed.unwrap_or(0),
        })
    }

    /// Fails where a choice cannot be for a model of these sizes: before a text is read, which takes long.
    pub fn check(&self, preset: &str, sizes: &ModelConfig) -> Result<(), RecipeError> {
        let none = CorpusName { folder: PathBuf::new(), hash: ContentHash::default() };
        self.plan(preset, sizes, None, none).map(drop)
    }

    /// Fails where this machine has too little memory to train a model of these sizes; nothing is allocated for that.
    pub fn check_memory(&self, preset: &str, sizes: &ModelConfig, is_recomputing: bool) -> Result<(), TooLittleMemory> {
        let longest = sizes.max_position_embeddings;
        let length = self.sequence_length.unwrap_or(DEFAULT_SEQUENCE_LENGTH) as usize;
        let batch = self.batch.unwrap_or(DEFAULT_BATCH);
        let optimiser = self.optimiser.unwrap_or(MatrixOptimiser::AdamW);
        let preset = self.preset.as_deref().unwrap_or(preset);
        check_training(preset, sizes, length.clamp(1, longest), batch, optimiser, is_recomputing)
    }

    fn default_learning_rate(&self, sizes: &ModelConfig) -> f32 {
        let rate = usual_learning_rate(sizes);
        if self.from.is_some() { rate * FINE_TUNING_FACTOR } else { rate }
    }

    /// Fails where a number is out of its range, whatever the model.
    pub fn check_ranges(&self) -> Result<(), RecipeError> {
        if let Some(rate) = self.learning_rate.filter(|rate| !(rate.is_finite() && *rate >= 0.0)) {
            let (option, value) = ("learning-rate", f64::from(rate));
            return Err(RecipeError::OutOfRange { option, value, rule: "0 or more" });
        }
        for (option, share) in [("flat", self.flat), ("final-share", self.final_share.map(f64::from))] {
            if let Some(value) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(RecipeError::OutOfRange { option, value, rule: "from 0 to 1" });
            }
        }
        Ok(())
    }

    /// A training that resumes keeps its plan: fails where a choice differs from it.
    pub fn check_same(&self, plan: &Plan) -> Result<(), RecipeError> {
        fn differs<T: PartialEq>(chosen: &Option<T>, planned: &T) -> bool {
            chosen.as_ref().is_some_and(|chosen| chosen != planned)
        }
        let differing = [
            ("from", self.from.is_some() && self.from != plan.from),
            ("preset", differs(&self.preset, &plan.preset)),
            ("sequence-length", differs(&self.sequence_length, &plan.sequence_length)),
            ("batch", differs(&self.batch, &plan.batch)),
            ("learning-rate", differs(&self.learning_rate, &plan.learning_rate)),
            ("warm-up", differs(&self.warm_up, &plan.warm_up_steps)),
            ("decay", differs(&self.decay, &plan.decay)),
            ("flat", differs(&self.flat, &plan.flat_share)),
            ("final-share", differs(&self.final_share, &plan.final_share)),
            ("optimiser", differs(&self.optimiser, &plan.optimiser)),
            ("seed", differs(&self.seed, &plan.seed)),
        ];
        match differing.into_iter().find(|(_, differs)| *differs) {
            Some((option, _)) => Err(RecipeError::Differs { option }),
            None => Ok(()),
        }
    }
}

/// Fails where a training of this shape needs more memory than this machine has.
pub(crate) fn check_training(
    name: &str,
    sizes: &ModelConfig,
    length: usize,
    batch: u32,
    hidden_matrices: MatrixOptimiser,
    is_recomputing: bool,
) -> Result<(), TooLittleMemory> {
    let sequences = piece_sequences(length).min(batch as usize);
    let shape = TrainingShape { sequences, length, is_recomputing, hidden_matrices };
    check_memory(format!("to train, `{name}`"), MemoryNeeds::training(sizes, shape).total())
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_engine::preset;

    fn plan(recipe: &Recipe, steps: Option<u64>) -> Result<Plan, RecipeError> {
        let corpus = CorpusName { folder: PathBuf::new(), hash: ContentHash::default() };
        recipe.plan("nano", &preset("nano", 300).unwrap(), steps, corpus)
    }

    #[test]
    fn what_is_not_chosen_has_a_default_and_what_is_chosen_is_checked() {
        let planned = plan(&Recipe::default(), Some(100)).unwrap();
        assert_eq!((planned.sequence_length, planned.batch, planned.warm_up_steps), (256, 16, 10));
        assert_eq!(planned.learning_rate, 3e-3);
        let tuned = Recipe { from: Some("models/base".into()), ..Recipe::default() };
        assert_eq!(plan(&tuned, None).unwrap().preset, "base");
        assert!((plan(&tuned, None).unwrap().learning_rate - 3e-4).abs() < 1e-9);
        let error = |recipe: Recipe| plan(&recipe, None).unwrap_err().to_string();
        assert_eq!(error(Recipe { flat: Some(2.0), ..Recipe::default() }), "flat is 2; it must be from 0 to 1");
        assert!(error(Recipe { learning_rate: Some(f32::NAN), ..Recipe::default() }).starts_with("learning-rate is"));
        assert!(error(Recipe { sequence_length: Some(1 << 20), ..Recipe::default() }).contains("nano sees"));
    }

    #[test]
    fn a_training_keeps_its_plan() {
        let planned = plan(&Recipe::default(), None).unwrap();
        Recipe::default().check_same(&planned).unwrap();
        Recipe { batch: Some(16), seed: Some(0), ..Recipe::default() }.check_same(&planned).unwrap();
        let other = Recipe { seed: Some(1), ..Recipe::default() };
        assert_eq!(other.check_same(&planned), Err(RecipeError::Differs { option: "seed" }));
    }
}
