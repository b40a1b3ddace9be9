//! What a miner sends of a window, and how it is merged and applied: the genesis' section `outer`.
//!
//! A rule of the literature is a choice in each of four places:
//! ```text
//! domain   what is sent are the parameters' drifts, or their cosine coefficients
//! values   each kept value by its sign and the chunk's scale, or rounded to so many bits
//! merge    how what was sent of a coordinate becomes one value
//! step     down along it, under Nesterov's momentum, or by its sign
//! ```
//! So dense DiLoCo keeps all 4096 of 4096 with rounded values, takes the mean of all and steps by Nesterov; DeMo keeps
//! a few rounded coefficients, takes the mean of all and steps by the sign.

use crate::Window;
use serde::{Deserialize, Serialize};

/// How many values a tensor sends: the first class whose `suffix` ends the tensor's name decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorClass {
    /// End of the tensor's name, such as `embed_tokens.weight`; empty for all.
    pub suffix: String,
    /// Kept values of each chunk of 4096.
    pub kept_per_chunk: u16,
}

/// What a miner sends, and how it is merged and applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterRule {
    /// Decay of the error feedback from window to window (beta).
    pub error_feedback_decay: f32,
    /// Kept values by tensor class; the first match decides, so the last one should match all.
    pub tensor_classes: Vec<TensorClass>,
    /// Step of the outer update (alpha).
    pub alpha: f32,
    /// Alpha at the end of the decay.
    pub final_alpha: f32,
    /// First window of alpha's linear decay.
    pub decay_from_window: u64,
    /// Last window of alpha's linear decay.
    pub decay_to_window: u64,
    /// A chunk's scale is clipped to this multiple of the median over the merged peers; 0 turns it off.
    pub scale_clip: u32,
    /// How what was sent of a coordinate becomes one value.
    #[serde(default)]
    pub merge: MergeMethod,
    /// What is sent. A document that does not say means the parameters' own drifts, and has the hash that it had before
    /// there was a choice; likewise `values` and `step`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub domain: Domain,
    /// How a kept value is sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: ValueCoding,
    /// How the merged values move the shared parameters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub step: StepRule,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the pseudo-gradient is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// One value for each parameter.
    #[default]
    Parameters,
    /// The coefficients of the orthonormal cosine transform (DCT-II) of each 64 consecutive values of a chunk (Peng,
    /// Quesnelle and Kingma 2024). Error feedback, selection and merge go by coefficients then.
    Frequencies,
}

/// How a kept value is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueCoding {
    /// By its sign; the chunk has a scale, or two.
    #[default]
    Signs,
    /// Each by its own size, rounded to `bits` with the sign; what rounding leaves stays in the error feedback.
    Rounded {
        /// 2 to 24.
        bits: u8,
    },
}

/// How the merged values move the shared parameters.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepRule {
    /// By alpha against them.
    #[default]
    Descent,
    /// By alpha against them under Nesterov's momentum, which every node keeps (Douillard and others 2023; there 0.9,
    /// and an alpha of 0.7).
    Nesterov {
        /// What a window leaves of the momentum (mu), in [0, 1).
        momentum: f32,
    },
    /// By alpha against the sign of each parameter's value, whatever its size (Peng, Quesnelle and Kingma 2024).
    Sign,
}

/// How what the merged miners sent of a coordinate becomes one value. The first is the rule of this system; the others
/// are what is known from the literature, to compare with. With any but the first two an aggregate cannot be undone
/// payload by payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MergeMethod {
    /// The mean over those who sent the coordinate.
    #[default]
    MeanOfSenders,
    /// The mean over all merged miners, those who sent nothing counting as zero.
    MeanOfAll,
    /// The mean over all after each payload was drawn towards the centre to at most `radius_percent` of the median norm
    /// from it, `iterations` times (Karimireddy, He and Jaggi 2021).
    CentredClipping {
        /// Radius in percent of the payloads' median norm.
        radius_percent: u16,
        /// How often the centre is moved.
        iterations: u16,
    },
    /// The mean over all without the `trimmed` largest and the `trimmed` smallest values (Yin and others 2018).
    TrimmedMean {
        /// Weight taken off at each end; less than half of all is taken where this is more.
        trimmed: u16,
    },
    /// The mean of the `chosen` payloads that lie closest to their neighbours, of which `faulty` may be anything
    /// (Blanchard and others 2017).
    Krum {
        /// Payloads that may be anything.
        faulty: u16,
        /// Payloads that are merged; 1 is Krum, more is multi-Krum.
        chosen: u16,
    },
    /// The sign that most of the senders' weight has, times the chunk's median scale (Bernstein and others 2018).
    SignVote,
}

impl MergeMethod {
    /// Whether the parameters make sense.
    fn is_sound(self) -> bool {
        match self {
            Self::MeanOfSenders | Self::MeanOfAll | Self::SignVote | Self::TrimmedMean { .. } => true,
            Self::CentredClipping { radius_percent, iterations } => {
                radius_percent > 0 && (1..=16).contains(&iterations)
            }
            Self::Krum { chosen, .. } => chosen > 0,
        }
    }
}

