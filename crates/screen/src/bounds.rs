//! Bounds of sizes and counts that several commands ask for, each with its reason. What is outside is a wrong use, told
//! before any work is done.

use clap::builder::{
    PossibleValue, PossibleValuesParser, RangedI64ValueParser, RangedU64ValueParser, TypedValueParser,
};
use templar_base::RuleName;
use templar_corpus::{LARGEST_VOCABULARY, SMALLEST_VOCABULARY};

/// The sizes of a vocabulary that is trained.
pub fn vocabulary() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(u64::from(SMALLEST_VOCABULARY)..=u64::from(LARGEST_VOCABULARY))
}

/// The sizes of a synthetic text. A grammar of some hundred words has nothing new long before the end of this range.
pub fn synthetic_bytes() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=16 << 30)
}

/// Tokens of a sequence: the longest that any model may name.
pub fn sequence_length() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=1 << 24)
}

/// Sequences of a step: a step is held in memory as tokens.
pub fn batch() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=1 << 16)
}

/// Tokens to generate or to choose from: no model sees as many at once, and no vocabulary has them.
pub fn tokens() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(..=1 << 24)
}

/// The newest of what a ledger lists; it keeps and answers fewer.
pub fn newest() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=10_000)
}

/// Windows of a record file: all of them are in memory while it is written and read.
pub fn packed_windows() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=65_536)
}

/// Items of a list, or sequences to measure.
pub fn items() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000)
}

/// A seed of random choices.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

/// The rules by which pseudo-gradients are merged and applied.
pub fn rules() -> impl TypedValueParser<Value = RuleName> {
    PossibleValuesParser::new(RuleName::ALL.map(|rule| PossibleValue::new(rule.name()).help(rule.what())))
        .try_map(|name| RuleName::named(&name).ok_or("there is no such rule"))
}

/// Numbers of windows, blocks and epochs: far from where arithmetic on them ends.
pub fn number() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=1 << 48)
}

fn ranged<T: std::str::FromStr + Into<f64> + Copy>(
    text: &str,
    rule: &str,
    is_fine: impl Fn(f64) -> bool,
) -> Result<T, String> {
    let value: Option<T> = text.parse().ok();
    let is_fine = |value: f64| value.is_finite() && is_fine(value);
    value.filter(|value| is_fine((*value).into())).ok_or_else(|| format!("it must be a number {rule}"))
}

/// How much sampling flattens the choice; nothing takes the likeliest.
pub fn temperature(text: &str) -> Result<f32, String> {
    ranged(text, "from 0", |value| value >= 0.0)
}

/// A share of something from 0 to 1, in thousandths.
pub fn per_mille(text: &str) -> Result<u32, String> {
    // The range makes the product one of 0 to 1000.
    ranged(text, "from 0 to 1", |value| (0.0..=1.0).contains(&value)).map(|share: f32| (share * 1000.0).round() as u32)
}

/// A share of something, which is not nothing.
pub fn share(text: &str) -> Result<f32, String> {
    ranged(text, "over 0 and at most 1", |value| value > 0.0 && value <= 1.0)
}

/// A divisor.
pub fn penalty(text: &str) -> Result<f32, String> {
    ranged(text, "over 0", |value| value > 0.0)
}

/// An error that is allowed.
pub fn tolerance(text: &str) -> Result<f64, String> {
    ranged(text, "from 0", |value| value >= 0.0)
}
