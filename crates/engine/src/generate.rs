//! Choosing the next token of a text.

use crate::EngineError;
use crate::cpu::exp;
use templar_base::random::Stream;

/// How a text is continued. The default is greedy: the likeliest token each time.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// The most tokens to add.
    pub max_new_tokens: usize,
    /// The logits are divided by this; 0 takes the likeliest token (the lowest of equals).
    pub temperature: f32,
    /// Only this many of the likeliest tokens may be chosen; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability may be chosen; 1 for all.
    pub top_p: f32,
    /// Seed of the choice.
    pub seed: [u8; 32],
    /// The token that ends the text.
    pub stop_token: Option<u32>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_new_tokens: 64, temperature: 0.0, top_k: 0, top_p: 1.0, seed: [0; 32], stop_token: None }
    }
}

/// Chooses tokens by the options; the same logits give the same tokens on every machine.
pub(crate) struct Sampler<'a> {
    options: &'a GenerateOptions,
    stream: Stream,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(options: &'a GenerateOptions) -> Result<Self, EngineError> {
        let GenerateOptions { temperature, top_p, seed, .. } = *options;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(EngineError::Generate { field: "temperature", value: temperature, rule: "0 or more" });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(EngineError::Generate { field: "top_p", value: top_p, rule: "over 0 and at most 1" });
        }
        Ok(Self { options, stream: Stream::new(seed, "generate", 0) })
    }

    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<u32, EngineError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(EngineError::NotFinite("a logit"));
        }
        if self.options.temperature == 0.0 {
            let mut best = 0;
            for (token, logit) in logits.iter().enumerate() {
                if *logit > logits[best] {
                    best = token;
                }
            }
            return Ok(best as u32);
        }
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        if self.options.top_k > 0 {
            order.truncate(self.options.top_k);
        }
        let highest = logits[order[0] as usize];
        let weight = |&token: &u32| f64::from(exp((logits[token as usize] - highest) / self.options.temperature));
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let kept = nucleus(&weights, f64::from(self.options.top_p));
        let mut left = f64::from(self.stream.unit_f32()) * weights[..kept].iter().sum::<f64>();
        for (token, weight) in order[..kept].iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return Ok(*token);
            }
        }
        Ok(order[kept - 1])
    }
}

/// How many of the (falling) weights reach the share `top_p` of their sum; at least one.
fn nucleus(weights: &[f64], top_p: f64) -> usize {
    if top_p >= 1.0 {
        return weights.len();
    }
    let enough = top_p * weights.iter().sum::<f64>();
    let mut reached = 0.0;
    let before = weights.iter().take_while(|&&weight| {
        reached += weight;
        reached < enough
    });
    (before.count() + 1).min(weights.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(options: &GenerateOptions, logits: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..4000 {
            counts[sampler.choose(logits).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        assert_eq!(counts(&GenerateOptions::default(), &[0.0, 3.0, 3.0, 1.0]), [0, 4000, 0, 0]);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let options = GenerateOptions { temperature: 1.0, ..Default::default() };
        let counts = counts(&options, &[libm::logf(0.5), libm::logf(0.3), libm::logf(0.2)]);
        for (count, share) in counts.into_iter().zip([0.5, 0.3, 0.2]) {
            assert!((count as f64 / 4000.0 - share).abs() < 0.03, "{count}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [libm::logf(0.2), libm::logf(0.5), libm::logf(0.3)];
        let top_k = GenerateOptions { temperature: 1.0, top_k: 2, ..Default::default() };
        assert_eq!(counts(&top_k, &logits)[0], 0);
        let top_p = GenerateOptions { temperature: 1.0, top_p: 0.4, ..Default::default() };
        assert_eq!(counts(&top_p, &logits), [0, 4000, 0]);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let bad = GenerateOptions { top_p: 0.0, ..Default::default() };
        assert!(Sampler::new(&bad).is_err());
        let bad = GenerateOptions { temperature: f32::NAN, ..Default::default() };
        assert!(Sampler::new(&bad).is_err());
    }
}
