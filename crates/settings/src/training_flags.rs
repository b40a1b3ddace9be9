//! The flags of `templar model train` that say on what and how it trains, and when it stops.

use crate::flags::{PresetFlag, TextFlags};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use templar_engine::{Decay, MatrixOptimiser};
use templar_model::{Limits, Recipe};
use templar_screen::arguments::named;
use templar_screen::bounds;

/// The text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
pub struct SourceFlags {
    /// Corpus made by `templar corpus build`
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["text", "synthetic"])]
    pub corpus: Option<PathBuf>,
    /// A text, of which a corpus is made.
    #[command(flatten)]
    pub text: TextFlags,
    /// Train on N bytes of synthetic text
    #[arg(long, value_name = "BYTES", conflicts_with = "text", value_parser = bounds::synthetic_bytes())]
    pub synthetic: Option<u64>,
    /// Vocabulary size for a text, 257 to 1048576; by default 2048, or fewer if the text gives no more
    #[arg(long, value_name = "N", conflicts_with = "corpus", value_parser = bounds::vocabulary())]
    pub vocab_size: Option<u32>,
}

impl SourceFlags {
    /// The option by which a text was chosen, and not a corpus; none where nothing is said of the text.
    pub fn chosen_text(&self) -> Option<&'static str> {
        let chosen = [
            (!self.text.text.is_empty(), "text"),
            (self.synthetic.is_some(), "synthetic"),
            (self.text.chooses_field(), "field"),
            (self.vocab_size.is_some(), "vocab-size"),
        ];
        chosen.into_iter().find_map(|(is_chosen, option)| is_chosen.then_some(option))
    }
}

/// When to stop.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits (the first one reached ends the training; 5 minutes by default)")]
pub struct LimitFlags {
    /// Stop after N steps
    #[arg(long, value_name = "N", value_parser = interval())]
    pub steps: Option<u64>,
    /// Stop after N tokens
    #[arg(long, value_name = "N", value_parser = interval())]
    pub tokens: Option<u64>,
    /// Stop after X minutes of training
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub minutes: Option<f64>,
}

/// The training options.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training options")]
pub struct RecipeFlags {
    /// Start from this model (a Hugging Face folder or a .gguf file) instead of random parameters
    #[arg(long, value_name = "PATH", conflicts_with_all = ["preset", "vocab_size"])]
    pub from: Option<PathBuf>,
    /// The sizes.
    #[command(flatten)]
    pub preset: PresetFlag,
    /// Tokens per sequence; by default 256, or as many as the model sees
    #[arg(long, value_name = "N", value_parser = bounds::sequence_length())]
    pub sequence_length: Option<u32>,
    /// Sequences per step; 16 by default
    #[arg(long, value_name = "N", value_parser = bounds::batch())]
    pub batch: Option<u32>,
    /// Highest learning rate; by default 0.003 for the smallest model, less for larger ones, a tenth with --from
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub learning_rate: Option<f32>,
    /// Steps until the highest learning rate; by default 50, or a tenth of --steps if that is less
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=MOST_STEPS))]
    pub warm_up: Option<u64>,
    /// Share of the training after the warm-up at the highest learning rate; 0 by default
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub flat: Option<f64>,
    /// Decay of the learning rate after that; cosine by default
    #[arg(long, value_name = "SHAPE", value_parser = named(DECAYS))]
    pub decay: Option<Decay>,
    /// Learning rate at the end as a share of the highest; 0.1 by default
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub final_share: Option<f32>,
    /// Optimiser of the layers' matrices; adamw by default. All other parameters use AdamW
    #[arg(long, value_name = "NAME", value_parser = named(OPTIMISERS))]
    pub optimiser: Option<MatrixOptimiser>,
    /// Seed of the first parameters and of the order of the text; 0 by default
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = bounds::seed)]
    pub seed: Option<u64>,
}

/// Steps and tokens: more than any training takes, and exact as floating-point numbers.
const MOST_STEPS: u64 = 1 << 50;

/// Numbers of steps or tokens.
pub fn interval() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=MOST_STEPS)
}

const DECAYS: &[(&str, &str, Decay)] = &[
    ("constant", "No decay", Decay::Constant),
    ("cosine", "Cosine decay", Decay::Cosine),
    ("linear", "Linear decay", Decay::Linear),
];

const OPTIMISERS: &[(&str, &str, MatrixOptimiser)] = &[
    ("adamw", "AdamW: per-parameter moments", MatrixOptimiser::AdamW),
    ("muon", "Muon: orthogonalised momentum per matrix", MatrixOptimiser::Muon),
];

impl LimitFlags {
    /// The limits; none where `--minutes` is not 0 or more.
    pub fn limits(&self) -> Option<Limits> {
        let is_sound = self.minutes.is_none_or(|minutes| minutes.is_finite() && minutes >= 0.0);
        is_sound.then_some(Limits { steps: self.steps, tokens: self.tokens, minutes: self.minutes })
    }
}

impl RecipeFlags {
    /// The recipe that they ask for.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            from: self.from.as_deref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
            preset: self.preset.preset.clone(),
            sequence_length: self.sequence_length,
            batch: self.batch,
            learning_rate: self.learning_rate,
            warm_up: self.warm_up,
            flat: self.flat,
            decay: self.decay,
            final_share: self.final_share,
            optimiser: self.optimiser,
            seed: self.seed,
        }
    }
}