impl OuterRule {
    /// This rule as dense DiLoCo (Douillard and others 2023): every value, rounded to 16 bits, the mean of all, and
    /// Nesterov's momentum with the published alpha and momentum.
    pub fn into_diloco(self) -> Self {
        Self {
            error_feedback_decay: 1.0,
            tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: 4096 }],
            alpha: 0.7,
            final_alpha: 0.7,
            scale_clip: 0,
            merge: MergeMethod::MeanOfAll,
            domain: Domain::Parameters,
            values: ValueCoding::Rounded { bits: 16 },
            step: StepRule::Nesterov { momentum: 0.9 },
            ..self
        }
    }

    /// This rule as DeMo's (Peng, Quesnelle and Kingma 2024): of the cosine coefficients as many as this rule keeps,
    /// rounded to 16 bits, the mean of all, and a step of `alpha` by the sign.
    pub fn into_demo(self, alpha: f32) -> Self {
        Self {
            error_feedback_decay: 0.999,
            alpha,
            final_alpha: alpha,
            scale_clip: 0,
            merge: MergeMethod::MeanOfAll,
            domain: Domain::Frequencies,
            values: ValueCoding::Rounded { bits: 16 },
            step: StepRule::Sign,
            ..self
        }
    }

    /// Whether each part makes sense, with the field and what it wants.
    pub(crate) fn checks(&self) -> [(bool, &'static str, &'static str); 7] {
        let rate = |x: f32| x.is_finite() && x > 0.0;
        let is_kept = |class: &TensorClass| (1..=4096).contains(&class.kept_per_chunk);
        let (are_bits_sound, is_momentum_sound) = (
            !matches!(self.values, ValueCoding::Rounded { bits } if !(2..=24).contains(&bits)),
            !matches!(self.step, StepRule::Nesterov { momentum } if !(0.0..1.0).contains(&momentum)),
        );
        [
            ((0.0..=1.0).contains(&self.error_feedback_decay), "outer.error_feedback_decay", "must be in [0, 1]"),
            (rate(self.alpha) && rate(self.final_alpha), "outer.alpha", "must be over 0"),
            (self.tensor_classes.iter().all(is_kept), "outer.tensor_classes", "kept_per_chunk must be 1 to 4096"),
            (
                self.merge.is_sound(),
                "outer.merge",
                "wants a radius over 0, 1 to 16 iterations, at least one chosen payload",
            ),
            (
                self.merge != MergeMethod::SignVote || self.values == ValueCoding::Signs,
                "outer.merge",
                "sign_vote takes the chunks' scales, which rounded values do not have: leave `values` at signs",
            ),
            (are_bits_sound, "outer.values", "rounded values have 2 to 24 bits"),
            (is_momentum_sound, "outer.step", "the momentum must be at least 0 and under 1"),
        ]
    }

    /// The outer step's alpha in `window`.
    pub fn alpha(&self, window: Window) -> f32 {
        let span = self.decay_to_window.saturating_sub(self.decay_from_window);
        let done = window.0.saturating_sub(self.decay_from_window).min(span);
        if span == 0 || done == 0 {
            return self.alpha;
        }
        self.alpha - (self.alpha - self.final_alpha) * (done as f32 / span as f32)
    }

    /// Kept values of each chunk of the tensor called `name`; 64 where no class matches.
    pub fn kept_per_chunk(&self, name: &str) -> u16 {
        self.tensor_classes.iter().find(|class| name.ends_with(&class.suffix)).map_or(64, |class| class.kept_per_chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> OuterRule {
        let document = r#"{
            "error_feedback_decay": 0.8, "tensor_classes": [], "alpha": 1.0, "final_alpha": 0.65,
            "decay_from_window": 1, "decay_to_window": 2, "scale_clip": 4
        }"#;
        serde_json::from_str(document).unwrap()
    }

    /// The fields at fault.
    fn faults(outer: &OuterRule) -> Vec<&'static str> {
        outer.checks().into_iter().filter(|(holds, _, _)| !holds).map(|(_, field, _)| field).collect()
    }

    #[test]
    fn a_document_from_before_the_choice_means_what_it_meant_and_is_written_as_it_was() {
        let outer = usual();
        let usual = (MergeMethod::MeanOfSenders, Domain::Parameters, ValueCoding::Signs, StepRule::Descent);
        assert_eq!((outer.merge, outer.domain, outer.values, outer.step), usual);
        let text = serde_json::to_string(&outer).unwrap();
        assert!(["domain", "values", "step"].iter().all(|field| !text.contains(field)), "{text}");
    }

    #[test]
    fn rules_of_the_literature_are_sound_and_come_back_from_their_documents() {
        for outer in [usual().into_diloco(), usual().into_demo(0.01)] {
            assert_eq!(faults(&outer), [""; 0]);
            let text = serde_json::to_string(&outer).unwrap();
            assert_eq!(serde_json::from_str::<OuterRule>(&text).unwrap(), outer, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let rounded = |bits| OuterRule { values: ValueCoding::Rounded { bits }, ..usual() };
        let nesterov = |momentum| OuterRule { step: StepRule::Nesterov { momentum }, ..usual() };
        for outer in [rounded(1), rounded(25)] {
            assert_eq!(faults(&outer), ["outer.values"]);
        }
        for outer in [nesterov(1.0), nesterov(-0.1), nesterov(f32::NAN)] {
            assert_eq!(faults(&outer), ["outer.step"]);
        }
        assert_eq!(faults(&OuterRule { merge: MergeMethod::SignVote, ..rounded(16) }), ["outer.merge"]);
        assert_eq!(faults(&OuterRule { alpha: f32::INFINITY, ..usual() }), ["outer.alpha"]);
    }
}
