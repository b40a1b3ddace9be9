//! Choosing the next token of a text.

use crate::EngineError;
use crate::cpu::exp;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Logits of tokens that the text has already are divided by this if positive, else multiplied; 1 for no change.
    pub repetition_penalty: f32,
    /// Taken once from the logit of every token that was generated already, -2 to 2; 0 for no change.
    pub presence_penalty: f32,
    /// Taken from the logit of a token as often as it was generated already, -2 to 2; 0 for no change.
    pub frequency_penalty: f32,
    /// Reports the log-probability of each token, and of this many of the likeliest in its place; none for no report.
    pub logprobs: Option<usize>,
    /// Seed of the choice.
    pub seed: [u8; 32],
    /// The tokens that end the text.
    pub stop_tokens: Vec<u32>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logprobs: None,
            seed: [0; 32],
            stop_tokens: Vec::new(),
        }
    }
}

/// The likeliest tokens are put in order so many at a time, until enough of the probability is there.
const FIRST_CANDIDATES: usize = 64;

/// Chooses tokens by the options; the same logits give the same tokens on every machine.
pub(crate) struct Sampler {
    options: GenerateOptions,
    stream: Stream,
    /// The tokens that the text has, where repeating them is penalised.
    seen: BTreeSet<u32>,
    /// How often each token was generated, where that is penalised.
    generated: BTreeMap<u32, u32>,
}

/// How likely a generated token was, by the model's own logits: before temperature, penalties and cuts.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The likeliest tokens in its place, the likeliest first (of equals the lowest), as many as were asked for.
    pub top: Vec<(u32, f32)>,
}

impl Sampler {
    pub(crate) fn new(options: &GenerateOptions, prompt: &[u32]) -> Result<Self, EngineError> {
        let GenerateOptions { temperature, top_p, repetition_penalty: penalty, seed, .. } = *options;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(EngineError::Generate { field: "temperature", value: temperature, rule: "0 or more" });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(EngineError::Generate { field: "top_p", value: top_p, rule: "over 0 and at most 1" });
        }
        if !(penalty.is_finite() && penalty > 0.0) {
            return Err(EngineError::Generate { field: "repetition_penalty", value: penalty, rule: "over 0" });
        }
        let taken = [("presence_penalty", options.presence_penalty), ("frequency_penalty", options.frequency_penalty)];
        if let Some((field, value)) = taken.into_iter().find(|(_, value)| !(-2.0..=2.0).contains(value)) {
            return Err(EngineError::Generate { field, value, rule: "-2 to 2" });
        }
        let stream = Stream::new(seed, "generate", 0);
        let mut sampler = Self { options: options.clone(), stream, seen: BTreeSet::new(), generated: BTreeMap::new() };
        prompt.iter().for_each(|&token| sampler.see(token));
        Ok(sampler)
    }

    /// Whether this token ends the text.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.options.stop_tokens.contains(&token)
    }

    fn see(&mut self, token: u32) {
        if self.options.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
    }

    /// Notes a token that was generated.
    fn generated(&mut self, token: u32) {
        self.see(token);
        if self.options.presence_penalty != 0.0 || self.options.frequency_penalty != 0.0 {
            *self.generated.entry(token).or_default() += 1;
        }
    }

    /// The next token, from the logits of the whole vocabulary, and how likely it was where that is asked for.
    pub(crate) fn choose_with_logprobs(
        &mut self,
        logits: &mut [f32],
    ) -> Result<(u32, Option<TokenLogprobs>), EngineError> {
        let Some(count) = self.options.logprobs else { return Ok((self.choose(logits)?, None)) };
        // The choice changes the logits.
        let raw = logits.to_vec();
        let token = self.choose(logits)?;
        Ok((token, Some(logprobs_of(&raw, token, count))))
    }

    /// The next token, from the logits of the whole vocabulary.
    pub(crate) fn choose(&mut self, logits: &mut [f32]) -> Result<u32, EngineError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(EngineError::NotFinite("a logit"));
        }
        let penalty = self.options.repetition_penalty;
        for &token in &self.seen {
            let logit = &mut logits[token as usize];
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        // As OpenAI's API has it: logit - count * frequency_penalty - (count > 0) * presence_penalty.
        for (&token, &count) in &self.generated {
            let GenerateOptions { presence_penalty, frequency_penalty, .. } = self.options;
            logits[token as usize] -= count as f32 * frequency_penalty + presence_penalty;
        }
        let token = if self.options.temperature == 0.0 { likeliest(logits) } else { self.draw(logits) };
        self.generated(token);
        Ok(token)
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let GenerateOptions { temperature, top_k, top_p, .. } = self.options;
        let highest = logits[likeliest(logits) as usize];
        // Under -100 nothing is left of a probability; a tiny temperature must not make it infinite.
        let weight = |logit: f32| f64::from(exp(((logit - highest) / temperature).max(-100.0)));
        let weights: Vec<f64> = logits.iter().map(|&logit| weight(logit)).collect();
        let most = if top_k == 0 { logits.len() } else { top_k.min(logits.len()) };
        let uniform = f64::from(self.stream.unit_f32());
        if most == logits.len() && top_p >= 1.0 {
            return pick(uniform, weights.iter().sum(), (0..).zip(weights));
        }
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        // With a top k, the probability that counts is that of the k likeliest.
        let mut sorted = if most < logits.len() { most } else { FIRST_CANDIDATES.min(most) };
        loop {
            if sorted < order.len() {
                order.select_nth_unstable_by(sorted, by_logit);
            }
            order[..sorted].sort_unstable_by(by_logit);
            let likeliest = order[..sorted].iter().map(|&token| (token, weights[token as usize]));
            let total: f64 = if most < logits.len() {
                likeliest.clone().map(|(_, weight)| weight).sum()
            } else {
                weights.iter().sum()
            };
            let (kept, reached) = nucleus(likeliest.clone().map(|(_, weight)| weight), f64::from(top_p) * total);
            if reached.is_some() || sorted == most {
                let sum = reached.unwrap_or_else(|| likeliest.clone().map(|(_, weight)| weight).sum());
                return pick(uniform, sum, likeliest.take(kept));
            }
            sorted = (sorted * 8).min(most);
        }
    }
}

