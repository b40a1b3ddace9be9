//! What a miner sends of a window, and how it is merged and applied: the genesis' section `outer`.
//!
//! A rule of the literature is a choice in each of four places:
//! ```text
//! domain   what is sent are the parameters' drifts, or their cosine coefficients
//! values   each kept value by its sign and the chunk's scale, or rounded to some bits
//! merge    how what was sent of a coordinate becomes one value
//! step     down along it, under Nesterov's momentum, or by its sign
//! ```
//! So dense DiLoCo keeps all 4096 of 4096 with rounded values, takes the mean of all and steps by Nesterov; DeMo keeps
//! a few rounded coefficients, takes the mean of all and steps by the sign.

use super::problem::{Checks, Problem};
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
    /// How the error feedback is held between windows.
    #[serde(default, skip_serializing_if = "FeedbackValues::is_usual")]
    pub error_feedback_values: FeedbackValues,
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
    /// How far a chunk's own scale counts.
    pub scales: ScaleRule,
    /// How what was sent of a coordinate becomes one value.
    #[serde(default)]
    pub merge: MergeMethod,
    /// What is sent.
    #[serde(default)]
    pub domain: Domain,
    /// How a kept value is sent.
    #[serde(default)]
    pub values: ValueCoding,
    /// How the merged values move the shared parameters.
    #[serde(default)]
    pub step: StepRule,
}

/// How far the scale that a payload gives a chunk counts in a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScaleRule {
    /// As it is.
    Own,
    /// At most this multiple of the median over the payloads that send something of the chunk; at least 1.
    Clipped {
        /// The multiple.
        times: u32,
    },
    /// Not at all: every payload counts with the lower median over all payloads of the merge, where one that sends
    /// nothing of the chunk counts as zero. Scaling earns nothing, and a lone sender moves nothing.
    Equal,
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

/// How a miner holds its error feedback between windows. It is agreed on, since audits replay what waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackValues {
    /// As it is, four bytes a parameter.
    #[default]
    F32,
    /// Two bytes a parameter: each value that a window leaves is rounded to the nearest bfloat16.
    Bf16,
}

impl FeedbackValues {
    /// Whether a document may leave it out: the ids of runs made before there was a choice stay as they are.
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
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

impl Default for OuterRule {
    fn default() -> Self {
        Self {
            error_feedback_decay: 0.95,
            error_feedback_values: FeedbackValues::default(),
            tensor_classes: Vec::new(),
            alpha: 1.0,
            final_alpha: 0.65,
            decay_from_window: 200,
            decay_to_window: 1_000,
            scales: ScaleRule::Clipped { times: 2 },
            merge: MergeMethod::default(),
            domain: Domain::default(),
            values: ValueCoding::default(),
            step: StepRule::default(),
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
            scales: ScaleRule::Own,
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
            scales: ScaleRule::Own,
            merge: MergeMethod::MeanOfAll,
            domain: Domain::Frequencies,
            values: ValueCoding::Rounded { bits: 16 },
            step: StepRule::Sign,
            ..self
        }
    }

    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("outer");
        checks.range("error_feedback_decay", self.error_feedback_decay, 0.0..=1.0);
        for class in &self.tensor_classes {
            checks.range("tensor_classes.kept_per_chunk", class.kept_per_chunk, 1..=4_096);
        }
        checks.positive("alpha", f64::from(self.alpha));
        checks.positive("final_alpha", f64::from(self.final_alpha));
        checks.at_least("decay_to_window", self.decay_to_window, self.decay_from_window);
        let merge = format!("{:?}", self.merge);
        let wanted = "a method with a radius over 0, 1 to 16 iterations, at least one chosen payload";
        checks.require("merge", &merge, self.merge.is_sound(), wanted);
        checks.require(
            "merge",
            merge,
            self.merge != MergeMethod::SignVote || self.values == ValueCoding::Signs,
            "another one where `values` is rounded: sign_vote takes the chunks' scales, which only signs have",
        );
        checks.require(
            "scales",
            format!("{:?}", self.scales),
            self.scales != ScaleRule::Clipped { times: 0 },
            "`own`, `equal`, or a multiple of at least 1",
        );
        checks.require(
            "scales",
            format!("{:?}", self.scales),
            self.scales != ScaleRule::Equal || self.values == ValueCoding::Signs,
            "another one where `values` is rounded: rounded values have sizes of their own",
        );
        if let ValueCoding::Rounded { bits } = self.values {
            checks.range("values.rounded.bits", bits, 2..=24);
        }
        if let StepRule::Nesterov { momentum } = self.step {
            let holds = (0.0..1.0).contains(&momentum);
            checks.require("step.nesterov.momentum", momentum, holds, "at least 0 and under 1");
        }
        checks.into_problems()
    }

    /// The outer step's alpha in `window`.
    pub fn alpha(&self, window: Window) -> f32 {
        let span = self.decay_to_window.saturating_sub(self.decay_from_window);
        let done = window.windows_since(Window::new(self.decay_from_window)).min(span);
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
        OuterRule::default()
    }

    /// The fields at fault.
    fn faults(outer: &OuterRule) -> Vec<String> {
        outer.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn rules_of_the_literature_are_sound_and_come_back_from_their_documents() {
        for outer in [usual().into_diloco(), usual().into_demo(0.01)] {
            assert_eq!(outer.problems(), []);
            let text = serde_json::to_string(&outer).unwrap();
            assert_eq!(serde_json::from_str::<OuterRule>(&text).unwrap(), outer, "{text}");
        }
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        let rounded = |bits| OuterRule { values: ValueCoding::Rounded { bits }, ..usual() };
        let nesterov = |momentum| OuterRule { step: StepRule::Nesterov { momentum }, ..usual() };
        for outer in [rounded(1), rounded(25)] {
            assert_eq!(faults(&outer), ["outer.values.rounded.bits"]);
        }
        for outer in [nesterov(1.0), nesterov(-0.1), nesterov(f32::NAN)] {
            assert_eq!(faults(&outer), ["outer.step.nesterov.momentum"]);
        }
        assert_eq!(faults(&OuterRule { merge: MergeMethod::SignVote, ..rounded(16) }), ["outer.merge"]);
        assert_eq!(faults(&OuterRule { scales: ScaleRule::Equal, ..rounded(16) }), ["outer.scales"]);
        assert_eq!(faults(&OuterRule { scales: ScaleRule::Clipped { times: 0 }, ..usual() }), ["outer.scales"]);
        assert_eq!(faults(&OuterRule { alpha: f32::INFINITY, ..usual() }), ["outer.alpha"]);
    }
}