/// The log-probabilities of a token and of the `count` likeliest: `logit - ln(sum(exp(logits)))`, summed in order.
fn logprobs_of(logits: &[f32], token: u32, count: usize) -> TokenLogprobs {
    let highest = logits[likeliest(logits) as usize];
    let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(highest))).sum();
    let normaliser = f64::from(highest) + libm::log(sum);
    let logprob = |token: u32| (f64::from(logits[token as usize]) - normaliser) as f32;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let count = count.min(order.len());
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, by_logit);
        order.truncate(count);
    }
    order.sort_unstable_by(by_logit);
    let top = order.into_iter().map(|token| (token, logprob(token))).collect();
    TokenLogprobs { token, logprob: logprob(token), top }
}

/// The lowest of the tokens with the highest logit.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// How many of the (falling) weights reach `enough`, and their sum; all of them and none where they don't.
fn nucleus(weights: impl Iterator<Item = f64>, enough: f64) -> (usize, Option<f64>) {
    let (mut count, mut sum) = (0, 0.0);
    for weight in weights {
        count += 1;
        sum += weight;
        if sum >= enough {
            return (count, Some(sum));
        }
    }
    (count, None)
}

/// The token at the share `uniform` of the weights' sum; the last one where rounding leaves none.
fn pick(uniform: f64, sum: f64, weights: impl Iterator<Item = (u32, f64)>) -> u32 {
    let (mut left, mut last) = (uniform * sum, 0);
    for (token, weight) in weights {
        left -= weight;
        last = token;
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(options: &GenerateOptions, logits: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(options, &[]).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..4000 {
            counts[sampler.choose(&mut logits.to_vec()).unwrap() as usize] += 1;
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
        // Of the two likeliest, 5 of 8 are under 0.7, so that both stay.
        let both = counts(&GenerateOptions { top_k: 2, top_p: 0.7, ..top_k }, &logits);
        assert!(both[0] == 0 && both[2] > 1000, "{both:?}");
    }

    #[test]
    fn a_nucleus_wider_than_the_first_candidates_is_found() {
        // 1000 equal tokens: nine tenths of them are 900, the lowest first.
        let options = GenerateOptions { temperature: 1.0, top_p: 0.9, ..Default::default() };
        let counts = counts(&options, &[0.0; 1000]);
        assert!(counts[901..].iter().all(|&count| count == 0));
        assert!(counts[..899].iter().filter(|&&count| count > 0).count() > 800);
    }

    #[test]
    fn repeated_tokens_are_penalised_by_the_formula() {
        let options = GenerateOptions { repetition_penalty: 2.0, ..Default::default() };
        let mut sampler = Sampler::new(&options, &[1]).unwrap();
        let mut logits = [1.5, 2.0, -1.0];
        assert_eq!(sampler.choose(&mut logits), Ok(0));
        assert_eq!(logits, [1.5, 1.0, -1.0]);
        let mut again = [1.0, 1.0, -0.1];
        assert_eq!(sampler.choose(&mut again), Ok(0));
        let mut negative = [-4.0, 0.2, 0.11];
        assert_eq!(sampler.choose(&mut negative), Ok(2));
        assert_eq!(negative, [-8.0, 0.1, 0.11]);
    }

    #[test]
    fn generated_tokens_are_penalised_once_and_by_their_count() {
        let options = GenerateOptions { presence_penalty: 0.5, frequency_penalty: 0.25, ..Default::default() };
        // Only what was generated counts, not the prompt.
        let mut sampler = Sampler::new(&options, &[1]).unwrap();
        let mut logits = [1.0, 1.5, 0.0];
        assert_eq!(sampler.choose(&mut logits), Ok(1));
        assert_eq!(logits, [1.0, 1.5, 0.0]);
        let mut again = [0.5, 1.5, 0.0];
        assert_eq!(sampler.choose(&mut again), Ok(1));
        assert_eq!(again, [0.5, 0.75, 0.0]);
        let mut third = [0.625, 1.5, 0.0];
        assert_eq!(sampler.choose(&mut third), Ok(0));
        assert_eq!(third, [0.625, 0.5, 0.0]);
        // A negative penalty favours repetition.
        let options = GenerateOptions { frequency_penalty: -1.0, ..Default::default() };
        let mut sampler = Sampler::new(&options, &[]).unwrap();
        assert_eq!(sampler.choose(&mut [1.0, 0.0]), Ok(0));
        assert_eq!(sampler.choose(&mut [0.5, 1.0]), Ok(0));
    }

    #[test]
    fn logprobs_are_those_of_the_models_own_logits() {
        let options = GenerateOptions {
            logprobs: Some(2),
            temperature: 1e-3,
            presence_penalty: 2.0,
            repetition_penalty: 3.0,
            ..Default::default()
        };
        let mut sampler = Sampler::new(&options, &[0]).unwrap();
        let raw = [libm::logf(0.5), libm::logf(0.3), libm::logf(0.2)];
        let (token, logprobs) = sampler.choose_with_logprobs(&mut raw.map(|logit| logit + 7.0)).unwrap();
        let logprobs = logprobs.unwrap();
        assert_eq!(logprobs.token, token);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(near(logprobs.logprob, raw[token as usize]), "{logprobs:?}");
        assert_eq!(logprobs.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [0, 1]);
        assert!(near(logprobs.top[0].1, raw[0]) && near(logprobs.top[1].1, raw[1]), "{logprobs:?}");
        let none = GenerateOptions { logprobs: None, ..options.clone() };
        let mut without = Sampler::new(&none, &[0]).unwrap();
        assert_eq!(without.choose_with_logprobs(&mut raw.map(|logit| logit + 7.0)).unwrap(), (token, None));
        let zero = GenerateOptions { logprobs: Some(0), ..options };
        let (_, logprobs) = Sampler::new(&zero, &[]).unwrap().choose_with_logprobs(&mut { raw }).unwrap();
        assert_eq!(logprobs.unwrap().top, []);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for bad in [
            GenerateOptions { top_p: 0.0, ..Default::default() },
            GenerateOptions { temperature: f32::NAN, ..Default::default() },
            GenerateOptions { repetition_penalty: 0.0, ..Default::default() },
            GenerateOptions { presence_penalty: 2.5, ..Default::default() },
            GenerateOptions { frequency_penalty: f32::NAN, ..Default::default() },
        ] {
            assert!(Sampler::new(&bad, &[]).is_err());
        }
        let tiny = GenerateOptions { temperature: 1e-40, ..Default::default() };
        assert_eq!(counts(&tiny, &[0.0, 3.0]), [0, 4000]);
    }
}
